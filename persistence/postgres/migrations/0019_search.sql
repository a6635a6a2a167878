-- +goose Up
-- The newest texts are looked at first: a word that is in very many of them is not looked up in all.
CREATE INDEX search_texts_ts ON search_texts (ts, room_id, seq);
