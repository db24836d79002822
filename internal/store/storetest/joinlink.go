package storetest

import (
	"errors"

	"hubbub/internal/store"
)

var joinLinkChecks = []check{{"JoinLinks", testJoinLinks}}

func testJoinLinks(f *suite) {
	first := store.JoinLink{Room: lobby, Link: [32]byte{1}, Created: 10}
	second := store.JoinLink{Room: lobby, Link: [32]byte{2}, Created: 20, By: bob, Joined: true}
	other := store.JoinLink{Room: attic, Link: [32]byte{1}, Created: 30}
	f.update(func(tx store.Tx) error {
		return errors.Join(tx.PutJoinLink(second), tx.PutJoinLink(first), tx.PutJoinLink(other),
			tx.PutJoinClaim(lobby, bob, second.Link), tx.PutJoinClaim(lobby, cathy, second.Link), tx.PutJoinClaim(attic, bob, other.Link))
	})
	links := func() []store.JoinLink {
		return get(f, func(tx store.ReadTx) ([]store.JoinLink, error) { return tx.JoinLinks(lobby) })
	}
	claim := func() [32]byte {
		return get(f, func(tx store.ReadTx) ([32]byte, error) { return tx.JoinClaim(lobby, bob) })
	}
	f.equal("of a room", []store.JoinLink{first, second}, links())
	f.equal("one", &second, get(f, func(tx store.ReadTx) (*store.JoinLink, error) { return tx.JoinLink(lobby, second.Link) }))
	f.equal("claimed", second.Link, claim())
	first.By = bob
	f.update(func(tx store.Tx) error {
		return errors.Join(tx.PutJoinLink(first), tx.PutJoinClaim(lobby, bob, first.Link))
	})
	f.reopen()
	f.equal("rewritten", []store.JoinLink{first, second}, links())
	f.equal("another claimed", first.Link, claim())

	f.update(func(tx store.Tx) error { return tx.DeleteJoinLink(lobby, second.Link) })
	f.equal("without one", []store.JoinLink{first}, links())
	f.equal("claims by others stay", first.Link, claim())
	missing := func(what string, err error) {
		f.Helper()
		f.equal(what, true, errors.Is(err, store.ErrNotFound))
	}
	f.view(func(tx store.ReadTx) error {
		_, err := tx.JoinClaim(lobby, cathy)
		missing("a claim by it", err)
		_, err = tx.JoinLink(lobby, second.Link)
		missing("the record of it", err)
		_, err = tx.JoinLink(attic, other.Link)
		return err
	})
	f.harmless(func(tx store.Tx) error {
		return errors.Join(tx.DeleteJoinLink(lobby, second.Link), tx.DeleteJoinClaim(lobby, cathy))
	})
	f.update(func(tx store.Tx) error { return tx.DeleteJoinClaim(lobby, bob) })
	f.view(func(tx store.ReadTx) error {
		_, err := tx.JoinClaim(lobby, bob)
		missing("a claim that was dropped", err)
		_, err = tx.JoinClaim(attic, bob)
		return err
	})
}
