package api

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/coder/websocket"
	"google.golang.org/protobuf/proto"

	"hubbub/client/clientpb"
	"hubbub/internal/identity"
	"hubbub/internal/room"
	"hubbub/internal/store"
	"hubbub/internal/store/sqlstore"
	"hubbub/internal/tail"
	"hubbub/mimi"
)

const (
	domain mimi.Domain  = "a.localhost"
	lobby  mimi.RoomURI = "mimi://a.localhost/r/lobby"
	attic  mimi.RoomURI = "mimi://a.localhost/r/attic"
	remote mimi.RoomURI = "mimi://b.localhost/r/remote"
	alice  mimi.UserURI = "mimi://a.localhost/u/alice"
	eve    mimi.UserURI = "mimi://a.localhost/u/eve"
	bob    mimi.UserURI = "mimi://b.localhost/u/bob"
)

// patience is how long anything may take on a busy machine.
const patience = 20 * time.Second

// harness is an API on a store of its own. It is also the Rooms, Creator and
// KeyPackages behind it: the smallest that keep their promises.
type harness struct {
	*testing.T
	s      *Server
	store  store.Store
	server *httptest.Server
	ctx    context.Context
	heads  map[mimi.RoomURI]room.Pos
	stop   func() // ends the server's background work
	keys   map[mimi.ClientURI]ed25519.PrivateKey

	mu        sync.Mutex
	submitted []store.Submission // what got through to Rooms
	refusal   error              // what Rooms says next
}

func newHarness(t *testing.T, change ...func(*Config)) *harness {
	var st store.Store
	st, err := sqlstore.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	t.Cleanup(cancel)
	tails := tail.New(1 << 20)
	st = tail.Watch(st, tails)
	h := &harness{T: t, store: st, ctx: ctx, heads: map[mimi.RoomURI]room.Pos{}, keys: map[mimi.ClientURI]ed25519.PrivateKey{}}
	ca, err := identity.NewCA("api test")
	h.ok(err)
	pair, err := ca.IssueIdentityCA(domain)
	h.ok(err)
	issuer, err := identity.NewIssuer(domain, pair)
	h.ok(err)
	cfg := Config{Domain: domain, Store: st, Rooms: h, Creator: h, KeyPackages: h, Issuer: issuer, Notifier: NewNotifier(), Tails: tails, AckEvery: time.Millisecond,
		Peer: func(mimi.Domain) PeerStatus { return PeerStatus{LastError: "no answer"} }}
	for _, c := range change {
		c(&cfg)
	}
	h.s = New(cfg)
	run, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); h.s.Run(run) }()
	h.server = httptest.NewServer(h.s.Handler())
	h.stop = func() { stop(); <-done }
	t.Cleanup(func() { h.stop(); h.server.Close() })
	return h
}

func (h *harness) ok(err error) {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
}

func (h *harness) Submit(ctx context.Context, s store.Submission) (store.Submission, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.submitted = append(h.submitted, s)
	if h.refusal != nil {
		return s, h.refusal
	}
	s.State, s.EnqueuedAt = store.Queued, 1
	var out store.Submission
	err := h.store.Update(ctx, func(tx store.Tx) (err error) { out, err = tx.Enqueue(s); return err })
	return out, err
}

func (h *harness) GroupInfo(context.Context, mimi.ClientURI, mimi.RoomURI, []byte) ([]byte, error) {
	return nil, mimi.NewProblem(http.StatusGatewayTimeout, "peer-unreachable", "b.localhost does not answer")
}

func (h *harness) KeyMaterial(context.Context, mimi.ClientURI, mimi.UserURI, []byte) ([]byte, error) {
	return nil, errors.New("no key material here")
}

func (h *harness) CreateRoom(context.Context, mimi.ClientURI, mimi.RoomURI, []byte, []byte) (room.Pos, error) {
	return room.Pos{}, mimi.NewProblem(http.StatusForbidden, "notAllowed", "not a group")
}

func (h *harness) Publish(context.Context, mimi.ClientURI, [][]byte) error {
	return mimi.NewProblem(http.StatusBadRequest, "bad-key-package", "key package 1 does not decode")
}

