-- +goose Up
CREATE TABLE "blocked_rooms" (
    "room_id" text COLLATE "C" NOT NULL,
    "by_id" text COLLATE "C" NOT NULL,
    "ts" bigint NOT NULL,
    PRIMARY KEY ("room_id")
);
