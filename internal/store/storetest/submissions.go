package storetest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"

	"hubbub/internal/store"
	"hubbub/mimi"
)

var submissionChecks = []check{
	{"EnqueueRoundTrip", testEnqueue},
	{"EnqueueIsIdempotent", testEnqueueTwice},
	{"EnqueueOfWhatIsInTheLog", testEnqueueLate},
	{"QueuedSubmissionsAreFIFO", testFIFO},
	{"NumbersNeverRepeat", testNumbers},
	{"PutSubmission", testPutSubmission},
	{"FinalStatesStay", testFinal},
	{"SubmissionsByRev", testRev},
	{"SubmissionRevMany", testRevMany},
	{"AppendSettles", testSettle},
	{"DeleteSubmission", testDeleteSubmission},
}

func submission(client mimi.ClientURI, txn string) store.Submission {
	return store.Submission{Client: client, Txn: txn, Room: lobby, Hub: lobby.Domain(), Kind: store.SubmitMessage,
		Body: []byte("body of " + txn), MessageHash: messageHash(lobby, uint64(len(txn))), State: store.Queued, EnqueuedAt: 1234}
}

func (f *suite) enqueue(s store.Submission) (stored store.Submission) {
	f.Helper()
	f.update(func(tx store.Tx) (err error) {
		stored, err = tx.Enqueue(s)
		return err
	})
	return stored
}

func submissionOf(f *suite, client mimi.ClientURI, txn string) *store.Submission {
	f.Helper()
	return get(f, func(tx store.ReadTx) (*store.Submission, error) { return tx.Submission(client, txn) })
}

func testEnqueue(f *suite) {
	s := submission(phone, "t1")
	stored := f.enqueue(s)
	if stored.ID == 0 || stored.Rev == 0 {
		f.Errorf("ID %d, Rev %d", stored.ID, stored.Rev)
	}
	f.reopen()
	s.ID, s.Rev = stored.ID, stored.Rev
	f.equal("as returned", s, stored)
	f.equal("as stored", &s, submissionOf(f, phone, "t1"))
	missing(f, func(tx store.ReadTx) (*store.Submission, error) { return tx.Submission(laptop, "t1") })
	missing(f, func(tx store.ReadTx) (*store.Submission, error) { return tx.Submission(phone, "t2") })
}

func testEnqueueTwice(f *suite) {
	s := submission(phone, "t1")
	first := f.enqueue(s)
	later := s
	later.EnqueuedAt++
	before := f.dump()
	f.equal("repeat", first, f.enqueue(later))
	f.equal("database", before, f.dump())
	for name, change := range map[string]func(*store.Submission){
		"room": func(s *store.Submission) { s.Room = attic },
		"kind": func(s *store.Submission) { s.Kind = store.SubmitUpdate },
		"body": func(s *store.Submission) { s.Body = []byte("other") },
	} {
		f.Log(name)
		other := s
		change(&other)
		f.refused(store.ErrExists, func(tx store.Tx) error {
			_, err := tx.Enqueue(other)
			return err
		})
	}
	if other := f.enqueue(submission(laptop, "t1")); other.ID == first.ID {
		f.Error("two clients share a submission")
	}
}

func testEnqueueLate(f *suite) {
	l := f.newLog(lobby)
	a := f.append(l, nil)
	s := submission(phone, "late")
	s.MessageHash = a.Entry.MessageHash
	got := f.enqueue(s)
	if got.State != store.Posted || got.Seq != 1 || got.Accepted != a.Entry.Timestamp {
		f.Errorf("state %d, Seq %d, Accepted %d", got.State, got.Seq, got.Accepted)
	}
	f.equal("stored", &got, submissionOf(f, phone, "late"))
}

