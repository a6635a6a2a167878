-- +goose Up
CREATE TABLE "browser_sessions" (
    "user_id" text COLLATE "C" NOT NULL,
    "hash" bytea NOT NULL,
    "auth_ts" bigint NOT NULL,
    "expires_ts" bigint NOT NULL,
    "user_agent" text COLLATE "C" NOT NULL,
    PRIMARY KEY ("user_id", "hash")
);

CREATE TABLE "cross_signing_resets" (
    "user_id" text COLLATE "C" NOT NULL,
    "expires_ts" bigint NOT NULL,
    PRIMARY KEY ("user_id")
);

CREATE TABLE "external_ids" (
    "provider" text COLLATE "C" NOT NULL,
    "subject" text COLLATE "C" NOT NULL,
    "user_id" text COLLATE "C" NOT NULL,
    PRIMARY KEY ("provider", "subject")
);

CREATE TABLE "oauth_clients" (
    "client_id" text COLLATE "C" NOT NULL,
    "metadata" text COLLATE "C",
    "created_ts" bigint NOT NULL,
    "used" boolean NOT NULL,
    PRIMARY KEY ("client_id")
);

CREATE TABLE "oauth_device_codes" (
    "user_code" text COLLATE "C" NOT NULL,
    "hash" bytea,
    "client_id" text COLLATE "C" NOT NULL,
    "device_id" text COLLATE "C" NOT NULL,
    "scope" text COLLATE "C" NOT NULL,
    "expires_ts" bigint NOT NULL,
    PRIMARY KEY ("user_code")
);

CREATE TABLE "oauth_device_waits" (
    "hash" bytea NOT NULL,
    "user_code" text COLLATE "C" NOT NULL,
    "expires_ts" bigint NOT NULL,
    PRIMARY KEY ("hash")
);

CREATE TABLE "oauth_grants" (
    "hash" bytea NOT NULL,
    "user_id" text COLLATE "C" NOT NULL,
    "client_id" text COLLATE "C" NOT NULL,
    "device_id" text COLLATE "C" NOT NULL,
    "scope" text COLLATE "C" NOT NULL,
    "redirect_uri" text COLLATE "C" NOT NULL,
    "challenge" text COLLATE "C" NOT NULL,
    "expires_ts" bigint NOT NULL,
    "denied" boolean NOT NULL,
    "spent" boolean NOT NULL,
    "nonce" text COLLATE "C" NOT NULL,
    PRIMARY KEY ("hash")
);

CREATE TABLE "oauth_sessions" (
    "user_id" text COLLATE "C" NOT NULL,
    "device_id" text COLLATE "C" NOT NULL,
    "session_id" text COLLATE "C" NOT NULL,
    "client_id" text COLLATE "C" NOT NULL,
    "scope" text COLLATE "C" NOT NULL,
    "created_ts" bigint NOT NULL,
    PRIMARY KEY ("user_id", "device_id")
);

CREATE TABLE "rendezvous" (
    "id" text COLLATE "C" NOT NULL,
    "revision" bigint NOT NULL,
    "data" bytea,
    "media_type" text COLLATE "C" NOT NULL,
    "written_ts" bigint NOT NULL,
    "expires_ts" bigint NOT NULL,
    PRIMARY KEY ("id", "revision")
);

CREATE TABLE "user_external_ids" (
    "user_id" text COLLATE "C" NOT NULL,
    "provider" text COLLATE "C" NOT NULL,
    "subject" text COLLATE "C" NOT NULL,
    "added_ts" bigint NOT NULL,
    PRIMARY KEY ("user_id", "provider", "subject")
);

