package hub_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"hubbub/internal/hub"
	"hubbub/internal/room"
	"hubbub/internal/room/roomtest"
	"hubbub/internal/store"
	"hubbub/internal/store/sqlstore"
	"hubbub/mimi"
	"hubbub/mls"
)

const chat mimi.RoomURI = "mimi://a.localhost/r/chat"

// bench is a hub over a real store that can be made to fail.
type bench struct {
	*testing.T
	store *faulty
	hub   *hub.Hub
	world *roomtest.World
	key   *mls.SignatureKey
	env   *room.Env // nil = roomtest.Env()
	limit error
	woken int
	read  map[*roomtest.Client]uint64

	alice, bob, cathy *roomtest.Client
}

// faulty fails the next Update, before or after it took effect.
type faulty struct {
	store.Store
	lose, keep bool
	before     func() // runs at the next Update
	calls      int    // of Update
}

func (f *faulty) Update(ctx context.Context, fn func(store.Tx) error) error {
	lose, keep := f.lose, f.keep
	f.lose, f.keep = false, false
	f.calls++
	if f.before != nil {
		f.before()
	}
	if lose {
		return store.ErrUnknownOutcome
	}
	err := f.Store.Update(ctx, fn)
	if keep && err == nil {
		return store.ErrUnknownOutcome
	}
	return err
}

func newBench(t *testing.T) *bench {
	s, err := sqlstore.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	x := &bench{T: t, store: &faulty{Store: s}, read: map[*roomtest.Client]uint64{}}
	x.world = &roomtest.World{T: t, Now: time.Now}
	x.key = x.world.NewKey()
	x.open()
	x.alice = x.world.Client("alice@a.localhost", "phone")
	x.bob = x.world.Client("bob@b.localhost", "phone")
	x.cathy = x.world.Client("cathy@c.localhost", "phone")
	return x
}

// open starts the hub with an empty memory.
func (x *bench) open() {
	env := x.env
	if env == nil {
		env = roomtest.Env()
	}
	x.hub = hub.New(hub.Config{
		Domain: "a.localhost", Store: x.store, Env: env, SignatureKey: x.key,
		Wake:  func(mimi.RoomURI) { x.woken++ },
		Limit: func(mimi.Domain) error { return x.limit },
	})
}

func (x *bench) must(err error) {
	if err != nil {
		x.Helper()
		x.Fatal(err)
	}
}

// ready makes the chat with alice, bob and cathy in it.
func (x *bench) ready() *bench {
	x.Helper()
	x.must(x.hub.Create(x.Context(), x.alice.URI, x.creation(x.alice, chat)))
	x.update(x.alice, x.alice.Add(x.bob.KeyPackage(), x.cathy.KeyPackage()))
	x.view(func(tx store.ReadTx) error {
		list, err := tx.OutWelcomes(chat, "b.localhost", 0)
		if err == nil {
			x.bob.Join(list[0].Body)
			x.cathy.Join(list[0].Body)
			x.read[x.bob], x.read[x.cathy] = 1, 1
		}
		return err
	})
	return x
}

func (x *bench) creation(c *roomtest.Client, uri mimi.RoomURI) hub.CreateRequest {
	in := c.Create(uri, x.key)
	return hub.CreateRequest{Room: uri, GroupInfo: in.GroupInfo, Tree: in.Tree}
}

func (x *bench) view(fn func(store.ReadTx) error) {
	x.Helper()
	x.must(x.store.View(context.Background(), fn))
}

func (x *bench) dump() (s string) {
	x.Helper()
	x.view(func(tx store.ReadTx) (err error) { s, err = tx.Dump(); return err })
	return s
}

// update submits a handshake that must be accepted and brings the client up to date.
func (x *bench) update(c *roomtest.Client, body []byte) uint64 {
	x.Helper()
	b, err := x.hub.Update(x.Context(), c.User.Domain(), chat, body)
	x.must(err)
	a := x.parseUpdate(b)
	if a.Code != mimi.UpdateSuccess {
		x.Fatalf("update refused: %+v", a)
	}
	x.follow(c)
	return a.Timestamp
}

func (x *bench) parseUpdate(b []byte) *mimi.UpdateRoomResponse {
	x.Helper()
	a, err := mimi.ParseUpdateRoomResponse(b)
	x.must(err)
	return a
}

