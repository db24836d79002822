package storetest

import (
	"errors"

	"hubbub/internal/store"
)

// repeatChecks hold the store to finding a message in a log of any length.
var repeatChecks = []check{
	{"MessagesAreFoundForEver", testFoundForEver},
	{"MessagesAlikeInFront", testAlike},
	{"UndoneMessagesAreNew", testUndoneMessages},
	{"MessagesOfAnOldSnapshot", testOldSnapshot},
	{"UndoneSettling", testUndoneSettling},
}

// longLog is more than an engine may keep to itself before it sorts things out.
const longLog = 2600

// fillLog appends n entries in a few calls.
func (f *suite) fillLog(l *log, n int) (all []store.Append) {
	f.Helper()
	for n > 0 {
		list := l.run(min(n, 300))
		n -= len(list)
		f.update(func(tx store.Tx) error { return tx.AppendAll(list) })
		all = append(all, list...)
	}
	return all
}

func testFoundForEver(f *suite) {
	l, other := f.newLog(lobby), f.newLog(attic)
	all := f.fillLog(l, longLog)
	check := func() {
		f.Helper()
		find := func(tx store.ReadTx) error {
			for i := 0; i < len(all); i += 37 {
				e, err := tx.EntryByMessage(lobby, all[i].Entry.MessageHash)
				if err != nil {
					return err
				}
				f.equal("entry", &all[i].Entry, e)
				if _, err := tx.EntryByMessage(attic, all[i].Entry.MessageHash); !errors.Is(err, store.ErrNotFound) {
					f.Errorf("in another room: %v", err)
				}
			}
			return nil
		}
		f.view(find)
		f.update(func(tx store.Tx) error { return find(tx) })
		f.view(find)
		head := l.head
		for _, at := range []int{0, 1, 1023, 1024, longLog - 301, longLog - 1} {
			for _, n := range []int{1, 2, 70} {
				l.head = head
				list := l.run(n)
				list[n-1].Entry.MessageHash = all[at].Entry.MessageHash
				f.refused(store.ErrExists, func(tx store.Tx) error { return tx.AppendAll(list) })
			}
			s := submission(phone, "late")
			s.MessageHash = all[at].Entry.MessageHash
			f.refused(errTest, func(tx store.Tx) error {
				one, err := tx.Enqueue(s)
				two := s
				two.Txn = "late too"
				more, err2 := tx.EnqueueAll([]store.Submission{s, two})
				if err := errors.Join(err, err2); err != nil {
					return err
				}
				for _, got := range append(more, one) {
					if got.State != store.Posted || got.Seq != all[at].Entry.Seq {
						f.Errorf("enqueued as %+v", got)
					}
				}
				return errTest
			})
		}
		l.head = head
	}
	check()
	f.reopen()
	f.view(func(tx store.ReadTx) error { // before anything is written
		_, err := tx.EntryByMessage(lobby, all[longLog-1].Entry.MessageHash)
		return err
	})
	check()
	all = append(all, f.fillLog(l, 40)...)
	f.append(other, nil)
	check()
}

// testAlike stores messages whose hashes differ in the last octet only, which
// somebody could work on.
func testAlike(f *suite) {
	l := f.newLog(lobby)
	forge := func(n int) (list []store.Append) {
		list = l.run(n)
		for i := range list {
			list[i].Entry.MessageHash = [32]byte{1, 2, 3, 31: byte(list[i].Entry.Seq)}
		}
		return list
	}
	first := forge(100)
	f.update(func(tx store.Tx) error { return tx.AppendAll(first) })
	f.fillLog(l, 2000)
	f.reopen()
	unknown := [32]byte{1, 2, 3, 31: 250}
	find := func(tx store.ReadTx) error {
		for _, a := range first {
			e, err := tx.EntryByMessage(lobby, a.Entry.MessageHash)
			if err != nil {
				return err
			}
			f.equal("entry", a.Entry.Seq, e.Seq)
		}
		if _, err := tx.EntryByMessage(lobby, unknown); !errors.Is(err, store.ErrNotFound) {
			f.Errorf("a hash that looks alike: %v", err)
		}
		return nil
	}
	f.view(find)
	f.update(func(tx store.Tx) error { return find(tx) })
	head := l.head
	more := l.run(2)
	more[1].Entry.MessageHash = first[50].Entry.MessageHash
	f.refused(store.ErrExists, func(tx store.Tx) error { return tx.AppendAll(more) })
	l.head = head
	more = l.run(2)
	more[1].Entry.MessageHash = unknown
	f.update(func(tx store.Tx) error { return tx.AppendAll(more) })
}

