package fsck_test

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"hubbub/internal/fsck"
	"hubbub/internal/hub"
	"hubbub/internal/record"
	"hubbub/internal/room"
	"hubbub/internal/room/roomtest"
	"hubbub/internal/store"
	"hubbub/internal/store/sqlstore"
	"hubbub/mimi"
	"hubbub/mimi/checkpoint"
	"hubbub/mls"
)

const chat mimi.RoomURI = "mimi://a.localhost/r/chat"

// bench is a hub's data directory with a room that has been through everything.
type bench struct {
	*testing.T
	dir   string
	store store.Store
	hub   *hub.Hub
	key   *mls.SignatureKey
	read  map[*roomtest.Client]uint64
}

func (x *bench) must(err error) {
	if err != nil {
		x.Helper()
		x.Fatal(err)
	}
}

func newBench(t *testing.T) *bench {
	x := &bench{T: t, dir: filepath.Join(t.TempDir(), "data"), read: map[*roomtest.Client]uint64{}}
	st, err := sqlstore.Open(x.dir)
	x.must(err)
	x.store = st
	world := &roomtest.World{T: t, Now: time.Now}
	x.key = world.NewKey()
	x.hub = hub.New(hub.Config{Domain: "a.localhost", Store: st, Env: roomtest.Env(), SignatureKey: x.key})
	alice, bob, cathy := world.Client("alice@a.localhost", "phone"), world.Client("bob@b.localhost", "phone"), world.Client("cathy@c.localhost", "phone")
	laptop := world.Client("alice@a.localhost", "laptop")

	in := alice.Create(chat, x.key)
	x.must(x.hub.Create(t.Context(), alice.URI, hub.CreateRequest{Room: chat, GroupInfo: in.GroupInfo, Tree: in.Tree}))
	x.update(alice, alice.Add(bob.KeyPackage(), cathy.KeyPackage()))
	x.welcome("b.localhost", bob, cathy)
	x.submit(bob, "one")
	x.follow(alice, bob, cathy)
	x.update(alice, alice.Add(laptop.KeyPackage()))
	x.follow(bob, cathy)
	x.update(cathy, cathy.Leave())
	x.follow(alice, bob)
	x.update(bob, bob.Commit())
	x.follow(alice)
	x.submit(alice, "two")
	x.update(alice, alice.Commit(alice.Removal(bob.User)...))
	x.submit(alice, "three")
	x.sign()
	x.must(st.Close())
	return x
}

func (x *bench) update(c *roomtest.Client, body []byte) {
	x.Helper()
	b, err := x.hub.Update(x.Context(), c.User.Domain(), chat, body)
	x.must(err)
	a, err := mimi.ParseUpdateRoomResponse(b)
	x.must(err)
	if a.Code != mimi.UpdateSuccess {
		x.Fatalf("update refused: %+v", a)
	}
	x.follow(c)
}

func (x *bench) submit(c *roomtest.Client, text string) {
	x.Helper()
	b, err := x.hub.Submit(x.Context(), c.User.Domain(), chat, c.Post(text))
	x.must(err)
	a, err := mimi.ParseSubmitMessageResponse(b)
	x.must(err)
	if a.Code != mimi.SubmitAccepted {
		x.Fatalf("message refused: %+v", a)
	}
}

func (x *bench) welcome(peer mimi.Domain, clients ...*roomtest.Client) {
	x.Helper()
	x.must(x.store.View(x.Context(), func(tx store.ReadTx) error {
		list, err := tx.OutWelcomes(chat, peer, 0)
		for _, c := range clients {
			c.Join(list[0].Body)
			x.read[c] = list[0].Seq
		}
		return err
	}))
}

func (x *bench) follow(clients ...*roomtest.Client) {
	x.Helper()
	x.must(x.store.View(x.Context(), func(tx store.ReadTx) error {
		for _, c := range clients {
			list, err := tx.Entries(chat, x.read[c], 1000, 1<<30)
			if err != nil {
				return err
			}
			for _, e := range list {
				c.Follow(e.Body)
				x.read[c] = e.Seq
			}
		}
		return nil
	}))
}

