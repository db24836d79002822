package consent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"hubbub/internal/room"
	"hubbub/internal/room/roomtest"
	"hubbub/internal/store"
	"hubbub/internal/store/sqlstore"
	"hubbub/mimi"
	"hubbub/mls"
	"hubbub/mls/wire"
)

const (
	us    mimi.Domain  = "a.localhost"
	them  mimi.Domain  = "b.localhost"
	alice mimi.UserURI = "mimi://a.localhost/u/alice"
	anna  mimi.UserURI = "mimi://a.localhost/u/anna"
	bob   mimi.UserURI = "mimi://b.localhost/u/bob"
	lobby mimi.RoomURI = "mimi://a.localhost/r/lobby"
	attic mimi.RoomURI = "mimi://b.localhost/r/attic"
)

// office is the consent service of a.localhost, with alice and anna; it is also
// the other provider.
type office struct {
	*testing.T
	*Service
	store store.Store
	now   time.Time

	mu   sync.Mutex
	sent []string // what the other provider was told
	fail error    // what it answers
}

func newOffice(t *testing.T, set func(*Config)) *office {
	st, err := sqlstore.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	o := &office{T: t, store: st, now: time.Now()}
	cfg := Config{Domain: us, Store: st, Verifier: roomtest.Env().Verifier, Remote: o, Now: func() time.Time { return o.now },
		Fits: func(*mimi.KeyMaterialRequest, []byte) bool { return true }}
	if set != nil {
		set(&cfg)
	}
	o.Service = New(cfg)
	o.must(st.Update(t.Context(), func(tx store.Tx) error {
		return errors.Join(tx.CreateUser(alice, o.now), tx.CreateUser(anna, o.now))
	}))
	return o
}

func (o *office) must(err error) {
	o.Helper()
	if err != nil {
		o.Fatal(err)
	}
}

func (o *office) heard(to mimi.Domain, body []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	e, err := mimi.ParseConsentEntry(body)
	if err != nil {
		return err
	}
	if o.fail == nil {
		o.sent = append(o.sent, fmt.Sprintf("%d %s %s %s %s", e.Operation, to, e.Requester.Name(), e.Target.Name(), e.Room))
	}
	return o.fail
}

func (o *office) take() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	defer func() { o.sent = nil }()
	return o.sent
}

func (o *office) answerWith(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.fail = err
}

// RequestConsent and UpdateConsent are the other provider's.
func (o *office) RequestConsent(_ context.Context, to mimi.Domain, body []byte) error {
	return o.heard(to, body)
}

func (o *office) UpdateConsent(_ context.Context, to mimi.Domain, body []byte) error {
	return o.heard(to, body)
}

// tell passes an entry on as the peer would.
func (o *office) tell(peer mimi.Domain, e mimi.ConsentEntry) error {
	o.Helper()
	body, err := e.Marshal()
	o.must(err)
	if e.Operation == mimi.ConsentGrant || e.Operation == mimi.ConsentRevoke {
		return o.Service.UpdateConsent(o.Context(), peer, body)
	}
	return o.Service.RequestConsent(o.Context(), peer, body)
}

func (o *office) asks(op mimi.ConsentOperation, room mimi.RoomURI) {
	o.Helper()
	o.must(o.tell(them, mimi.ConsentEntry{Operation: op, Requester: bob, Target: alice, Room: room}))
}

func (o *office) verdict(requester, target mimi.UserURI, room mimi.RoomURI) Verdict {
	o.Helper()
	v, err := o.Allowed(o.Context(), requester, target, room)
	o.must(err)
	return v
}

// box is what alice is asked.
func (o *office) box() (out []mimi.RoomURI) {
	o.Helper()
	list, err := o.List(o.Context(), alice)
	o.must(err)
	for _, c := range list {
		if c.Target == alice && c.State == store.ConsentAsked {
			out = append(out, c.Room)
		}
	}
	return out
}

