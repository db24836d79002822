-- +goose Up

-- The index of messages in runs (runs.go). It is made anew from the log when the
-- database is opened.
DROP TABLE messages;
UPDATE rooms SET indexed = start_seq;

-- message_runs: one for the entries (after_seq, until_seq] of a room. The filter is a
-- Bloom filter over the first octets of their message hashes.
CREATE TABLE message_runs (
    id        INTEGER PRIMARY KEY,
    room      INTEGER NOT NULL REFERENCES rooms (id),
    after_seq INTEGER NOT NULL,
    until_seq INTEGER NOT NULL,
    filter    BLOB    NOT NULL
) STRICT;
CREATE INDEX message_runs_room ON message_runs (room, after_seq);

-- message_parts: the marks of a run, by the front bits of the hashes: 8 octets of the
-- message hash and 4 of the distance of its entry from after_seq, sorted.
CREATE TABLE message_parts (
    id   INTEGER PRIMARY KEY, -- run << 16 | part
    body BLOB    NOT NULL
) STRICT;
