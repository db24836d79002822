package simnet

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing/iotest"
	"testing/synctest"
	"time"

	"hubbub/internal/catchup"
	"hubbub/internal/fanout"
	"hubbub/internal/follower"
	"hubbub/internal/hub"
	"hubbub/internal/keymaterial"
	"hubbub/internal/room"
	"hubbub/internal/room/roomtest"
	"hubbub/internal/store"
	"hubbub/internal/store/sqlstore"
	"hubbub/internal/tail"
	"hubbub/mimi"
	"hubbub/mls"
)

// provider is one of the providers, up or down.
type provider struct {
	sim      *sim
	domain   mimi.Domain
	dir      string
	key      *mls.SignatureKey
	engine   *sqlstore.Store
	life     *life // nil while it is down
	skew     time.Duration
	backup   backup
	restored bool
	behind   bool                 // what it hosts, since the database is old
	full     atomic.Bool          // its disk is
	reach    atomic.Pointer[life] // life, for goroutines other than the main one

	writes map[string]int // owned by sim.mu
}

// life is a provider between a start and a crash. What a dead one still does
// reaches neither its store nor the network.
type life struct {
	p      *provider
	ctx    context.Context
	cancel context.CancelFunc
	done   sync.WaitGroup
	dead   atomic.Bool
	doomed atomic.Bool // it crashed in this event
	failed atomic.Bool // its store takes no more writes

	disk     *disk
	hub      *hub.Hub
	follower *follower.Follower
	fanout   *fanout.Fanout
	keys     *keymaterial.Service
}

func (p *provider) now() time.Time {
	p.sim.mu.Lock()
	defer p.sim.mu.Unlock()
	return time.Now().Add(p.skew)
}

// open opens the database.
func (p *provider) open() {
	var err error
	p.engine, err = sqlstore.Open(filepath.Join(p.dir, string(p.domain)))
	p.sim.must(err)
}

// start begins a life on what the store holds, wired as internal/provider does.
func (p *provider) start() {
	if p.engine == nil {
		p.open()
	}
	l := &life{p: p}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.disk = &disk{Store: p.engine, life: l}
	env := roomtest.Env()
	jitter := func(max time.Duration) time.Duration { return max }
	tails := tail.New(1 << 20)
	st := tail.Watch(l.disk, tails)
	l.fanout = fanout.New(fanout.Config{Store: st, Tails: tails, Sender: l, Jitter: jitter, MaxBatch: 4})
	l.hub = hub.New(hub.Config{
		Domain: p.domain, Store: st, Env: env, SignatureKey: p.key, Shipper: l.fanout, Wake: l.fanout.Wake, Now: p.now,
		Followers: (*asHub)(l),
	})
	l.follower = follower.New(follower.Config{Domain: p.domain, Store: st, Env: env, Remote: l, Batch: p.batcher(l), Entries: l, Now: p.now, Jitter: jitter, MaxRefusals: 1})
	l.keys = keymaterial.New(keymaterial.Config{Domain: p.domain, Store: l.disk, Verifier: env.Verifier, Remote: l, Now: p.now})
	p.life = l
	p.reach.Store(l)
	for _, run := range []func(context.Context) error{l.hub.Reconcile, l.fanout.Run, l.follower.Run} {
		l.done.Go(func() {
			if err := run(l.ctx); err != nil && !l.dead.Load() {
				p.sim.broken("%s: a worker ended: %v", p.domain, err)
			}
		})
		if p.behind {
			synctest.Wait() // what it gets back is cut into batches in one way only
		}
	}
	p.behind = false
}

// crash ends a life as a kill does: what is not in the store is gone.
func (p *provider) crash(reopen bool) {
	l := p.life
	if l == nil {
		return
	}
	l.dead.Store(true)
	p.life = nil
	p.reach.Store(nil)
	p.sim.net.died(l)
	l.cancel()
	l.done.Wait()
	synctest.Wait() // requests under way end as well
	p.sim.net.died(l)
	if reopen {
		p.sim.must(p.engine.Close())
		p.engine = nil
		p.open()
	}
}

