package tail_test

import (
	"errors"
	"testing"

	"hubbub/internal/store"
	"hubbub/internal/store/sqlstore"
	"hubbub/internal/tail"
)

// TestEntriesSayWhatTheySettle: the entry of a queued write names it, once, whatever
// became of other calls; what is not stored or settled otherwise is not awaited.
func TestEntriesSayWhatTheySettle(t *testing.T) {
	inner, err := sqlstore.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer inner.Close()
	tails := tail.New(1 << 20)
	l := newLog(t, tail.Watch(inner, tails), lobby)
	rows := l.rows(4)
	queue := func(i int, txn string, fail error) *store.Submission {
		t.Helper()
		var s store.Submission
		err := l.store.Update(t.Context(), func(tx store.Tx) (err error) {
			s, err = tx.Enqueue(store.Submission{Client: "mimi://a.localhost/d/phone", Txn: txn, Room: lobby, Hub: "a.localhost",
				Kind: store.SubmitMessage, Body: rows[i].Entry.Body, MessageHash: rows[i].Entry.MessageHash})
			return errors.Join(err, fail)
		})
		if !errors.Is(err, fail) {
			t.Fatal(err)
		}
		return &s
	}
	first, again := queue(0, "first", nil), queue(0, "first", nil) // a repeat is the same
	lost := queue(1, "lost", errors.New("no"))
	refused := queue(2, "refused", nil)
	for s, awaited := range map[*store.Submission]bool{first: true, again: true, lost: false, refused: true} {
		if tails.Awaits(s) != awaited {
			t.Errorf("%s: awaited %t, want %t", s.Txn, !awaited, awaited)
		}
	}
	refused.State = store.Rejected
	if err := l.store.Update(t.Context(), func(tx store.Tx) error { return tx.PutSubmission(*refused) }); err != nil {
		t.Fatal(err)
	}
	if err := l.store.Update(t.Context(), func(tx store.Tx) error { return tx.AppendAll(rows) }); err != nil {
		t.Fatal(err)
	}
	list, ok := tails.After(lobby, 0, 10, 1<<20)
	if !ok || len(list) != 4 {
		t.Fatalf("%d entries, %t", len(list), ok)
	}
	for i, e := range list {
		if i > 0 && len(e.Settles) > 0 {
			t.Errorf("entry %d settles %+v", e.Seq, e.Settles[0])
		}
	}
	if s := list[0].Settles; len(s) != 1 || s[0].Txn != "first" || s[0].State != store.Posted || s[0].Seq != 1 ||
		s[0].Accepted != list[0].Timestamp || s[0].Body != nil {
		t.Errorf("entry 1 settles %+v", s)
	}
	for _, s := range []*store.Submission{first, refused} {
		if tails.Awaits(s) {
			t.Errorf("%s is awaited though it is settled", s.Txn)
		}
	}
}

// TestChangedOnce: what is more than a longer log is told once; a room that is not
// in memory may have changed.
func TestChangedOnce(t *testing.T) {
	inner, err := sqlstore.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer inner.Close()
	tails := tail.New(1 << 20)
	l := newLog(t, tail.Watch(inner, tails), lobby)
	want := func(changed bool) {
		t.Helper()
		if tails.Changed(lobby) != changed {
			t.Errorf("changed: want %t", changed)
		}
	}
	want(true)
	l.post(1)
	want(true)
	l.post(2)
	want(false)
	rows := l.rows(2)
	rows[0].State = []byte("another")
	if err := l.store.Update(t.Context(), func(tx store.Tx) error {
		if err := tx.Append(rows[0]); err != nil {
			return err
		}
		return tx.Append(rows[1])
	}); err != nil {
		t.Fatal(err)
	}
	want(true)
	want(false)
}