// sign keeps a checkpoint, as a replica does.
func (x *bench) sign() {
	x.Helper()
	x.must(x.store.Update(x.Context(), func(tx store.Tx) error {
		list, err := tx.Entries(chat, 3, 1, 0)
		if err != nil {
			return err
		}
		signed, err := checkpoint.Checkpoint{Room: chat, Seq: 4, Hash: list[0].Hash}.Sign("a.localhost", ed25519Key(x.key))
		if err != nil {
			return err
		}
		return tx.PutMeta(record.CheckpointKey(chat), signed)
	}))
}

// check runs fsck on a data directory.
func check(t *testing.T, dir string, heads map[mimi.RoomURI]room.Pos) *fsck.Report {
	t.Helper()
	st, err := sqlstore.Open(dir)
	if err != nil {
		return &fsck.Report{Findings: []fsck.Finding{{What: "database", Wrong: err.Error()}}}
	}
	defer st.Close()
	r, err := fsck.Run(context.Background(), fsck.Config{Domain: "a.localhost", Store: st, Env: roomtest.Env(), Heads: heads})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (x *bench) copy() string {
	x.Helper()
	to := filepath.Join(x.TempDir(), "copy")
	x.must(os.CopyFS(to, os.DirFS(x.dir)))
	return to
}

func TestWholeDirectoryIsFine(t *testing.T) {
	x := newBench(t)
	r := check(t, x.dir, nil)
	if len(r.Findings) != 0 || len(r.Skipped) != 0 || r.Rooms != 1 || r.Entries < 8 {
		t.Errorf("%+v", r)
	}
}

// unchecked are the columns in which a changed value may be as right as the old
// one: nothing else says what it was.
var unchecked = map[string]string{
	"rooms.frozen":       "the operator's and the follower's own verdict",
	"rooms.id":           "a number for the tables; what points to it is checked",
	"memberships.id":     "the order counts, not the number",
	"changes.place":      "the order counts, not the number",
	"participants.place": "the order counts, not the number",
	"participants.role":  "of those who left, nobody reads it",
	"fanouts.acked":      "how far a peer says it is; held to its bounds",
	"fanouts.parked":     "a peer's refusal",
	"memberships.acked":  "how far a client says it is; held to its bounds",
	"out_welcomes.seq":   "held to the log",
	"out_welcomes.body":  "what is encrypted to newcomers only they can check; the rest is",
	"out_welcomes.peer":  "a row for nobody is never read",
	"meta.name":          "a row of another name is another row",
}

// Damage to a single octet of any row that a room is made of is found, and the
// first wrong entry named.
func TestEveryKindOfRow(t *testing.T) {
	x := newBench(t)
	db := openRaw(t, x.dir)
	tables := []string{"entries", "rooms", "room_states", "changes", "participants", "memberships", "fanouts", "out_welcomes", "meta"}
	cells := 0
	for _, table := range tables {
		for _, column := range columns(t, db, table) {
			name := table + "." + column
			if why, skip := unchecked[name]; skip {
				t.Logf("%s is not checked: %s", name, why)
				continue
			}
			for _, c := range x.mutations(db, table, column) {
				cells++
				r := check(t, c.dir, nil)
				if len(r.Findings) == 0 {
					t.Errorf("%s: %s changed, and nothing is found", name, c.what)
					continue
				}
				if table == "entries" && column != "room" && !names(r, c.seq) {
					t.Errorf("%s: %s changed; found %v, which does not name entry %d", name, c.what, r.Findings, c.seq)
				}
			}
		}
	}
	db.Close()
	t.Logf("%d changed cells", cells)
	if cells < 60 {
		t.Errorf("only %d cells were changed", cells)
	}
}

// names says whether the first finding about an entry or the database names seq.
func names(r *fsck.Report, seq int64) bool {
	return slices.ContainsFunc(r.Findings, func(f fsck.Finding) bool {
		return f.What == "entry" && f.Room == chat && f.Seq == uint64(seq) || f.What == "database" && seq == 0
	})
}

func openRaw(t *testing.T, dir string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(dir, "hubbub.db"))
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func columns(t *testing.T, db *sql.DB, table string) (out []string) {
	t.Helper()
	rows, err := db.Query("SELECT name FROM pragma_table_info(?)", table)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			t.Fatal(err)
		}
		out = append(out, name)
	}
	if len(out) == 0 {
		t.Fatalf("no table %s", table)
	}
	return out
}

