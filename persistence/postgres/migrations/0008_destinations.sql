-- +goose Up

CREATE TABLE "destinations" (
    "destination" text COLLATE "C" NOT NULL,
    "sent_pos" bigint NOT NULL,
    "sent_room" text COLLATE "C" NOT NULL,
    "sent_seq" bigint NOT NULL,
    "paused" boolean NOT NULL,
    "failures" bigint NOT NULL,
    "failing_since_ts" bigint NOT NULL,
    "retry_ts" bigint NOT NULL,
    "last_success_ts" bigint NOT NULL,
    "last_error" text COLLATE "C" NOT NULL,
    PRIMARY KEY ("destination")
);

CREATE TABLE "destination_transactions" (
    "destination" text COLLATE "C" NOT NULL,
    "txn_id" text COLLATE "C" NOT NULL,
    "sent_pos" bigint NOT NULL,
    "sent_room" text COLLATE "C" NOT NULL,
    "sent_seq" bigint NOT NULL,
    "edu_pos" bigint NOT NULL,
    "edu_n" bigint NOT NULL,
    "missed_room" text COLLATE "C" NOT NULL,
    "pdus" bigint NOT NULL,
    "edus" bigint NOT NULL,
    "body" text COLLATE "C",
    PRIMARY KEY ("destination")
);

CREATE TABLE "outbound_edus" (
    "destination" text COLLATE "C" NOT NULL,
    "pos" bigint NOT NULL,
    "n" bigint NOT NULL,
    "type" text COLLATE "C" NOT NULL,
    "content" text COLLATE "C",
    PRIMARY KEY ("destination", "pos", "n")
);

CREATE TABLE "missed_rooms" (
    "destination" text COLLATE "C" NOT NULL,
    "room_id" text COLLATE "C" NOT NULL,
    "pos" bigint NOT NULL,
    PRIMARY KEY ("destination", "room_id")
);

CREATE TABLE "inbound_transactions" (
    "origin" text COLLATE "C" NOT NULL,
    "slot" bigint NOT NULL,
    "txn_id" text COLLATE "C" NOT NULL,
    "answer" text COLLATE "C",
    "ts" bigint NOT NULL,
    PRIMARY KEY ("origin", "slot")
);

CREATE TABLE "inbound_messages" (
    "day" bigint NOT NULL,
    "sender" text COLLATE "C" NOT NULL,
    "message_id" text COLLATE "C" NOT NULL,
    PRIMARY KEY ("day", "sender", "message_id")
);
