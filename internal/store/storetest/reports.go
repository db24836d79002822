package storetest

import (
	"errors"

	"hubbub/internal/store"
)

var reportChecks = []check{{"Reports", testReports}}

func testReports(f *suite) {
	first := store.Report{Hash: [32]byte{1}, Room: lobby, Peer: peerB, At: 10, Body: []byte("body"), Verdicts: []string{"", "the hub did not accept this message"}}
	second := store.Report{Hash: [32]byte{2}, Room: lobby, Peer: "a.localhost", At: 20, Body: []byte("other")}
	for i, r := range []*store.Report{&first, &second} {
		f.update(func(tx store.Tx) (err error) { r.ID, err = tx.AddReport(*r); return err })
		f.equal("its place", uint64(i+1), r.ID)
	}
	again := first
	again.Body = []byte("something else")
	f.refused(store.ErrExists, func(tx store.Tx) error { _, err := tx.AddReport(again); return err })
	f.refused(store.ErrNotFound, func(tx store.Tx) error { return tx.ResolveReport(3, 30, "") })
	reports := func(after uint64, all bool, limit int) []store.Report {
		return get(f, func(tx store.ReadTx) ([]store.Report, error) { return tx.Reports(after, all, limit) })
	}
	f.equal("open", []store.Report{first, second}, reports(0, false, 10))
	f.equal("one at a time", []store.Report{second}, reports(1, false, 1))
	f.update(func(tx store.Tx) error { return tx.ResolveReport(1, 30, "banned") })
	first.Resolved, first.Resolution = 30, "banned"
	f.reopen()
	f.equal("open", []store.Report{second}, reports(0, false, 10))
	f.equal("all", []store.Report{first, second}, reports(0, true, 10))
	f.equal("one", &first, get(f, func(tx store.ReadTx) (*store.Report, error) { return tx.Report(1) }))
	f.equal("by what was reported", uint64(2), get(f, func(tx store.ReadTx) (uint64, error) { return tx.ReportID([32]byte{2}) }))
	f.view(func(tx store.ReadTx) error {
		_, err := tx.ReportID([32]byte{3})
		f.equal("unknown", true, errors.Is(err, store.ErrNotFound))
		return nil
	})
}
