-- +goose Up

-- unjudged are rooms of other hubs whose log is kept in order of arrival without being
-- judged: the hub offers no snapshot and no client has brought one yet.
CREATE TABLE unjudged (
    room  TEXT    NOT NULL PRIMARY KEY,
    since INTEGER NOT NULL -- entries with a higher seq have not been judged
) STRICT, WITHOUT ROWID;

-- early_welcomes came for such rooms; the trees that travel with them are needed to
-- begin judging.
CREATE TABLE early_welcomes (
    id   INTEGER PRIMARY KEY,
    room TEXT    NOT NULL,
    hash BLOB    NOT NULL, -- SHA-256 of body
    seq  INTEGER NOT NULL,
    body BLOB    NOT NULL,
    UNIQUE (room, hash)
) STRICT;

-- brought is what a client knows of a room that it is about to join: one row each.
CREATE TABLE brought (
    client TEXT NOT NULL PRIMARY KEY,
    room   TEXT NOT NULL,
    body   BLOB NOT NULL
) STRICT;
