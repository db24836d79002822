package provider

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"hubbub/client"
	"hubbub/internal/store"
	"hubbub/mimi"
)

// askFirst makes the providers of a world start with what an operator gets who
// sets nothing.
func (w *world) askFirst() {
	for d, c := range w.cfgs {
		c.Consent, c.HideUsers = consentAsk, hideYes
		w.cfgs[d] = c
		w.start(d)
	}
}

// waitConsent waits until a user sees one with the state.
func waitConsent(t *testing.T, c *client.Client, requester mimi.UserURI, room mimi.RoomURI, want client.ConsentState) {
	t.Helper()
	until(t, fmt.Sprintf("%s of %s", want, requester), func(ctx context.Context) error {
		list, err := c.Consents(ctx)
		if err == nil && !slices.ContainsFunc(list, func(x client.Consent) bool {
			return x.Requester == requester && x.Room == room && x.State == want && !x.Undelivered
		}) {
			err = fmt.Errorf("%+v", list)
		}
		return err
	})
}

// add tries to add a user and returns what became of it.
func add(t *testing.T, c *client.Client, room mimi.RoomURI, user mimi.UserURI) error {
	t.Helper()
	results, err := c.AddUsers(t.Context(), room, user)
	if err != nil {
		t.Fatal(err)
	}
	return results[0].Err
}