// Notify implements fanout.Sender.
func (l *life) Notify(ctx context.Context, peer mimi.Domain, uri mimi.RoomURI, pos room.Pos, body []byte) error {
	body = bytes.Clone(body)
	l.p.sim.shipped(l.p.domain, peer, uri, pos, body)
	_, err := l.p.sim.net.call(ctx, l, &message{to: peer, key: "notify " + string(uri), do: func(ctx context.Context, to *life) (any, error) {
		pos := pos
		return nil, to.follower.Notify(ctx, l.p.domain, uri, &pos, bytes.Clone(body))
	}})
	return err
}

// octets makes a call whose answer is a body.
func (l *life) octets(ctx context.Context, to mimi.Domain, key string, do func(context.Context, *life) ([]byte, error)) ([]byte, error) {
	v, err := l.p.sim.net.call(ctx, l, &message{to: to, key: key, do: func(ctx context.Context, to *life) (any, error) {
		b, err := do(ctx, to)
		return bytes.Clone(b), err
	}})
	b, _ := v.([]byte)
	return b, err
}

// SubmitMessage implements follower.Remote.
func (l *life) SubmitMessage(ctx context.Context, to mimi.Domain, uri mimi.RoomURI, body []byte) ([]byte, error) {
	if to == l.p.domain {
		return l.submit(ctx, l.p.domain, uri, body)
	}
	return l.octets(ctx, to, "submit "+l.p.sim.nameOf(body), func(ctx context.Context, hub *life) ([]byte, error) {
		return hub.submit(ctx, l.p.domain, uri, body)
	})
}

// Update implements follower.Remote.
func (l *life) Update(ctx context.Context, to mimi.Domain, uri mimi.RoomURI, body []byte) ([]byte, error) {
	if to == l.p.domain {
		return l.update(ctx, l.p.domain, uri, body)
	}
	return l.octets(ctx, to, "update "+l.p.sim.nameOf(body), func(ctx context.Context, hub *life) ([]byte, error) {
		return hub.update(ctx, l.p.domain, uri, body)
	})
}

// Snapshot implements follower.Remote.
func (l *life) Snapshot(ctx context.Context, to mimi.Domain, uri mimi.RoomURI, seq uint64) ([]byte, error) {
	return l.octets(ctx, to, "snapshot "+string(uri), func(ctx context.Context, hub *life) ([]byte, error) {
		return hub.hub.Snapshot(ctx, l.p.domain, uri, seq)
	})
}

// KeyMaterial implements keymaterial.Remote.
func (l *life) KeyMaterial(ctx context.Context, to mimi.Domain, target mimi.UserURI, body []byte) ([]byte, error) {
	return l.octets(ctx, to, "key material "+string(target), func(ctx context.Context, other *life) ([]byte, error) {
		return other.claim(ctx, l.p.domain, target, body)
	})
}

// stretch is the answer to a request to catch up.
type stretch struct {
	head room.Pos
	body []byte
}

func newStretch(ctx context.Context, part *catchup.Part, err error) (*stretch, error) {
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := part.Send(ctx, &b); err != nil {
		return nil, err
	}
	return &stretch{part.Head, b.Bytes()}, nil
}

// CatchUp implements follower.LogSource. Now and then the connection breaks in
// the middle of the answer.
func (l *life) CatchUp(ctx context.Context, to mimi.Domain, uri mimi.RoomURI, from room.Pos) (room.Pos, io.ReadCloser, error) {
	v, err := l.p.sim.net.call(ctx, l, &message{to: to, key: "catch up " + string(uri), do: func(ctx context.Context, to *life) (any, error) {
		part, err := to.hub.CatchUp(ctx, l.p.domain, uri, from)
		return newStretch(ctx, part, err)
	}})
	if err != nil {
		return room.Pos{}, nil, err
	}
	got := v.(*stretch)
	var body io.Reader = bytes.NewReader(got.body)
	if l.p.chance("cut "+string(uri), 150) {
		body = io.MultiReader(io.LimitReader(body, int64(len(got.body)/2)), iotest.ErrReader(errNetwork))
	}
	return got.head, io.NopCloser(body), nil
}

