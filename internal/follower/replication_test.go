package follower_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"hubbub/internal/store"
	"hubbub/mimi"
)

// TestStory is the seed's: three providers, one chat, a hub outage, a removal.
func TestStory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, "a.localhost", "b.localhost", "c.localhost")
		alice, bob, cathy := w.enrol("alice@a.localhost", "phone"), w.enrol("bob@b.localhost", "phone"), w.enrol("cathy@c.localhost", "phone")
		alice.create()
		alice.write(store.SubmitUpdate, alice.Add(append(alice.claim(bob.User), alice.claim(cathy.User)...)...))
		alice.catchUp()
		synctest.Wait()
		bob.catchUp()
		cathy.catchUp()
		w.checkEqual("b.localhost", "c.localhost")

		posted := bob.write(store.SubmitMessage, bob.Post("hello"))
		if posted.State != store.Queued {
			t.Errorf("a follower's write is %d at first, want queued", posted.State)
		}
		synctest.Wait()
		if s := bob.submission(posted.Txn); s.State != store.Posted || s.Seq != 2 || s.Accepted == 0 {
			t.Errorf("submission %+v, want posted at 2", s)
		}
		for _, d := range []*device{alice, bob, cathy} {
			d.catchUp()
		}
		if !slices.Equal(alice.Texts, []string{"hello"}) || !slices.Equal(cathy.Texts, []string{"hello"}) {
			t.Errorf("alice reads %q, cathy %q", alice.Texts, cathy.Texts)
		}

		// The hub is gone; bob's post waits, cathy reads what she has.
		a := w.providers["a.localhost"]
		w.setDown("a.localhost", true)
		a.kill()
		posted = bob.write(store.SubmitMessage, bob.Post("are you there?"))
		pass(time.Minute)
		if s := bob.submission(posted.Txn); s.State != store.Queued || s.LastError == "" {
			t.Errorf("submission %+v, want queued with the reason", s)
		}
		if st := bob.home.follower.PeerStatus("a.localhost"); st.Reachable {
			t.Error("a.localhost counts as reachable")
		}
		a.start()
		w.setDown("a.localhost", false)
		bob.home.follower.PeerAlive("a.localhost")
		synctest.Wait()
		if s := bob.submission(posted.Txn); s.State != store.Posted {
			t.Errorf("submission %+v, want posted", s)
		}
		w.checkEqual("b.localhost", "c.localhost")

		// Cathy is removed: her provider gets that commit and nothing after it.
		alice.catchUp()
		alice.write(store.SubmitUpdate, alice.Commit(alice.Removal(cathy.User)...))
		alice.catchUp()
		alice.write(store.SubmitMessage, alice.Post("without cathy"))
		synctest.Wait()
		w.checkEqual("b.localhost")
		_, hubHead, _ := a.log()
		if _, head, _ := cathy.home.log(); head.Seq != hubHead.Seq-1 {
			t.Errorf("c.localhost is at %v, the hub at %v", head, hubHead)
		}
		posted = cathy.write(store.SubmitMessage, cathy.Post("let me in"))
		synctest.Wait()
		if s := cathy.submission(posted.Txn); s.State != store.Rejected || s.Reason == "" {
			t.Errorf("submission %+v, want rejected", s)
		}

		// Bob's second client comes by itself.
		bob.catchUp()
		laptop := w.enrol("bob@b.localhost", "laptop")
		laptop.joinExternal()
		synctest.Wait()
		laptop.read = laptop.after() // from its own commit on
		laptop.catchUp()
		laptop.write(store.SubmitMessage, laptop.Post("from my laptop"))
		synctest.Wait()
		alice.catchUp()
		if !slices.Contains(alice.Texts, "from my laptop") {
			t.Errorf("alice reads %q", alice.Texts)
		}
		w.checkEqual("b.localhost")
	})
}

