package client

import (
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	_ "modernc.org/sqlite" // the driver
)

// schema of a device's database. Every column named state, grp, secret or
// content holds secrets or plaintext.
const schema = `
CREATE TABLE IF NOT EXISTS device (
	key   TEXT PRIMARY KEY,
	value BLOB NOT NULL
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS room (
	uri        TEXT PRIMARY KEY,
	phase      INTEGER NOT NULL,           -- see phase in room.go
	grp        BLOB,                       -- mls.Group of the newest epoch, NULL if not a member
	seq        INTEGER NOT NULL,           -- log processed up to here
	hash       BLOB,                       -- chain hash there, NULL if not known yet
	want_epoch INTEGER NOT NULL DEFAULT 0, -- the hub takes messages from this epoch on
	leaving    INTEGER NOT NULL DEFAULT 0,
	announced  INTEGER NOT NULL DEFAULT 0, -- the user was told of the room
	missed     INTEGER NOT NULL DEFAULT 0,
	suspicious TEXT    NOT NULL DEFAULT '',
	read_to    INTEGER NOT NULL DEFAULT 0  -- the user has read up to this Seq
);

CREATE TABLE IF NOT EXISTS pending (       -- our commits that are on their way
	room  TEXT PRIMARY KEY,
	txn   TEXT NOT NULL,
	state BLOB NOT NULL                    -- mls.PendingCommit
);

CREATE TABLE IF NOT EXISTS message (
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
	kind    INTEGER NOT NULL DEFAULT 0,    -- see kind in record.go
	root    BLOB,                          -- id of the message it is about, NULL for messages by themselves
	topic   BLOB,
	flags   INTEGER NOT NULL DEFAULT 0,    -- see record.go
	rights  INTEGER NOT NULL DEFAULT 0,    -- content.Rights of the sender
	expires INTEGER,                       -- Unix ms; negative: so many ms after it is read; NULL: never
	gone    INTEGER NOT NULL DEFAULT 0,    -- why text and content are not there, see record.go
	why     TEXT    NOT NULL DEFAULT '',   -- who or what did that
	UNIQUE (id)                            -- which depends on the room
);
CREATE INDEX IF NOT EXISTS message_seq ON message (room, seq);
CREATE INDEX IF NOT EXISTS message_hash ON message (hash) WHERE hash IS NOT NULL AND seq = 0;
CREATE INDEX IF NOT EXISTS message_plain ON message (room, ord) WHERE hash IS NULL AND mine = 1 AND state = 'sending';
-- Who asks for a root writes +room, or all of the room is gone through in its order.
CREATE INDEX IF NOT EXISTS message_root ON message (root) WHERE root IS NOT NULL;
CREATE INDEX IF NOT EXISTS message_topic ON message (room, topic) WHERE topic IS NOT NULL;
CREATE INDEX IF NOT EXISTS message_expires ON message (expires) WHERE expires > 0;

CREATE TABLE IF NOT EXISTS receipt (       -- what others say became of messages
	message BLOB    NOT NULL,
	user    TEXT    NOT NULL,
	status  INTEGER NOT NULL,              -- content.Status
	ts      INTEGER NOT NULL,              -- Unix ms
	PRIMARY KEY (message, user)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS frank (         -- hubs' proofs of messages of others
	message BLOB PRIMARY KEY,
	frank   BLOB NOT NULL,                 -- mimi.Frank
	frame   BLOB NOT NULL                  -- what stood before the content
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS outbox (        -- what the provider has not settled yet
	n       INTEGER PRIMARY KEY,
	txn     TEXT    NOT NULL,
	room    TEXT    NOT NULL,
	kind    INTEGER NOT NULL,              -- clientpb.SubmissionKind
	body    BLOB    NOT NULL,
	message BLOB,                          -- id of the message it carries
	epoch   INTEGER NOT NULL,              -- epoch it was made in
	sent    INTEGER NOT NULL DEFAULT 0     -- the provider has it
);

CREATE TABLE IF NOT EXISTS key_package (
	ref       BLOB PRIMARY KEY,
	secret    BLOB    NOT NULL,            -- mls.KeyPackageSecret
	not_after INTEGER NOT NULL             -- Unix seconds
) WITHOUT ROWID;
`

const schemaVersion = 4

// setAside gets version 1 out of the way of the schema. It had more indexes, whose
// upkeep was paid for with every message.
const setAside = `
DROP INDEX message_seq;
DROP INDEX message_hash;
DROP INDEX message_plain;
ALTER TABLE message RENAME TO message1;
ALTER TABLE outbox RENAME TO outbox1;
`