// asHub is a life that asks its followers what they hold. It holds the room
// meanwhile, so that this request does not wait for the simulator.
type asHub life

// CatchUp implements hub.Followers.
func (h *asHub) CatchUp(ctx context.Context, peer mimi.Domain, uri mimi.RoomURI, from room.Pos) (room.Pos, io.ReadCloser, error) {
	l := (*life)(h)
	s := l.p.sim
	to, here := s.providers[peer].reach.Load(), string(l.p.domain)
	if to == nil || s.net.isBlocked(here, string(peer)) || s.net.isBlocked(string(peer), here) || l.p.chance("ask "+string(peer), 200) {
		return room.Pos{}, nil, errNetwork
	}
	part, err := to.follower.Part(ctx, l.p.domain, uri, from)
	got, err := newStretch(ctx, part, err)
	if err != nil {
		return room.Pos{}, nil, onTheWire(err)
	}
	return got.head, io.NopCloser(bytes.NewReader(got.body)), nil
}

// batcher is the way in which a provider sends several writes at once; every
// fourth run has a provider that cannot.
func (p *provider) batcher(l *life) follower.Batcher {
	if p.sim.seed%4 == 3 && p.domain == p.sim.order[len(p.sim.order)-1] {
		return nil
	}
	return l
}

// SubmitBatch implements follower.Batcher.
func (l *life) SubmitBatch(ctx context.Context, to mimi.Domain, body []byte) ([]byte, error) {
	req, err := mimi.ParseBatchRequest(bytes.Clone(body))
	if err != nil {
		return nil, err
	}
	key := "batch"
	for _, it := range req.Items {
		key += " " + l.p.sim.nameOf(it.Body)
	}
	if to == l.p.domain {
		return l.batch(ctx, to, body)
	}
	return l.octets(ctx, to, key, func(ctx context.Context, hub *life) ([]byte, error) {
		return hub.batch(ctx, l.p.domain, body)
	})
}

// batch is the hub's answer to a batch, of which each part is remembered.
func (l *life) batch(ctx context.Context, peer mimi.Domain, body []byte) ([]byte, error) {
	b, err := l.hub.SubmitBatch(ctx, peer, bytes.Clone(body))
	if err != nil {
		return nil, err
	}
	req, err := mimi.ParseBatchRequest(bytes.Clone(body))
	if err != nil {
		return nil, err
	}
	res, err := mimi.ParseBatchResponse(bytes.Clone(b))
	if err != nil {
		return nil, err
	}
	for i, a := range res.Answers {
		var err error
		if a.Status != http.StatusOK {
			err = &mimi.Problem{Status: int(a.Status)}
		}
		l.answered(req.Items[i].Body, a.Body, err)
	}
	return b, nil
}

// submit is the hub's answer to a message, which is remembered.
func (l *life) submit(ctx context.Context, peer mimi.Domain, uri mimi.RoomURI, body []byte) ([]byte, error) {
	b, err := l.hub.Submit(ctx, peer, uri, bytes.Clone(body))
	l.answered(body, b, err)
	return b, err
}

func (l *life) update(ctx context.Context, peer mimi.Domain, uri mimi.RoomURI, body []byte) ([]byte, error) {
	b, err := l.hub.Update(ctx, peer, uri, bytes.Clone(body))
	l.answered(body, b, err)
	return b, err
}

// answered keeps what a hub said about a write, to be held against its log.
func (l *life) answered(body, answer []byte, err error) {
	var p *mimi.Problem
	refused := errors.As(err, &p) && !p.Retryable()
	if err != nil && !refused || l.dead.Load() {
		return
	}
	s := l.p.sim
	s.mu.Lock()
	defer s.mu.Unlock()
	if w := s.byBody[sha256.Sum256(body)]; w != nil {
		s.answers = append(s.answers, hubAnswer{w, bytes.Clone(answer), refused})
	}
}

