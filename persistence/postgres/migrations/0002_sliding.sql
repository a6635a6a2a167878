-- +goose Up

CREATE TABLE "sliding_connections" (
    "user_id" text COLLATE "C" NOT NULL,
    "device_id" text COLLATE "C" NOT NULL,
    "conn_id" text COLLATE "C" NOT NULL,
    "used_ts" bigint NOT NULL,
    "state" bytea,
    PRIMARY KEY ("user_id", "device_id", "conn_id")
);
