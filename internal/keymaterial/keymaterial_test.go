package keymaterial

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"hubbub/internal/room"
	"hubbub/internal/room/roomtest"
	"hubbub/internal/store"
	"hubbub/internal/store/sqlstore"
	"hubbub/mimi"
	"hubbub/mls"
	"hubbub/mls/wire"
)

const chat mimi.RoomURI = "mimi://a.localhost/r/chat"

// world is two providers, a and b, that reach each other's key material.
type world struct {
	*testing.T
	clients   *roomtest.World
	now       time.Time
	providers map[mimi.Domain]*provider
}

type provider struct {
	*world
	domain  mimi.Domain
	store   store.Store
	service *Service
	consent Consent

	mu   sync.Mutex
	seen [][]byte // bodies passed on to others
	from []mimi.Domain
}

func newWorld(t *testing.T) *world {
	w := &world{T: t, now: time.Now(), providers: map[mimi.Domain]*provider{}}
	w.clients = &roomtest.World{T: t, Now: func() time.Time { return w.now }}
	for _, d := range []mimi.Domain{"a.localhost", "b.localhost", "c.localhost"} {
		s, err := sqlstore.Open(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		p := &provider{world: w, domain: d, store: s}
		p.service = New(Config{
			Domain: d, Store: s, Verifier: roomtest.Env().Verifier, Remote: p, Consent: p,
			Now: func() time.Time { return w.now },
		})
		w.providers[d] = p
	}
	// alice of a and cathy of c are in a chat at a.
	w.must(w.providers["a.localhost"].store.Update(t.Context(), func(tx store.Tx) error {
		return tx.CreateRoom(store.RoomRecord{URI: chat, Hub: "a.localhost", Head: room.StartPos(chat), Start: room.StartPos(chat), State: []byte{1}},
			nil, []room.Participant{{User: "mimi://a.localhost/u/alice", Role: 3}, {User: "mimi://c.localhost/u/cathy", Role: 2}}, nil)
	}))
	return w
}

func (w *world) must(err error) {
	if err != nil {
		w.Helper()
		w.Fatal(err)
	}
}

func (p *provider) KeyMaterial(ctx context.Context, to mimi.Domain, target mimi.UserURI, body []byte) ([]byte, error) {
	p.mu.Lock()
	p.seen = append(p.seen, bytes.Clone(body))
	p.from = append(p.from, to)
	p.mu.Unlock()
	return p.providers[to].service.Claim(ctx, p.domain, target, body)
}

func (p *provider) Consent(context.Context, mimi.UserURI, mimi.UserURI, mimi.RoomURI) (Consent, error) {
	return p.consent, nil
}

// enrol makes a client known at its provider, with n KeyPackages.
func (w *world) enrol(handle, device string, n int) *roomtest.Client {
	w.Helper()
	c := w.clients.Client(handle, device)
	p := w.providers[c.User.Domain()]
	var code [32]byte
	copy(code[:], handle+device)
	w.must(p.store.Update(w.Context(), func(tx store.Tx) error {
		if err := tx.CreateUser(c.User, w.now); err != nil && !errors.Is(err, store.ErrExists) {
			return err
		}
		return errors.Join(tx.PutEnrolment(code, c.User, w.now.Add(time.Hour)),
			tx.Enrol(code, store.Client{URI: c.URI, User: c.User, TokenHash: code, SignatureKey: c.Key().Public, CreatedAt: w.now}, w.now))
	}))
	if n > 0 {
		w.must(p.service.Publish(w.Context(), c.URI, w.packages(c, n)))
	}
	return c
}

func (w *world) packages(c *roomtest.Client, n int) (list [][]byte) {
	w.Helper()
	for range n {
		b, err := wire.Marshal(c.KeyPackage())
		w.must(err)
		list = append(list, b)
	}
	return list
}

// request is a signed claim by a client.
func (w *world) request(c *roomtest.Client, target mimi.UserURI, change func(*mimi.KeyMaterialRequest)) []byte {
	w.Helper()
	req := &mimi.KeyMaterialRequest{
		Protocol: mimi.ProtocolMLS10, RequestingUser: c.User, TargetUser: target, Room: chat,
		CipherSuites: []mls.CipherSuite{roomtest.Suite}, Credential: c.Credential(),
	}
	if change != nil {
		change(req)
	}
	w.must(req.Sign(c.Key()))
	body, err := req.Marshal()
	w.must(err)
	return body
}

func (w *world) claim(at, peer mimi.Domain, target mimi.UserURI, body []byte) *mimi.KeyMaterialResponse {
	w.Helper()
	answer, err := w.providers[at].service.Claim(w.Context(), peer, target, body)
	w.must(err)
	r, err := mimi.ParseKeyMaterialResponse(answer)
	w.must(err)
	return r
}

func (p *provider) stock(c *roomtest.Client) (n int) {
	p.Helper()
	p.must(p.store.View(context.Background(), func(tx store.ReadTx) (err error) {
		n, err = tx.KeyPackageCount(c.URI, p.now)
		return err
	}))
	return n
}

// A follower's user adds somebody of a third provider: follower → hub → target,
// the octets unchanged, the route remembered.
func TestClaimThroughTheHub(t *testing.T) {
	w := newWorld(t)
	cathy := w.enrol("cathy@c.localhost", "phone", 1)
	bob, laptop := w.enrol("bob@b.localhost", "phone", 2), w.enrol("bob@b.localhost", "laptop", 1)
	body := w.request(cathy, bob.User, nil)
	got := w.claim("c.localhost", "c.localhost", bob.User, body)
	if got.Status != mimi.KeyMaterialSuccess || len(got.Clients) != 2 {
		t.Fatalf("%+v, want two packages", got)
	}
	a, c := w.providers["a.localhost"], w.providers["c.localhost"]
	if !slices.Equal(c.from, []mimi.Domain{"a.localhost"}) || !slices.Equal(a.from, []mimi.Domain{"b.localhost"}) {
		t.Errorf("c asked %v, a asked %v", c.from, a.from)
	}
	if !bytes.Equal(c.seen[0], body) || !bytes.Equal(a.seen[0], body) {
		t.Error("the request was changed on its way")
	}
	for _, k := range got.Clients {
		ref, err := k.KeyPackage.Ref()
		w.must(err)
		w.must(a.store.View(t.Context(), func(tx store.ReadTx) error {
			if d, err := tx.Route(ref); err != nil || d != "b.localhost" {
				t.Errorf("route %q, %v", d, err)
			}
			return nil
		}))
	}
	// The laptop has none left: partial, and then nothing.
	got = w.claim("c.localhost", "c.localhost", bob.User, w.request(cathy, bob.User, nil))
	if got.Status != mimi.KeyMaterialPartialSuccess || len(got.Clients) != 2 {
		t.Errorf("%+v, want partial success", got)
	}
	for _, k := range got.Clients {
		if (k.Client == laptop.URI) != (k.Status == mimi.ClientKeyMaterialExhausted) {
			t.Errorf("%s: status %d", k.Client, k.Status)
		}
	}
	got = w.claim("c.localhost", "c.localhost", bob.User, w.request(cathy, bob.User, nil))
	if got.Status != mimi.KeyMaterialNoCompatible {
		t.Errorf("status %d, want no compatible material", got.Status)
	}
}

// No package is handed out twice, however many ask at once.
func TestNeverTwice(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.enrol("alice@a.localhost", "phone", 1), w.enrol("bob@b.localhost", "phone", 30)
	body := w.request(alice, bob.User, nil)
	var mu sync.Mutex
	refs := map[string]int{}
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			answer, err := w.providers["b.localhost"].service.Claim(context.Background(), "a.localhost", bob.User, body)
			if err != nil {
				t.Error(err)
				return
			}
			r, err := mimi.ParseKeyMaterialResponse(answer)
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			for _, k := range r.Clients {
				if k.KeyPackage != nil {
					ref, _ := k.KeyPackage.Ref()
					refs[string(ref)]++
				}
			}
		})
	}
	wg.Wait()
	for ref, n := range refs {
		if n != 1 {
			t.Errorf("package %x handed out %d times", ref[:4], n)
		}
	}
	if len(refs) != 30 {
		t.Errorf("%d packages handed out, want 30", len(refs))
	}
}

