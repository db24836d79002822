package storetest

import (
	"time"

	"hubbub/internal/store"
	"hubbub/mimi"
)

var peopleChecks = []check{
	{"Consents", testConsents},
	{"GrantedPackages", testGrantedPackages},
	{"Profiles", testProfiles},
}

func testConsents(f *suite) {
	any := store.ConsentScope{Requester: bob, Target: alice}
	room := store.ConsentScope{Requester: bob, Target: alice, Room: lobby}
	ask := store.Consent{ConsentScope: any, State: store.ConsentAsked, Serial: 1, At: 30}
	grant := store.Consent{ConsentScope: any, State: store.ConsentGranted, Serial: 2, At: 20, Out: []byte("grant"), Error: "no answer"}
	revoke := store.Consent{ConsentScope: room, State: store.ConsentRevoked, Serial: 3, At: 10, Out: []byte("revoke")}
	other := store.Consent{ConsentScope: store.ConsentScope{Requester: alice, Target: cathy}, State: store.ConsentAsked, Serial: 1, At: 40}
	f.update(func(tx store.Tx) error {
		for _, c := range []store.Consent{revoke, other, grant, ask} {
			if err := tx.PutConsent(c); err != nil {
				return err
			}
		}
		return nil
	})
	pair := func() []store.Consent {
		return get(f, func(tx store.ReadTx) ([]store.Consent, error) { return tx.Consents(bob, alice) })
	}
	f.equal("of a pair, by serial", []store.Consent{ask, grant, revoke}, pair())
	f.equal("of a user, by time", []store.Consent{revoke, grant, ask, other},
		get(f, func(tx store.ReadTx) ([]store.Consent, error) { return tx.ConsentsOf(alice) }))
	f.equal("unsent", []store.Consent{revoke, grant},
		get(f, func(tx store.ReadTx) ([]store.Consent, error) { return tx.ConsentsUnsent() }))
	grant.Out, grant.Error, grant.Serial = nil, "", 4
	f.update(func(tx store.Tx) error { return tx.PutConsent(grant) })
	f.equal("rewritten", []store.Consent{ask, revoke, grant}, pair())
	f.harmless(func(tx store.Tx) error { return tx.DeleteConsent(room, false) })
	f.update(func(tx store.Tx) error { return tx.DeleteConsent(any, false) })
	f.reopen()
	f.equal("without the request", []store.Consent{revoke, grant}, pair())
	f.equal("none", []store.Consent{}, get(f, func(tx store.ReadTx) ([]store.Consent, error) { return tx.Consents(alice, bob) }))
}

func testGrantedPackages(f *suite) {
	first := store.GrantedPackage{Ref: []byte{1}, ConsentScope: store.ConsentScope{Requester: alice, Target: bob, Room: lobby},
		Client: "mimi://b.localhost/d/bob/phone", NotAfter: noon, Body: []byte("package")}
	second := first
	second.Ref, second.Room = []byte{2}, ""
	f.update(func(tx store.Tx) error {
		if err := tx.PutGrantedPackage(first); err != nil {
			return err
		}
		return tx.PutGrantedPackage(second)
	})
	repeat := first
	repeat.Body, repeat.NotAfter = []byte("something else"), noon.Add(time.Hour)
	f.harmless(func(tx store.Tx) error { return tx.PutGrantedPackage(repeat) })
	list := func() []store.GrantedPackage {
		return get(f, func(tx store.ReadTx) ([]store.GrantedPackage, error) { return tx.GrantedPackages(alice, bob) })
	}
	f.equal("packages", []store.GrantedPackage{first, second}, list())
	f.update(func(tx store.Tx) error { return tx.SpendGrantedPackage([]byte{1}) })
	f.harmless(func(tx store.Tx) error { return tx.PutGrantedPackage(first) })
	f.harmless(func(tx store.Tx) error { return tx.SpendGrantedPackage([]byte{3}) })
	f.equal("rest", []store.GrantedPackage{second}, list())
}

func testProfiles(f *suite) {
	fields := []store.ProfileField{
		{Source: mimi.SearchHandle, Search: store.SearchExact},
		{Source: mimi.SearchOIDCClaim, Name: "email", Value: "alice@a.example", Search: store.SearchOff},
		{Source: mimi.SearchVCardField, Name: "FN", Value: "Alice", Search: store.SearchPartial},
	}
	f.refused(store.ErrNotFound, func(tx store.Tx) error { return tx.PutProfile(alice, fields) })
	f.update(func(tx store.Tx) error {
		if err := tx.CreateUser(alice, noon); err != nil {
			return err
		}
		return tx.PutProfile(alice, fields)
	})
	f.refused(store.ErrExists, func(tx store.Tx) error { return tx.PutProfile(alice, append(fields[:1:1], fields[0])) })
	profile := func() []store.ProfileField {
		return get(f, func(tx store.ReadTx) ([]store.ProfileField, error) { return tx.Profile(alice) })
	}
	f.equal("profile", fields, profile())
	found := map[mimi.UserURI]int{}
	f.view(func(tx store.ReadTx) error {
		return tx.EachProfile(func(user mimi.UserURI, fields []store.ProfileField) error {
			found[user] = len(fields)
			return nil
		})
	})
	f.equal("what may be found", map[mimi.UserURI]int{alice: 2}, found)
	f.update(func(tx store.Tx) error { return tx.PutProfile(alice, nil) })
	f.equal("emptied", []store.ProfileField{}, profile())
}