func (x *bench) submit(peer mimi.Domain, body []byte) *mimi.SubmitMessageResponse {
	x.Helper()
	b, err := x.hub.Submit(x.Context(), peer, chat, body)
	x.must(err)
	a, err := mimi.ParseSubmitMessageResponse(b)
	x.must(err)
	return a
}

// follow reads the log as far as it goes.
func (x *bench) follow(clients ...*roomtest.Client) {
	x.Helper()
	x.view(func(tx store.ReadTx) error {
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
	})
}

func (x *bench) head() (pos room.Pos) {
	x.Helper()
	x.view(func(tx store.ReadTx) error {
		r, err := tx.Room(chat)
		if err == nil {
			pos = r.Head
		}
		return err
	})
	return pos
}

// A repeat gets the octets it got the first time, whatever has happened since,
// and before any limit.
func TestRepeatGetsTheSameAnswer(t *testing.T) {
	x := newBench(t).ready()
	post, commit, leave := x.bob.Post("hello"), x.alice.Commit(), []byte(nil)
	calls := []func() ([]byte, error){
		func() ([]byte, error) { return x.hub.Submit(x.Context(), "b.localhost", chat, post) },
		func() ([]byte, error) { return x.hub.Update(x.Context(), "a.localhost", chat, commit) },
		func() ([]byte, error) { return x.hub.Update(x.Context(), "c.localhost", chat, leave) },
	}
	var first [][]byte
	for i, call := range calls {
		if i == 2 {
			x.follow(x.alice, x.bob, x.cathy)
			leave = x.cathy.Leave()
		}
		b, err := call()
		x.must(err)
		first = append(first, b)
	}
	// Three epochs later cathy is out.
	for range 3 {
		x.follow(x.alice)
		x.update(x.alice, x.alice.Commit())
	}
	x.limit = mimi.NewProblem(429, mimi.CodeTooMany, "slow down")
	x.open()
	before := x.dump()
	for i, call := range calls {
		if b, err := call(); err != nil || !bytes.Equal(b, first[i]) {
			t.Errorf("call %d: %x, %v; the first time %x", i, b, err, first[i])
		}
	}
	if x.dump() != before {
		t.Error("a repeat changed something")
	}
	// What is new is limited.
	x.follow(x.bob)
	if _, err := x.hub.Submit(x.Context(), "b.localhost", chat, x.bob.Post("x")); err == nil {
		t.Error("no limit for a new message")
	}
}

func TestOneCommitPerEpoch(t *testing.T) {
	x := newBench(t).ready()
	bodies := make([][]byte, 50)
	for i := range bodies {
		bodies[i] = x.bob.Commit()
	}
	var mu sync.Mutex
	codes := map[mimi.UpdateCode]int{}
	var wg sync.WaitGroup
	for _, body := range bodies {
		wg.Go(func() {
			b, err := x.hub.Update(context.Background(), "b.localhost", chat, body)
			if err != nil {
				t.Error(err)
				return
			}
			a, err := mimi.ParseUpdateRoomResponse(b)
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			codes[a.Code]++
			if a.Code == mimi.UpdateWrongEpoch && a.CurrentEpoch != 2 {
				t.Errorf("the loser is told epoch %d", a.CurrentEpoch)
			}
		})
	}
	wg.Wait()
	if codes[mimi.UpdateSuccess] != 1 || codes[mimi.UpdateWrongEpoch] != 49 {
		t.Errorf("outcomes: %v", codes)
	}
}