// testUndoneMessages appends what is then undone, in all the ways there are.
func testUndoneMessages(f *suite) {
	l := f.newLog(lobby)
	f.fillLog(l, 10)
	head := l.head
	list := l.run(5)
	f.refused(errTest, func(tx store.Tx) error { return errors.Join(tx.AppendAll(list), errTest) })
	// A verb fails behind a handshake and the call goes on.
	l.head = head
	spoilt := l.run(8)
	spoilt[2].State, spoilt[2].Epoch = []byte("wrong"), 9
	spoilt[6].Entry.MessageHash = spoilt[1].Entry.MessageHash
	f.update(func(tx store.Tx) error {
		if err := tx.AppendAll(spoilt); !errors.Is(err, store.ErrExists) {
			f.Errorf("error = %v, want ErrExists", err)
		}
		if err := tx.PutMeta("went", []byte("on")); err != nil {
			return err
		}
		return tx.AppendAll(list)
	})
	l.head = list[4].Prev.Next(list[4].Entry.Body)
	forked := l.run(3)
	forked[0].Prev.Hash[0] ^= 1
	forked[0].Entry.Hash = forked[0].Prev.Next(forked[0].Entry.Body).Hash
	f.refused(store.ErrConflict, func(tx store.Tx) error { return tx.AppendAll(forked[:1]) })
	l.head = list[4].Prev.Next(list[4].Entry.Body)
	f.append(l, nil)
	// A room that never came to be, and another one under its number.
	ghost := newLog(attic)
	ghosts := ghost.run(4)
	f.refused(errTest, func(tx store.Tx) error {
		return errors.Join(tx.CreateRoom(record(attic), nil, nil, nil), tx.AppendAll(ghosts), errTest)
	})
	f.newLog(attic)
	f.update(func(tx store.Tx) error { return tx.AppendAll(ghosts) })
	verifyLog(f, lobby)
}

// testOldSnapshot looks for messages in a snapshot while the log goes on.
func testOldSnapshot(f *suite) {
	l := f.newLog(lobby)
	all := f.fillLog(l, 900)
	f.view(func(tx store.ReadTx) error {
		if _, err := tx.Room(lobby); err != nil { // the snapshot begins
			return err
		}
		later := f.fillLog(l, 2000)
		for _, at := range []int{0, 500, 899} {
			if e, err := tx.EntryByMessage(lobby, all[at].Entry.MessageHash); err != nil || e.Seq != all[at].Entry.Seq {
				f.Errorf("entry %d: %v", at+1, err)
			}
		}
		for _, at := range []int{0, 150, 1999} {
			if _, err := tx.EntryByMessage(lobby, later[at].Entry.MessageHash); !errors.Is(err, store.ErrNotFound) {
				f.Errorf("an entry of the future: %v", err)
			}
		}
		return nil
	})
}

// testUndoneSettling settles submissions in calls that are undone: they stay
// queued, and settle when their entries come for good.
func testUndoneSettling(f *suite) {
	l := f.newLog(lobby)
	list := l.run(6)
	var subs []store.Submission
	for i, txn := range []string{"a", "b", "c"} {
		s := submission(phone, txn)
		s.MessageHash = list[2*i].Entry.MessageHash
		subs = append(subs, s)
	}
	f.refused(errTest, func(tx store.Tx) error {
		_, err := tx.EnqueueAll(subs)
		return errors.Join(err, tx.AppendAll(list), errTest)
	})
	f.update(func(tx store.Tx) error {
		_, err := tx.EnqueueAll(subs)
		return err
	})
	f.refused(errTest, func(tx store.Tx) error { return errors.Join(tx.AppendAll(list), errTest) })
	f.equal("queued", 3, len(queued(f, 0, 10)))
	spoilt := append([]store.Append(nil), list...)
	spoilt[3].State = []byte("wrong")
	spoilt[5].Entry.MessageHash = spoilt[0].Entry.MessageHash
	f.update(func(tx store.Tx) error {
		if err := tx.AppendAll(spoilt); !errors.Is(err, store.ErrExists) {
			f.Errorf("error = %v, want ErrExists", err)
		}
		return tx.PutMeta("went", []byte("on"))
	})
	f.equal("queued", 3, len(queued(f, 0, 10)))
	f.reopen()
	// Rejected ones are left alone by an entry that comes after all.
	rejected := *submissionOf(f, phone, "c")
	rejected.State, rejected.Reason = store.Rejected, "notAllowed"
	f.update(func(tx store.Tx) error { return tx.PutSubmission(rejected) })
	f.update(func(tx store.Tx) error { return tx.AppendAll(list) })
	for i, txn := range []string{"a", "b"} {
		if got := submissionOf(f, phone, txn); got.State != store.Posted || got.Seq != list[2*i].Entry.Seq {
			f.Errorf("%s: %+v", txn, got)
		}
	}
	f.equal("rejected", store.Rejected, submissionOf(f, phone, "c").State)
}
