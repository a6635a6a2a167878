-- +goose Up
-- Push notifications, and the email addresses of accounts.
CREATE TABLE "pushers" (
    "user_id" text COLLATE "C" NOT NULL,
    "app_id" text COLLATE "C" NOT NULL,
    "pushkey" text COLLATE "C" NOT NULL,
    "kind" text COLLATE "C" NOT NULL,
    "app_display_name" text COLLATE "C" NOT NULL,
    "device_display_name" text COLLATE "C" NOT NULL,
    "profile_tag" text COLLATE "C" NOT NULL,
    "lang" text COLLATE "C" NOT NULL,
    "data" text COLLATE "C",
    "enabled" boolean NOT NULL,
    "device_id" text COLLATE "C" NOT NULL,
    "set_ts" bigint NOT NULL,
    PRIMARY KEY ("user_id", "app_id", "pushkey")
);

CREATE TABLE "pushers_by_key" (
    "app_id" text COLLATE "C" NOT NULL,
    "pushkey" text COLLATE "C" NOT NULL,
    "user_id" text COLLATE "C" NOT NULL,
    PRIMARY KEY ("app_id", "pushkey", "user_id")
);

CREATE TABLE "push_tasks" (
    "shard" bigint NOT NULL,
    "pos" bigint NOT NULL,
    "room_id" text COLLATE "C" NOT NULL,
    "first_seq" bigint NOT NULL,
    "last_seq" bigint NOT NULL,
    "readers" text COLLATE "C",
    PRIMARY KEY ("shard", "pos", "room_id")
);

CREATE TABLE "push_items" (
    "user_id" text COLLATE "C" NOT NULL,
    "app_id" text COLLATE "C" NOT NULL,
    "pushkey" text COLLATE "C" NOT NULL,
    "pos" bigint NOT NULL,
    "room_id" text COLLATE "C" NOT NULL,
    "seq" bigint NOT NULL,
    "ts" bigint NOT NULL,
    PRIMARY KEY ("user_id", "app_id", "pushkey", "pos", "room_id", "seq")
);

CREATE TABLE "push_digests" (
    "user_id" text COLLATE "C" NOT NULL,
    "app_id" text COLLATE "C" NOT NULL,
    "pushkey" text COLLATE "C" NOT NULL,
    "sent_ts" bigint NOT NULL,
    "pause_ms" bigint NOT NULL,
    PRIMARY KEY ("user_id", "app_id", "pushkey")
);

CREATE TABLE "threepids" (
    "medium" text COLLATE "C" NOT NULL,
    "address" text COLLATE "C" NOT NULL,
    "user_id" text COLLATE "C" NOT NULL,
    PRIMARY KEY ("medium", "address")
);

CREATE TABLE "user_threepids" (
    "user_id" text COLLATE "C" NOT NULL,
    "medium" text COLLATE "C" NOT NULL,
    "address" text COLLATE "C" NOT NULL,
    "validated_ts" bigint NOT NULL,
    "added_ts" bigint NOT NULL,
    PRIMARY KEY ("user_id", "medium", "address")
);

CREATE TABLE "threepid_sessions" (
    "id" text COLLATE "C" NOT NULL,
    "purpose" text COLLATE "C" NOT NULL,
    "secret_hash" bytea,
    "medium" text COLLATE "C" NOT NULL,
    "address" text COLLATE "C" NOT NULL,
    "user_id" text COLLATE "C" NOT NULL,
    "token" text COLLATE "C" NOT NULL,
    "next_link" text COLLATE "C" NOT NULL,
    "send_attempt" bigint NOT NULL,
    "created_ts" bigint NOT NULL,
    PRIMARY KEY ("id")
);

CREATE TABLE "threepid_validations" (
    "id" text COLLATE "C" NOT NULL,
    "validated_ts" bigint NOT NULL,
    PRIMARY KEY ("id")
);