func (o *office) dump() (text string) {
	o.Helper()
	o.must(o.store.View(o.Context(), func(tx store.ReadTx) (err error) {
		text, err = tx.Dump()
		return err
	}))
	return text
}

func (o *office) unchanged(what string, fn func()) {
	o.Helper()
	before := o.dump()
	fn()
	if o.dump() != before {
		o.Errorf("%s: changed the database", what)
	}
}

// CON-9, CON-13, CON-15: of all decisions that cover the question the latest wins.
func TestLatestCoveringDecision(t *testing.T) {
	o := newOffice(t, nil)
	check := func(what string, any, inLobby, inAttic Verdict) {
		t.Helper()
		for room, want := range map[mimi.RoomURI]Verdict{"": any, lobby: inLobby, attic: inAttic} {
			if got := o.verdict(bob, alice, room); got != want {
				t.Errorf("%s: %q: verdict %d, want %d", what, room, got, want)
			}
		}
	}
	decide := func(room mimi.RoomURI, grant bool) { o.must(o.Decide(t.Context(), alice, bob, room, grant)) }
	check("nothing decided", Denied, Denied, Denied)
	decide(lobby, true)
	check("lobby granted", DeniedForThisRoom, Granted, DeniedForThisRoom)
	decide("", true)
	check("all granted", Granted, Granted, Granted)
	decide(lobby, false)
	check("lobby revoked", Granted, DeniedForThisRoom, Granted)
	decide(lobby, true)
	check("lobby granted again", Granted, Granted, Granted)
	decide("", false)
	check("all revoked", Denied, Denied, Denied)
}

// Who needs no consent, and who may take it away.
func TestDefaults(t *testing.T) {
	o := newOffice(t, nil)
	open := newOffice(t, func(c *Config) { c.Open = true })
	for _, c := range []struct {
		o                 *office
		requester, target mimi.UserURI
		want              Verdict
	}{
		{o, bob, alice, Denied}, {o, anna, alice, Granted}, {o, alice, alice, Granted}, {open, bob, alice, Granted},
	} {
		if got := c.o.verdict(c.requester, c.target, lobby); got != c.want {
			t.Errorf("%s of %s: %d, want %d", c.requester, c.target, got, c.want)
		}
	}
	o.must(o.Decide(t.Context(), alice, anna, "", false))
	open.must(open.Decide(t.Context(), alice, bob, "", false))
	if o.verdict(anna, alice, lobby) != Denied || open.verdict(bob, alice, lobby) != Denied {
		t.Error("a revocation does not count where consent is not needed")
	}
	// Somebody who is in the room gets further devices added, there only.
	o.must(o.store.Update(t.Context(), func(tx store.Tx) error {
		return tx.CreateRoom(store.RoomRecord{URI: lobby, Hub: us, Head: room.StartPos(lobby), Start: room.StartPos(lobby), State: []byte{1}},
			nil, []room.Participant{{User: alice, Role: 3}, {User: bob, Role: 2}, {User: anna, Role: 1}}, nil)
	}))
	const carl mimi.UserURI = "mimi://b.localhost/u/carl"
	if o.verdict(bob, alice, lobby) != Granted || o.verdict(bob, alice, attic) != Denied || o.verdict(bob, anna, lobby) != Denied ||
		o.verdict(carl, alice, lobby) != Denied {
		t.Error("being in the room")
	}
}

