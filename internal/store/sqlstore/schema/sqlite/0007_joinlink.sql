-- +goose Up

-- join_links is what we remember, as the hub, of the join links of our rooms. The links
-- themselves are in the rooms' groups; link is the SHA-256 of one.
CREATE TABLE join_links (
    room    TEXT    NOT NULL,
    link    BLOB    NOT NULL,
    created INTEGER NOT NULL,
    by_user TEXT    NOT NULL, -- who showed its code first; empty: nobody
    joined  INTEGER NOT NULL, -- 1: somebody has joined by it
    PRIMARY KEY (room, link)
) STRICT, WITHOUT ROWID;

-- join_claims says which code a user has last shown to be given what joining takes.
CREATE TABLE join_claims (
    room     TEXT NOT NULL,
    user_uri TEXT NOT NULL,
    link     BLOB NOT NULL,
    PRIMARY KEY (room, user_uri)
) STRICT, WITHOUT ROWID;