// TestRejoin: a provider whose last user was removed and is added again continues
// its replica; its user reads what comes after, not what was said in between.
func TestRejoin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, "a.localhost", "b.localhost", "c.localhost")
		alice, bob, cathy := w.enrol("alice@a.localhost", "phone"), w.enrol("bob@b.localhost", "phone"), w.enrol("cathy@c.localhost", "phone")
		alice.create()
		alice.write(store.SubmitUpdate, alice.Add(append(alice.claim(bob.User), alice.claim(cathy.User)...)...))
		alice.catchUp()
		synctest.Wait()
		cathy.catchUp()
		cathy.ack()
		alice.write(store.SubmitUpdate, alice.Commit(alice.Removal(cathy.User)...))
		alice.catchUp()
		synctest.Wait()
		cathy.catchUp()
		alice.write(store.SubmitMessage, alice.Post("not for cathy"))
		synctest.Wait()
		alice.write(store.SubmitUpdate, alice.Add(alice.claim(cathy.User)...))
		alice.catchUp()
		synctest.Wait()
		cathy.catchUp()
		alice.write(store.SubmitMessage, alice.Post("welcome back"))
		synctest.Wait()
		cathy.catchUp()
		if !slices.Equal(cathy.Texts, []string{"welcome back"}) {
			t.Errorf("cathy reads %q", cathy.Texts)
		}
		w.checkEqual("b.localhost", "c.localhost")
		spans := cathy.spans()
		if len(spans) != 2 || spans[0].Until != 2 || spans[1].After != 4 || spans[1].Until != 0 {
			t.Errorf("spans %+v", spans)
		}
	})
}

// TestFaults posts and commits over a network that loses requests, loses
// answers and repeats requests, while providers crash: every replica is a
// stretch of the hub's log at all times, and in the end each post is there once.
func TestFaults(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { faults(t, seed) })
		})
	}
}

func faults(t *testing.T, seed uint64) {
	w := newWorld(t, seed, "a.localhost", "b.localhost", "c.localhost")
	alice, bob, cathy := w.enrol("alice@a.localhost", "phone"), w.enrol("bob@b.localhost", "phone"), w.enrol("cathy@c.localhost", "phone")
	all := []*device{alice, bob, cathy}
	alice.create()
	kps := append(alice.claim(bob.User), alice.claim(cathy.User)...)
	w.setFaults(0.25)
	alice.write(store.SubmitUpdate, alice.Add(kps...))
	alice.catchUp()

	sent := map[string]string{} // text → how its submission ended
	type outstanding struct {
		d         *device
		txn, text string
	}
	var open []outstanding
	for i := range 60 {
		d := all[w.intN(len(all))]
		d.catchUp()
		switch {
		case d.Group == nil: // its Welcome is on the way
		case w.intN(8) == 0 && d == alice:
			d.write(store.SubmitUpdate, d.Commit())
			d.catchUp()
		case len(d.Group.PendingProposals()) > 0:
		default:
			text := fmt.Sprintf("%d from %s", i, d)
			s := d.write(store.SubmitMessage, d.Post(text))
			if d == alice {
				sent[text] = "posted"
			} else {
				open = append(open, outstanding{d, s.Txn, text})
			}
		}
		switch w.intN(6) {
		case 0:
			pass(time.Duration(w.intN(2000)) * time.Millisecond)
		case 1:
			p := w.providers[w.order[w.intN(len(w.order))]]
			w.setDown(p.domain, true)
			p.kill()
			p.start()
			w.setDown(p.domain, false)
		}
		w.checkPrefix()
	}
	w.setFaults(0)
	for _, p := range w.providers {
		for _, q := range w.order {
			p.fanout.PeerAlive(q)
			p.follower.PeerAlive(q)
		}
	}
	pass(10 * time.Minute) // the longest backoff and then some
	synctest.Wait()
	w.checkEqual("b.localhost", "c.localhost")
	for _, o := range open {
		switch s := o.d.submission(o.txn); s.State {
		case store.Posted:
			sent[o.text] = "posted"
		case store.Rejected:
			sent[o.text] = s.Reason // encrypted in an epoch that was over
		default:
			t.Errorf("%q never came to an end: %+v", o.text, s)
		}
	}
	alice.catchUp()
	heard := map[string]int{}
	for _, text := range alice.Texts {
		heard[text]++
	}
	for text, how := range sent {
		own := len(text) > 5 && text[len(text)-len(alice.String()):] == alice.String()
		switch {
		case own: // she does not decrypt her own
		case how == "posted" && heard[text] != 1:
			t.Errorf("%q is posted and there %d times", text, heard[text])
		case how != "posted" && heard[text] != 0:
			t.Errorf("%q is rejected (%s) and there", text, how)
		}
	}
	for _, p := range w.providers {
		if list := p.fanout.Troubled(); len(list) > 0 {
			t.Errorf("%s: %+v", p.domain, list)
		}
	}
}

func (w *world) setDown(d mimi.Domain, down bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down[d] = down
}

func (w *world) setFaults(p float64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.faults = p
}

// pass lets virtual time go by.
func pass(d time.Duration) { <-time.After(d) }