// CON-2, CON-3, H78: what a peer may not say, and that it leaves nothing behind.
func TestPeersRefused(t *testing.T) {
	o := newOffice(t, nil)
	ours, theirs := func(op mimi.ConsentOperation) mimi.ConsentEntry { // of ours to theirs and back
		return mimi.ConsentEntry{Operation: op, Requester: alice, Target: bob}
	}, func(op mimi.ConsentOperation) mimi.ConsentEntry {
		return mimi.ConsentEntry{Operation: op, Requester: bob, Target: alice}
	}
	const others = mimi.Domain("c.localhost")
	type endpoint = func(context.Context, mimi.Domain, []byte) error
	request, update := o.Service.RequestConsent, o.Service.UpdateConsent
	for name, c := range map[string]struct {
		call   endpoint
		peer   mimi.Domain
		e      mimi.ConsentEntry
		status int
	}{
		"request at updateConsent":          {update, them, theirs(mimi.ConsentRequest), 400},
		"cancel at updateConsent":           {update, them, theirs(mimi.ConsentCancel), 400},
		"grant at requestConsent":           {request, them, ours(mimi.ConsentGrant), 400},
		"revoke at requestConsent":          {request, them, ours(mimi.ConsentRevoke), 400},
		"request of another's user":         {request, others, theirs(mimi.ConsentRequest), 403},
		"request to a user of its own":      {request, them, mimi.ConsentEntry{Operation: mimi.ConsentRequest, Requester: bob, Target: bob}, 403},
		"request in the name of our user":   {request, them, mimi.ConsentEntry{Operation: mimi.ConsentRequest, Requester: alice, Target: anna}, 403},
		"grant by another's user":           {update, others, ours(mimi.ConsentGrant), 403},
		"grant to a user of its own":        {update, them, mimi.ConsentEntry{Operation: mimi.ConsentGrant, Requester: bob, Target: bob}, 403},
		"grant in the name of our user":     {update, them, mimi.ConsentEntry{Operation: mimi.ConsentGrant, Requester: anna, Target: alice}, 403},
		"revoke in the name of other users": {update, others, ours(mimi.ConsentRevoke), 403},
		"request about nobody":              {request, them, mimi.ConsentEntry{Operation: mimi.ConsentRequest, Requester: bob, Target: "mimi://a.localhost/u/nobody"}, 404},
		"grant about nobody":                {update, them, mimi.ConsentEntry{Operation: mimi.ConsentGrant, Requester: "mimi://a.localhost/u/nobody", Target: bob}, 404},
	} {
		body, err := c.e.Marshal()
		o.must(err)
		o.unchanged(name, func() {
			var p *mimi.Problem
			if err := c.call(t.Context(), c.peer, body); !errors.As(err, &p) || p.Status != c.status {
				t.Errorf("%s: %v, want %d", name, err, c.status)
			}
			if err := c.call(t.Context(), c.peer, body[:len(body)-1]); !errors.As(err, &p) || p.Status != 400 {
				t.Errorf("%s, cut short: %v, want 400", name, err)
			}
		})
	}
}

// CON-5: a provider that hides its users answers the same about those it does not
// have, and keeps nothing.
func TestHiddenUsers(t *testing.T) {
	o := newOffice(t, func(c *Config) { c.HideUsers = true })
	o.unchanged("about nobody", func() {
		o.must(o.tell(them, mimi.ConsentEntry{Operation: mimi.ConsentRequest, Requester: bob, Target: "mimi://a.localhost/u/nobody"}))
		o.must(o.tell(them, mimi.ConsentEntry{Operation: mimi.ConsentGrant, Requester: "mimi://a.localhost/u/nobody", Target: bob}))
	})
}

// CON-4, CON-6, CON-17: requests have scopes; repeats, and cancels of what was not
// asked, change nothing.
func TestRequestBox(t *testing.T) {
	o := newOffice(t, nil)
	o.unchanged("cancel of nothing", func() { o.asks(mimi.ConsentCancel, lobby) })
	o.asks(mimi.ConsentRequest, "")
	o.asks(mimi.ConsentRequest, lobby)
	o.unchanged("repeats", func() {
		for range 1000 {
			o.asks(mimi.ConsentRequest, "")
		}
	})
	o.unchanged("cancel of another scope", func() { o.asks(mimi.ConsentCancel, attic) })
	if got := o.box(); !slices.Equal(got, []mimi.RoomURI{"", lobby}) {
		t.Errorf("asked for %q", got)
	}
	o.asks(mimi.ConsentCancel, "")
	if got := o.box(); !slices.Equal(got, []mimi.RoomURI{lobby}) {
		t.Errorf("after a cancel asked for %q", got)
	}
	// A cancel never takes back a grant (D-73).
	o.must(o.Decide(t.Context(), alice, bob, lobby, true))
	o.unchanged("cancel of what was granted", func() { o.asks(mimi.ConsentCancel, lobby) })
	if got := o.box(); len(got) != 0 || o.verdict(bob, alice, lobby) != Granted {
		t.Errorf("after the grant asked for %q", got)
	}
}

