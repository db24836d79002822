package client

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/coder/websocket"

	"hubbub/client/clientpb"
	"hubbub/internal/identity"
	"hubbub/mimi"
	"hubbub/mimi/policy"
	"hubbub/mls"
	"hubbub/mls/wire"
)

const fakeDomain = mimi.Domain("a.localhost")

// fake is a provider that keeps everything in memory and takes what it is given:
// against it a device is tested with answers of choice, and measured alone.
type fake struct {
	clientpb.UnimplementedClientServiceHandler
	t      testing.TB
	srv    *httptest.Server
	root   []byte
	issuer *identity.Issuer
	sender []byte

	// refuse decides on each write; nil, or nil from it, takes the write.
	refuse func(*clientpb.NewSubmission) *clientpb.ErrorDetail
	// created answers requests to make a room; nil = it is made.
	created func() error

	mu      sync.Mutex
	pos     map[mimi.RoomURI]Pos
	queues  map[string][][]byte // by token: encoded frames
	members map[mimi.RoomURI][]string
	calls   []int // writes in each Submit
	changed chan struct{}
}

func newFake(t testing.TB) *fake {
	t.Helper()
	f := &fake{t: t, pos: map[mimi.RoomURI]Pos{}, queues: map[string][][]byte{}, members: map[mimi.RoomURI][]string{},
		changed: make(chan struct{})}
	ca, err := identity.NewCA("client test")
	f.ok(err)
	pair, err := ca.IssueIdentityCA(fakeDomain)
	f.ok(err)
	f.issuer, err = identity.NewIssuer(fakeDomain, pair)
	f.ok(err)
	file := filepath.Join(t.TempDir(), "ca.pem")
	f.ok(ca.WriteCert(file))
	_, roots, err := identity.LoadRoots(file)
	f.ok(err)
	f.root = roots[0]
	key, err := mls.NewSignatureKey(suite, nil)
	f.ok(err)
	f.sender, err = wire.Marshal(&mls.ExternalSender{SignatureKey: key.Public, Credential: mimi.ProviderCredential(fakeDomain)})
	f.ok(err)
	mux := http.NewServeMux()
	mux.Handle(clientpb.NewClientServiceHandler(f))
	mux.HandleFunc(clientpb.SyncPath, f.sync)
	f.srv = httptest.NewServer(mux)
	t.Cleanup(f.srv.Close)
	return f
}

