-- +goose Up
-- Delayed events, thread subscriptions and dehydrated devices.

CREATE TABLE "dehydrated_devices" (
    "user_id" text COLLATE "C" NOT NULL,
    "device_id" text COLLATE "C" NOT NULL,
    "data" text COLLATE "C",
    PRIMARY KEY ("user_id")
);

CREATE TABLE "delay_ids" (
    "delay_id" text COLLATE "C" NOT NULL,
    "user_id" text COLLATE "C" NOT NULL,
    "finalised_ts" bigint NOT NULL,
    PRIMARY KEY ("delay_id")
);

CREATE TABLE "delayed_due" (
    "due_ts" bigint NOT NULL,
    "user_id" text COLLATE "C" NOT NULL,
    "delay_id" text COLLATE "C" NOT NULL,
    "room_id" text COLLATE "C" NOT NULL,
    PRIMARY KEY ("due_ts", "user_id", "delay_id")
);

CREATE TABLE "delayed_events" (
    "user_id" text COLLATE "C" NOT NULL,
    "delay_id" text COLLATE "C" NOT NULL,
    "room_id" text COLLATE "C" NOT NULL,
    "type" text COLLATE "C" NOT NULL,
    "state_key" text COLLATE "C",
    "content" text COLLATE "C",
    "delay_ms" bigint NOT NULL,
    "scheduled_ts" bigint NOT NULL,
    "origin_server_ts" bigint NOT NULL,
    "due_ts" bigint NOT NULL,
    "sending" boolean NOT NULL,
    "attempts" bigint NOT NULL,
    "unlimited" boolean NOT NULL,
    PRIMARY KEY ("user_id", "delay_id")
);

CREATE TABLE "finalised_delayed_events" (
    "user_id" text COLLATE "C" NOT NULL,
    "finalised_ts" bigint NOT NULL,
    "delay_id" text COLLATE "C" NOT NULL,
    "room_id" text COLLATE "C" NOT NULL,
    "type" text COLLATE "C" NOT NULL,
    "state_key" text COLLATE "C",
    "content" text COLLATE "C",
    "delay_ms" bigint NOT NULL,
    "scheduled_ts" bigint NOT NULL,
    "event_id" text COLLATE "C" NOT NULL,
    "error" text COLLATE "C",
    PRIMARY KEY ("user_id", "finalised_ts", "delay_id")
);

CREATE TABLE "thread_subscription_changes" (
    "user_id" text COLLATE "C" NOT NULL,
    "pos" bigint NOT NULL,
    "room_id" text COLLATE "C" NOT NULL,
    "root_id" text COLLATE "C" NOT NULL,
    PRIMARY KEY ("user_id", "pos", "room_id", "root_id")
);

CREATE TABLE "thread_subscriptions" (
    "user_id" text COLLATE "C" NOT NULL,
    "room_id" text COLLATE "C" NOT NULL,
    "root_id" text COLLATE "C" NOT NULL,
    "subscribed" boolean NOT NULL,
    "automatic" boolean NOT NULL,
    "pos" bigint NOT NULL,
    PRIMARY KEY ("user_id", "room_id", "root_id")
);