// CON-7, CON-11, CON-14: who is refused, before or after asking, cannot tell.
func TestSilentRevocation(t *testing.T) {
	o := newOffice(t, nil)
	o.asks(mimi.ConsentRequest, "")
	o.must(o.Decide(t.Context(), alice, bob, "", false))
	o.asks(mimi.ConsentRequest, "")
	o.asks(mimi.ConsentRequest, lobby)
	if got := o.box(); len(got) != 0 {
		t.Errorf("alice is asked again: %q", got)
	}
	if o.verdict(bob, alice, lobby) != Denied {
		t.Error("a later request undid the revocation")
	}
	o.must(o.store.View(t.Context(), func(tx store.ReadTx) error {
		if list, err := tx.ConsentsUnsent(); err != nil || len(list) != 0 {
			t.Errorf("bob's provider is told: %+v, %v", list, err)
		}
		return nil
	}))
	// It is told if it had been told of a grant, whose KeyPackages it may hold.
	o.must(o.Decide(t.Context(), alice, bob, "", true))
	o.must(o.store.Update(t.Context(), func(tx store.Tx) error {
		list, err := tx.ConsentsUnsent()
		if err != nil || len(list) != 1 {
			return fmt.Errorf("%+v, %w", list, err)
		}
		list[0].Out = nil // delivered
		return tx.PutConsent(list[0])
	}))
	o.must(o.Decide(t.Context(), alice, bob, "", false))
	o.must(o.store.View(t.Context(), func(tx store.ReadTx) error {
		if list, err := tx.ConsentsUnsent(); err != nil || len(list) != 1 || list[0].State != store.ConsentRevoked {
			t.Errorf("unsent: %+v, %v", list, err)
		}
		return nil
	}))
}

// CON-10, H79 and the replay of SEC-8: KeyPackages of a grant are used once, in its
// scope, only those that are the target's, and not after a revocation.
func TestBroughtPackages(t *testing.T) {
	o := newOffice(t, nil)
	clients := &roomtest.World{T: t, Now: func() time.Time { return o.now }}
	phone, eve := clients.Client("bob@b.localhost", "phone"), clients.Client("eve@b.localhost", "phone")
	grant := func(room mimi.RoomURI, of ...*roomtest.Client) mimi.ConsentEntry {
		e := mimi.ConsentEntry{Operation: mimi.ConsentGrant, Requester: alice, Target: bob, Room: room}
		for _, c := range of {
			b, err := wire.Marshal(c.KeyPackage())
			o.must(err)
			var kp mls.KeyPackage
			o.must(wire.Unmarshal(b, &kp))
			e.KeyPackages = append(e.KeyPackages, kp)
		}
		return e
	}
	brought := func(room mimi.RoomURI) int {
		t.Helper()
		answer, ok, err := o.Brought(t.Context(), &mimi.KeyMaterialRequest{Protocol: mimi.ProtocolMLS10, RequestingUser: alice, TargetUser: bob, Room: room})
		o.must(err)
		if !ok {
			return 0
		}
		r, err := mimi.ParseKeyMaterialResponse(answer)
		o.must(err)
		if r.Status != mimi.KeyMaterialSuccess || r.User != bob {
			t.Errorf("answer %+v", r)
		}
		return len(r.Clients)
	}
	o.unchanged("foreign or too many packages", func() {
		many := grant(lobby, phone)
		many.KeyPackages = slices.Repeat(many.KeyPackages, maxPackages+1)
		tampered := grant(lobby, phone)
		tampered.KeyPackages[0].Signature[0] ^= 1
		for name, e := range map[string]mimi.ConsentEntry{"foreign": grant(lobby, phone, eve), "too many": many, "tampered": tampered} {
			var p *mimi.Problem
			if err := o.tell(them, e); !errors.As(err, &p) || p.Status != 400 {
				t.Errorf("%s: %v, want 400", name, err)
			}
		}
	})
	first := grant(lobby, phone)
	o.must(o.tell(them, first))
	if brought(attic) != 0 || brought("") != 0 {
		t.Error("used outside of its room")
	}
	if n := brought(lobby); n != 1 {
		t.Errorf("%d packages, want that of bob", n)
	}
	o.unchanged("replay", func() { o.must(o.tell(them, first)) })
	if brought(lobby) != 0 {
		t.Error("a package was used twice")
	}
	o.must(o.tell(them, grant("", phone)))
	o.must(o.tell(them, mimi.ConsentEntry{Operation: mimi.ConsentRevoke, Requester: alice, Target: bob}))
	if brought(lobby) != 0 {
		t.Error("used after the revocation")
	}
}

