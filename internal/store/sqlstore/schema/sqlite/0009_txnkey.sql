-- +goose Up

-- Submissions are found by a number made of client and txn (submissions.go): an index
-- of the two themselves was a page to write for each row that came or went.
-- txn_key is NULL until the database is opened.
CREATE TABLE fresh (
    id           INTEGER PRIMARY KEY,
    txn_key      INTEGER,
    client       TEXT    NOT NULL,
    txn          TEXT    NOT NULL,
    room         TEXT    NOT NULL,
    hub          TEXT    NOT NULL,
    kind         INTEGER NOT NULL,
    message_hash BLOB    NOT NULL,
    state        INTEGER NOT NULL,
    enqueued_at  INTEGER NOT NULL,
    accepted     INTEGER NOT NULL,
    seq          INTEGER NOT NULL,
    reason       TEXT    NOT NULL,
    detail       TEXT    NOT NULL,
    epoch        INTEGER NOT NULL,
    attempts     INTEGER NOT NULL,
    last_error   TEXT    NOT NULL,
    rev          INTEGER NOT NULL,
    body         BLOB    NOT NULL -- last: what is long is in nobody's way
) STRICT;
INSERT INTO fresh (id, client, txn, room, hub, kind, message_hash, state, enqueued_at, accepted, seq, reason, detail, epoch,
        attempts, last_error, rev, body)
    SELECT id, client, txn, room, hub, kind, message_hash, state, enqueued_at, accepted, seq, reason, detail, epoch,
        attempts, last_error, rev, body FROM submissions ORDER BY id;
DROP TABLE submissions;
ALTER TABLE fresh RENAME TO submissions;
CREATE INDEX submissions_key ON submissions (txn_key);