type mutation struct {
	dir  string
	what string
	seq  int64 // for entries
}

// mutations makes copies of the directory, in each of which one octet of a column
// is flipped: in the first, a middle and the last row.
func (x *bench) mutations(db *sql.DB, table, column string) (out []mutation) {
	x.Helper()
	var n int
	x.must(db.QueryRow("SELECT count(*) FROM " + table).Scan(&n))
	rows := []int{0, n / 2, n - 1}
	for _, i := range slices.Compact(rows) {
		var v any
		var seq int64
		x.must(db.QueryRow(fmt.Sprintf("SELECT %s FROM %s LIMIT 1 OFFSET %d", column, table, i)).Scan(&v))
		if table == "entries" {
			x.must(db.QueryRow(fmt.Sprintf("SELECT seq FROM %s LIMIT 1 OFFSET %d", table, i)).Scan(&seq))
		}
		changed, ok := flip(v)
		if !ok {
			continue
		}
		dir := x.copy()
		raw := openRaw(x.T, dir)
		where := fmt.Sprintf("(%s) = (SELECT %s FROM %s LIMIT 1 OFFSET %d)", keys[table], keys[table], table, i)
		if _, err := raw.Exec(fmt.Sprintf("UPDATE %s SET %s = ? WHERE %s", table, column, where), changed); err != nil {
			x.Fatalf("%s.%s: %v", table, column, err)
		}
		x.must(raw.Close())
		out = append(out, mutation{dir, fmt.Sprintf("row %d", i), seq})
	}
	return out
}

var keys = map[string]string{
	"entries": "room, seq", "rooms": "id", "room_states": "room", "changes": "room, seq, place", "participants": "room, user_uri",
	"memberships": "id", "fanouts": "room, peer", "out_welcomes": "room, peer, seq", "meta": "name",
}

// flip changes one octet in the middle of a value, by a bit that keeps text text.
func flip(v any) (any, bool) {
	switch v := v.(type) {
	case int64:
		return v ^ 64, true // a higher bit, so as not to meet the next row's key
	case string:
		if v == "" {
			return "x", true
		}
		b := []byte(v)
		b[len(b)/2] ^= 1
		return string(b), true
	case []byte:
		if len(v) == 0 {
			return nil, false
		}
		b := bytes.Clone(v)
		b[len(b)/2] ^= 1
		return b, true
	}
	return nil, false
}

// Whatever octet of an entry's body is damaged: the entry is named.
func TestEveryOctetOfABody(t *testing.T) {
	x := newBench(t)
	db := openRaw(t, x.dir)
	var body []byte
	x.must(db.QueryRow("SELECT body FROM entries WHERE seq = 2").Scan(&body))
	for i := 0; i < len(body); i += 1 + len(body)/25 {
		b := bytes.Clone(body)
		b[i] ^= 0x40
		x.exec(db, "UPDATE entries SET body = ? WHERE seq = 2", b)
		r := check(t, x.dir, nil)
		if !names(r, 2) || !strings.Contains(r.Findings[0].Wrong, "the body is not what was accepted") {
			t.Errorf("octet %d: %v", i, r.Findings)
		}
	}
	x.exec(db, "UPDATE entries SET body = ? WHERE seq = 2", body)
	if r := check(t, x.dir, nil); len(r.Findings) != 0 {
		t.Errorf("put back: %v", r.Findings)
	}
	db.Close()
}

func (x *bench) exec(db *sql.DB, query string, args ...any) {
	x.Helper()
	_, err := db.Exec(query, args...)
	x.must(err)
}

