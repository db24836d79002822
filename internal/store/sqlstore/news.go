package sqlstore

import (
	"cmp"
	"slices"
	"sort"
	"sync"

	"hubbub/internal/store"
	"hubbub/mimi"
)

// Each client's stream asks again and again what has changed of its submissions
// since a Rev. An index that answers would be moved twice by every post, so the
// newest changes of each client are known in memory: which row got which Rev.
// That is a hint and no more. Changes are noted before they are committed, so
// that the memory is never behind a snapshot; what it is ahead of, or what was
// undone, the snapshot does not show.

const (
	// newsLimit is how many changes of one client are known; then the older
	// half of them is dropped.
	newsLimit = 4096
	// allNewsLimit is how many are known of all clients; each takes 16 octets.
	allNewsLimit = 1 << 18
)

// news is what has changed of submissions. The writer adds; readers look.
type news struct {
	mu      sync.RWMutex
	clients map[mimi.ClientURI]*feed
	total   int
	after   int64 // where the feed of a client that has none begins
}

// feed is what has changed of one client's submissions, by Rev: everything
// behind after.
type feed struct {
	after   int64
	changes []change
}

type change struct{ rev, id int64 }

// note adds a change. The writer hands out rev in ascending order.
func (n *news) note(client mimi.ClientURI, id, rev int64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.total >= allNewsLimit {
		n.clients, n.total, n.after = nil, 0, rev-1
	}
	if n.clients == nil {
		n.clients = make(map[mimi.ClientURI]*feed)
	}
	f := n.clients[client]
	if f == nil {
		f = &feed{after: n.after}
		n.clients[client] = f
	}
	if len(f.changes) >= newsLimit {
		f.after = f.changes[newsLimit/2-1].rev
		f.changes = slices.Delete(f.changes, 0, newsLimit/2)
		n.total -= newsLimit / 2
	}
	f.changes = append(f.changes, change{rev, id})
	n.total++
}

// since gives the rows of a client that have changed behind rev, in no order;
// false if that is more than is known.
func (n *news) since(client mimi.ClientURI, rev int64) (ids []int64, known bool) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	f := n.clients[client]
	if f == nil {
		return nil, rev >= n.after
	}
	if rev < f.after {
		return nil, false
	}
	first := sort.Search(len(f.changes), func(i int) bool { return f.changes[i].rev > rev })
	for _, c := range f.changes[first:] {
		ids = append(ids, c.id)
	}
	slices.Sort(ids)
	return slices.Compact(ids), true
}

// selectChange leaves the body out.
const selectChange = `SELECT id, client, txn, room, hub, kind, message_hash, state, enqueued_at,
	accepted, seq, reason, detail, epoch, attempts, last_error, rev FROM submissions `

func scanChange(row row) (s store.Submission, err error) {
	err = row.Scan(&s.ID, &s.Client, &s.Txn, &s.Room, &s.Hub, &s.Kind, (*hash)(&s.MessageHash),
		&s.State, &s.EnqueuedAt, &s.Accepted, &s.Seq, &s.Reason, &s.Detail, (*word)(&s.Epoch),
		&s.Attempts, &s.LastError, &s.Rev)
	return s, err
}

var selectChanged = func() (t texts) {
	for i, rows := range rowCounts {
		t[i] = selectChange + "WHERE client = $1 AND rev > $2 AND id IN " + marks(2, rows)
	}
	return t
}()

func (t *readTx) Submissions(client mimi.ClientURI, afterRev uint64) ([]store.Submission, error) {
	if err := t.settleSnapshot(); err != nil {
		return nil, err
	}
	ids, known := t.store.news.since(client, ordinal(afterRev))
	if !known {
		return list(t.s, scanChange, selectChange+"WHERE client = $1 AND rev > $2 ORDER BY rev", string(client), ordinal(afterRev))
	}
	all := make([]store.Submission, 0, len(ids))
	err := eachChunk(len(ids), func(size, from, to int) error {
		args := append(make([]any, 0, 2+to-from), string(client), ordinal(afterRev))
		for _, id := range ids[from:to] {
			args = append(args, id)
		}
		return t.s.each(func(row row) (bool, error) {
			s, err := scanChange(row)
			all = append(all, s)
			return true, err
		}, selectChanged[size], args...)
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b store.Submission) int { return cmp.Compare(a.Rev, b.Rev) })
	return all, nil
}

// settleSnapshot has a transaction see one state from here on: it does so from
// its first look at the database.
func (t *readTx) settleSnapshot() error {
	if t.s.looked {
		return nil
	}
	var first int64
	return t.s.one([]any{&first}, "SELECT value FROM counters WHERE name = 'submission'")
}
