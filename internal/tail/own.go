package tail

import (
	"slices"
	"sync"

	"hubbub/internal/store"
	"hubbub/mimi"
)

// own knows the submissions of local clients that were queued since the start and
// are not settled, by the hash of their message: the entry that settles one says so
// itself, and nobody has to look for it. A submission is in it from inside the
// transaction that stores it, because the entry may be stored before its caller
// gets to know that it is. There are no more of them than the outbox takes.
type own struct {
	mu   sync.Mutex
	rows map[[32]byte][]*store.Submission
}

// hold keeps a submission and says whether it is new here.
func (o *own) hold(s *store.Submission) bool {
	if s.State != store.Queued {
		return false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.at(s) >= 0 {
		return false
	}
	row := *s
	row.Body = nil
	o.rows[s.MessageHash] = append(o.rows[s.MessageHash], &row)
	return true
}

// at is the place of a submission among those of its message, -1 if it has none.
// o.mu is held.
func (o *own) at(s *store.Submission) int {
	return slices.IndexFunc(o.rows[s.MessageHash], func(r *store.Submission) bool { return r.ID == s.ID })
}

func (o *own) drop(s *store.Submission) {
	o.mu.Lock()
	defer o.mu.Unlock()
	i := o.at(s)
	if i < 0 {
		return
	}
	if left := slices.Delete(o.rows[s.MessageHash], i, i+1); len(left) > 0 {
		o.rows[s.MessageHash] = left
	} else {
		delete(o.rows, s.MessageHash)
	}
}

// settledBy gives the submissions that an entry settles, as they are then.
func (o *own) settledBy(uri mimi.RoomURI, e *store.Entry) (list []*store.Submission) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, r := range o.rows[e.MessageHash] {
		if r.Room != uri {
			continue
		}
		s := *r
		s.State, s.Seq, s.Accepted, s.LastError = store.Posted, e.Seq, e.Timestamp, ""
		list = append(list, &s)
	}
	return list
}

// Awaits says whether the entry that settles a submission will say so: its Settles
// names it.
func (t *Tails) Awaits(s *store.Submission) bool {
	t.own.mu.Lock()
	defer t.own.mu.Unlock()
	return t.own.at(s) >= 0
}
