package sqlstore

import (
	"testing"

	"hubbub/internal/store"
)

// Submissions that were stored before they had a key are found all the same.
func TestKeylessSubmissions(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	sub := store.Submission{Client: "mimi://a.localhost/d/alice/phone", Txn: "one", Room: "mimi://b.localhost/r/x", Hub: "b.localhost",
		Kind: store.SubmitMessage, Body: []byte("body")}
	enqueue := func(tx store.Tx) (err error) {
		sub, err = tx.Enqueue(sub)
		return err
	}
	if err := s.Update(t.Context(), enqueue); err != nil {
		t.Fatal(err)
	}
	first := sub
	if err := s.writer.s.once("UPDATE submissions SET txn_key = NULL"); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(dir); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	sub.ID = 0
	if err := s.Update(t.Context(), enqueue); err != nil || sub.ID != first.ID {
		t.Errorf("enqueued again as %d, not %d: %v", sub.ID, first.ID, err)
	}
}
