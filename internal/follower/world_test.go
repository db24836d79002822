package follower_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	mrand "math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"

	"hubbub/internal/fanout"
	"hubbub/internal/follower"
	"hubbub/internal/hub"
	"hubbub/internal/keymaterial"
	"hubbub/internal/room"
	"hubbub/internal/room/roomtest"
	"hubbub/internal/store"
	"hubbub/internal/store/sqlstore"
	"hubbub/mimi"
	"hubbub/mls"
	"hubbub/mls/wire"
)

const chat mimi.RoomURI = "mimi://a.localhost/r/chat"

// world is a few providers on a network that loses, repeats and delays.
type world struct {
	*testing.T
	clients   *roomtest.World
	providers map[mimi.Domain]*provider
	order     []mimi.Domain
	bare      bool // no catching up
	plain     bool // hubs offer nothing but what MIMI has

	mu     sync.Mutex
	rand   *mrand.Rand
	faults float64              // probability of each kind of fault
	down   map[mimi.Domain]bool // answers nobody
	mute   bool                 // hubs announce nothing
	calls  int
}

// provider is one of them, with everything real but the network.
type provider struct {
	*world
	services // of the present life; the network reads it under world.mu
	domain   mimi.Domain
	dir      string
	key      *mls.SignatureKey
	snapshot []byte                        // what a hub answers instead of the truth; nil = the truth
	disk     func(store.Store) store.Store // faults of the next lives; nil = none
	stop     context.CancelFunc
	done     sync.WaitGroup
}

// services are what a provider runs between start and kill.
type services struct {
	store    store.Store
	hub      *hub.Hub
	follower *follower.Follower
	fanout   *fanout.Fanout
	keys     *keymaterial.Service
}

func newWorld(t *testing.T, seed uint64, domains ...mimi.Domain) *world {
	return makeWorld(t, seed, false, domains...)
}

// makeWorld is newWorld, bare if there is to be no catching up.
func makeWorld(t *testing.T, seed uint64, bare bool, domains ...mimi.Domain) *world {
	w := &world{bare: bare, T: t, providers: map[mimi.Domain]*provider{}, order: domains,
		rand: mrand.New(mrand.NewPCG(seed, 1)), down: map[mimi.Domain]bool{}}
	w.clients = &roomtest.World{T: t, Now: time.Now}
	for _, d := range domains {
		p := &provider{world: w, domain: d, dir: t.TempDir(), key: w.clients.NewKey()}
		w.providers[d] = p
		p.start()
	}
	t.Cleanup(func() {
		for _, p := range w.providers {
			p.kill()
		}
	})
	return w
}

// start opens the provider on its data, as after a crash.
func (p *provider) start() {
	p.Helper()
	var s store.Store
	s, err := sqlstore.Open(p.dir)
	if err != nil {
		p.Fatal(err)
	}
	if p.disk != nil {
		s = p.disk(s)
	}
	env := roomtest.Env()
	jitter := func(max time.Duration) time.Duration { return max }
	live := services{store: s, fanout: fanout.New(fanout.Config{Store: s, Sender: p, Jitter: jitter})}
	live.hub = hub.New(hub.Config{Domain: p.domain, Store: s, Env: env, SignatureKey: p.key, Shipper: live.fanout, Wake: live.fanout.Wake, Followers: p})
	cfg := follower.Config{Domain: p.domain, Store: s, Env: env, Remote: p, Batch: p, Entries: p, Jitter: jitter}
	if p.bare {
		cfg.Entries = nil
	}
	live.follower = follower.New(cfg)
	live.keys = keymaterial.New(keymaterial.Config{Domain: p.domain, Store: s, Verifier: env.Verifier, Remote: p})
	p.mu.Lock()
	p.services = live
	p.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	p.stop = cancel
	p.done.Go(func() {
		if err := live.fanout.Run(ctx); err != nil {
			p.Error(err)
		}
	})
	p.done.Go(func() {
		if err := live.follower.Run(ctx); err != nil {
			p.Error(err)
		}
	})
}

// kill ends the provider; what is not in its store is gone.
func (p *provider) kill() {
	p.stop()
	p.done.Wait()
	if err := p.store.Close(); err != nil {
		p.Error(err)
	}
}

var errNetwork = errors.New("network: no answer")

// call makes a request to a provider, or fails to, or loses the answer, or
// makes it twice.
func (w *world) call(to mimi.Domain, do func(*services) error) error {
	w.mu.Lock()
	lost, unheard, twice := w.rand.Float64() < w.faults, w.rand.Float64() < w.faults, w.rand.Float64() < w.faults
	down := w.down[to]
	w.calls++
	live := w.providers[to].services
	w.mu.Unlock()
	if down || lost {
		return errNetwork
	}
	err := do(&live)
	if twice {
		err = do(&live)
	}
	if unheard {
		return errNetwork
	}
	return err
}