// What does not entitle to anything costs nothing.
func TestClaimRefuses(t *testing.T) {
	w := newWorld(t)
	alice, cathy := w.enrol("alice@a.localhost", "phone", 1), w.enrol("cathy@c.localhost", "phone", 1)
	eve, bob := w.enrol("eve@c.localhost", "phone", 1), w.enrol("bob@b.localhost", "phone", 3)
	b := w.providers["b.localhost"]
	signed := w.request(alice, bob.User, nil)
	tampered := bytes.Clone(signed)
	tampered[len(tampered)-1] ^= 1
	nobody := mimi.UserURI("mimi://b.localhost/u/nobody")

	problems := map[string]struct {
		target mimi.UserURI
		body   []byte
		status int
	}{
		"garbage":       {bob.User, signed[:10], 400},
		"bad signature": {bob.User, tampered, 403},
		"another user":  {nobody, signed, 400},
		"no suites": {bob.User, func() []byte {
			req, err := mimi.ParseKeyMaterialRequest(bytes.Clone(signed))
			w.must(err)
			req.CipherSuites = nil
			body, err := req.Marshal()
			w.must(err)
			return body
		}(), 400},
	}
	for name, c := range problems {
		var p *mimi.Problem
		if _, err := b.service.Claim(t.Context(), "a.localhost", c.target, c.body); !errors.As(err, &p) || p.Status != c.status {
			t.Errorf("%s: %v, want %d", name, err, c.status)
		}
	}
	codes := map[string]struct {
		at, peer mimi.Domain
		target   mimi.UserURI
		body     []byte
		want     mimi.KeyMaterialUserCode
	}{
		"requester of another provider": {"b.localhost", "c.localhost", bob.User, signed, mimi.KeyMaterialNoConsent},
		"credential of another": {"b.localhost", "a.localhost", bob.User, w.request(alice, bob.User, func(r *mimi.KeyMaterialRequest) {
			r.Credential = cathy.Credential()
		}), mimi.KeyMaterialNoConsent},
		"unknown user":    {"b.localhost", "a.localhost", nobody, w.request(alice, nobody, nil), mimi.KeyMaterialUserUnknown},
		"not in the room": {"a.localhost", "c.localhost", bob.User, w.request(eve, bob.User, nil), mimi.KeyMaterialNoConsent},
		"relay by no hub": {"c.localhost", "a.localhost", bob.User, signed, mimi.KeyMaterialNoConsent},
		"nothing compatible": {"b.localhost", "a.localhost", bob.User, w.request(alice, bob.User, func(r *mimi.KeyMaterialRequest) {
			r.RequiredCapabilities.Extensions = []mls.ExtensionType{0x1234}
		}), mimi.KeyMaterialNoCompatible},
	}
	for name, c := range codes {
		if got := w.claim(c.at, c.peer, c.target, c.body); got.Status != c.want {
			t.Errorf("%s: status %d, want %d", name, got.Status, c.want)
		}
	}
	for decision, want := range map[Consent]mimi.KeyMaterialUserCode{
		Denied: mimi.KeyMaterialNoConsent, DeniedForThisRoom: mimi.KeyMaterialNoConsentForRoom,
	} {
		b.consent = decision
		if got := w.claim("b.localhost", "a.localhost", bob.User, signed); got.Status != want {
			t.Errorf("consent %d: status %d, want %d", decision, got.Status, want)
		}
	}
	b.consent = Granted
	if n := b.stock(bob); n != 3 {
		t.Errorf("%d packages left, want 3", n)
	}
	w.now = w.now.Add(40 * 24 * time.Hour) // they were made for 30 days
	if got := w.claim("b.localhost", "a.localhost", bob.User, signed); got.Status != mimi.KeyMaterialNoCompatible {
		t.Errorf("expired: status %d", got.Status)
	}
}

