package storetest

import (
	"fmt"

	"hubbub/internal/room"
	"hubbub/internal/store"
)

// manyChecks hold the verbs for many rows to what the verbs for one do.
var manyChecks = []check{
	{"AppendAllIsLikeAppend", testAppendAll},
	{"AppendAllIsAllOrNothing", testAppendAllRefused},
	{"AppendAllSettles", testAppendAllSettles},
	{"EnqueueAllIsLikeEnqueue", testEnqueueAll},
	{"DeleteSubmissions", testDeleteSubmissions},
}

// run makes n entries that follow each other.
func (l *log) run(n int) (list []store.Append) {
	for range n {
		a := l.next(30)
		list = append(list, a)
		l.took(a)
	}
	return list
}

func testAppendAll(f *suite) {
	l := f.newLog(lobby)
	want := []store.Entry{}
	for _, n := range []int{0, 1, 2, 3, 16, 85} {
		list := l.run(n)
		if n == 16 { // a handshake in the middle
			list[7].State, list[7].Epoch = []byte("state 1"), 1
			list[7].Participants = []room.Participant{{User: bob, Role: 2}}
		}
		f.update(func(tx store.Tx) error { return tx.AppendAll(list) })
		for _, a := range list {
			want = append(want, a.Entry)
		}
	}
	f.reopen()
	f.equal("entries", want, entriesOf(f, lobby, 0))
	r := get(f, func(tx store.ReadTx) (*store.RoomRecord, error) { return tx.Room(lobby) })
	f.equal("head", l.head, r.Head)
	f.equal("timestamp", want[len(want)-1].Timestamp, r.LastTimestamp)
	f.equal("state", "state 1", string(r.State))
	verifyLog(f, lobby)
}

func testAppendAllRefused(f *suite) {
	l, other := f.newLog(lobby), f.newLog(attic)
	first := f.append(l, nil)
	head := l.head
	for name, c := range map[string]struct {
		spoil func(list []store.Append)
		want  error
	}{
		"first known": {func(list []store.Append) { list[0].Entry.MessageHash = first.Entry.MessageHash }, store.ErrExists},
		"last known":  {func(list []store.Append) { list[19].Entry.MessageHash = first.Entry.MessageHash }, store.ErrExists},
		"twice":       {func(list []store.Append) { list[9].Entry.MessageHash = list[3].Entry.MessageHash }, store.ErrExists},
		"known behind a handshake": {func(list []store.Append) {
			list[5].State, list[5].Epoch = []byte("wrong"), 9
			list[12].Entry.MessageHash = first.Entry.MessageHash
		}, store.ErrExists},
	} {
		f.Log(name)
		l.head = head
		list := l.run(20)
		c.spoil(list)
		f.refused(c.want, func(tx store.Tx) error { return tx.AppendAll(list) })
	}
	fork := &log{uri: lobby, head: room.Pos{Seq: head.Seq, Hash: [32]byte{1}}}
	forked := fork.run(3)
	for i := range forked {
		forked[i].Entry.MessageHash[0] ^= 1
	}
	f.refused(store.ErrConflict, func(tx store.Tx) error { return tx.AppendAll(forked) })
	l.head = head
	mixed := append(l.run(2), other.run(2)...)
	before := f.dump()
	if err := f.s.Update(f.Context(), func(tx store.Tx) error { return tx.AppendAll(mixed) }); err == nil {
		f.Error("entries of two rooms were taken in one call")
	}
	f.equal("database", before, f.dump())
	// A call goes on after a refusal, and keeps what it wrote before and after.
	l.head = head
	good := l.run(5)
	f.update(func(tx store.Tx) error {
		if err := tx.PutMeta("before", []byte{1}); err != nil {
			return err
		}
		if err := tx.AppendAll(forked); err == nil {
			return fmt.Errorf("a fork was stored")
		}
		return tx.AppendAll(good)
	})
	f.equal("entries", 6, len(entriesOf(f, lobby, 0)))
}

