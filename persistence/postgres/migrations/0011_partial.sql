-- +goose Up

CREATE TABLE "partial_rooms" (
    "room_id" text COLLATE "C" NOT NULL,
    "seq" bigint NOT NULL,
    "pos" bigint NOT NULL,
    "whole" boolean NOT NULL,
    "points" text COLLATE "C",
    "servers" text COLLATE "C",
    "origin" text COLLATE "C" NOT NULL,
    PRIMARY KEY ("room_id")
);
