-- +goose Up

CREATE TABLE "staged_pdus" (
    "room_id" text COLLATE "C" NOT NULL,
    "event_id" text COLLATE "C" NOT NULL,
    "origin" text COLLATE "C" NOT NULL,
    "json" text COLLATE "C",
    "received_ts" bigint NOT NULL,
    "next_ts" bigint NOT NULL,
    "attempts" bigint NOT NULL,
    PRIMARY KEY ("room_id", "event_id")
);