func testAppendAllSettles(f *suite) {
	l := f.newLog(lobby)
	list := l.run(20)
	var subs []store.Submission
	for i := range 10 {
		s := submission(phone, fmt.Sprint("t", i))
		s.MessageHash = list[2*i].Entry.MessageHash
		subs = append(subs, s)
	}
	elsewhere := submission(phone, "elsewhere")
	elsewhere.Room, elsewhere.MessageHash = attic, list[1].Entry.MessageHash
	f.newLog(attic)
	f.enqueue(elsewhere)
	var stored []store.Submission
	f.update(func(tx store.Tx) (err error) {
		stored, err = tx.EnqueueAll(subs)
		return err
	})
	f.update(func(tx store.Tx) error { return tx.AppendAll(list) })
	seen := map[uint64]bool{}
	for i, s := range stored {
		got := submissionOf(f, phone, s.Txn)
		if got.State != store.Posted || got.Seq != list[2*i].Entry.Seq || got.Accepted != list[2*i].Entry.Timestamp {
			f.Errorf("%s: %+v", s.Txn, got)
		}
		if got.Rev <= stored[len(stored)-1].Rev || seen[got.Rev] {
			f.Errorf("%s: Rev %d is not new", s.Txn, got.Rev)
		}
		seen[got.Rev] = true
	}
	if got := submissionOf(f, phone, "elsewhere"); got.State != store.Queued {
		f.Errorf("a submission to another room: %+v", got)
	}
}

func testEnqueueAll(f *suite) {
	l := f.newLog(lobby)
	posted := f.append(l, nil)
	var list []store.Submission
	for i := range 21 {
		s := submission(phone, fmt.Sprint("t", i))
		s.MessageHash = messageHash(lobby, uint64(100+i))
		list = append(list, s)
	}
	all := func() (stored []store.Submission) {
		f.update(func(tx store.Tx) (err error) {
			stored, err = tx.EnqueueAll(list)
			return err
		})
		return stored
	}
	first := all()
	for i := range first {
		f.equal("row", &first[i], submissionOf(f, phone, list[i].Txn))
		if i > 0 && first[i].ID <= first[i-1].ID {
			f.Errorf("ID %d after %d", first[i].ID, first[i-1].ID)
		}
	}
	before := f.dump()
	f.equal("repeat", first, all())
	f.equal("database", before, f.dump())
	// Some known, one in the log already, the rest new.
	for i := 10; i < len(list); i++ {
		list[i].Txn, list[i].MessageHash = fmt.Sprint("u", i), messageHash(lobby, uint64(200+i))
	}
	list[15].MessageHash = posted.Entry.MessageHash
	mixed := all()
	f.equal("known ones", first[:10], mixed[:10])
	if s := mixed[15]; s.State != store.Posted || s.Seq != posted.Entry.Seq {
		f.Errorf("in the log already: %+v", s)
	}
	list[20].Txn, list[19].Txn, list[0].Body = "v20", "v19", []byte("something else")
	f.refused(store.ErrExists, func(tx store.Tx) error {
		_, err := tx.EnqueueAll(list)
		return err
	})
}

func testDeleteSubmissions(f *suite) {
	f.newLog(lobby)
	var txns []string
	for i := range 20 {
		s := submission(phone, fmt.Sprint("t", i))
		if i%2 == 0 {
			s.State = store.Rejected
		}
		f.enqueue(s)
		txns = append(txns, s.Txn)
	}
	f.update(func(tx store.Tx) error { return tx.DeleteSubmissions(phone, txns) })
	left := get(f, func(tx store.ReadTx) ([]store.Submission, error) { return tx.Submissions(phone, 0) })
	f.equal("left", 10, len(left))
	f.harmless(func(tx store.Tx) error { return tx.DeleteSubmissions(laptop, txns) })
	f.harmless(func(tx store.Tx) error { return tx.DeleteSubmissions(phone, nil) })
}
