//go:build unix

package catchup_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"io"
	"net"
	"os"
	"runtime/metrics"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"hubbub/internal/federation"
	"hubbub/internal/follower"
	"hubbub/internal/hub"
	"hubbub/internal/identity"
	"hubbub/internal/room"
	"hubbub/internal/room/roomtest"
	"hubbub/internal/store"
	"hubbub/internal/store/sqlstore"
	"hubbub/mimi"
	"hubbub/mls"
	"hubbub/mls/wire"
)

const (
	benchRoom mimi.RoomURI = "mimi://a.localhost/r/long"
	// benchEntries is the length of the log, unless the environment says
	// HUBBUB_CATCHUP_ENTRIES.
	benchEntries = 20_000
	// benchCiphertext makes entries of about 500 octets, as a post of 200 does.
	benchCiphertext = 390
)

// BenchmarkCatchUp is a follower that missed a long log: its hub and itself in one
// process, on two databases, with the TLS connection between them that two
// processes would have. "stream" is the hub's half alone: what it sends is read
// and thrown away.
func BenchmarkCatchUp(b *testing.B) {
	x := newLongRoom(b)
	b.Run("stream", func(b *testing.B) { x.measure(b, x.stream) })
	b.Run("whole", func(b *testing.B) { x.measure(b, x.catchUp) })
}

// longRoom is a hub with a room of many entries.
type longRoom struct {
	entries int
	st      store.Store
	hub     *hub.Hub
	remote  *federation.Client // of the follower's provider
	bob     *roomtest.Client
	start   room.Pos // where bob's provider begins
	head    room.Pos
}

func newLongRoom(b *testing.B) *longRoom {
	b.Helper()
	x := &longRoom{entries: benchEntries, st: openStore(b, b.TempDir())}
	if s := os.Getenv("HUBBUB_CATCHUP_ENTRIES"); s != "" {
		var err error
		x.entries, err = strconv.Atoi(s)
		check(b, err)
	}
	w := &roomtest.World{T: b, Now: time.Now}
	key := w.NewKey()
	x.hub = hub.New(hub.Config{Domain: "a.localhost", Store: x.st, Env: roomtest.Env(), SignatureKey: key})
	alice := w.Client("alice@a.localhost", "phone")
	x.bob = w.Client("bob@b.localhost", "phone")
	in := alice.Create(benchRoom, key)
	enrol(b, x.st, alice)
	check(b, x.hub.Create(b.Context(), alice.URI, hub.CreateRequest{Room: benchRoom, GroupInfo: in.GroupInfo, Tree: in.Tree}))
	_, err := x.hub.Update(b.Context(), "a.localhost", benchRoom, alice.Add(x.bob.KeyPackage()))
	check(b, err)
	x.fill(b)
	x.connect(b)
	return x
}

// fill appends messages as the hub would store them. They decrypt to nothing,
// which no provider could tell.
func (x *longRoom) fill(b *testing.B) {
	b.Helper()
	var rec *store.RoomRecord
	check(b, x.st.View(b.Context(), func(tx store.ReadTx) (err error) {
		rec, err = tx.Room(benchRoom)
		return err
	}))
	s, err := room.Decode(roomtest.Env(), rec.State)
	check(b, err)
	x.start = rec.Head
	pos, at := rec.Head, rec.LastTimestamp
	for left := x.entries; left > 0; {
		n := min(left, 1000)
		left -= n
		list := make([]store.Append, n)
		for i := range list {
			at++
			m := mls.NewMessage(&mls.PrivateMessage{GroupID: s.Group().GroupID(), Epoch: s.Epoch(), ContentType: mls.ContentTypeApplication,
				EncryptedSenderData: random(28), Ciphertext: random(benchCiphertext)})
			raw, err := wire.Marshal(m)
			check(b, err)
			body, err := (&mimi.FanoutMessage{Timestamp: at, Message: *m}).Marshal()
			check(b, err)
			next := pos.Next(body)
			list[i] = store.Append{Room: benchRoom, Prev: pos, Entry: store.Entry{Seq: next.Seq, Timestamp: at,
				Kind: room.KindApplication, Body: body, Hash: next.Hash, MessageHash: sha256.Sum256(raw)}}
			pos = next
		}
		check(b, x.st.Update(b.Context(), func(tx store.Tx) error { return tx.AppendAll(list) }))
	}
	x.head = pos
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

// connect puts federation between the hub and the follower.
func (x *longRoom) connect(b *testing.B) {
	b.Helper()
	ca, err := identity.NewCA("bench")
	check(b, err)
	serverTLS, err := ca.IssueTLS("a.localhost")
	check(b, err)
	clientTLS, err := ca.IssueTLS("b.localhost")
	check(b, err)
	serverCert, err := serverTLS.TLS()
	check(b, err)
	clientCert, err := clientTLS.TLS()
	check(b, err)
	server, err := federation.NewServer(federation.ServerConfig{Domain: "a.localhost", Certificate: serverCert, Roots: ca.Pool(),
		Roles: hubRoles{hub: x.hub}, Entries: x.hub})
	check(b, err)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	check(b, err)
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }()
	x.remote = federation.NewClient(federation.ClientConfig{Domain: "b.localhost", Certificate: clientCert, Roots: ca.Pool(),
		Address: map[mimi.Domain]string{"a.localhost": ln.Addr().String()}})
	b.Cleanup(func() {
		x.remote.Close()
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		server.Shutdown(ctx)
		<-served
	})
}