func testFIFO(f *suite) {
	var wg sync.WaitGroup
	clients := []mimi.ClientURI{phone, laptop, "mimi://a.localhost/d/bob/x"}
	for _, client := range clients {
		wg.Go(func() {
			for i := range 20 {
				err := f.s.Update(context.Background(), func(tx store.Tx) error {
					_, err := tx.Enqueue(submission(client, fmt.Sprintf("%02d", i)))
					return err
				})
				if err != nil {
					f.Error(err)
				}
			}
		})
	}
	wg.Wait()
	all := queued(f, 0, 1000)
	next := make(map[mimi.ClientURI]int)
	for i, s := range all {
		if i > 0 && s.ID <= all[i-1].ID {
			f.Fatalf("ID %d after %d", s.ID, all[i-1].ID)
		}
		if want := fmt.Sprintf("%02d", next[s.Client]); s.Txn != want {
			f.Fatalf("%s: %s, want %s", s.Client, s.Txn, want)
		}
		next[s.Client]++
	}
	f.equal("number", 60, len(all))
	f.equal("page", all[10:15], queued(f, all[9].ID, 5))
	f.equal("end", []store.Submission{}, queued(f, all[59].ID, 5))
	f.equal("beyond", []store.Submission{}, queued(f, math.MaxUint64, 5))
}

func queued(f *suite, after uint64, limit int) []store.Submission {
	f.Helper()
	return get(f, func(tx store.ReadTx) ([]store.Submission, error) { return tx.QueuedSubmissions(after, limit) })
}

// testNumbers deletes the newest submission, restarts and undoes one: what
// comes later must have higher numbers still, or cursors would miss it.
func testNumbers(f *suite) {
	last := f.enqueue(submission(phone, "t0"))
	for i := range 3 {
		s := last
		s.State = store.Rejected
		f.update(func(tx store.Tx) error { return tx.PutSubmission(s) })
		rev := submissionOf(f, phone, s.Txn).Rev
		f.update(func(tx store.Tx) error { return tx.DeleteSubmission(phone, s.Txn) })
		f.refused(errTest, func(tx store.Tx) error {
			undone, err := tx.Enqueue(submission(phone, "undone"))
			rev = max(rev, undone.Rev)
			return errors.Join(err, errTest)
		})
		if i == 1 {
			f.reopen()
		}
		next := f.enqueue(submission(phone, fmt.Sprint("t", i+1)))
		if next.ID <= last.ID || next.Rev <= rev {
			f.Fatalf("after ID %d, Rev %d came ID %d, Rev %d", last.ID, rev, next.ID, next.Rev)
		}
		last = next
	}
}

func testPutSubmission(f *suite) {
	s := f.enqueue(submission(phone, "t1"))
	changed := s
	changed.Accepted, changed.Attempts, changed.LastError = 77, 3, "no answer"
	changed.Reason, changed.Detail, changed.Epoch = "r", "d", math.MaxUint64
	f.update(func(tx store.Tx) error {
		other := changed
		other.Body, other.Client, other.Txn = []byte("never rewritten"), laptop, "t9"
		return tx.PutSubmission(other)
	})
	got := submissionOf(f, phone, "t1")
	if got.Rev <= s.Rev {
		f.Errorf("Rev %d after %d", got.Rev, s.Rev)
	}
	changed.Rev = got.Rev
	f.equal("row", &changed, got)
	f.equal("accepted ones are not sent again", []store.Submission{}, queued(f, 0, 10))
	f.refused(store.ErrNotFound, func(tx store.Tx) error { return tx.PutSubmission(store.Submission{ID: s.ID + 1<<40}) })
}

func testFinal(f *suite) {
	for i, state := range []store.SubmissionState{store.Posted, store.Rejected, store.Expired} {
		s := f.enqueue(submission(phone, fmt.Sprint("t", i)))
		s.State, s.Reason, s.Seq = state, "wrongEpoch", 7
		f.update(func(tx store.Tx) error { return tx.PutSubmission(s) })
		f.equal("queue", []store.Submission{}, queued(f, 0, 10))
		f.harmless(func(tx store.Tx) error {
			again := s
			again.State, again.Seq = store.Queued, 9
			return tx.PutSubmission(again)
		})
	}
}

func testRev(f *suite) {
	first, second := f.enqueue(submission(phone, "t1")), f.enqueue(submission(phone, "t2"))
	f.enqueue(submission(laptop, "t3"))
	list := func(after uint64) (txns []string) {
		rev := after
		for _, s := range get(f, func(tx store.ReadTx) ([]store.Submission, error) { return tx.Submissions(phone, after) }) {
			if s.Rev <= rev {
				f.Errorf("Rev %d after %d", s.Rev, rev)
			}
			rev = s.Rev
			txns = append(txns, s.Txn)
		}
		return txns
	}
	f.equal("all", []string{"t1", "t2"}, list(0))
	f.equal("after the first", []string{"t2"}, list(first.Rev))
	first.Attempts = 1
	f.update(func(tx store.Tx) error { return tx.PutSubmission(first) })
	f.equal("after a change", []string{"t2", "t1"}, list(0))
	f.equal("news", []string{"t1"}, list(second.Rev))
	f.equal("nothing beyond", []string(nil), list(math.MaxUint64))
}