func (p *provider) Notify(ctx context.Context, peer mimi.Domain, uri mimi.RoomURI, pos room.Pos, body []byte) error {
	p.mu.Lock()
	mute := p.mute
	p.mu.Unlock()
	if mute {
		return errNetwork
	}
	at := &pos
	if p.plain {
		at = nil
	}
	return p.call(peer, func(to *services) error { return to.follower.Notify(ctx, p.domain, uri, at, body) })
}

// notOffered is what an endpoint gives that the hub's directory does not name.
func notOffered() error {
	return mimi.NewProblem(http.StatusNotImplemented, "no-endpoint", "not offered")
}

// hush has hubs announce nothing, or everything again.
func (w *world) hush(mute bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mute = mute
}

func (p *provider) SubmitMessage(ctx context.Context, peer mimi.Domain, uri mimi.RoomURI, body []byte) (answer []byte, err error) {
	err = p.call(peer, func(to *services) (err error) {
		answer, err = to.hub.Submit(ctx, p.domain, uri, body)
		return err
	})
	return answer, err
}

func (p *provider) Update(ctx context.Context, peer mimi.Domain, uri mimi.RoomURI, body []byte) (answer []byte, err error) {
	err = p.call(peer, func(to *services) (err error) {
		answer, err = to.hub.Update(ctx, p.domain, uri, body)
		return err
	})
	return answer, err
}

func (p *provider) SubmitBatch(ctx context.Context, peer mimi.Domain, body []byte) (answer []byte, err error) {
	if p.plain {
		return nil, notOffered()
	}
	err = p.call(peer, func(to *services) (err error) {
		answer, err = to.hub.SubmitBatch(ctx, p.domain, body)
		return err
	})
	return answer, err
}

func (p *provider) Snapshot(ctx context.Context, peer mimi.Domain, uri mimi.RoomURI, seq uint64) (answer []byte, err error) {
	if p.snapshot != nil {
		return p.snapshot, nil
	}
	if p.plain {
		return nil, notOffered()
	}
	err = p.call(peer, func(to *services) (err error) {
		answer, err = to.hub.Snapshot(ctx, p.domain, uri, seq)
		return err
	})
	return answer, err
}

func (p *provider) CatchUp(ctx context.Context, peer mimi.Domain, uri mimi.RoomURI, from room.Pos) (head room.Pos, body io.ReadCloser, err error) {
	if p.plain {
		return head, nil, notOffered()
	}
	err = p.call(peer, func(to *services) error {
		open := to.follower.Part
		if uri.Domain() == peer {
			open = to.hub.CatchUp
		}
		part, err := open(ctx, p.domain, uri, from)
		if err != nil {
			return err
		}
		var b bytes.Buffer
		head, body = part.Head, io.NopCloser(&b)
		return part.Send(ctx, &b)
	})
	return head, body, err
}

func (p *provider) KeyMaterial(ctx context.Context, peer mimi.Domain, target mimi.UserURI, body []byte) (answer []byte, err error) {
	err = p.call(peer, func(to *services) (err error) {
		answer, err = to.keys.Claim(ctx, p.domain, target, body)
		return err
	})
	return answer, err
}

// device is an enrolled client and how far it has read.
type device struct {
	*roomtest.Client
	home *provider
	read uint64 // Seq up to which it followed the log
	txn  int
}

// enrol makes a user's client known to its provider, with KeyPackages.
func (w *world) enrol(handle, name string) *device {
	w.Helper()
	c := w.clients.Client(handle, name)
	d := &device{Client: c, home: w.providers[c.User.Domain()]}
	code := [32]byte{byte(w.intN(256)), byte(w.intN(256)), byte(w.intN(256)), 1}
	w.must(d.home.store.Update(w.Context(), func(tx store.Tx) error {
		if err := tx.CreateUser(c.User, time.Now()); err != nil && !errors.Is(err, store.ErrExists) {
			return err
		}
		if err := tx.PutEnrolment(code, c.User, time.Now().Add(time.Hour)); err != nil {
			return err
		}
		return tx.Enrol(code, store.Client{URI: c.URI, User: c.User, TokenHash: code, SignatureKey: c.Key().Public, CreatedAt: time.Now()}, time.Now())
	}))
	var packages [][]byte
	for range 5 {
		b, err := wire.Marshal(c.KeyPackage())
		w.must(err)
		packages = append(packages, b)
	}
	w.must(d.home.keys.Publish(w.Context(), c.URI, packages))
	return d
}

