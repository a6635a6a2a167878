-- +goose Up

CREATE TABLE "appservice_queues" (
    "id" text COLLATE "C" NOT NULL,
    "pos" bigint NOT NULL,
    "skip" bigint NOT NULL,
    "txn_id" bigint NOT NULL,
    "body" bytea,
    "drop" bytea,
    "sent_ts" bigint NOT NULL,
    "ts" bigint NOT NULL,
    "events" bigint NOT NULL,
    PRIMARY KEY ("id")
);

CREATE TABLE "feed" (
    "pos" bigint NOT NULL,
    "notices" bytea,
    PRIMARY KEY ("pos")
);

CREATE TABLE "network_rooms" (
    "appservice_id" text COLLATE "C" NOT NULL,
    "network_id" text COLLATE "C" NOT NULL,
    "room_id" text COLLATE "C" NOT NULL,
    PRIMARY KEY ("appservice_id", "network_id", "room_id")
);