// Whoever follows a client's submissions sees each change, however many there
// are and whatever was undone, after a restart too.
func testRevMany(f *suite) {
	l := f.newLog(lobby)
	var cursor uint64
	states := map[string]store.SubmissionState{}
	news := func() {
		f.Helper()
		for _, s := range get(f, func(tx store.ReadTx) ([]store.Submission, error) { return tx.Submissions(phone, cursor) }) {
			if s.Rev <= cursor || s.Client != phone || s.Body != nil {
				f.Fatalf("after %d: %+v", cursor, s)
			}
			cursor, states[s.Txn] = s.Rev, s.State
		}
	}
	const rounds, together = 50, 100
	for round := range rounds {
		entries := l.batch(together)
		subs, txns := submissionsFor(entries)
		for i := range subs {
			subs[i].Hub = lobby.Domain()
		}
		f.update(func(tx store.Tx) error { _, err := tx.EnqueueAll(subs); return err })
		if round%3 != 2 { // or the cursor falls behind
			news()
		}
		undone := f.s.Update(context.Background(), func(tx store.Tx) error { return errors.Join(tx.AppendAll(entries), errTest) })
		if !errors.Is(undone, errTest) {
			f.Fatal(undone)
		}
		f.enqueue(submission(laptop, fmt.Sprint(round)))
		f.update(func(tx store.Tx) error { return tx.AppendAll(entries) })
		if round%3 != 2 {
			news()
		}
		if round%6 == 0 {
			f.update(func(tx store.Tx) error { return tx.DeleteSubmissions(phone, txns) })
		}
		if round == 30 {
			f.reopen()
		}
	}
	news()
	if len(states) != rounds*together {
		f.Errorf("saw %d of %d", len(states), rounds*together)
	}
	for txn, state := range states {
		if state != store.Posted {
			f.Fatalf("%s was last seen as %d", txn, state)
		}
	}
	cursor = 0
	all := len(states)
	clear(states)
	news()
	if deleted := 9 * together; len(states) != all-deleted {
		f.Errorf("all that is stored: %d, want %d", len(states), all-deleted)
	}
}

func testSettle(f *suite) {
	l, other := f.newLog(lobby), f.newLog(attic)
	s := submission(phone, "mine")
	s.MessageHash = l.next(20).Entry.MessageHash
	s = f.enqueue(s)
	s.LastError = "no answer"
	f.update(func(tx store.Tx) error { return tx.PutSubmission(s) })
	unrelated := f.enqueue(submission(phone, "unrelated"))
	before := submissionOf(f, phone, "mine")

	// The same hash in another room is another message.
	f.append(other, func(a *store.Append) { a.Entry.MessageHash = s.MessageHash })
	f.equal("after another room's entry", before, submissionOf(f, phone, "mine"))
	// An append that is undone settles nothing.
	f.refused(errTest, func(tx store.Tx) error { return errors.Join(tx.Append(l.next(20)), errTest) })

	a := f.append(l, nil)
	got := submissionOf(f, phone, "mine")
	if got.State != store.Posted || got.Seq != 1 || got.Accepted != a.Entry.Timestamp || got.Rev <= before.Rev {
		f.Errorf("settled as %+v", got)
	}
	f.equal("the other one", &unrelated, submissionOf(f, phone, "unrelated"))
	f.equal("queue", []store.Submission{unrelated}, queued(f, 0, 10))
}

func testDeleteSubmission(f *suite) {
	s := f.enqueue(submission(phone, "t1"))
	f.harmless(func(tx store.Tx) error { return tx.DeleteSubmission(phone, "t1") })
	s.State = store.Expired
	f.update(func(tx store.Tx) error { return tx.PutSubmission(s) })
	f.harmless(func(tx store.Tx) error { return tx.DeleteSubmission(laptop, "t1") })
	f.update(func(tx store.Tx) error { return tx.DeleteSubmission(phone, "t1") })
	missing(f, func(tx store.ReadTx) (*store.Submission, error) { return tx.Submission(phone, "t1") })
}