// claim hands out key material and keeps book of what leaves its owner's
// provider.
func (l *life) claim(ctx context.Context, peer mimi.Domain, target mimi.UserURI, body []byte) ([]byte, error) {
	b, err := l.keys.Claim(ctx, peer, target, body)
	if err != nil || target.Domain() != l.p.domain || l.dead.Load() {
		return b, err
	}
	got, err := mimi.ParseKeyMaterialResponse(bytes.Clone(b))
	if err != nil {
		return nil, err
	}
	s := l.p.sim
	for _, c := range got.Clients {
		if c.KeyPackage == nil {
			continue
		}
		ref, err := c.KeyPackage.Ref()
		if err != nil {
			return nil, err
		}
		s.mu.Lock()
		_, again := s.handedOut[string(ref)]
		s.handedOut[string(ref)] = l.p.domain
		s.mu.Unlock()
		if again {
			s.broken("a KeyPackage of %s was handed out twice", c.Client)
		}
	}
	return b, nil
}

// take is what the client API does with a client's write: into the outbox for a
// room elsewhere; for a room of ours into the store, then at once to the hub.
func (l *life) take(ctx context.Context, sub store.Submission) (store.Submission, error) {
	if sub.Room.Domain() != l.p.domain {
		return l.follower.Enqueue(ctx, sub)
	}
	ctx = context.WithoutCancel(ctx)
	sub.Hub, sub.State, sub.EnqueuedAt = l.p.domain, store.Queued, uint64(l.p.now().UnixMilli())
	err := l.disk.Update(ctx, func(tx store.Tx) (err error) {
		sub, err = tx.Enqueue(sub)
		return err
	})
	if err != nil || sub.State != store.Queued {
		return sub, err
	}
	refused, err := l.decide(ctx, sub)
	if err != nil {
		return sub, err
	}
	if row, err := l.row(ctx, sub); err != nil || row.State != store.Queued {
		return row, err
	}
	err = l.disk.Update(ctx, func(tx store.Tx) error {
		if sub.Reason = refused; refused != "" {
			sub.State = store.Rejected
			return tx.PutSubmission(sub)
		}
		e, err := tx.EntryByMessage(sub.Room, sub.MessageHash)
		if err != nil {
			return err
		}
		sub.State, sub.Seq, sub.Accepted = store.Posted, e.Seq, e.Timestamp
		return tx.PutSubmission(sub)
	})
	if err != nil {
		return sub, err
	}
	return l.row(ctx, sub)
}

func (l *life) row(ctx context.Context, sub store.Submission) (store.Submission, error) {
	err := l.disk.View(ctx, func(tx store.ReadTx) error {
		row, err := tx.Submission(sub.Client, sub.Txn)
		if err == nil {
			sub = *row
		}
		return err
	})
	return sub, err
}

// decide asks our own hub; refused is "" if the write is in the log.
func (l *life) decide(ctx context.Context, sub store.Submission) (refused string, err error) {
	call := l.submit
	if sub.Kind == store.SubmitUpdate {
		call = l.update
	}
	answer, err := call(ctx, l.p.domain, sub.Room, sub.Body)
	var p *mimi.Problem
	if errors.As(err, &p) && p.Status < http.StatusInternalServerError {
		return p.Code, nil
	}
	if err != nil {
		return "", err
	}
	if accepted, err := isAccepted(sub.Kind, answer); err != nil || accepted {
		return "", err
	}
	return "refused", nil
}

// isAccepted reads a hub's answer.
func isAccepted(kind store.SubmissionKind, answer []byte) (bool, error) {
	if kind == store.SubmitUpdate {
		a, err := mimi.ParseUpdateRoomResponse(answer)
		return err == nil && a.Code == mimi.UpdateSuccess, err
	}
	a, err := mimi.ParseSubmitMessageResponse(answer)
	return err == nil && a.Code == mimi.SubmitAccepted, err
}
