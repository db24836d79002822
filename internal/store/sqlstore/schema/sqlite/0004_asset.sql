-- +goose Up

-- assets are files of users, kept beside the database. received is how much of a file is
-- durable; a complete one has its final name.
CREATE TABLE assets (
    id         TEXT    NOT NULL PRIMARY KEY,
    owner      TEXT    NOT NULL REFERENCES users (uri),
    size       INTEGER NOT NULL,
    received   INTEGER NOT NULL,
    complete   INTEGER NOT NULL, -- 0 or 1
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX assets_by_owner ON assets (owner);
CREATE INDEX assets_unfinished ON assets (created_at) WHERE complete = 0;
