package fanout

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"hubbub/internal/room"
	"hubbub/internal/store"
	"hubbub/internal/store/sqlstore"
	"hubbub/internal/tail"
	"hubbub/mimi"
)

const (
	chat  mimi.RoomURI = "mimi://a.localhost/r/chat"
	other mimi.RoomURI = "mimi://a.localhost/r/other"
	b     mimi.Domain  = "b.localhost"
	c     mimi.Domain  = "c.localhost"
)

// request is one notify as a follower saw it.
type request struct {
	at   time.Time
	peer mimi.Domain
	room mimi.RoomURI
	seq  uint64
	body string
}

// bench is a fanout over a real store, with followers that answer as told.
type bench struct {
	*testing.T
	dir    string
	store  store.Store
	fanout *Fanout
	cfg    Config
	stop   func()
	views  atomic.Int64 // looks at the store

	mu       sync.Mutex
	requests []request
	answer   func(r request) error // nil = 201
	flying   map[string]int        // by pair
	most     int                   // in flight for one pair
}

// viewed counts the looks at a store.
type viewed struct {
	store.Store
	views *atomic.Int64
}

func (v *viewed) View(ctx context.Context, fn func(store.ReadTx) error) error {
	v.views.Add(1)
	return v.Store.View(ctx, fn)
}

func newBench(t *testing.T, cfg Config) *bench {
	x := &bench{T: t, dir: t.TempDir(), cfg: cfg, flying: map[string]int{}}
	x.cfg.Sender = x
	if x.cfg.Retention == 0 {
		x.cfg.Retention = math.MaxInt64 // the entries of these tests are as old as time
	}
	x.cfg.Jitter = func(max time.Duration) time.Duration { return max }
	x.start()
	t.Cleanup(func() { x.kill() })
	return x
}

func (x *bench) start() {
	x.Helper()
	s, err := sqlstore.Open(x.dir)
	if err != nil {
		x.Fatal(err)
	}
	x.cfg.Tails = tail.New(1 << 20)
	x.store = tail.Watch(&viewed{s, &x.views}, x.cfg.Tails)
	x.cfg.Store = x.store
	x.fanout = New(x.cfg)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := x.fanout.Run(ctx); err != nil {
			x.Error(err)
		}
	}()
	x.stop = func() { cancel(); <-done }
}

func (x *bench) kill() {
	x.stop()
	if err := x.store.Close(); err != nil {
		x.Error(err)
	}
}

func (x *bench) Notify(ctx context.Context, peer mimi.Domain, uri mimi.RoomURI, pos room.Pos, body []byte) error {
	r := request{time.Now(), peer, uri, pos.Seq, string(body)}
	pair := fmt.Sprint(peer, uri)
	x.mu.Lock()
	x.requests = append(x.requests, r)
	x.flying[pair]++
	x.most = max(x.most, x.flying[pair])
	answer := x.answer
	x.mu.Unlock()
	defer func() {
		x.mu.Lock()
		x.flying[pair]--
		x.mu.Unlock()
	}()
	if answer == nil {
		return nil
	}
	return answer(r)
}

func (x *bench) answers(f func(request) error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.answer = f
}

// got are the requests so far; they are forgotten.
func (x *bench) got() []request {
	x.mu.Lock()
	defer x.mu.Unlock()
	list := x.requests
	x.requests = nil
	return list
}

func (x *bench) update(fn func(store.Tx) error) {
	x.Helper()
	if err := x.store.Update(context.Background(), fn); err != nil {
		x.Fatal(err)
	}
}

// host makes a room followed by peers from its start.
func (x *bench) host(uri mimi.RoomURI, peers ...mimi.Domain) {
	x.Helper()
	x.update(func(tx store.Tx) error {
		start := room.StartPos(uri)
		err := tx.CreateRoom(store.RoomRecord{URI: uri, Hub: "a.localhost", Head: start, Start: start, State: []byte{1}}, nil, nil, nil)
		for _, p := range peers {
			err = errors.Join(err, tx.PutFanout(store.FanoutState{Room: uri, Peer: p}))
		}
		return err
	})
	for _, p := range peers {
		x.fanout.Follow(uri, p)
	}
}