// A refused write leaves nothing behind, and a room one has no part in cannot be
// told from one that does not exist.
func TestRefusedLeavesNothing(t *testing.T) {
	x := newBench(t).ready()
	stale := x.bob.Commit()
	late := x.bob.Post("late")
	x.update(x.alice, x.alice.Commit())
	before := x.dump()

	_, hidden := x.hub.Submit(x.Context(), "d.localhost", chat, late)
	_, absent := x.hub.Submit(x.Context(), "d.localhost", "mimi://a.localhost/r/none", late)
	_, elsewhere := x.hub.Submit(x.Context(), "d.localhost", "mimi://z.localhost/r/chat", late)
	if fmt.Sprint(hidden) != fmt.Sprint(absent) || fmt.Sprint(hidden) != fmt.Sprint(elsewhere) {
		t.Errorf("a hidden room gives %v, none gives %v and %v", hidden, absent, elsewhere)
	}
	if a := x.submit("b.localhost", late); a.Code != mimi.SubmitEpochTooOld || a.CurrentEpoch != 2 {
		t.Errorf("late message: %+v", a)
	}
	if a := x.submit("c.localhost", late); a.Code != mimi.SubmitNotAllowed {
		t.Errorf("message of another provider's user: %+v", a)
	}
	b, err := x.hub.Update(x.Context(), "b.localhost", chat, stale)
	x.must(err)
	if a := x.parseUpdate(b); a.Code != mimi.UpdateWrongEpoch || a.CurrentEpoch != 2 {
		t.Errorf("stale commit: %+v", a)
	}
	for _, garbage := range [][]byte{nil, {0}, late[:len(late)-1], append(slices.Clone(late), 0)} {
		var p *mimi.Problem
		if _, err := x.hub.Submit(x.Context(), "b.localhost", chat, garbage); !errors.As(err, &p) || p.Status != 400 {
			t.Errorf("garbage: %v", err)
		}
		if _, err := x.hub.Update(x.Context(), "b.localhost", chat, garbage); !errors.As(err, &p) || p.Status != 400 {
			t.Errorf("garbage: %v", err)
		}
	}
	if x.dump() != before {
		t.Error("a refused write left something behind")
	}
}

// After a commit of the database with unknown outcome the hub forgets what it
// held; the peer's repeat is answered by what is true.
func TestUnknownOutcome(t *testing.T) {
	for _, keep := range []bool{false, true} {
		t.Run(fmt.Sprintf("kept=%v", keep), func(t *testing.T) {
			x := newBench(t).ready()
			for name, call := range map[string]func() ([]byte, error){
				"commit": func() func() ([]byte, error) {
					body := x.bob.Commit()
					return func() ([]byte, error) { return x.hub.Update(x.Context(), "b.localhost", chat, body) }
				}(),
			} {
				seq := x.head().Seq
				x.store.lose, x.store.keep = !keep, keep
				if _, err := call(); !errors.Is(err, store.ErrUnknownOutcome) {
					t.Fatalf("%s: %v", name, err)
				}
				b, err := call()
				x.must(err)
				if a := x.parseUpdate(b); a.Code != mimi.UpdateSuccess {
					t.Errorf("%s: repeat: %+v", name, a)
				}
				if got := x.head().Seq; got != seq+1 {
					t.Errorf("%s: %d entries, want one", name, got-seq)
				}
			}
			x.follow(x.alice, x.bob)
			x.update(x.bob, x.bob.Commit())
			if a := x.submit("a.localhost", func() []byte { x.follow(x.alice); return x.alice.Post("on") }()); a.Code != mimi.SubmitAccepted {
				t.Errorf("afterwards: %+v", a)
			}
		})
	}
}

func TestTimestampsIncrease(t *testing.T) {
	x := newBench(t).ready()
	last := uint64(0)
	for i := range 20 {
		a := x.submit("b.localhost", x.bob.Post(fmt.Sprint(i)))
		if a.Timestamp <= last {
			t.Fatalf("timestamp %d after %d", a.Timestamp, last)
		}
		last = a.Timestamp
	}
}

func TestCreateRefuses(t *testing.T) {
	x := newBench(t)
	good := x.creation(x.alice, chat)
	before := x.dump()
	otherKey := x.world.NewKey()
	foreign := x.alice.Create(chat, otherKey)
	withTree := good
	withTree.Tree = good.Tree[:len(good.Tree)-1]
	elsewhere := good
	elsewhere.Room = "mimi://b.localhost/r/chat"
	renamed := good
	renamed.Room = "mimi://a.localhost/r/renamed"
	for name, c := range map[string]struct {
		client mimi.ClientURI
		req    hub.CreateRequest
		status int
	}{
		"another client's group": {x.world.Client("al@a.localhost", "phone").URI, good, 403},
		"foreign client":         {x.bob.URI, good, 403},
		"foreign room":           {x.alice.URI, elsewhere, 403},
		"metadata of another":    {x.alice.URI, renamed, 403},
		"another hub key":        {x.alice.URI, hub.CreateRequest{Room: chat, GroupInfo: foreign.GroupInfo, Tree: foreign.Tree}, 403},
		"damaged tree":           {x.alice.URI, withTree, 403},
		"no group info":          {x.alice.URI, hub.CreateRequest{Room: chat, Tree: good.Tree}, 403},
	} {
		var p *mimi.Problem
		if err := x.hub.Create(x.Context(), c.client, c.req); !errors.As(err, &p) || p.Status != c.status {
			t.Errorf("%s: %v, want %d", name, err, c.status)
		}
	}
	if x.dump() != before {
		t.Error("a refused room left something behind")
	}
	x.must(x.hub.Create(x.Context(), x.alice.URI, good))
	after := x.dump()
	if err := x.hub.Create(x.Context(), x.alice.URI, good); err != nil {
		t.Errorf("a repeat: %v", err)
	}
	var p *mimi.Problem
	if err := x.hub.Create(x.Context(), x.alice.URI, x.creation(x.alice, chat)); !errors.As(err, &p) || p.Status != 409 {
		t.Errorf("the same name again: %v", err)
	}
	if x.dump() != after {
		t.Error("a second room of that name changed something")
	}
}