func (w *world) must(err error) {
	if err != nil {
		w.Helper()
		w.Fatal(err)
	}
}

// create makes the chat at its hub.
func (d *device) create() {
	d.home.Helper()
	in := d.Create(chat, d.home.key)
	req := hub.CreateRequest{Room: chat, GroupInfo: in.GroupInfo, Tree: in.Tree}
	d.home.must(d.home.hub.Create(d.home.Context(), d.URI, req))
}

// claim fetches the KeyPackages of a user through the room's hub.
func (d *device) claim(target mimi.UserURI) (list []*mls.KeyPackage) {
	p := d.home
	p.Helper()
	req := &mimi.KeyMaterialRequest{
		Protocol: mimi.ProtocolMLS10, RequestingUser: d.User, TargetUser: target, Room: chat,
		CipherSuites: []mls.CipherSuite{roomtest.Suite}, Credential: d.Credential(),
	}
	p.must(req.Sign(d.Key()))
	body, err := req.Marshal()
	p.must(err)
	answer, err := p.keys.Claim(p.Context(), p.domain, target, body)
	p.must(err)
	got, err := mimi.ParseKeyMaterialResponse(answer)
	p.must(err)
	if got.Status != mimi.KeyMaterialSuccess {
		p.Fatalf("key material of %s: status %d", target, got.Status)
	}
	for _, c := range got.Clients {
		list = append(list, c.KeyPackage)
	}
	return list
}

// write submits to the hub, directly or through the outbox, and returns what
// is known at once.
func (d *device) write(kind store.SubmissionKind, body []byte) store.Submission {
	p := d.home
	p.Helper()
	d.txn++
	s := store.Submission{Client: d.URI, Txn: fmt.Sprint(d.txn), Room: chat, Kind: kind, Body: body}
	if p.domain != chat.Domain() {
		s, err := p.follower.Enqueue(p.Context(), s)
		p.must(err)
		return s
	}
	var err error
	if kind == store.SubmitUpdate {
		var b []byte
		b, err = p.hub.Update(p.Context(), p.domain, chat, body)
		p.must(err)
		a, err := mimi.ParseUpdateRoomResponse(b)
		p.must(err)
		if s.State = store.Posted; a.Code != mimi.UpdateSuccess {
			s.State, s.Detail = store.Rejected, a.Description
		}
		return s
	}
	var b []byte
	b, err = p.hub.Submit(p.Context(), p.domain, chat, body)
	p.must(err)
	a, err := mimi.ParseSubmitMessageResponse(b)
	p.must(err)
	if s.State = store.Posted; a.Code != mimi.SubmitAccepted {
		s.State = store.Rejected
	}
	return s
}

// catchUp reads what the device's own provider holds: Welcomes, then entries.
func (d *device) catchUp() {
	p := d.home
	p.Helper()
	var entries []store.Entry
	p.must(p.store.View(p.Context(), func(tx store.ReadTx) (err error) {
		if d.Group == nil {
			welcomes, err := tx.InWelcomes(d.URI)
			if err != nil {
				return err
			}
			for _, w := range welcomes {
				d.Join(w.Body)
				d.read = w.Seq
			}
		}
		entries, err = tx.Entries(chat, d.read, 10_000, 1<<30)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		return err
	}))
	for _, e := range entries {
		if d.Group == nil && d.read != 0 && !d.Joining() {
			return // out
		}
		d.Follow(e.Body)
		d.read = e.Seq
	}
}

// submission is how a write of the device stands.
func (d *device) submission(txn string) *store.Submission {
	var s *store.Submission
	d.home.Helper()
	d.home.must(d.home.store.View(d.home.Context(), func(tx store.ReadTx) (err error) {
		s, err = tx.Submission(d.URI, txn)
		return err
	}))
	return s
}

// log is a provider's log of the chat and where it begins; nil if it has none.
func (p *provider) log() (start, head room.Pos, entries []store.Entry) {
	p.Helper()
	p.must(p.store.View(context.Background(), func(tx store.ReadTx) error {
		r, err := tx.Room(chat)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if r.Frozen != "" {
			p.Errorf("%s: room frozen: %s", p.domain, r.Frozen)
		}
		start, head = r.Start, r.Head
		entries, err = tx.Entries(chat, 0, 100_000, 1<<30)
		return err
	}))
	return start, head, entries
}