// hubRoles answers what a follower asks while it catches up.
type hubRoles struct {
	federation.Roles
	hub *hub.Hub
}

func (r hubRoles) Snapshot(ctx context.Context, peer mimi.Domain, uri mimi.RoomURI, seq uint64) ([]byte, error) {
	return r.hub.Snapshot(ctx, peer, uri, seq)
}

// measure runs one half or both, and reports what an entry costs in processor
// time and what it allocates, and how much memory was in use at the most.
func (x *longRoom) measure(b *testing.B, run func(b *testing.B) time.Duration) {
	peak := watchHeap()
	var used time.Duration
	for b.Loop() {
		used += run(b)
	}
	most := peak()
	n := float64(b.N * x.entries)
	b.ReportMetric(n/b.Elapsed().Seconds(), "entries/s")
	b.ReportMetric(float64(used.Microseconds())/n, "cpu-µs/entry")
	b.ReportMetric(float64(most)/(1<<20), "peak-MiB")
	b.ReportMetric(0, "ns/op")
}

func (x *longRoom) stream(b *testing.B) time.Duration {
	began := processorTime()
	head, body, err := x.remote.CatchUp(b.Context(), "a.localhost", benchRoom, x.start)
	check(b, err)
	defer body.Close()
	if head != x.head {
		b.Fatalf("the log ends at %v, want %v", head, x.head)
	}
	_, err = io.Copy(io.Discard, body)
	check(b, err)
	return processorTime() - began
}

// catchUp begins with a provider that knows its user and nothing of the room.
func (x *longRoom) catchUp(b *testing.B) time.Duration {
	b.StopTimer()
	dir, err := os.MkdirTemp(b.TempDir(), "")
	check(b, err)
	st := openStore(b, dir)
	enrol(b, st, x.bob)
	f := follower.New(follower.Config{Domain: "b.localhost", Store: st, Env: roomtest.Env(), Remote: hubOnly{x.remote}, Entries: x.remote})
	began := processorTime()
	b.StartTimer()
	at, err := f.CatchUp(b.Context(), benchRoom)
	b.StopTimer()
	used := processorTime() - began
	check(b, err)
	if at != x.head {
		b.Fatalf("caught up to %v, want %v", at, x.head)
	}
	check(b, st.Close())
	check(b, os.RemoveAll(dir))
	b.StartTimer()
	return used
}

// hubOnly is a Remote that asks for nothing but snapshots.
type hubOnly struct{ *federation.Client }

func (h hubOnly) SubmitMessage(context.Context, mimi.Domain, mimi.RoomURI, []byte) ([]byte, error) {
	return nil, errors.ErrUnsupported
}

func (h hubOnly) Update(context.Context, mimi.Domain, mimi.RoomURI, []byte) ([]byte, error) {
	return nil, errors.ErrUnsupported
}

func enrol(b *testing.B, st store.Store, c *roomtest.Client) {
	b.Helper()
	code := [32]byte(random(32))
	check(b, st.Update(b.Context(), func(tx store.Tx) error {
		return errors.Join(tx.CreateUser(c.User, time.Now()), tx.PutEnrolment(code, c.User, time.Now().Add(time.Hour)),
			tx.Enrol(code, store.Client{URI: c.URI, User: c.User, TokenHash: code, SignatureKey: c.Key().Public, CreatedAt: time.Now()}, time.Now()))
	}))
}

func openStore(b *testing.B, dir string) store.Store {
	b.Helper()
	st, err := sqlstore.Open(dir)
	check(b, err)
	b.Cleanup(func() { st.Close() })
	return st
}

func check(b *testing.B, err error) {
	if err != nil {
		b.Helper()
		b.Fatal(err)
	}
}

func processorTime() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// watchHeap samples the memory in use by the program until the function it
// returns is called, which gives the most it saw.
func watchHeap() (most func() uint64) {
	var peak atomic.Uint64
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
		for {
			metrics.Read(s)
			peak.Store(max(peak.Load(), s[0].Value.Uint64()))
			select {
			case <-tick.C:
			case <-stop:
				return
			}
		}
	}()
	return func() uint64 {
		close(stop)
		<-done
		return peak.Load()
	}
}