// takeOver fills the tables that were made anew.
const takeOver = `
INSERT INTO message (ord, room, id, sender, device, text, content, seq, ts, state, reason, mine, hash, tries)
	SELECT ord, room, id, sender, device, text, content, seq, ts, state, reason, mine, hash, tries FROM message1;
INSERT INTO outbox (n, txn, room, kind, body, message, epoch, sent)
	SELECT n, txn, room, kind, body, message, epoch, sent FROM outbox1;
DROP TABLE message1;
DROP TABLE outbox1;
`

// widen makes the tables of version 2 those of the schema, which then adds what is new.
const widen = `
ALTER TABLE message ADD COLUMN kind    INTEGER NOT NULL DEFAULT 0;
ALTER TABLE message ADD COLUMN root    BLOB;
ALTER TABLE message ADD COLUMN topic   BLOB;
ALTER TABLE message ADD COLUMN flags   INTEGER NOT NULL DEFAULT 0;
ALTER TABLE message ADD COLUMN rights  INTEGER NOT NULL DEFAULT 0;
ALTER TABLE message ADD COLUMN expires INTEGER;
ALTER TABLE message ADD COLUMN gone    INTEGER NOT NULL DEFAULT 0;
ALTER TABLE message ADD COLUMN why     TEXT    NOT NULL DEFAULT '';
` + widenRoom

// widenRoom is what versions 1 and 2 both need.
const widenRoom = `ALTER TABLE room ADD COLUMN read_to INTEGER NOT NULL DEFAULT 0;`

// openDB opens or makes a device's database. One connection: all access is
// serialised by Client.mu anyway.
func openDB(dir string) (*sql.DB, error) {
	path, err := filepath.Abs(filepath.Join(dir, "device.db"))
	if err != nil {
		return nil, fmt.Errorf("opening device: %w", err)
	}
	// Only we may read it; SQLite gives the files beside it the same mode.
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening device: %w", err)
	}
	f.Close()
	dsn := &url.URL{Scheme: "file", OmitHost: true, Path: filepath.ToSlash(path), RawQuery: url.Values{
		"_pragma": {"journal_mode(WAL)", "synchronous(FULL)", "fullfsync(1)", "foreign_keys(1)",
			"secure_delete(1)", "temp_store(MEMORY)", "trusted_schema(0)"},
		"_txlock": {"immediate"},
	}.Encode()}
	db, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		return nil, fmt.Errorf("opening device: %w", err)
	}
	db.SetMaxOpenConns(1)
	if err := migrate(db); err != nil {
		db.Close()
		return nil, fmt.Errorf("opening device: %w", err)
	}
	return db, nil
}

// errNewer: a newer program wrote the database.
var errNewer = errors.New("a newer version of this program made it")

func migrate(db *sql.DB) error {
	tx, err := db.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback()
	var version int
	if err := tx.QueryRow("PRAGMA user_version").Scan(&version); err != nil {
		return err
	}
	if version > schemaVersion {
		return errNewer
	}
	if version == schemaVersion {
		return nil
	}
	scripts := []string{schema}
	switch version {
	case 1:
		scripts = []string{setAside, widenRoom, schema, takeOver}
	case 2:
		scripts = []string{widen, schema}
	}
	for _, s := range scripts {
		if _, err := tx.Exec(s); err != nil {
			return err
		}
	}
	if _, err := tx.Exec(fmt.Sprintf("PRAGMA user_version = %d", schemaVersion)); err != nil {
		return err
	}
	return tx.Commit()
}

// device is what a device knows about itself, as stored at enrolment.
type device struct {
	Server     string   `json:"server"`
	ServerName string   `json:"server_name,omitempty"`
	CA         []byte   `json:"ca,omitempty"`
	User       string   `json:"user"`
	Client     string   `json:"client"`
	Domain     string   `json:"domain"`
	Token      string   `json:"token"`
	Key        []byte   `json:"key"` // mls.SignatureKey
	Chain      [][]byte `json:"chain"`
	Roots      [][]byte `json:"roots"`
	HubSender  []byte   `json:"hub_sender"`
}

// Keys of table device.
const (
	keyEnrolling = "enrolling" // an enrolment whose answer is still missing
	keyDevice    = "device"
	keyName      = "name/"  // and a room: its name when this device left the group
	keySynced    = "synced" // when the device last was in step with its provider, Unix ms
)

type querier interface {
	QueryRow(query string, args ...any) *sql.Row
	Exec(query string, args ...any) (sql.Result, error)
}

func getKey(q querier, key string) ([]byte, error) {
	var v []byte
	err := q.QueryRow("SELECT value FROM device WHERE key = ?", key).Scan(&v)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return v, err
}

func putKey(q querier, key string, value []byte) error {
	_, err := q.Exec("INSERT INTO device (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value", key, value)
	return err
}
