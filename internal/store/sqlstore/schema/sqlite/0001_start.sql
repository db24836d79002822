-- Conventions: times are Unix milliseconds; positions in a log and epochs are
-- 64-bit integers; everything signed, hashed or opaque is bytes. Hot tables
-- name a room by rooms.id, never by its URI.

-- +goose Up

-- rooms holds what every append rewrites, so its rows stay small; the large
-- encoding of room.State, rewritten by handshakes only, lives in room_states.
CREATE TABLE rooms (
    id             INTEGER PRIMARY KEY,
    uri            TEXT    NOT NULL UNIQUE,
    hub            TEXT    NOT NULL,
    head_seq       INTEGER NOT NULL,
    head_hash      BLOB    NOT NULL,
    start_seq      INTEGER NOT NULL,
    start_hash     BLOB    NOT NULL,
    indexed        INTEGER NOT NULL, -- entries up to here are in messages
    last_timestamp INTEGER NOT NULL,
    epoch          INTEGER NOT NULL,
    frozen         TEXT    NOT NULL,
    former         TEXT    NOT NULL  -- the name it had before it was set aside; '' = it was not
) STRICT;

CREATE TABLE room_states (
    room  INTEGER PRIMARY KEY REFERENCES rooms (id),
    state BLOB
) STRICT;

-- entries is the append path: nothing may be added here without a new
-- measurement in docs/benchmarks.md. No two entries of a room have the same
-- message_hash; messages finds them by its first octets and lags behind
-- (messages.go), because each index of hashes costs a page per entry.
--
-- The key is the room's number and 40 bits of Seq (entries.go): new rows go
-- behind the others of their room, and a row of a few thousand octets needs no
-- page of its own, as it would in a table without rowid.
CREATE TABLE entries (
    id           INTEGER PRIMARY KEY,
    room         INTEGER NOT NULL GENERATED ALWAYS AS (id >> 40) VIRTUAL,
    seq          INTEGER NOT NULL GENERATED ALWAYS AS (id & 1099511627775) VIRTUAL,
    timestamp    INTEGER NOT NULL,
    kind         INTEGER NOT NULL,
    hash         BLOB    NOT NULL,
    message_hash BLOB    NOT NULL,
    body         BLOB    NOT NULL
) STRICT;

CREATE TABLE messages (
    room   INTEGER NOT NULL,
    prefix BLOB    NOT NULL, -- first 8 octets of message_hash
    seq    INTEGER NOT NULL,
    PRIMARY KEY (room, prefix, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE changes (
    room      INTEGER NOT NULL REFERENCES rooms (id),
    seq       INTEGER NOT NULL,
    place     INTEGER NOT NULL, -- order among the changes of one entry
    timestamp INTEGER NOT NULL,
    actor     TEXT    NOT NULL,
    action    TEXT    NOT NULL,
    user_uri  TEXT    NOT NULL,
    client    TEXT    NOT NULL,
    role      INTEGER NOT NULL,
    PRIMARY KEY (room, seq, place)
) STRICT, WITHOUT ROWID;

-- participants keeps users who are no longer in the list, with place -1.
CREATE TABLE participants (
    room     INTEGER NOT NULL REFERENCES rooms (id),
    user_uri TEXT    NOT NULL,
    role     INTEGER NOT NULL,
    place    INTEGER NOT NULL, -- ascending in list order, with gaps
    PRIMARY KEY (room, user_uri)
) STRICT, WITHOUT ROWID;
CREATE INDEX participants_user ON participants (user_uri, room);

CREATE TABLE memberships (
    id        INTEGER PRIMARY KEY,
    room      INTEGER NOT NULL REFERENCES rooms (id),
    client    TEXT    NOT NULL,
    user_uri  TEXT    NOT NULL,
    after_seq INTEGER NOT NULL,
    until_seq INTEGER NOT NULL, -- 0: still a member
    acked     INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX memberships_open ON memberships (room, client) WHERE until_seq = 0;
CREATE INDEX memberships_client ON memberships (client, room);
CREATE INDEX memberships_room ON memberships (room);

CREATE TABLE fanouts (
    room      INTEGER NOT NULL REFERENCES rooms (id),
    peer      TEXT    NOT NULL,
    acked     INTEGER NOT NULL,
    sent      INTEGER NOT NULL,
    until_seq INTEGER NOT NULL, -- 0: no end
    parked    TEXT    NOT NULL,
    PRIMARY KEY (room, peer)
) STRICT, WITHOUT ROWID;

CREATE TABLE out_welcomes (
    room     INTEGER NOT NULL REFERENCES rooms (id),
    peer     TEXT    NOT NULL,
    seq      INTEGER NOT NULL,
    body     BLOB    NOT NULL,
    snapshot BLOB,
    PRIMARY KEY (room, peer, seq)
) STRICT;

CREATE TABLE in_welcomes (
    id     INTEGER PRIMARY KEY,
    client TEXT    NOT NULL,
    room   INTEGER NOT NULL REFERENCES rooms (id),
    seq    INTEGER NOT NULL,
    body   BLOB    NOT NULL,
    UNIQUE (client, room, seq)
) STRICT;

-- submissions names rooms by URI: a write may be queued for a room of which
-- there is no replica here. id and rev come from counters.
CREATE TABLE submissions (
    id           INTEGER PRIMARY KEY,
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
    body         BLOB    NOT NULL, -- last: what is long is in nobody's way
    UNIQUE (client, txn)
) STRICT;

CREATE TABLE users (
    uri        TEXT    NOT NULL PRIMARY KEY,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE enrolments (
    code_hash BLOB    NOT NULL PRIMARY KEY,
    user_uri  TEXT    NOT NULL REFERENCES users (uri),
    until_ms  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE clients (
    uri           TEXT    NOT NULL PRIMARY KEY,
    user_uri      TEXT    NOT NULL REFERENCES users (uri),
    token_hash    BLOB    NOT NULL UNIQUE,
    signature_key BLOB    NOT NULL,
    certificates  BLOB    NOT NULL, -- each DER behind its length as a uvarint
    created_at    INTEGER NOT NULL
) STRICT;
CREATE INDEX clients_user ON clients (user_uri);

-- key_packages keeps claimed packages without their body: the reference still
-- says whose it was, and can never be stored or claimed again.
CREATE TABLE key_packages (
    id         INTEGER PRIMARY KEY,
    ref        BLOB    NOT NULL UNIQUE,
    client     TEXT    NOT NULL,
    user_uri   TEXT    NOT NULL,
    suite      INTEGER NOT NULL,
    not_before INTEGER NOT NULL,
    not_after  INTEGER NOT NULL,
    body       BLOB    NOT NULL,
    claimed_at INTEGER NOT NULL, -- 0: in stock
    claimed_by TEXT    NOT NULL
) STRICT;
CREATE INDEX key_packages_stock ON key_packages (client, id) WHERE claimed_at = 0;

CREATE TABLE routes (
    ref       BLOB    NOT NULL PRIMARY KEY,
    provider  TEXT    NOT NULL,
    not_after INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE meta (
    name  TEXT NOT NULL PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE audit (
    id     INTEGER PRIMARY KEY,
    at     INTEGER NOT NULL,
    actor  TEXT    NOT NULL,
    action TEXT    NOT NULL,
    detail TEXT    NOT NULL
) STRICT;

-- counters holds the first number that may not have been handed out yet.
CREATE TABLE counters (
    name  TEXT    NOT NULL PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO counters (name, value) VALUES ('submission', 1);
