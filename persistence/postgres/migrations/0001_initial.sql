-- +goose Up
-- The journals of actors: who may write each, and how far it goes.
CREATE TABLE streams (
    kind  text COLLATE "C" NOT NULL,
    id    text COLLATE "C" NOT NULL,
    epoch bigint NOT NULL,
    seq   bigint NOT NULL,
    PRIMARY KEY (kind, id)
);

-- The newest snapshot of each journal.
CREATE TABLE snapshots (
    kind text COLLATE "C" NOT NULL,
    id   text COLLATE "C" NOT NULL,
    seq  bigint NOT NULL,
    data bytea NOT NULL,
    PRIMARY KEY (kind, id)
);

-- The position of the newest commit. Whoever commits keeps this row locked until then.
CREATE TABLE positions (
    one  boolean PRIMARY KEY DEFAULT true CHECK (one),
    last bigint NOT NULL
);
INSERT INTO positions (last) VALUES (0);

-- What nodes tell each other: the notices of the last quarter of an hour.
CREATE TABLE commits (
    last    bigint PRIMARY KEY,
    first   bigint NOT NULL,
    node    text NOT NULL,
    batch   text NOT NULL,
    notices bytea,
    at      timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX commits_at ON commits (at);

-- The full-text index of messages. It follows from the events and can be made anew.
CREATE TABLE search_texts (
    room_id text COLLATE "C" NOT NULL,
    seq     bigint NOT NULL,
    key     text COLLATE "C" NOT NULL,
    sender  text COLLATE "C" NOT NULL,
    ts      bigint NOT NULL,
    tokens  tsvector NOT NULL,
    PRIMARY KEY (room_id, seq)
);
CREATE INDEX search_texts_tokens ON search_texts USING gin (tokens);

-- A row says that everything has been put into the index.
CREATE TABLE search_complete (
    one boolean PRIMARY KEY DEFAULT true CHECK (one)
);

CREATE TABLE "access_tokens" (
    "hash" bytea NOT NULL,
    "user_id" text COLLATE "C" NOT NULL,
    "device_id" text COLLATE "C" NOT NULL,
    "expires_ts" bigint NOT NULL,
    PRIMARY KEY ("hash")
);

CREATE TABLE "account_data" (
    "user_id" text COLLATE "C" NOT NULL,
    "room_id" text COLLATE "C" NOT NULL,
    "type" text COLLATE "C" NOT NULL,
    "content" text COLLATE "C",
    "pos" bigint NOT NULL,
    PRIMARY KEY ("user_id", "room_id", "type")
);

CREATE TABLE "accounts" (
    "user_id" text COLLATE "C" NOT NULL,
    "password_hash" text COLLATE "C" NOT NULL,
    "created_ts" bigint NOT NULL,
    "admin" boolean NOT NULL,
    "deactivated" boolean NOT NULL,
    "erased" boolean NOT NULL,
    "locked" boolean NOT NULL,
    "suspended" boolean NOT NULL,
    PRIMARY KEY ("user_id")
);

CREATE TABLE "aliases" (
    "alias" text COLLATE "C" NOT NULL,
    "room_id" text COLLATE "C" NOT NULL,
    "creator" text COLLATE "C" NOT NULL,
    "created_ts" bigint NOT NULL,
    PRIMARY KEY ("alias")
);

CREATE TABLE "auth_sessions" (
    "id" text COLLATE "C" NOT NULL,
    "created_ts" bigint NOT NULL,
    "state" text COLLATE "C",
    PRIMARY KEY ("id")
);

CREATE TABLE "blob_releases" (
    "name" text COLLATE "C" NOT NULL,
    "ts" bigint NOT NULL,
    PRIMARY KEY ("name")
);

CREATE TABLE "blob_thumbnails" (
    "name" text COLLATE "C" NOT NULL,
    "variant" text COLLATE "C" NOT NULL,
    "object" text COLLATE "C" NOT NULL,
    "type" text COLLATE "C" NOT NULL,
    "size" bigint NOT NULL,
    PRIMARY KEY ("name", "variant")
);

CREATE TABLE "blob_uses" (
    "name" text COLLATE "C" NOT NULL,
    "server" text COLLATE "C" NOT NULL,
    "media_id" text COLLATE "C" NOT NULL,
    PRIMARY KEY ("name", "server", "media_id")
);

CREATE TABLE "blobs" (
    "name" text COLLATE "C" NOT NULL,
    "sha256" bytea,
    "size" bigint NOT NULL,
    "stored_ts" bigint NOT NULL,
    PRIMARY KEY ("name")
);

CREATE TABLE "blobs_by_hash" (
    "sha256" bytea NOT NULL,
    "name" text COLLATE "C" NOT NULL,
    PRIMARY KEY ("sha256", "name")
);

CREATE TABLE "cross_signing_keys" (
    "user_id" text COLLATE "C" NOT NULL,
    "usage" text COLLATE "C" NOT NULL,
    "json" text COLLATE "C",
    PRIMARY KEY ("user_id", "usage")
);

CREATE TABLE "current_state" (
    "room_id" text COLLATE "C" NOT NULL,
    "type" text COLLATE "C" NOT NULL,
    "state_key" text COLLATE "C" NOT NULL,
    "event_id" text COLLATE "C" NOT NULL,
    "seq" bigint NOT NULL,
    "membership" text COLLATE "C" NOT NULL,
    PRIMARY KEY ("room_id", "type", "state_key")
);

CREATE TABLE "device_list_changes" (
    "user_id" text COLLATE "C" NOT NULL,
    "pos" bigint NOT NULL,
    PRIMARY KEY ("user_id")
);

CREATE TABLE "device_list_log" (
    "pos" bigint NOT NULL,
    "user_id" text COLLATE "C" NOT NULL,
    PRIMARY KEY ("pos", "user_id")
);

CREATE TABLE "device_tokens" (
    "user_id" text COLLATE "C" NOT NULL,
    "device_id" text COLLATE "C" NOT NULL,
    "kind" text COLLATE "C" NOT NULL,
    "hash" bytea NOT NULL,
    PRIMARY KEY ("user_id", "device_id", "kind", "hash")
);

CREATE TABLE "devices" (
    "user_id" text COLLATE "C" NOT NULL,
    "device_id" text COLLATE "C" NOT NULL,
    "display_name" text COLLATE "C" NOT NULL,
    "created_ts" bigint NOT NULL,
    "last_seen_ts" bigint NOT NULL,
    "last_seen_ip" text COLLATE "C" NOT NULL,
    "user_agent" text COLLATE "C" NOT NULL,
    "keys" text COLLATE "C",
    PRIMARY KEY ("user_id", "device_id")
);

CREATE TABLE "event_ids" (
    "room_id" text COLLATE "C" NOT NULL,
    "event_id" text COLLATE "C" NOT NULL,
    "seq" bigint NOT NULL,
    "epoch" bigint NOT NULL,
    PRIMARY KEY ("room_id", "event_id")
);

CREATE TABLE "event_times" (
    "room_id" text COLLATE "C" NOT NULL,
    "origin_server_ts" bigint NOT NULL,
    "seq" bigint NOT NULL,
    PRIMARY KEY ("room_id", "origin_server_ts", "seq")
);

CREATE TABLE "events" (
    "room_id" text COLLATE "C" NOT NULL,
    "seq" bigint NOT NULL,
    "event_id" text COLLATE "C" NOT NULL,
    "type" text COLLATE "C" NOT NULL,
    "state_key" text COLLATE "C",
    "sender" text COLLATE "C" NOT NULL,
    "status" bigint NOT NULL,
    "depth" bigint NOT NULL,
    "origin_server_ts" bigint NOT NULL,
    "received_ts" bigint NOT NULL,
    "pos" bigint NOT NULL,
    "state_before" bytea,
    "state_after" bytea,
    "replaces_seq" bigint NOT NULL,
    "redacted_by" text COLLATE "C" NOT NULL,
    "device_id" text COLLATE "C" NOT NULL,
    "txn_id" text COLLATE "C" NOT NULL,
    "json" text COLLATE "C",
    "room_state" bytea,
    "number" bigint NOT NULL,
    PRIMARY KEY ("room_id", "seq")
);

CREATE TABLE "fallback_keys" (
    "user_id" text COLLATE "C" NOT NULL,
    "device_id" text COLLATE "C" NOT NULL,
    "algorithm" text COLLATE "C" NOT NULL,
    "key_id" text COLLATE "C" NOT NULL,
    "json" text COLLATE "C",
    "used" boolean NOT NULL,
    PRIMARY KEY ("user_id", "device_id", "algorithm")
);

CREATE TABLE "filters" (
    "user_id" text COLLATE "C" NOT NULL,
    "filter_id" text COLLATE "C" NOT NULL,
    "json" text COLLATE "C",
    PRIMARY KEY ("user_id", "filter_id")
);

CREATE TABLE "key_backup_sessions" (
    "user_id" text COLLATE "C" NOT NULL,
    "version" bigint NOT NULL,
    "room_id" text COLLATE "C" NOT NULL,
    "session_id" text COLLATE "C" NOT NULL,
    "first_message_index" bigint NOT NULL,
    "forwarded_count" bigint NOT NULL,
    "is_verified" boolean NOT NULL,
    "session_data" text COLLATE "C",
    PRIMARY KEY ("user_id", "version", "room_id", "session_id")
);

CREATE TABLE "key_backups" (
    "user_id" text COLLATE "C" NOT NULL,
    "version" bigint NOT NULL,
    "algorithm" text COLLATE "C" NOT NULL,
    "auth_data" text COLLATE "C",
    "etag" bigint NOT NULL,
    "count" bigint NOT NULL,
    "deleted" boolean NOT NULL,
    PRIMARY KEY ("user_id", "version")
);

CREATE TABLE "key_signatures" (
    "user_id" text COLLATE "C" NOT NULL,
    "key_id" text COLLATE "C" NOT NULL,
    "signer_id" text COLLATE "C" NOT NULL,
    "signer_key_id" text COLLATE "C" NOT NULL,
    "signature" text COLLATE "C" NOT NULL,
    PRIMARY KEY ("user_id", "key_id", "signer_id", "signer_key_id")
);

CREATE TABLE "media" (
    "server" text COLLATE "C" NOT NULL,
    "media_id" text COLLATE "C" NOT NULL,
    "user_id" text COLLATE "C" NOT NULL,
    "origin" text COLLATE "C" NOT NULL,
    "created_ts" bigint NOT NULL,
    "expires_ts" bigint NOT NULL,
    "blob" text COLLATE "C" NOT NULL,
    "sha256" bytea,
    "size" bigint NOT NULL,
    "type" text COLLATE "C" NOT NULL,
    "filename" text COLLATE "C",
    "stored_ts" bigint NOT NULL,
    "public" boolean NOT NULL,
    PRIMARY KEY ("server", "media_id")
);

CREATE TABLE "media_access" (
    "server" text COLLATE "C" NOT NULL,
    "media_id" text COLLATE "C" NOT NULL,
    "ts" bigint NOT NULL,
    PRIMARY KEY ("server", "media_id")
);

CREATE TABLE "media_by_user" (
    "user_id" text COLLATE "C" NOT NULL,
    "pending" boolean NOT NULL,
    "ts" bigint NOT NULL,
    "media_id" text COLLATE "C" NOT NULL,
    PRIMARY KEY ("user_id", "pending", "ts", "media_id")
);

CREATE TABLE "media_usage" (
    "user_id" text COLLATE "C" NOT NULL,
    "files" bigint NOT NULL,
    "bytes" bigint NOT NULL,
    PRIMARY KEY ("user_id")
);

CREATE TABLE "memberships" (
    "user_id" text COLLATE "C" NOT NULL,
    "room_id" text COLLATE "C" NOT NULL,
    "membership" text COLLATE "C" NOT NULL,
    "event_id" text COLLATE "C" NOT NULL,
    "seq" bigint NOT NULL,
    "pos" bigint NOT NULL,
    "sender" text COLLATE "C" NOT NULL,
    "joined_seq" bigint NOT NULL,
    "forgotten" boolean NOT NULL,
    "stripped_state" text COLLATE "C",
    "left_seq" bigint NOT NULL,
    PRIMARY KEY ("user_id", "room_id")
);

CREATE TABLE "one_time_keys" (
    "user_id" text COLLATE "C" NOT NULL,
    "device_id" text COLLATE "C" NOT NULL,
    "algorithm" text COLLATE "C" NOT NULL,
    "pos" bigint NOT NULL,
    "key_id" text COLLATE "C" NOT NULL,
    "json" text COLLATE "C",
    PRIMARY KEY ("user_id", "device_id", "algorithm", "pos", "key_id")
);

CREATE TABLE "pending_redactions" (
    "room_id" text COLLATE "C" NOT NULL,
    "target_id" text COLLATE "C" NOT NULL,
    "redaction_id" text COLLATE "C" NOT NULL,
    "seq" bigint NOT NULL,
    PRIMARY KEY ("room_id", "target_id", "redaction_id")
);

CREATE TABLE "presence" (
    "user_id" text COLLATE "C" NOT NULL,
    "state" text COLLATE "C" NOT NULL,
    "status_msg" text COLLATE "C" NOT NULL,
    "last_active_ts" bigint NOT NULL,
    "pos" bigint NOT NULL,
    PRIMARY KEY ("user_id")
);

CREATE TABLE "previews" (
    "hash" bytea NOT NULL,
    "url" text COLLATE "C" NOT NULL,
    "fetched_ts" bigint NOT NULL,
    "expires_ts" bigint NOT NULL,
    "open_graph" text COLLATE "C",
    "media_id" text COLLATE "C" NOT NULL,
    PRIMARY KEY ("hash")
);

CREATE TABLE "profiles" (
    "user_id" text COLLATE "C" NOT NULL,
    "field" text COLLATE "C" NOT NULL,
    "value" text COLLATE "C",
    PRIMARY KEY ("user_id", "field")
);

CREATE TABLE "public_rooms" (
    "joined_members" bigint NOT NULL,
    "room_id" text COLLATE "C" NOT NULL,
    PRIMARY KEY ("joined_members", "room_id")
);

CREATE TABLE "quarantines" (
    "sha256" bytea NOT NULL,
    "ts" bigint NOT NULL,
    PRIMARY KEY ("sha256")
);

CREATE TABLE "receipts" (
    "room_id" text COLLATE "C" NOT NULL,
    "user_id" text COLLATE "C" NOT NULL,
    "receipt_type" text COLLATE "C" NOT NULL,
    "thread_id" text COLLATE "C" NOT NULL,
    "event_id" text COLLATE "C" NOT NULL,
    "seq" bigint NOT NULL,
    "ts" bigint NOT NULL,
    "pos" bigint NOT NULL,
    PRIMARY KEY ("room_id", "user_id", "receipt_type", "thread_id")
);

CREATE TABLE "refresh_tokens" (
    "hash" bytea NOT NULL,
    "user_id" text COLLATE "C" NOT NULL,
    "device_id" text COLLATE "C" NOT NULL,
    "access_hash" bytea,
    "next_hash" bytea,
    "expires_ts" bigint NOT NULL,
    PRIMARY KEY ("hash")
);

CREATE TABLE "registration_token_uses" (
    "token" text COLLATE "C" NOT NULL,
    "n" bigint NOT NULL,
    "user_id" text COLLATE "C" NOT NULL,
    PRIMARY KEY ("token", "n")
);

CREATE TABLE "registration_tokens" (
    "token" text COLLATE "C" NOT NULL,
    "uses_allowed" bigint NOT NULL,
    "pending" bigint NOT NULL,
    "completed" bigint NOT NULL,
    "expires_ts" bigint NOT NULL,
    "configured" boolean NOT NULL,
    PRIMARY KEY ("token")
);

CREATE TABLE "relations" (
    "room_id" text COLLATE "C" NOT NULL,
    "parent_id" text COLLATE "C" NOT NULL,
    "seq" bigint NOT NULL,
    "event_id" text COLLATE "C" NOT NULL,
    "rel_type" text COLLATE "C" NOT NULL,
    "type" text COLLATE "C" NOT NULL,
    "sender" text COLLATE "C" NOT NULL,
    "key" text COLLATE "C" NOT NULL,
    PRIMARY KEY ("room_id", "parent_id", "seq")
);

CREATE TABLE "reports" (
    "pos" bigint NOT NULL,
    "reporter_id" text COLLATE "C" NOT NULL,
    "ts" bigint NOT NULL,
    "room_id" text COLLATE "C" NOT NULL,
    "event_id" text COLLATE "C" NOT NULL,
    "user_id" text COLLATE "C" NOT NULL,
    "reason" text COLLATE "C" NOT NULL,
    PRIMARY KEY ("pos")
);

CREATE TABLE "room_aliases" (
    "room_id" text COLLATE "C" NOT NULL,
    "alias" text COLLATE "C" NOT NULL,
    PRIMARY KEY ("room_id", "alias")
);

CREATE TABLE "room_transactions" (
    "room_id" text COLLATE "C" NOT NULL,
    "user_id" text COLLATE "C" NOT NULL,
    "device_id" text COLLATE "C" NOT NULL,
    "type" text COLLATE "C" NOT NULL,
    "redacts" text COLLATE "C" NOT NULL,
    "txn_id" text COLLATE "C" NOT NULL,
    "event_id" text COLLATE "C" NOT NULL,
    "ts" bigint NOT NULL,
    PRIMARY KEY ("room_id", "user_id", "device_id", "type", "redacts", "txn_id")
);

CREATE TABLE "rooms" (
    "room_id" text COLLATE "C" NOT NULL,
    "version" text COLLATE "C" NOT NULL,
    "creator" text COLLATE "C" NOT NULL,
    "created_ts" bigint NOT NULL,
    "name" text COLLATE "C" NOT NULL,
    "topic" text COLLATE "C" NOT NULL,
    "avatar_url" text COLLATE "C" NOT NULL,
    "canonical_alias" text COLLATE "C" NOT NULL,
    "join_rule" text COLLATE "C" NOT NULL,
    "guest_access" text COLLATE "C" NOT NULL,
    "history_visibility" text COLLATE "C" NOT NULL,
    "room_type" text COLLATE "C" NOT NULL,
    "encryption" text COLLATE "C" NOT NULL,
    "joined_members" bigint NOT NULL,
    "invited_members" bigint NOT NULL,
    "upgraded_to" text COLLATE "C" NOT NULL,
    "published" boolean NOT NULL,
    PRIMARY KEY ("room_id")
);

CREATE TABLE "search_tasks" (
    "pos" bigint NOT NULL,
    "room_id" text COLLATE "C" NOT NULL,
    "seq" bigint NOT NULL,
    PRIMARY KEY ("pos", "room_id", "seq")
);

CREATE TABLE "settings" (
    "name" text COLLATE "C" NOT NULL,
    "value" text COLLATE "C" NOT NULL,
    PRIMARY KEY ("name")
);

CREATE TABLE "short_tokens" (
    "kind" text COLLATE "C" NOT NULL,
    "hash" bytea NOT NULL,
    "user_id" text COLLATE "C" NOT NULL,
    "expires_ts" bigint NOT NULL,
    PRIMARY KEY ("kind", "hash")
);

CREATE TABLE "state_nodes" (
    "room_id" text COLLATE "C" NOT NULL,
    "hash" bytea NOT NULL,
    "node" bytea,
    PRIMARY KEY ("room_id", "hash")
);

CREATE TABLE "stored_chunks" (
    "name" text COLLATE "C" NOT NULL,
    "number" bigint NOT NULL,
    "data" bytea,
    PRIMARY KEY ("name", "number")
);

CREATE TABLE "stored_objects" (
    "name" text COLLATE "C" NOT NULL,
    "size" bigint NOT NULL,
    "stored_ts" bigint NOT NULL,
    PRIMARY KEY ("name")
);

CREATE TABLE "thread_replies" (
    "room_id" text COLLATE "C" NOT NULL,
    "seq" bigint NOT NULL,
    "root_id" text COLLATE "C" NOT NULL,
    PRIMARY KEY ("room_id", "seq")
);

CREATE TABLE "to_device" (
    "user_id" text COLLATE "C" NOT NULL,
    "device_id" text COLLATE "C" NOT NULL,
    "pos" bigint NOT NULL,
    "n" bigint NOT NULL,
    "sender" text COLLATE "C" NOT NULL,
    "type" text COLLATE "C" NOT NULL,
    "content" text COLLATE "C",
    PRIMARY KEY ("user_id", "device_id", "pos", "n")
);

CREATE TABLE "transactions" (
    "user_id" text COLLATE "C" NOT NULL,
    "device_id" text COLLATE "C" NOT NULL,
    "scope" text COLLATE "C" NOT NULL,
    "txn_id" text COLLATE "C" NOT NULL,
    "answer" text COLLATE "C",
    "ts" bigint NOT NULL,
    PRIMARY KEY ("user_id", "device_id", "scope", "txn_id")
);

CREATE TABLE "unread_counts" (
    "user_id" text COLLATE "C" NOT NULL,
    "room_id" text COLLATE "C" NOT NULL,
    "thread_id" text COLLATE "C" NOT NULL,
    "notify" bigint NOT NULL,
    "highlight" bigint NOT NULL,
    "upto_seq" bigint NOT NULL,
    PRIMARY KEY ("user_id", "room_id", "thread_id")
);

CREATE TABLE "user_terms" (
    "term" text COLLATE "C" NOT NULL,
    "user_id" text COLLATE "C" NOT NULL,
    PRIMARY KEY ("term", "user_id")
);