// client enrols a device directly; its token is its URI.
func (h *harness) client(user mimi.UserURI, device string) mimi.ClientURI {
	h.Helper()
	uri, err := mimi.NewClient(user, device)
	h.ok(err)
	h.ok(h.store.Update(h.ctx, func(tx store.Tx) error {
		if err := tx.CreateUser(user, time.Now()); err != nil && !errors.Is(err, store.ErrExists) {
			return err
		}
		code := sha256.Sum256([]byte(uri))
		if err := tx.PutEnrolment(code, user, time.Now().Add(time.Hour)); err != nil {
			return err
		}
		key, private, _ := ed25519.GenerateKey(nil)
		h.keys[uri] = private
		return tx.Enrol(code, store.Client{URI: uri, User: user, TokenHash: sha256.Sum256([]byte(uri)), SignatureKey: key, CreatedAt: time.Now()}, time.Now())
	}))
	return uri
}

// room makes a room of which the users are participants and the clients members.
func (h *harness) room(uri mimi.RoomURI, epoch uint64, users []mimi.UserURI, clients ...mimi.ClientURI) {
	h.Helper()
	start := room.StartPos(uri)
	h.heads[uri] = start
	rec := store.RoomRecord{URI: uri, Hub: uri.Domain(), Head: start, Start: start, Epoch: epoch, State: []byte("state")}
	var participants []room.Participant
	var changes []room.Change
	for _, u := range users {
		participants = append(participants, room.Participant{User: u, Role: 2})
		changes = append(changes, room.Change{Actor: u, Action: room.Added, User: u, Role: 2})
	}
	var joined []store.Membership
	for _, c := range clients {
		joined = append(joined, store.Membership{Room: uri, Client: c, User: c.User()})
	}
	h.ok(h.store.Update(h.ctx, func(tx store.Tx) error { return tx.CreateRoom(rec, changes, participants, joined) }))
	h.s.Notifier.Wake(uri)
}

// post appends an entry with the text as its body and wakes the streams.
func (h *harness) post(uri mimi.RoomURI, text string, more ...func(*store.Append)) uint64 {
	h.Helper()
	prev := h.heads[uri]
	next := prev.Next([]byte(text))
	a := store.Append{Room: uri, Prev: prev, Entry: store.Entry{Seq: next.Seq, Timestamp: 1000 + next.Seq, Kind: room.KindApplication,
		Body: []byte(text), Hash: next.Hash, MessageHash: sha256.Sum256([]byte(text))}}
	for _, f := range more {
		f(&a)
	}
	h.ok(h.store.Update(h.ctx, func(tx store.Tx) error { return tx.Append(a) }))
	h.heads[uri] = next
	h.s.Notifier.Wake(uri)
	return next.Seq
}

func joins(c mimi.ClientURI, seq uint64) func(*store.Append) {
	return func(a *store.Append) {
		a.Joined = append(a.Joined, store.Membership{Room: a.Room, Client: c, User: c.User(), After: seq})
		a.Changes = append(a.Changes, room.Change{Seq: a.Entry.Seq, Actor: c.User(), Action: room.ClientJoined, User: c.User(), Client: c})
	}
}

func leaves(c mimi.ClientURI) func(*store.Append) {
	return func(a *store.Append) {
		a.Left = append(a.Left, c)
		a.Changes = append(a.Changes, room.Change{Seq: a.Entry.Seq, Actor: c.User(), Action: room.ClientLeft, User: c.User(), Client: c})
	}
}

// dump is everything in the store but the audit log.
func (h *harness) dump() (out string) {
	h.Helper()
	h.ok(h.store.View(h.ctx, func(tx store.ReadTx) (err error) { out, err = tx.Dump(); return err }))
	return out
}

// api gives calls in a client's name; no name, no token.
func (h *harness) api(as mimi.ClientURI) clientpb.ClientServiceClient {
	return clientpb.NewClientServiceClient(h.server.Client(), h.server.URL, connect.WithInterceptors(connect.UnaryInterceptorFunc(
		func(next connect.UnaryFunc) connect.UnaryFunc {
			return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
				if as != "" {
					req.Header().Set("Authorization", "Bearer "+string(as))
				}
				return next(ctx, req)
			}
		})))
}

// feed is a sync stream as a test reads it.
type feed struct {
	h    *harness
	conn *websocket.Conn
}

