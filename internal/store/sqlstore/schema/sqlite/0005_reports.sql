-- +goose Up

-- reports are what hubs are told of abuse in their rooms, in the order in which it came.
-- The body holds what the reporter made known, in plain text if messages are among it.
CREATE TABLE reports (
    id         INTEGER NOT NULL PRIMARY KEY,
    hash       BLOB    NOT NULL UNIQUE,
    room       TEXT    NOT NULL,
    peer       TEXT    NOT NULL,
    at         INTEGER NOT NULL,
    body       BLOB    NOT NULL,
    verdicts   BLOB    NOT NULL, -- one text for each message, empty if it is proved
    resolved   INTEGER NOT NULL, -- 0: open
    resolution TEXT    NOT NULL
) STRICT;
CREATE INDEX reports_open ON reports (id) WHERE resolved = 0;