// Rows that are missing, or that nothing accounts for, are found too.
func TestMissingAndSurplusRows(t *testing.T) {
	for name, query := range map[string]string{
		"an entry in the middle": "DELETE FROM entries WHERE seq = 3",
		"the newest entry":       "DELETE FROM entries WHERE seq = (SELECT max(seq) FROM entries)",
		"all entries":            "DELETE FROM entries",
		"a line of the history":  "DELETE FROM changes WHERE seq = 1 AND place = 1",
		"the end of the history": "DELETE FROM changes WHERE seq = (SELECT max(seq) FROM changes)",
		"a line too much":        "INSERT INTO changes SELECT room, 99, 0, timestamp, actor, action, user_uri, client, role FROM changes LIMIT 1",
		"a participant":          "DELETE FROM participants WHERE place = 0",
		"a span":                 "DELETE FROM memberships WHERE id = 1",
		"a span too much":        "INSERT INTO memberships SELECT 99, room, 'mimi://a.localhost/d/eve/x', 'mimi://a.localhost/u/eve', 0, 0, 0 FROM memberships LIMIT 1",
		"a follower":             "DELETE FROM fanouts WHERE peer = 'b.localhost'",
		"a follower too much":    "INSERT INTO fanouts SELECT room, 'eve.localhost', 0, 0, 0, '' FROM fanouts LIMIT 1",
		"the head moved back":    "UPDATE rooms SET head_seq = 2, head_hash = (SELECT hash FROM entries WHERE seq = 2), last_timestamp = (SELECT timestamp FROM entries WHERE seq = 2)",
		"another order":          "UPDATE entries SET body = (SELECT body FROM entries WHERE seq = 7) WHERE seq = 2",
		"a role":                 "UPDATE participants SET role = role + 1 WHERE place = (SELECT max(place) FROM participants)",
		"a Welcome's tree":       "UPDATE out_welcomes SET body = CAST(substr(body, 1, length(body) - 40) || zeroblob(8) || substr(body, length(body) - 31) AS BLOB)",
		"an index out of step":   "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = replace(sql, 'user_uri, room', 'room, user_uri') WHERE name = 'participants_user'",
		"messages not indexed":   "UPDATE rooms SET indexed = head_seq",
		"a message of no entry":  "INSERT INTO message_runs (room, after_seq, until_seq, filter) SELECT id, start_seq, start_seq + 1, x'00' FROM rooms",
		"a part of no run":       "INSERT INTO message_parts VALUES (123 << 16, x'')",
		"a message twice":        "UPDATE entries SET message_hash = (SELECT message_hash FROM entries WHERE seq = 2) WHERE seq = 5",
	} {
		t.Run(name, func(t *testing.T) {
			x := newBench(t)
			db := openRaw(t, x.dir)
			x.exec(db, query)
			x.must(db.Close())
			if r := check(t, x.dir, nil); len(r.Findings) == 0 {
				t.Error("nothing is found")
			}
		})
	}
}

// A log that is whole in itself, but shorter than it once was, shows by the heads
// kept elsewhere.
func TestHeadsElsewhere(t *testing.T) {
	x := newBench(t)
	later := room.StartPos(chat)
	for range 50 {
		later = later.Next(nil)
	}
	forked := room.Pos{Seq: 4, Hash: later.Hash}
	for name, heads := range map[string]map[mimi.RoomURI]room.Pos{
		"behind": {chat: later}, "another history": {chat: forked}, "gone": {"mimi://a.localhost/r/gone": later},
	} {
		if r := check(t, x.dir, heads); len(r.Findings) != 1 {
			t.Errorf("%s: %v", name, r.Findings)
		}
	}
}

// Every start checks the end of each log.
func TestTail(t *testing.T) {
	x := newBench(t)
	for name, c := range map[string]struct {
		query string
		seq   uint64
	}{
		"fine":             {"UPDATE rooms SET frozen = ''", 0},
		"newest body":      {"UPDATE entries SET body = x'00' WHERE seq = (SELECT max(seq) FROM entries)", 8},
		"an earlier hash":  {"UPDATE entries SET hash = zeroblob(32) WHERE seq = 5", 5},
		"a missing entry":  {"DELETE FROM entries WHERE seq = 5", 5},
		"the head's hash":  {"UPDATE rooms SET head_hash = zeroblob(32)", 8},
		"no entry at all":  {"DELETE FROM entries", 8},
		"the newest entry": {"DELETE FROM entries WHERE seq = 8", 8},
	} {
		dir := x.copy()
		db := openRaw(t, dir)
		x.exec(db, c.query)
		x.must(db.Close())
		st, err := sqlstore.Open(dir)
		x.must(err)
		list, err := fsck.Tail(t.Context(), st)
		x.must(err)
		x.must(st.Close())
		if c.seq == 0 && len(list) != 0 || c.seq != 0 && (len(list) != 1 || list[0].Seq != c.seq || list[0].Room != chat) {
			t.Errorf("%s: %v", name, list)
		}
	}
}
