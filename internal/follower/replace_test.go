package follower_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"hubbub/internal/fsck"
	"hubbub/internal/record"
	"hubbub/internal/room"
	"hubbub/internal/room/roomtest"
	"hubbub/internal/store"
	"hubbub/internal/store/storetest"
	"hubbub/mimi"
)

// fork has the hub lose what its followers have, and write something else. It gives
// the last place that both logs have. Nobody has found out yet.
func (x *trio) fork() (agreed room.Pos) {
	x.Helper()
	x.order = []mimi.Domain{"a.localhost", "b.localhost"} // cathy's copy stays frozen until a test cares
	x.say(3)
	x.bob.catchUp()
	x.bob.ack()
	agreed = x.head(x.b)
	old := x.a.backup()
	x.say(4)
	x.bob.catchUp()
	x.bob.ack()
	x.setDown("b.localhost", true)
	x.setDown("c.localhost", true)
	x.a.restore(old)
	x.alice.write(store.SubmitMessage, x.alice.Post("fork"))
	x.a.kill()
	x.a.start()
	x.setDown("b.localhost", false)
	x.setDown("c.localhost", false)
	return agreed
}

// decide has the hub's room freeze and its operator decide for what the hub has.
func (x *trio) decide() {
	x.Helper()
	if _, err := x.a.hub.Submit(x.Context(), "a.localhost", chat, x.alice.Post("too early")); err == nil {
		x.Fatal("the hub went on writing")
	}
	if _, err := x.a.hub.Thaw(x.Context(), chat, frozenFor); err != nil {
		x.Fatal(err)
	}
}

// freezeAt has a follower find out.
func (x *trio) freezeAt(p *provider) {
	x.Helper()
	p.follower.CatchUp(x.Context(), chat)
	if x.frozen(p) != frozenFor {
		x.Fatalf("%s: frozen %q", p.domain, x.frozen(p))
	}
}

// wholeAt has fsck look at a provider's rooms. The clients of these tests have no
// certificates.
func (x *trio) wholeAt(p *provider) {
	x.Helper()
	r, err := fsck.Run(x.Context(), fsck.Config{Domain: p.domain, Store: p.store, Env: roomtest.Env()})
	x.must(err)
	for _, f := range r.Findings {
		if f.Room != "" {
			x.Errorf("%s: %s", p.domain, f)
		}
	}
}

// meta is a value kept by name, "" if there is none.
func (p *provider) meta(key string) (value string) {
	p.Helper()
	p.must(p.store.View(p.Context(), func(tx store.ReadTx) error {
		b, err := tx.Meta(key)
		if value = string(b); errors.Is(err, store.ErrNotFound) {
			return nil
		}
		return err
	}))
	return value
}

// A hub was restored and wrote on before its followers could tell it what it had
// lost. Both sides freeze; the hub's operator decides for what the hub has, the
// follower's takes it over, and the room goes on. What is given up stays as evidence.
func TestReplace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newTrio(t)
		agreed := x.fork()
		if _, err := x.b.follower.Compare(x.Context(), chat); status(err) != 409 {
			t.Errorf("compare a copy that is not frozen: %v", err)
		}
		x.decide()
		x.freezeAt(x.b)
		before := x.head(x.b)
		entries, err := entriesOf(x.b, chat)
		x.must(err)
		evidence := x.b.meta(record.EvidenceKey(chat))

		rift, err := x.b.follower.Compare(x.Context(), chat)
		x.must(err)
		if rift.Agreed != agreed || rift.Here != before || rift.There != x.head(x.a) || rift.Frozen != frozenFor {
			t.Errorf("%+v, want agreement up to %v", rift, agreed)
		}
		x.setDown("a.localhost", true)
		if _, err := x.b.follower.Replace(x.Context(), chat, frozenFor, "test"); err == nil || x.head(x.b) != before {
			t.Errorf("without the hub: %v", err)
		}
		x.setDown("a.localhost", false)
		if _, err := x.b.follower.Replace(x.Context(), chat, "another", "test"); status(err) != 409 || x.head(x.b) != before {
			t.Errorf("for another reason than it is frozen: %v", err)
		}

		done, err := x.b.follower.Replace(x.Context(), chat, frozenFor, "the hub was restored")
		x.must(err)
		if done.Reached != x.head(x.a) || done.Agreed != agreed || len(done.Clients) != 1 || done.Clients[0] != x.bob.URI {
			t.Errorf("%+v", done)
		}
		x.checkEqual("b.localhost")
		kept, err := entriesOf(x.b, done.Former)
		x.must(err)
		if len(kept) != len(entries) || x.b.meta(record.EvidenceKey(done.Former)) != evidence || x.b.meta(record.EvidenceKey(chat)) != "" {
			t.Errorf("%d of %d entries are kept, evidence %q", len(kept), len(entries), x.b.meta(record.EvidenceKey(done.Former)))
		}
		spans := x.bob.spans()
		if len(spans) != 1 || spans[0].Room != chat || spans[0].Until != 0 || spans[0].Acked != agreed.Seq {
			t.Errorf("bob may read %+v, and has read up to %d", spans, agreed.Seq)
		}
		if _, err := x.b.follower.Replace(x.Context(), chat, frozenFor, "again"); status(err) != 409 {
			t.Errorf("replace a copy that is not frozen: %v", err)
		}

		// The room goes on, over a restart of everybody, and so does the hub's other
		// follower once its operator has decided.
		x.a.kill()
		x.a.start()
		x.b.kill()
		x.b.start()
		x.bob.read = agreed.Seq // no handshake was given up: bob's group is still the room's
		x.bob.catchUp()
		x.bob.write(store.SubmitMessage, x.bob.Post("from b"))
		pass(time.Minute)
		x.alice.catchUp()
		x.say(2)
		x.checkEqual("b.localhost")
		x.freezeAt(x.c)
		_, err = x.c.follower.Replace(x.Context(), chat, frozenFor, "as well")
		x.must(err)
		x.say(2)
		pass(10 * time.Minute) // the hub's queue for it had failed often; here nobody tells it of signs of life
		x.order = append(x.order, "c.localhost")
		x.checkEqual("b.localhost", "c.localhost")
		for _, p := range []*provider{x.a, x.b, x.c} {
			x.wholeAt(p)
		}
	})
}