func (f *fake) ok(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

// ctx bounds a wait, so that one in vain fails its test and not the whole run.
func (f *fake) ctx() context.Context {
	ctx, cancel := context.WithTimeout(f.t.Context(), 2*patience)
	f.t.Cleanup(cancel)
	return ctx
}

// enrol makes a device without asking anybody.
func (f *fake) enrol(user, name string) (dir string) {
	f.t.Helper()
	dir = filepath.Join(f.t.TempDir(), name)
	f.ok(os.MkdirAll(dir, 0o700))
	uri, err := mimi.ParseHandle(user + "@" + string(fakeDomain))
	f.ok(err)
	db, err := openDB(dir)
	f.ok(err)
	defer db.Close()
	d, err := beginEnrol(db, EnrolOptions{Dir: dir, Server: f.srv.URL, User: uri, Device: name})
	f.ok(err)
	var key mls.SignatureKey
	f.ok(key.UnmarshalBinary(d.Key))
	d.Chain, err = f.issuer.IssueClient(uri, mimi.ClientURI(d.Client), key.Public, time.Now().Add(24*time.Hour))
	f.ok(err)
	d.Domain, d.Roots, d.HubSender = string(fakeDomain), [][]byte{f.root}, f.sender
	f.ok(d.store(db, keyDevice))
	return dir
}

func (f *fake) open(dir string, o *Options) *Client {
	f.t.Helper()
	c, err := Open(f.t.Context(), dir, o)
	f.ok(err)
	f.t.Cleanup(func() { c.Close() })
	f.ok(c.WaitConnected(f.ctx()))
	return c
}

// room makes a room of the first device and adds the others.
func (f *fake) room(creator *Client, others ...*Client) mimi.RoomURI {
	f.t.Helper()
	uri, _, err := creator.CreateRoom(f.ctx(), RoomOptions{Name: "room"})
	f.ok(err)
	f.mu.Lock()
	f.pos[uri], f.members[uri] = startPos(uri), []string{creator.dev.Token}
	f.mu.Unlock()
	if len(others) == 0 {
		return uri
	}
	var newcomers []*newcomer
	for _, c := range others {
		bodies, err := c.makeKeyPackages(1)
		f.ok(err)
		kp := new(mls.KeyPackage)
		f.ok(wire.Unmarshal(bodies[0], kp))
		if i := slices.IndexFunc(newcomers, func(n *newcomer) bool { return n.result.User == c.User() }); i >= 0 {
			newcomers[i].packages = append(newcomers[i].packages, kp)
			continue
		}
		newcomers = append(newcomers, &newcomer{result: &AddResult{User: c.User()}, packages: []*mls.KeyPackage{kp}, role: policy.Member})
	}
	var welcome *mls.Welcome
	f.ok(creator.change(f.ctx(), uri, func(r *room) (*mls.PendingCommit, error) {
		commit, err := addAll(r, newcomers)
		if err == nil {
			welcome = commit.Welcome()
		}
		return commit, err
	}))
	creator.mu.Lock()
	tree := creator.rooms[uri].group.Tree()
	creator.mu.Unlock()
	m := mimi.FanoutMessage{Timestamp: uint64(time.Now().UnixMilli()), Message: *mls.NewMessage(welcome),
		RatchetTree: mimi.RatchetTreeOption{Representation: mimi.TreeFull, Tree: tree}}
	body, err := m.Marshal()
	f.ok(err)
	f.mu.Lock()
	for _, c := range others {
		pos := f.pos[uri]
		f.members[uri] = append(f.members[uri], c.dev.Token)
		f.tell(c.dev.Token, &clientpb.ServerFrame{Frame: &clientpb.ServerFrame_Welcome{Welcome: &clientpb.Welcome{
			Room: string(uri), Seq: pos.Seq, Hash: pos.Hash[:], Body: body}}})
	}
	f.mu.Unlock()
	for _, c := range others {
		f.until(c, func() bool { return c.rooms[uri].member() == nil })
	}
	return uri
}

// until waits for a condition on a device's state, which is looked at with mu held.
func (f *fake) until(c *Client, holds func() bool) {
	f.t.Helper()
	deadline := time.NewTimer(2 * patience)
	defer deadline.Stop()
	for {
		c.mu.Lock()
		done, changed := holds(), c.changed
		c.mu.Unlock()
		if done {
			return
		}
		select {
		case <-changed:
		case <-deadline.C:
			f.t.Fatalf("%s: waited in vain", c.URI())
		}
	}
}

// tell queues a frame for a device. mu is held.
func (f *fake) tell(token string, frame *clientpb.ServerFrame) {
	b, err := clientpb.AppendFrame(nil, frame)
	if err != nil {
		panic(err)
	}
	f.queues[token] = append(f.queues[token], b)
	close(f.changed)
	f.changed = make(chan struct{})
}

// append makes a message the next entry of its room. mu is held.
func (f *fake) append(uri mimi.RoomURI, m mls.Message) (Pos, uint64) {
	entry := mimi.FanoutMessage{Timestamp: uint64(time.Now().UnixMilli()), Message: m}
	body, err := entry.Marshal()
	if err != nil {
		panic(err)
	}
	pos := f.pos[uri].next(body)
	f.pos[uri] = pos
	frame := &clientpb.ServerFrame{Frame: &clientpb.ServerFrame_Entry{Entry: &clientpb.RoomEntry{Room: string(uri),
		Entry: &clientpb.Entry{Seq: pos.Seq, Hash: pos.Hash[:], Body: body}}}}
	for _, token := range f.members[uri] {
		f.tell(token, frame)
	}
	return pos, entry.Timestamp
}

// message appends an application message.
func (f *fake) message(uri mimi.RoomURI, octets []byte) {
	m, err := mls.ParseMessage(octets)
	f.ok(err)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.append(uri, *m)
}

func (f *fake) Submit(_ context.Context, req *connect.Request[clientpb.SubmitRequest]) (*connect.Response[clientpb.SubmitResponse], error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := &clientpb.SubmitResponse{}
	f.calls = append(f.calls, len(req.Msg.Submissions))
	for _, n := range req.Msg.Submissions {
		if f.refuse != nil {
			if d := f.refuse(n); d != nil {
				out.Results = append(out.Results, &clientpb.SubmitResult{Outcome: &clientpb.SubmitResult_Error{Error: d}})
				continue
			}
		}
		s, err := f.post(n)
		if err != nil {
			return nil, connect.NewError(connect.CodeInvalidArgument, err)
		}
		out.Results = append(out.Results, &clientpb.SubmitResult{Outcome: &clientpb.SubmitResult_Submission{Submission: s}})
	}
	return connect.NewResponse(out), nil
}

func (f *fake) post(n *clientpb.NewSubmission) (*clientpb.Submission, error) {
	var m mls.Message
	if n.Kind == clientpb.SubmissionKind_SUBMISSION_KIND_MESSAGE {
		r, err := mimi.ParseSubmitMessageRequest(n.Body)
		if err != nil {
			return nil, err
		}
		m = r.Message
	} else {
		h, err := mimi.ParseHandshakeBundle(n.Body)
		if err != nil {
			return nil, err
		}
		m = h.Message
	}
	pos, at := f.append(mimi.RoomURI(n.Room), m)
	return &clientpb.Submission{Txn: n.Txn, Room: n.Room, Kind: n.Kind, State: clientpb.SubmissionState_SUBMISSION_STATE_POSTED,
		Seq: pos.Seq, AcceptedTimestamp: at}, nil
}

func (f *fake) CreateRoom(context.Context, *connect.Request[clientpb.CreateRoomRequest]) (*connect.Response[clientpb.CreateRoomResponse], error) {
	if f.created != nil {
		if err := f.created(); err != nil {
			return nil, err
		}
	}
	return connect.NewResponse(&clientpb.CreateRoomResponse{}), nil
}

func (f *fake) KeyPackageStatus(context.Context, *connect.Request[clientpb.KeyPackageStatusRequest]) (*connect.Response[clientpb.KeyPackageStatusResponse], error) {
	return connect.NewResponse(&clientpb.KeyPackageStatusResponse{Available: 100}), nil
}

func (f *fake) GetProvider(context.Context, *connect.Request[clientpb.GetProviderRequest]) (*connect.Response[clientpb.GetProviderResponse], error) {
	return connect.NewResponse(&clientpb.GetProviderResponse{Domain: string(fakeDomain), CredentialRoots: [][]byte{f.root}, HubExternalSender: f.sender}), nil
}

func (f *fake) GetRoom(_ context.Context, req *connect.Request[clientpb.GetRoomRequest]) (*connect.Response[clientpb.GetRoomResponse], error) {
	return connect.NewResponse(&clientpb.GetRoomResponse{Room: &clientpb.Room{Room: req.Msg.Room}}), nil
}

// sync serves a stream. What a device has it is sent again, and passes over.
func (f *fake) sync(w http.ResponseWriter, r *http.Request) {
	token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{clientpb.SyncBatch}})
	if err != nil {
		return
	}
	defer conn.CloseNow()
	ctx, stop := context.WithCancel(r.Context())
	defer stop()
	go func() { // acks are of no interest
		defer stop()
		for {
			if _, _, err := conn.Read(ctx); err != nil {
				return
			}
		}
	}()
	live, err := clientpb.AppendFrame(nil, &clientpb.ServerFrame{Frame: &clientpb.ServerFrame_Live{Live: &clientpb.Live{}}})
	for sent := 0; err == nil; {
		f.mu.Lock()
		queue, changed := f.queues[token][sent:], f.changed
		f.mu.Unlock()
		sent += len(queue)
		for err == nil && len(queue) > 0 {
			var out []byte
			for len(queue) > 0 && len(out) < 32<<10 {
				out, queue = append(out, queue[0]...), queue[1:]
			}
			err = conn.Write(ctx, websocket.MessageBinary, out)
		}
		if live != nil && err == nil {
			err, live = conn.Write(ctx, websocket.MessageBinary, live), nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// TestFake: what is measured and tested against it works.
func TestFake(t *testing.T) {
	f := newFake(t)
	alice, bob := f.open(f.enrol("alice", "phone"), nil), f.open(f.enrol("bob", "phone"), nil)
	uri := f.room(alice, bob)
	m, err := alice.Send(f.ctx(), uri, "hello")
	f.ok(err)
	if _, err := alice.WaitPosted(f.ctx(), uri, m.ID); err != nil {
		t.Fatal(err)
	}
	f.until(bob, func() bool { return bob.rooms[uri].pos.Seq == 2 })
	list, err := bob.Messages(f.ctx(), uri, 0, 0)
	if err != nil || len(list) != 1 || list[0].Text != "hello" {
		t.Fatal(list, err)
	}
}
