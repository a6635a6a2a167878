-- +goose Up

CREATE TABLE "old_signing_keys" (
    "key_id" text COLLATE "C" NOT NULL,
    "public" bytea,
    "expired_ts" bigint NOT NULL,
    PRIMARY KEY ("key_id")
);

CREATE TABLE "server_keys" (
    "server" text COLLATE "C" NOT NULL,
    "key_id" text COLLATE "C" NOT NULL,
    "public" bytea,
    "valid_until_ts" bigint NOT NULL,
    "expired_ts" bigint NOT NULL,
    "fetched_ts" bigint NOT NULL,
    PRIMARY KEY ("server", "key_id")
);

CREATE TABLE "server_key_documents" (
    "server" text COLLATE "C" NOT NULL,
    "json" text COLLATE "C",
    "valid_until_ts" bigint NOT NULL,
    "fetched_ts" bigint NOT NULL,
    PRIMARY KEY ("server")
);

CREATE TABLE "remote_device_lists" (
    "user_id" text COLLATE "C" NOT NULL,
    "stream_id" bigint NOT NULL,
    "stale" boolean NOT NULL,
    "json" text COLLATE "C",
    "fetched_ts" bigint NOT NULL,
    PRIMARY KEY ("user_id")
);
