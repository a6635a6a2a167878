-- +goose Up
CREATE TABLE "profile_changes" (
    "user_id" text COLLATE "C" NOT NULL,
    "field" text COLLATE "C" NOT NULL,
    "pos" bigint NOT NULL,
    PRIMARY KEY ("user_id", "field")
);

CREATE TABLE "profile_log" (
    "pos" bigint NOT NULL,
    "user_id" text COLLATE "C" NOT NULL,
    "field" text COLLATE "C" NOT NULL,
    PRIMARY KEY ("pos", "user_id", "field")
);