// TestCreateAgain: whoever did not hear that its room was made is told so later as well.
func TestCreateAgain(t *testing.T) {
	x := newBench(t)
	made := x.creation(x.alice, chat)
	x.must(x.hub.Create(x.Context(), x.alice.URI, made))
	x.update(x.alice, x.alice.Add(x.bob.KeyPackage()))
	after := x.dump()
	if err := x.hub.Create(x.Context(), x.alice.URI, made); err != nil {
		t.Errorf("a repeat after a commit: %v", err)
	}
	var p *mimi.Problem
	if err := x.hub.Create(x.Context(), x.alice.URI, x.creation(x.alice, chat)); !errors.As(err, &p) || p.Status != 409 {
		t.Errorf("the same name again: %v", err)
	}
	if x.dump() != after {
		t.Error("a repeat changed something")
	}
}

// GroupInfo is for participants' clients, from their own provider, and only they
// can read it.
func TestGroupInfo(t *testing.T) {
	x := newBench(t).ready()
	ask := func(peer mimi.Domain, c *roomtest.Client, uri mimi.RoomURI) (*mimi.GroupInfoResponse, []byte) {
		t.Helper()
		private, public, err := roomtest.Suite.GenerateHPKEKey(rand.Reader)
		x.must(err)
		req := &mimi.GroupInfoRequest{Credential: c.Credential(), PublicKey: public}
		x.must(req.Sign(c.Key()))
		body, err := req.Marshal()
		x.must(err)
		b, err := x.hub.GroupInfo(x.Context(), peer, uri, body)
		x.must(err)
		a, err := mimi.ParseGroupInfoResponse(b)
		x.must(err)
		return a, private
	}
	leave := x.cathy.Leave()
	x.update(x.cathy, leave)

	laptop := x.world.Client("bob@b.localhost", "laptop")
	answer, private := ask("b.localhost", laptop, chat)
	content, err := answer.Open(private)
	x.must(err)
	if len(content.PendingProposals) != 2 {
		t.Errorf("%d pending proposals, want cathy's two", len(content.PendingProposals))
	}
	for name, a := range map[string]func() *mimi.GroupInfoResponse{
		"stranger": func() *mimi.GroupInfoResponse {
			a, _ := ask("b.localhost", x.world.Client("eve@b.localhost", "x"), chat)
			return a
		},
		"replayed by another": func() *mimi.GroupInfoResponse { a, _ := ask("c.localhost", laptop, chat); return a },
		"who is leaving":      func() *mimi.GroupInfoResponse { a, _ := ask("c.localhost", x.cathy, chat); return a },
		"no such room": func() *mimi.GroupInfoResponse {
			a, _ := ask("b.localhost", laptop, "mimi://a.localhost/r/none")
			return a
		},
	} {
		if got := a(); got.Status != mimi.GroupInfoNotAuthorized {
			t.Errorf("%s: status %d", name, got.Status)
		}
	}
	// With what it got the laptop joins; it must take cathy's SelfRemove along.
	bare := laptop.JoinExternal(&content.GroupInfo, content.RatchetTree.Tree)
	b, err := x.hub.Update(x.Context(), "b.localhost", chat, bare)
	x.must(err)
	if a := x.parseUpdate(b); a.Code != mimi.UpdateNotAllowed {
		t.Errorf("a join without the pending SelfRemove: %+v", a)
	}
}
