CREATE TABLE device (
	key   TEXT PRIMARY KEY,
	value BLOB NOT NULL
) WITHOUT ROWID;

CREATE TABLE room (
	uri        TEXT PRIMARY KEY,
	phase      INTEGER NOT NULL,           -- see phase in room.go
	grp        BLOB,                       -- mls.Group of the newest epoch, NULL if not a member
	seq        INTEGER NOT NULL,           -- log processed up to here
	hash       BLOB,                       -- chain hash there, NULL if not known yet
	want_epoch INTEGER NOT NULL DEFAULT 0, -- the hub takes messages from this epoch on
	leaving    INTEGER NOT NULL DEFAULT 0,
	announced  INTEGER NOT NULL DEFAULT 0, -- the user was told of the room
	missed     INTEGER NOT NULL DEFAULT 0,
	suspicious TEXT    NOT NULL DEFAULT ''
);

CREATE TABLE pending (       -- our commits that are on their way
	room  TEXT PRIMARY KEY,
	txn   TEXT NOT NULL,
	state BLOB NOT NULL                    -- mls.PendingCommit
);

CREATE TABLE message (
	ord     INTEGER PRIMARY KEY,
	room    TEXT    NOT NULL,
	id      BLOB    NOT NULL,
	sender  TEXT    NOT NULL,
	device  TEXT    NOT NULL,
	text    TEXT    NOT NULL,
	content BLOB    NOT NULL,              -- the encoded MIMI content
	seq     INTEGER NOT NULL DEFAULT 0,
	ts      INTEGER NOT NULL,              -- Unix ms
	state   TEXT    NOT NULL,
	reason  TEXT    NOT NULL DEFAULT '',
	mine    INTEGER NOT NULL,              -- written on this device
	hash    BLOB,                          -- SHA-256 of its MLSMessage, NULL until encrypted
	tries   INTEGER NOT NULL DEFAULT 0,    -- times it was encrypted
	UNIQUE (id)                            -- which depends on the room
);
CREATE INDEX message_seq ON message (room, seq);
CREATE INDEX message_hash ON message (hash) WHERE hash IS NOT NULL AND seq = 0;
CREATE INDEX message_plain ON message (room, ord) WHERE hash IS NULL AND mine = 1 AND state = 'sending';

CREATE TABLE outbox (        -- what the provider has not settled yet
	n       INTEGER PRIMARY KEY,
	txn     TEXT    NOT NULL,
	room    TEXT    NOT NULL,
	kind    INTEGER NOT NULL,              -- clientpb.SubmissionKind
	body    BLOB    NOT NULL,
	message BLOB,                          -- id of the message it carries
	epoch   INTEGER NOT NULL,              -- epoch it was made in
	sent    INTEGER NOT NULL DEFAULT 0     -- the provider has it
);

CREATE TABLE key_package (
	ref       BLOB PRIMARY KEY,
	secret    BLOB    NOT NULL,            -- mls.KeyPackageSecret
	not_after INTEGER NOT NULL             -- Unix seconds
) WITHOUT ROWID;

INSERT INTO room (uri, phase, seq) VALUES ('mimi://a.localhost/r/old', 3, 9);
INSERT INTO message (ord, room, id, sender, device, text, content, seq, ts, state, mine, hash, tries) VALUES
	(3, 'mimi://a.localhost/r/old', x'aa', 'mimi://a.localhost/u/bob', 'mimi://a.localhost/d/bob/phone', 'posted', x'00', 7, 1000, 'posted', 0, NULL, 0),
	(4, 'mimi://a.localhost/r/old', x'bb', 'mimi://a.localhost/u/alice', 'mimi://a.localhost/d/alice/phone', 'on its way', x'00', 0, 2000, 'queued', 1, x'dd', 1);
INSERT INTO outbox (n, txn, room, kind, body, message, epoch, sent) VALUES
	(5, 'txn5', 'mimi://a.localhost/r/old', 1, x'00', x'bb', 2, 1);
PRAGMA user_version = 2;