// CON-8: an unsolicited decision is kept, up to a bound.
func TestBounds(t *testing.T) {
	o := newOffice(t, nil)
	for i := range maxRows + 1 {
		o.must(o.tell(them, mimi.ConsentEntry{Operation: mimi.ConsentRequest, Requester: mimi.UserURI(fmt.Sprintf("%s%d", bob, i)), Target: alice}))
	}
	if n := len(o.box()); n != maxRows {
		t.Errorf("%d requests are kept, want %d", n, maxRows)
	}
}

func TestLimits(t *testing.T) {
	stop := mimi.NewProblem(429, mimi.CodeTooMany, "slow down")
	o := newOffice(t, func(c *Config) { c.Limit = func(mimi.UserURI) error { return stop } })
	o.unchanged("over the limit", func() {
		for name, err := range map[string]error{
			"request": o.Request(t.Context(), alice, bob, ""), "cancel": o.Cancel(t.Context(), alice, bob, ""),
			"decide": o.Decide(t.Context(), alice, bob, "", true),
			"peer":   o.tell(them, mimi.ConsentEntry{Operation: mimi.ConsentRequest, Requester: bob, Target: alice}),
		} {
			if !errors.Is(err, stop) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

// What the other provider has to hear waits for it, only the newest word, and is
// given up when it is refused for good.
func TestDelivery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, func(c *Config) {
			c.Jitter, c.Now = func(max time.Duration) time.Duration { return max }, time.Now
		})
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() {
			if err := o.Service.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		defer running.Wait()
		defer cancel()
		// settle lets the worker go on until nothing waits for the other provider.
		settle := func() {
			t.Helper()
			for {
				synctest.Wait()
				var unsent []store.Consent
				o.must(o.store.View(ctx, func(tx store.ReadTx) (err error) {
					unsent, err = tx.ConsentsUnsent()
					return err
				}))
				if len(unsent) == 0 {
					return
				}
				<-time.After(time.Second)
			}
		}
		o.answerWith(mimi.NewProblem(503, mimi.CodeUnavailable, "later"))
		o.must(o.Request(ctx, alice, bob, ""))
		o.must(o.Request(ctx, alice, bob, lobby))
		o.must(o.Cancel(ctx, alice, bob, lobby))
		synctest.Wait()
		o.answerWith(nil)
		settle()
		want := []string{"1 b.localhost alice bob ", "0 b.localhost alice bob mimi://a.localhost/r/lobby"}
		if got := o.take(); !slices.Equal(got, want) {
			t.Errorf("told %q, want %q", got, want)
		}
		o.answerWith(mimi.NewProblem(404, mimi.CodeNotFound, "no such user"))
		o.must(o.Request(ctx, alice, "mimi://b.localhost/u/nobody", ""))
		settle()
		list, err := o.List(ctx, alice)
		o.must(err)
		if len(list) != 2 || list[1].Error == "" {
			t.Errorf("alice sees %+v, want to be told why", list)
		}
	})
}