// post appends entries whose bodies say their place: "1;", "2;" …
func (x *bench) post(uri mimi.RoomURI, n int) {
	x.Helper()
	for range n {
		x.update(func(tx store.Tx) error {
			r, err := tx.Room(uri)
			if err != nil {
				return err
			}
			body := fmt.Appendf(nil, "%d;", r.Head.Seq+1)
			next := r.Head.Next(body)
			return tx.Append(store.Append{Room: uri, Prev: r.Head, Entry: store.Entry{
				Seq: next.Seq, Hash: next.Hash, Timestamp: next.Seq, Kind: room.KindApplication, Body: body,
				MessageHash: next.Hash,
			}})
		})
	}
	x.fanout.Wake(uri)
}

func (x *bench) state(uri mimi.RoomURI, peer mimi.Domain) store.FanoutState {
	x.Helper()
	var f *store.FanoutState
	if err := x.store.View(context.Background(), func(tx store.ReadTx) (err error) {
		f, err = tx.Fanout(uri, peer)
		return err
	}); err != nil {
		x.Fatal(err)
	}
	return *f
}

// settle waits until the queues have stored what was acknowledged.
func settle() {
	synctest.Wait()
	<-time.After(time.Second) // of the bubble's clock
	synctest.Wait()
}

func bodies(list []request) (out []string) {
	for _, r := range list {
		out = append(out, fmt.Sprintf("%s %d %s", r.peer, r.seq, r.body))
	}
	return out
}

func (x *bench) want(got []request, want ...string) {
	x.Helper()
	if g := bodies(got); !slices.Equal(g, want) {
		x.Errorf("requests %q, want %q", g, want)
	}
}

func TestShipsInOrderInFrozenBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newBench(t, Config{MaxBatch: 3})
		x.answers(func(request) error { return errors.New("no answer") })
		x.host(chat, b)
		x.post(chat, 1)
		synctest.Wait()
		x.want(x.got(), "b.localhost 1 1;")
		// What comes later joins no batch that was sent before, also not after a
		// restart.
		x.post(chat, 6)
		x.kill()
		x.answers(nil)
		x.start()
		settle()
		x.want(x.got(), "b.localhost 1 1;", "b.localhost 4 2;3;4;", "b.localhost 7 5;6;7;")
		if f := x.state(chat, b); f.Acked != 7 || f.Sent != 7 {
			t.Errorf("state %+v, want all acknowledged", f)
		}
		if x.most != 1 {
			t.Errorf("%d requests in flight for one pair", x.most)
		}
		// Nothing more to do means no more requests, also after a restart.
		x.kill()
		x.start()
		x.fanout.Wake(chat)
		synctest.Wait()
		x.want(x.got())
	})
}

func TestBatchBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newBench(t, Config{MaxBatchBytes: 5})
		x.answers(func(request) error { return errors.New("no answer") })
		x.host(chat, b)
		x.post(chat, 5)
		x.answers(nil)
		<-time.After(time.Minute)
		for _, r := range x.got() {
			if len(r.body) > 6 {
				t.Errorf("request of %d octets", len(r.body))
			}
		}
	})
}

func TestBackoffAndPeerAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newBench(t, Config{})
		x.answers(func(request) error { return errors.New("no answer") })
		x.host(chat, b)
		x.post(chat, 1)
		<-time.After(30 * time.Minute)
		list := x.got()
		for i := 1; i < len(list); i++ {
			want := min(300*time.Second, 100*time.Millisecond<<(i-1))
			if d := list[i].at.Sub(list[i-1].at); d != want {
				t.Errorf("attempt %d came after %v, want %v", i+1, d, want)
			}
		}
		if st := x.fanout.Troubled(); len(st) != 1 || st[0].Failures != len(list) || st[0].Error != "no answer" {
			t.Errorf("troubled: %+v", st)
		}
		// Word from another peer changes nothing, word from this one does.
		x.fanout.PeerAlive(c)
		synctest.Wait()
		x.want(x.got())
		x.fanout.PeerAlive(b)
		synctest.Wait()
		x.want(x.got(), "b.localhost 1 1;")
		// And the backoff has begun anew.
		<-time.After(250 * time.Millisecond)
		if n := len(x.got()); n != 1 {
			t.Errorf("%d attempts in 250 ms after word from the peer, want 1", n)
		}
		x.answers(nil)
		<-time.After(time.Second)
		x.want(x.got(), "b.localhost 1 1;")
		if st := x.fanout.Troubled(); len(st) != 0 {
			t.Errorf("troubled: %+v", st)
		}
	})
}

func TestRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newBench(t, Config{})
		for _, q := range []struct{ asked, want time.Duration }{
			{7 * time.Second, 7 * time.Second}, {-time.Second, time.Second}, {10 * 365 * 24 * time.Hour, time.Hour},
		} {
			first := true
			x.answers(func(request) error {
				if first {
					first = false
					return &mimi.Problem{Status: 503, RetryAfter: q.asked}
				}
				return nil
			})
			if x.fanout.rooms[chat] == nil {
				x.host(chat, b)
			}
			x.post(chat, 1)
			synctest.Wait()
			x.fanout.PeerAlive(b) // does not override what the peer asked for
			<-time.After(2 * time.Hour)
			list := x.got()
			if len(list) != 2 || list[1].at.Sub(list[0].at) != q.want {
				t.Errorf("asked for %v: %d requests, second after %v, want %v", q.asked, len(list), list[len(list)-1].at.Sub(list[0].at), q.want)
			}
		}
	})
}

func TestParksAfterRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newBench(t, Config{})
		x.answers(func(r request) error {
			if r.peer == b {
				return &mimi.Problem{Status: 400, Code: "bad-entry"}
			}
			return nil
		})
		x.host(chat, b, c)
		x.post(chat, 2)
		<-time.After(time.Hour)
		refused := slices.DeleteFunc(x.got(), func(r request) bool { return r.peer != b })
		if len(refused) != 3 {
			t.Errorf("%d attempts, want 3", len(refused))
		}
		if f := x.state(chat, b); f.Parked != "refused 3 times: 400 bad-entry" {
			t.Errorf("parked: %q", f.Parked)
		}
		// It stays so over a restart; others go on.
		x.kill()
		x.start()
		x.post(chat, 1)
		<-time.After(time.Hour)
		x.want(x.got(), "c.localhost 3 3;")
		// An operator sets it going, with the batch it stopped at.
		x.answers(nil)
		if err := x.fanout.Resume(context.Background(), chat, b); err != nil {
			t.Fatal(err)
		}
		settle()
		list := x.got()
		if got := bodies(list); len(got) == 0 || got[len(got)-1][len(got[len(got)-1])-2:] != "3;" || list[0].body != refused[0].body {
			t.Errorf("after resume: %q, first tried with %q", got, refused[0].body)
		}
		if f := x.state(chat, b); f.Parked != "" || f.Acked != 3 {
			t.Errorf("state %+v", f)
		}
	})
}

// Other 4xx are for an overloaded peer and never park a queue.
func TestBusyIsNoRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newBench(t, Config{})
		for _, status := range []int{408, 425, 429, 500, 502, 503} {
			x.answers(func(r request) error { return &mimi.Problem{Status: status} })
			if x.fanout.rooms[chat] == nil {
				x.host(chat, b)
			}
			x.post(chat, 1)
			<-time.After(time.Hour)
			if f := x.state(chat, b); f.Parked != "" || len(x.got()) < 10 {
				t.Errorf("status %d: %+v", status, f)
			}
			x.answers(nil)
			<-time.After(time.Hour)
			x.got()
		}
	})
}

func TestWelcomeFollowsItsCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newBench(t, Config{})
		x.host(chat)
		x.post(chat, 2)
		// c starts with the Welcome of entry 2; b follows from the start, and gets
		// a Welcome for a new client with entry 4.
		x.update(func(tx store.Tx) error {
			return errors.Join(
				tx.PutFanout(store.FanoutState{Room: chat, Peer: c, Acked: 2, Sent: 2}),
				tx.PutOutWelcome(store.OutWelcome{Room: chat, Peer: c, Seq: 2, Body: []byte("W2;"), Snapshot: []byte("S")}),
				tx.PutFanout(store.FanoutState{Room: chat, Peer: b}),
				tx.PutOutWelcome(store.OutWelcome{Room: chat, Peer: b, Seq: 4, Body: []byte("W4;")}),
			)
		})
		x.post(chat, 3)
		x.fanout.Follow(chat, b)
		x.fanout.Follow(chat, c)
		synctest.Wait()
		list := x.got()
		byPeer := func(p mimi.Domain) []request {
			return slices.DeleteFunc(slices.Clone(list), func(r request) bool { return r.peer != p })
		}
		x.want(byPeer(c), "c.localhost 2 W2;", "c.localhost 5 3;4;5;")
		x.want(byPeer(b), "b.localhost 4 1;2;3;4;", "b.localhost 4 W4;", "b.localhost 5 5;")
	})
}

func TestUntilEndsAQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newBench(t, Config{})
		x.host(chat, b, c)
		x.post(chat, 2)
		x.update(func(tx store.Tx) error {
			f, err := tx.Fanout(chat, b)
			if err != nil {
				return err
			}
			f.Until = 3
			return tx.PutFanout(*f)
		})
		x.post(chat, 3)
		synctest.Wait()
		var all bytes.Buffer
		for _, r := range x.got() {
			if r.peer == b {
				all.WriteString(r.body)
			}
		}
		if all.String() != "1;2;3;" {
			t.Errorf("b got %q", all.String())
		}
	})
}

// A peer that hangs holds up neither other peers nor, for others, the room.
func TestSlowPeerDelaysNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newBench(t, Config{MaxInFlight: 3})
		release := make(chan struct{})
		x.answers(func(r request) error {
			if r.peer == b {
				<-release
			}
			return nil
		})
		x.host(chat, b, c)
		x.host(other, b, c)
		x.post(chat, 3)
		x.post(other, 3)
		settle()
		if f, g := x.state(chat, c), x.state(other, c); f.Acked != 3 || g.Acked != 3 {
			t.Errorf("c has %+v and %+v while b hangs", f, g)
		}
		close(release)
		settle()
		if f := x.state(chat, b); f.Acked != 3 {
			t.Errorf("b has %+v in the end", f)
		}
		if x.most != 1 {
			t.Errorf("%d requests in flight for one pair", x.most)
		}
	})
}

// Whoever was heard of last, one that follows the room or another, all followers get
// what is new, and once.
func TestWakeReachesAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newBench(t, Config{})
		x.host(chat, b, c)
		for n, heard := range []mimi.Domain{b, c, "elsewhere.example"} {
			x.fanout.PeerAlive(heard)
			x.post(chat, 1)
			settle()
			for _, peer := range []mimi.Domain{b, c} {
				if f := x.state(chat, peer); f.Acked != uint64(n+1) {
					t.Errorf("after a word from %s, %s has %+v", heard, peer, f)
				}
			}
			if got := x.got(); len(got) != 2 {
				t.Errorf("after a word from %s, %d requests", heard, len(got))
			}
		}
	})
}