// Nobody of another provider can be added without having agreed; the request, the
// grant and the revocation travel between the providers; what a grant brings is
// used (CON-1, CON-8 to CON-12, CON-15).
func TestConsentBetweenProviders(t *testing.T) {
	w := newWorld(t, "a.localhost", "b.localhost")
	w.askFirst()
	alice, bob := w.device("alice@a.localhost", "phone"), w.device("bob@b.localhost", "phone")
	ctx := t.Context()
	newRoom := func() mimi.RoomURI {
		uri, _, err := alice.CreateRoom(ctx, client.RoomOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return uri
	}
	lobby := newRoom()
	if err := add(t, alice, lobby, bob.User()); !client.NeedsConsent(err) {
		t.Fatalf("added without consent: %v", err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for range 3 { // repeats change nothing
		must(alice.RequestConsent(ctx, bob.User(), ""))
	}
	waitConsent(t, bob, alice.User(), "", client.ConsentAsked)
	if list, err := bob.Consents(ctx); err != nil || len(list) != 1 {
		t.Errorf("bob sees %+v, %v, want one request", list, err)
	}
	must(bob.GrantConsent(ctx, alice.User(), ""))
	waitConsent(t, alice, alice.User(), "", client.ConsentGranted)
	if n := w.brought(t, "a.localhost", alice.User(), bob.User()); n != 1 {
		t.Errorf("the grant brought %d packages, want 1", n)
	}
	must(add(t, alice, lobby, bob.User()))
	if n := w.brought(t, "a.localhost", alice.User(), bob.User()); n != 0 {
		t.Error("what the grant brought was not used")
	}
	until(t, "bob in the room", func(ctx context.Context) error {
		info, err := bob.Room(ctx, lobby)
		if err == nil && !info.Member {
			err = errors.New("not a member")
		}
		return err
	})
	must(add(t, alice, newRoom(), bob.User())) // nothing left of the grant's: fetched
	// The latest decision that covers the room counts, at every fetch.
	must(bob.RevokeConsent(ctx, alice.User(), ""))
	if err := add(t, alice, newRoom(), bob.User()); !client.NeedsConsent(err) {
		t.Errorf("added after the revocation: %v", err)
	}
	study := newRoom()
	must(bob.GrantConsent(ctx, alice.User(), study))
	if err := add(t, alice, newRoom(), bob.User()); !client.NeedsConsent(err) {
		t.Errorf("added to a room that was not meant: %v", err)
	}
	must(add(t, alice, study, bob.User()))
}

// brought counts the KeyPackages that grants have brought.
func (w *world) brought(t *testing.T, at mimi.Domain, requester, target mimi.UserURI) (n int) {
	t.Helper()
	err := w.running[at].store.View(t.Context(), func(tx store.ReadTx) error {
		list, err := tx.GrantedPackages(requester, target)
		n = len(list)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// What is asked while the other provider is away arrives when it is back, and what
// is cancelled before does not.
func TestConsentWaits(t *testing.T) {
	w := newWorld(t, "a.localhost", "b.localhost")
	w.askFirst()
	alice, bob := w.device("alice@a.localhost", "phone"), w.device("bob@b.localhost", "phone")
	w.stop("b.localhost")
	ctx := t.Context()
	const room = "mimi://a.localhost/r/later"
	for _, err := range []error{
		alice.RequestConsent(ctx, bob.User(), ""), alice.RequestConsent(ctx, bob.User(), room), alice.CancelConsent(ctx, bob.User(), room),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	list, err := alice.Consents(ctx)
	if err != nil || len(list) != 1 || !list[0].Undelivered || list[0].State != client.ConsentAsked {
		t.Errorf("alice sees %+v, %v, want one request that waits", list, err)
	}
	w.stop("a.localhost") // what waits survives
	w.start("a.localhost")
	w.start("b.localhost")
	waitConsent(t, bob, alice.User(), "", client.ConsentAsked)
	waitConsent(t, alice, alice.User(), "", client.ConsentAsked)
	if list, err := bob.Consents(ctx); err != nil || len(list) != 1 {
		t.Errorf("bob sees %+v, %v, want one request", list, err)
	}
}

// Users of another provider are found by what they allow, and only by that.
func TestFindBetweenProviders(t *testing.T) {
	w := newWorld(t, "a.localhost", "b.localhost")
	w.askFirst()
	alice, bob := w.device("alice@a.localhost", "phone"), w.device("bob@b.localhost", "phone")
	ctx := t.Context()
	find := func(e ...mimi.QueryElement) []client.FoundUser {
		t.Helper()
		found, err := alice.FindUsers(ctx, "b.localhost", e...)
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	handle := mimi.QueryElement{Type: mimi.SearchHandle, Value: "im:bob@b.localhost"}
	if found := find(handle); len(found) != 0 {
		t.Errorf("found %+v, who has allowed nothing", found)
	}
	fields := []client.ProfileField{
		{Source: mimi.SearchHandle, Search: client.SearchExact},
		{Source: mimi.SearchOIDCClaim, Name: "given_name", Value: "Matthew", Search: client.SearchPartial},
		{Source: mimi.SearchOIDCClaim, Name: "phone_number", Value: "+491234567"},
	}
	if err := bob.SetProfile(ctx, fields); err != nil {
		t.Fatal(err)
	}
	if mine, err := bob.Profile(ctx); err != nil || !slices.Equal(mine, fields) {
		t.Errorf("profile %+v, %v", mine, err)
	}
	if found := find(handle); len(found) != 1 || found[0].User != bob.User() {
		t.Errorf("found %+v by the handle", found)
	}
	part := mimi.QueryElement{Type: mimi.SearchPartialName, Value: "MATT"}
	if found := find(part, handle); len(found) != 1 || len(found[0].Fields) != 1 || found[0].Fields[0].Value != "Matthew" {
		t.Errorf("found %+v by a part of the name", found)
	}
	if found := find(mimi.QueryElement{Type: mimi.SearchPhone, Value: "+491234567"}); len(found) != 0 {
		t.Errorf("found %+v by a number that is not searchable", found)
	}
	if _, err := alice.FindUsers(ctx, "b.localhost", mimi.QueryElement{Type: mimi.SearchPartialName, Value: "ma"}); !errors.Is(err, client.ErrSearchAmbiguous) {
		t.Errorf("two letters: %v", err)
	}
}

// A follower's user asks and adds a user of a third provider to a room of another
// hub. The hub has no part in the request, and carries the Welcome although it never
// saw the claim (CON-1, CON-10, D-74).
func TestConsentPastTheHub(t *testing.T) {
	w := newWorld(t, "a.localhost", "b.localhost", "c.localhost")
	w.askFirst()
	alice, bob, cathy := w.device("alice@a.localhost", "phone"), w.device("bob@b.localhost", "phone"), w.device("cathy@c.localhost", "phone")
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(cathy.GrantConsent(ctx, alice.User(), "")) // nobody asked
	waitConsent(t, alice, alice.User(), "", client.ConsentGranted)
	room, _, err := alice.CreateRoom(ctx, client.RoomOptions{})
	must(err)
	must(add(t, alice, room, cathy.User()))
	member := func(c *client.Client) {
		t.Helper()
		until(t, "membership", func(ctx context.Context) error {
			info, err := c.Room(ctx, room)
			if err == nil && !info.Member {
				err = errors.New("not a member")
			}
			return err
		})
	}
	member(cathy)
	if err := add(t, cathy, room, bob.User()); !client.NeedsConsent(err) {
		t.Fatalf("added without consent: %v", err)
	}
	must(cathy.RequestConsent(ctx, bob.User(), room))
	waitConsent(t, bob, cathy.User(), room, client.ConsentAsked)
	must(bob.GrantConsent(ctx, cathy.User(), room))
	waitConsent(t, cathy, cathy.User(), room, client.ConsentGranted)
	must(add(t, cathy, room, bob.User()))
	if n := w.brought(t, "c.localhost", cathy.User(), bob.User()); n != 0 {
		t.Error("what the grant brought was not used")
	}
	member(bob)
	must(w.running["a.localhost"].store.View(ctx, func(tx store.ReadTx) error {
		if list, err := tx.ConsentsOf(bob.User()); err != nil || len(list) != 0 {
			t.Errorf("the hub holds %+v, %v", list, err)
		}
		return nil
	}))
}