func TestPublishRefuses(t *testing.T) {
	w := newWorld(t)
	bob, ben := w.enrol("bob@b.localhost", "phone", 2), w.enrol("ben@b.localhost", "phone", 0)
	b := w.providers["b.localhost"]
	make := func(change func(*mls.KeyPackageOptions)) []byte {
		o := mls.KeyPackageOptions{Suite: roomtest.Suite, Signer: bob.Key(), Credential: bob.Credential(),
			NotBefore: w.now.Add(-time.Minute), NotAfter: w.now.Add(time.Hour)}
		change(&o)
		kp, err := mls.NewKeyPackage(o)
		w.must(err)
		body, err := wire.Marshal(kp.KeyPackage)
		w.must(err)
		return body
	}
	fresh := func() []byte { return w.packages(bob, 1)[0] }
	badSignature := fresh()
	badSignature[len(badSignature)-1] ^= 1
	oneKey := func() []byte {
		kp := bob.KeyPackage()
		kp.InitKey = kp.LeafNode.EncryptionKey
		body, err := wire.Marshal(kp)
		w.must(err)
		return body
	}()
	double := fresh()
	known := fresh()
	w.must(b.service.Publish(t.Context(), bob.URI, [][]byte{known}))
	for name, c := range map[string]struct {
		client mimi.ClientURI
		list   [][]byte
		status int
	}{
		"none":           {bob.URI, nil, 400},
		"garbage":        {bob.URI, [][]byte{fresh(), {1, 2, 3}}, 400},
		"trailing octet": {bob.URI, [][]byte{append(fresh(), 0)}, 400},
		"bad signature":  {bob.URI, [][]byte{fresh(), badSignature}, 400},
		"one key twice":  {bob.URI, [][]byte{oneKey}, 400},
		"another client": {ben.URI, [][]byte{fresh()}, 400},
		"unknown client": {"mimi://b.localhost/d/x/y", [][]byte{fresh()}, 404},
		"expired":        {bob.URI, [][]byte{make(func(o *mls.KeyPackageOptions) { o.NotAfter = w.now.Add(-time.Second) })}, 400},
		"not yet valid": {bob.URI, [][]byte{make(func(o *mls.KeyPackageOptions) {
			o.NotBefore = w.now.Add(2 * time.Hour)
			o.NotAfter = w.now.Add(3 * time.Hour)
		})}, 400},
		"valid too long": {bob.URI, [][]byte{make(func(o *mls.KeyPackageOptions) { o.NotAfter = w.now.Add(91 * 24 * time.Hour) })}, 400},
		"twice":          {bob.URI, [][]byte{double, double}, 400},
		"known":          {bob.URI, [][]byte{fresh(), known}, 409},
		"more than fits": {bob.URI, w.packages(bob, 98), 409},
		"far too many":   {bob.URI, w.packages(bob, 101), 409},
	} {
		var p *mimi.Problem
		if err := b.service.Publish(t.Context(), c.client, c.list); !errors.As(err, &p) || p.Status != c.status {
			t.Errorf("%s: %v, want %d", name, err, c.status)
		}
		if n := b.stock(bob); n != 3 {
			t.Fatalf("%s: %d in stock, want 3", name, n)
		}
	}
	w.must(b.service.Publish(t.Context(), bob.URI, w.packages(bob, 97)))
	if n := b.stock(bob); n != MaxStock {
		t.Errorf("%d in stock", n)
	}
}
