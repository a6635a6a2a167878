-- +goose Up
CREATE TABLE "delayed_sticky" (
    "user_id" text COLLATE "C" NOT NULL,
    "delay_id" text COLLATE "C" NOT NULL,
    "sticky_ms" bigint NOT NULL,
    PRIMARY KEY ("user_id", "delay_id")
);

CREATE TABLE "sticky_events" (
    "room_id" text COLLATE "C" NOT NULL,
    "seq" bigint NOT NULL,
    "event_id" text COLLATE "C" NOT NULL,
    "sender" text COLLATE "C" NOT NULL,
    "ends_ts" bigint NOT NULL,
    "soft_failed" boolean NOT NULL,
    "pos" bigint NOT NULL,
    PRIMARY KEY ("room_id", "seq")
);
