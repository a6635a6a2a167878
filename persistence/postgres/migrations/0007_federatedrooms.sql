-- +goose Up

CREATE TABLE "room_gaps" (
    "room_id" text COLLATE "C" NOT NULL,
    "seq" bigint NOT NULL,
    "next" bigint NOT NULL,
    "floor" bigint NOT NULL,
    "wanted" text COLLATE "C",
    PRIMARY KEY ("room_id", "seq")
);

CREATE TABLE "room_servers" (
    "room_id" text COLLATE "C" NOT NULL,
    "server" text COLLATE "C" NOT NULL,
    "joined" bigint NOT NULL,
    "joined_seq" bigint NOT NULL,
    "left_seq" bigint NOT NULL,
    PRIMARY KEY ("room_id", "server")
);

CREATE TABLE "outbound_events" (
    "pos" bigint NOT NULL,
    "room_id" text COLLATE "C" NOT NULL,
    "seq" bigint NOT NULL,
    PRIMARY KEY ("pos", "room_id", "seq")
);

CREATE TABLE "auth_edges" (
    "room_id" text COLLATE "C" NOT NULL,
    "number" bigint NOT NULL,
    "cites" bytea,
    PRIMARY KEY ("room_id", "number")
);

CREATE TABLE "room_positions" (
    "room_id" text COLLATE "C" NOT NULL,
    "pos" bigint NOT NULL,
    "seq" bigint NOT NULL,
    PRIMARY KEY ("room_id", "pos")
);

CREATE TABLE "event_rooms" (
    "event_id" text COLLATE "C" NOT NULL,
    "room_id" text COLLATE "C" NOT NULL,
    PRIMARY KEY ("event_id", "room_id")
);