// checkPrefix asserts that every replica is a stretch of the hub's log, octet
// for octet, and that its chain verifies.
func (w *world) checkPrefix() {
	w.Helper()
	type copied struct {
		start, head room.Pos
		entries     []store.Entry
	}
	replicas := map[mimi.Domain]copied{} // read before the hub, which only grows
	for _, d := range w.order {
		if d != chat.Domain() {
			start, head, entries := w.providers[d].log()
			replicas[d] = copied{start, head, entries}
		}
	}
	_, head, log := w.providers[chat.Domain()].log()
	pos := room.StartPos(chat)
	for i, e := range log {
		if pos = pos.Next(e.Body); pos.Seq != e.Seq || pos.Hash != e.Hash {
			w.Fatalf("the hub's chain breaks at %d", i+1)
		}
	}
	if pos != head {
		w.Fatalf("the hub's head is %v, its chain ends at %v", head, pos)
	}
	for d, r := range replicas {
		start, at, replica := r.start, r.head, r.entries
		if at.Seq != start.Seq+uint64(len(replica)) || at.Seq > head.Seq {
			w.Fatalf("%s: head %v, start %v, %d entries, hub at %v", d, at, start, len(replica), head)
		}
		for i, e := range replica {
			own := log[start.Seq+uint64(i)]
			if e.Seq != own.Seq || e.Hash != own.Hash || string(e.Body) != string(own.Body) || e.Timestamp != own.Timestamp {
				w.Fatalf("%s: entry %d differs from the hub's", d, e.Seq)
			}
		}
	}
}

// checkEqual asserts that all replicas hold what the hub holds, projections too.
func (w *world) checkEqual(domains ...mimi.Domain) {
	w.Helper()
	w.checkPrefix()
	_, head, _ := w.providers[chat.Domain()].log()
	want := w.providers[chat.Domain()].projections()
	for _, d := range domains {
		if _, at, _ := w.providers[d].log(); at != head {
			w.Errorf("%s is at %v, the hub at %v", d, at, head)
		}
		if got := w.providers[d].projections(); got != want {
			w.Errorf("%s: projections differ:\n%s\nhub:\n%s", d, got, want)
		}
	}
}

func (p *provider) projections() string {
	p.Helper()
	var out string
	p.must(p.store.View(context.Background(), func(tx store.ReadTx) error {
		r, err := tx.Room(chat)
		if err != nil {
			return err
		}
		list, err := tx.Participants(chat)
		if err != nil {
			return err
		}
		history, err := tx.History(chat, 0)
		out = fmt.Sprintf("epoch %d ts %d\n%v\n%v", r.Epoch, r.LastTimestamp, list, history)
		return err
	}))
	return out
}

// joinExternal fetches the GroupInfo through the hub and submits an external
// commit through the outbox.
func (d *device) joinExternal() {
	d.home.Helper()
	content := d.groupInfo()
	d.write(store.SubmitUpdate, d.JoinExternal(&content.GroupInfo, content.RatchetTree.Tree))
}

// groupInfo fetches what joining takes.
func (d *device) groupInfo() *mimi.GroupInfoRatchetTree {
	p := d.home
	p.Helper()
	priv, pub, err := roomtest.Suite.GenerateHPKEKey(rand.Reader)
	p.must(err)
	req := &mimi.GroupInfoRequest{Credential: d.Credential(), PublicKey: pub}
	p.must(req.Sign(d.Key()))
	body, err := req.Marshal()
	p.must(err)
	answer, err := p.providers[chat.Domain()].hub.GroupInfo(p.Context(), p.domain, chat, body)
	p.must(err)
	got, err := mimi.ParseGroupInfoResponse(answer)
	p.must(err)
	content, err := got.Open(priv)
	p.must(err)
	return content
}

// after is where the device's span of the chat begins.
func (d *device) after() uint64 {
	d.home.Helper()
	list := d.spans()
	if len(list) != 1 {
		d.home.Fatalf("%d memberships of %s, want 1", len(list), d)
	}
	return list[0].After
}

func (d *device) spans() (list []store.Membership) {
	d.home.Helper()
	d.home.must(d.home.store.View(d.home.Context(), func(tx store.ReadTx) (err error) {
		list, err = tx.Memberships(d.URI)
		return err
	}))
	return list
}

// ack says that the device has all it read.
func (d *device) ack() {
	d.home.Helper()
	d.home.must(d.home.store.Update(d.home.Context(), func(tx store.Tx) error { return tx.Ack(d.URI, chat, d.read) }))
}

// intN draws from the world's seed, which the network draws from as well.
func (w *world) intN(n int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rand.IntN(n)
}
