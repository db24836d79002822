-- +goose Up

-- welcomes are the octets of Welcomes that wait for clients. One is for many clients
-- at once and holds the whole tree of its group.
CREATE TABLE welcomes (
    id   INTEGER PRIMARY KEY,
    room INTEGER NOT NULL REFERENCES rooms (id),
    seq  INTEGER NOT NULL,
    body BLOB    NOT NULL
) STRICT;
CREATE INDEX welcomes_seq ON welcomes (room, seq);
INSERT INTO welcomes (room, seq, body) SELECT DISTINCT room, seq, body FROM in_welcomes;

CREATE TABLE fresh (
    id      INTEGER PRIMARY KEY,
    client  TEXT    NOT NULL,
    room    INTEGER NOT NULL REFERENCES rooms (id),
    seq     INTEGER NOT NULL,
    welcome INTEGER NOT NULL REFERENCES welcomes (id),
    UNIQUE (client, room, seq)
) STRICT;
INSERT INTO fresh SELECT w.id, w.client, w.room, w.seq, b.id FROM in_welcomes w
    JOIN welcomes b ON b.room = w.room AND b.seq = w.seq AND b.body = w.body ORDER BY w.id;
DROP TABLE in_welcomes;
ALTER TABLE fresh RENAME TO in_welcomes;
CREATE INDEX in_welcomes_welcome ON in_welcomes (welcome);