func (h *harness) tail(as mimi.ClientURI) *feed {
	h.Helper()
	conn, _, err := websocket.Dial(h.ctx, h.server.URL+clientpb.SyncPath, &websocket.DialOptions{
		HTTPHeader: http.Header{"Authorization": {"Bearer " + string(as)}}, Subprotocols: []string{clientpb.SyncProtocol}})
	h.ok(err)
	h.Cleanup(func() { conn.CloseNow() })
	conn.SetReadLimit(-1)
	t := &feed{h, conn}
	if hello := t.next(); hello != "hello "+string(as) {
		h.Fatalf("first frame is %q", hello)
	}
	return t
}

// next gives the next frame in a few words.
func (t *feed) next() string {
	t.h.Helper()
	s, err := t.read()
	t.h.ok(err)
	return s
}

func (t *feed) read() (string, error) {
	ctx, cancel := context.WithTimeout(t.h.ctx, patience)
	defer cancel()
	_, data, err := t.conn.Read(ctx)
	if err != nil {
		return "", err
	}
	var f clientpb.ServerFrame
	if err := proto.Unmarshal(data, &f); err != nil {
		return "", err
	}
	return describe(&f), nil
}

func describe(f *clientpb.ServerFrame) string {
	switch f := f.Frame.(type) {
	case *clientpb.ServerFrame_Hello:
		return "hello " + f.Hello.Client
	case *clientpb.ServerFrame_RoomChanged:
		return fmt.Sprintf("room %s in=%t member=%t", f.RoomChanged.Room, f.RoomChanged.Participant, f.RoomChanged.Member)
	case *clientpb.ServerFrame_Welcome:
		return fmt.Sprintf("welcome %s %d %s", f.Welcome.Room, f.Welcome.Seq, f.Welcome.Body)
	case *clientpb.ServerFrame_Entry:
		return fmt.Sprintf("entry %s %d %.20s", f.Entry.Room, f.Entry.Entry.Seq, f.Entry.Entry.Body)
	case *clientpb.ServerFrame_Submission:
		return fmt.Sprintf("submission %s %s seq=%d", f.Submission.Txn, f.Submission.State, f.Submission.Seq)
	case *clientpb.ServerFrame_Removed:
		return fmt.Sprintf("removed %s %d", f.Removed.Room, f.Removed.Seq)
	case *clientpb.ServerFrame_Live:
		return "live"
	}
	return "unknown"
}

// want reads frames and compares.
func (t *feed) want(frames ...string) {
	t.h.Helper()
	for _, want := range frames {
		if got := t.next(); got != want {
			t.h.Fatalf("frame %q, want %q", got, want)
		}
	}
}

// wantAmid is want for frames among which one, amid, may come at any place: it
// is about another matter and rings its own bell.
func (t *feed) wantAmid(amid string, frames ...string) {
	t.h.Helper()
	seen := false
	for len(frames) > 0 || !seen {
		got := t.next()
		switch {
		case got == amid && !seen:
			seen = true
		case len(frames) > 0 && got == frames[0]:
			frames = frames[1:]
		default:
			t.h.Fatalf("frame %q, want %q amid %q", got, amid, frames)
		}
	}
}

func (t *feed) ack(uri mimi.RoomURI, seq uint64) {
	t.h.Helper()
	t.send(&clientpb.ClientFrame{Frame: &clientpb.ClientFrame_Ack{Ack: &clientpb.Ack{Room: string(uri), Seq: seq}}})
}

func (t *feed) send(f *clientpb.ClientFrame) {
	t.h.Helper()
	data, err := proto.Marshal(f)
	t.h.ok(err)
	t.h.ok(t.conn.Write(t.h.ctx, websocket.MessageBinary, data))
}

// closed expects the server to end the stream with a code.
func (t *feed) closed(code websocket.StatusCode) {
	t.h.Helper()
	for {
		_, err := t.read()
		if err == nil {
			continue
		}
		if got := websocket.CloseStatus(err); got != code {
			t.h.Fatalf("stream ended with %v (%v), want %v", got, err, code)
		}
		return
	}
}

// acked waits until the store knows of an ack.
func (h *harness) acked(c mimi.ClientURI, uri mimi.RoomURI, seq uint64) {
	h.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		var got uint64
		h.ok(h.store.View(h.ctx, func(tx store.ReadTx) error {
			spans, err := tx.MembershipsIn(c, uri)
			for _, m := range spans {
				got = max(got, m.Acked)
			}
			return err
		}))
		if got >= seq {
			return
		}
		select {
		case <-tick.C:
		case <-h.ctx.Done():
			h.Fatalf("%s acked %d of %s, want %d", c, got, uri, seq)
		}
	}
}
