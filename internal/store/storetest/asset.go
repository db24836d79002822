package storetest

import (
	"time"

	"hubbub/internal/store"
)

var assetChecks = []check{{"Assets", testAssets}}

func testAssets(f *suite) {
	first := store.Asset{ID: "first", Owner: alice, Size: 100, Created: noon}
	second := store.Asset{ID: "second", Owner: alice, Size: 20, Received: 20, Complete: true, Created: noon.Add(time.Second)}
	f.refused(store.ErrNotFound, func(tx store.Tx) error { return tx.PutAsset(first) })
	f.update(func(tx store.Tx) error {
		if err := tx.CreateUser(alice, noon); err != nil {
			return err
		}
		if err := tx.PutAsset(first); err != nil {
			return err
		}
		return tx.PutAsset(second)
	})
	f.refused(store.ErrExists, func(tx store.Tx) error { return tx.PutAsset(first) })
	usage := func() store.AssetUsage {
		return get(f, func(tx store.ReadTx) (store.AssetUsage, error) { return tx.AssetUsage(alice) })
	}
	unfinished := func(before time.Time) []store.Asset {
		return get(f, func(tx store.ReadTx) ([]store.Asset, error) { return tx.UnfinishedAssets(before) })
	}
	f.equal("usage", store.AssetUsage{Bytes: 120, Unfinished: 1}, usage())
	f.equal("of nobody", store.AssetUsage{}, get(f, func(tx store.ReadTx) (store.AssetUsage, error) { return tx.AssetUsage(bob) }))
	f.equal("all but the first", []store.Asset{second}, get(f, func(tx store.ReadTx) ([]store.Asset, error) { return tx.Assets("first", 9) }))
	f.equal("no more than asked for", []store.Asset{first}, get(f, func(tx store.ReadTx) ([]store.Asset, error) { return tx.Assets("", 1) }))
	f.equal("none so old", []store.Asset{}, unfinished(noon))
	f.equal("unfinished", []store.Asset{first}, unfinished(noon.Add(time.Hour)))
	f.update(func(tx store.Tx) error { return tx.AdvanceAsset("first", 40, false) })
	f.reopen()
	first.Received = 40
	f.equal("half", &first, get(f, func(tx store.ReadTx) (*store.Asset, error) { return tx.Asset("first") }))
	f.update(func(tx store.Tx) error { return tx.AdvanceAsset("first", 100, true) })
	f.equal("finished", []store.Asset{}, unfinished(noon.Add(time.Hour)))
	f.refused(store.ErrNotFound, func(tx store.Tx) error { return tx.AdvanceAsset("third", 1, false) })
	f.update(func(tx store.Tx) error { return tx.DeleteAsset("first") })
	f.harmless(func(tx store.Tx) error { return tx.DeleteAsset("first") })
	f.equal("left", store.AssetUsage{Bytes: 20}, usage())
}