// Entries that are made the next batch in the transaction that appends them go
// out without a commit of their own, also after a crash.
func TestExtend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newBench(t, Config{MaxBatch: 3})
		x.host(chat, b, c)
		x.post(chat, 2)
		settle()
		x.got()
		extend := func(n int) error {
			from := x.state(chat, b).Sent
			x.update(func(tx store.Tx) error {
				r, err := tx.Room(chat)
				if err != nil {
					return err
				}
				head := r.Head
				for range n {
					body := fmt.Appendf(nil, "%d;", head.Seq+1)
					next := head.Next(body)
					if err := tx.Append(store.Append{Room: chat, Prev: head, Entry: store.Entry{
						Seq: next.Seq, Hash: next.Hash, Timestamp: next.Seq, Kind: room.KindApplication, Body: body, MessageHash: next.Hash,
					}}); err != nil {
						return err
					}
					head = next
				}
				return x.fanout.Extend(tx, chat, from, head.Seq, 4*n)
			})
			return nil
		}
		if err := extend(2); err != nil {
			t.Fatal(err)
		}
		if f := x.state(chat, b); f.Acked != 2 || f.Sent != 4 {
			t.Errorf("state %+v, want the new entries as the next batch", f)
		}
		x.kill() // before anybody was woken
		x.start()
		settle()
		list := x.got()
		slices.SortFunc(list, func(l, r request) int { return cmp.Compare(l.peer, r.peer) })
		x.want(list, "b.localhost 4 3;4;", "c.localhost 4 3;4;")
		if f := x.state(chat, b); f.Acked != 4 || f.Sent != 4 {
			t.Errorf("state %+v, want all acknowledged", f)
		}
		if err := extend(4); err != nil { // more than a batch: the queue cuts it itself
			t.Fatal(err)
		}
		if f := x.state(chat, b); f.Sent != 4 {
			t.Errorf("a batch of more than the limit: %+v", f)
		}
		x.answers(func(r request) error {
			if r.peer == b {
				return errors.New("no answer")
			}
			return nil
		})
		x.fanout.Wake(chat)
		settle()
		before := x.state(chat, b)
		if err := extend(1); err != nil { // b is not at rest
			t.Fatal(err)
		}
		if f := x.state(chat, b); f != before {
			t.Errorf("a queue under way was given another batch: %+v, before %+v", f, before)
		}
		if f := x.state(chat, c); f.Sent != 8 {
			t.Errorf("the other one: %+v", f)
		}
	})
}

// What was stored just now goes out without being read back: what gathers while a
// request is under way, and what Extend made the next batch. The end of each batch
// is durable before it leaves all the same.
func TestFromMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newBench(t, Config{})
		x.host(chat, b)
		x.post(chat, 1)
		settle()
		x.got()
		release := make(chan struct{})
		x.answers(func(r request) error {
			if f := x.state(chat, b); f.Sent != r.seq {
				t.Errorf("entries up to %d leave while the store says %+v", r.seq, f)
			}
			<-release
			return nil
		})
		x.post(chat, 1)
		synctest.Wait()
		x.post(chat, 5)
		synctest.Wait()
		x.views.Store(0)
		release <- struct{}{}
		synctest.Wait()
		if n := x.views.Load() - 1; n != 0 { // the answer's own look
			t.Errorf("%d looks at the store", n)
		}
		x.want(x.got(), "b.localhost 2 2;", "b.localhost 7 3;4;5;6;7;")
		release <- struct{}{}
		synctest.Wait()
		if n := x.views.Load() - 1; n != 0 {
			t.Errorf("%d looks at the store to find nothing", n)
		}
		// An entry that may bring a Welcome or an end takes a look.
		x.update(func(tx store.Tx) error {
			r, err := tx.Room(chat)
			if err != nil {
				return err
			}
			next := r.Head.Next([]byte("8;"))
			return errors.Join(tx.Append(store.Append{Room: chat, Prev: r.Head, Entry: store.Entry{Seq: next.Seq, Hash: next.Hash,
				Timestamp: next.Seq, Kind: room.KindCommit, Body: []byte("8;"), MessageHash: next.Hash}}),
				tx.PutOutWelcome(store.OutWelcome{Room: chat, Seq: 8, Peer: b, Body: []byte("welcome")}))
		})
		x.post(chat, 1)
		for range 3 {
			synctest.Wait()
			release <- struct{}{}
		}
		settle()
		x.want(x.got(), "b.localhost 8 8;", "b.localhost 8 welcome", "b.localhost 9 9;")
	})
}