// Whatever fails on the way, the copy is the old one as a whole or the new one, and
// doing it again ends well.
func TestReplaceBreaksOff(t *testing.T) {
	for n := 2; ; n++ {
		at, fault := n/2, []storetest.Fault{storetest.FailLose, storetest.FailKeep}[n%2]
		done := false
		t.Run(fmt.Sprint(at, " ", fault), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x := newTrio(t)
				x.fork()
				x.decide()
				x.freezeAt(x.b)
				before := x.head(x.b)
				x.b.disk = func(s store.Store) store.Store {
					return &storetest.Faulty{Store: s, Decide: func(call int) storetest.Fault {
						if call == at {
							return fault
						}
						return storetest.NoFault
					}}
				}
				x.b.kill()
				x.b.start()
				_, err := x.b.follower.Replace(x.Context(), chat, frozenFor, "test")
				done = err == nil
				x.b.disk = nil
				x.b.kill()
				x.b.start()
				switch rec := x.record(x.b); {
				case rec.Frozen != "" && rec.Head != before:
					t.Errorf("frozen at %v, was at %v", rec.Head, before)
				case rec.Frozen != "":
					_, err = x.b.follower.Replace(x.Context(), chat, frozenFor, "again")
				default:
					_, err = x.b.follower.CatchUp(x.Context(), chat)
				}
				x.must(err)
				x.checkEqual("b.localhost")
				x.say(1)
				x.checkEqual("b.localhost")
				x.wholeAt(x.b)
			})
		})
		if done || t.Failed() {
			if at < 2 {
				t.Error("nothing failed")
			}
			return
		}
	}
}

// A beginning that the hub's key has not signed replaces nothing.
func TestReplaceBySomebodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newTrio(t)
		x.fork()
		x.decide()
		x.freezeAt(x.b)
		before := x.head(x.b)
		x.a.kill()
		x.a.key = x.clients.NewKey()
		x.a.start()
		if _, err := x.b.follower.Replace(x.Context(), chat, frozenFor, "test"); err == nil || x.head(x.b) != before || x.frozen(x.b) == "" {
			t.Errorf("another key: %v", err)
		}
	})
}

func status(err error) int {
	var p *mimi.Problem
	if errors.As(err, &p) {
		return p.Status
	}
	return 0
}

func entriesOf(p *provider, uri mimi.RoomURI) (list []store.Entry, err error) {
	err = p.store.View(p.Context(), func(tx store.ReadTx) error {
		list, err = tx.Entries(uri, 0, 10_000, 1<<30)
		return err
	})
	return list, err
}

// Whoever reads a log through while it is replaced finds nothing wrong, although the
// new one begins where the old one did.
func TestReplaceUnderAReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newTrio(t)
		x.fork()
		x.decide()
		x.freezeAt(x.b)
		replaced := false
		f, err := fsck.Chain(t.Context(), x.b.store, chat, func(context.Context) (err error) {
			if !replaced {
				replaced = true
				_, err = x.b.follower.Replace(x.Context(), chat, frozenFor, "test")
				x.say(7) // more than the old one had
			}
			return err
		})
		if err != nil || f != nil || !replaced {
			t.Errorf("%v, %v, replaced %t", f, err, replaced)
		}
		x.checkEqual("b.localhost")
	})
}
