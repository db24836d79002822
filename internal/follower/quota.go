package follower

import (
	"net/http"
	"time"

	"hubbub/internal/store"
	"hubbub/mimi"
)

// Quota bounds what waits for hubs, so that one that stays away costs a known
// part of the disk. Zero values mean the default in brackets.
type Quota struct {
	RowsPerUser int // writes of one user [10,000]
	RowsPerHub  int // writes to one hub [1,000,000]
	BytesPerHub int // octets of their bodies [1 GiB]
}

func (q Quota) withDefaults() Quota {
	orDefault(&q.RowsPerUser, 10_000)
	orDefault(&q.RowsPerHub, 1_000_000)
	orDefault(&q.BytesPerHub, 1<<30)
	return q
}

func orDefault(v *int, def int) {
	if *v == 0 {
		*v = def
	}
}

// burden is what waits in the outbox. Its fields are guarded by outbox.mu.
type burden struct {
	users map[mimi.UserURI]int
	hubs  map[mimi.Domain]waiting
}

type waiting struct{ rows, bytes int }

func newBurden() burden { return burden{map[mimi.UserURI]int{}, map[mimi.Domain]waiting{}} }

// add counts rows of a lane, or takes them off if negative. Names with nothing
// waiting are not kept.
func (b *burden) add(key laneKey, rows, bytes int) {
	user := key.client.User()
	if b.users[user] += rows; b.users[user] == 0 {
		delete(b.users, user)
	}
	h := b.hubs[key.hub]
	if h.rows, h.bytes = h.rows+rows, h.bytes+bytes; h.rows == 0 {
		delete(b.hubs, key.hub)
	} else {
		b.hubs[key.hub] = h
	}
}

// outboxFull is when somebody whose write found no place may try again.
const outboxFull = 10 * time.Second

// hasRoom says whether the writes of one client to one hub may wait as well; nil
// if so. It is called in the transaction that would store them.
func (o *outbox) hasRoom(list []store.Submission) *mimi.Problem {
	bytes := 0
	for i := range list {
		bytes += len(list[i].Body)
	}
	client, hub, q := list[0].Client, list[0].Hub, &o.f.cfg.Quota
	o.mu.Lock()
	defer o.mu.Unlock()
	h := o.burden.hubs[hub]
	var p *mimi.Problem
	switch {
	case o.burden.users[client.User()]+len(list) > q.RowsPerUser:
		p = mimi.NewProblem(http.StatusInsufficientStorage, "outbox-full", "%d writes of this user wait for other providers, and no more may", q.RowsPerUser)
	case h.rows+len(list) > q.RowsPerHub:
		p = mimi.NewProblem(http.StatusInsufficientStorage, "outbox-full", "%d writes wait for %s, and no more may", q.RowsPerHub, hub)
	case h.bytes+bytes > q.BytesPerHub:
		p = mimi.NewProblem(http.StatusInsufficientStorage, "outbox-full", "writes of %d octets wait for %s, and no more may", h.bytes, hub)
	default:
		return nil
	}
	p.RetryAfter = outboxFull
	return p
}
