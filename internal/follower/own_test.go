package follower_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"hubbub/internal/follower"
	"hubbub/internal/fsck"
	"hubbub/internal/room"
	"hubbub/internal/room/roomtest"
	"hubbub/internal/store"
	"hubbub/mimi"
	"hubbub/mls"
)

// newPlain is the chat at a hub that offers nothing but what MIMI has, with alice, and
// bob, who has just been added to it.
func newPlain(t *testing.T) *trio {
	w := newWorld(t, 7, "a.localhost", "b.localhost")
	w.plain = true
	x := &trio{world: w, a: w.providers["a.localhost"], b: w.providers["b.localhost"]}
	x.alice, x.bob = w.enrol("alice@a.localhost", "phone"), w.enrol("bob@b.localhost", "phone")
	x.alice.create()
	x.say(2)
	x.alice.write(store.SubmitUpdate, x.alice.Add(x.alice.claim(x.bob.User)...))
	x.alice.catchUp()
	x.sent = 0
	pass(time.Minute)
	return x
}

// welcomeOf is the Welcome that waits for a device.
func (d *device) welcomeOf() store.InWelcome {
	d.home.Helper()
	var list []store.InWelcome
	d.home.must(d.home.store.View(context.Background(), func(tx store.ReadTx) (err error) {
		list, err = tx.InWelcomes(d.URI)
		return err
	}))
	if len(list) != 1 {
		d.home.Fatalf("%d Welcomes wait for %s", len(list), d.URI)
	}
	return list[0]
}

// bring has a device with a Welcome bring what it tells.
func (d *device) bring() {
	d.home.Helper()
	got, err := d.home.follower.Bring(context.Background(), d.URI, d.Brought(chat, d.welcomeOf().Body))
	d.home.must(err)
	if got != follower.Judged {
		d.home.Fatalf("what %s brought: %d", d.URI, got)
	}
}

// own is a provider's log of the chat, which has to be sound.
func (p *provider) own() (*store.RoomRecord, []store.Entry) {
	p.Helper()
	var rec *store.RoomRecord
	var list []store.Entry
	p.must(p.store.View(context.Background(), func(tx store.ReadTx) (err error) {
		if rec, err = tx.Room(chat); err == nil {
			list, err = tx.Entries(chat, 0, 1000, 1<<30)
		}
		return err
	}))
	pos := room.OwnStart(chat)
	if rec.Start != pos {
		p.Fatalf("the log begins at %s", rec.Start)
	}
	for _, e := range list {
		if pos = pos.Next(e.Body); pos.Seq != e.Seq || pos.Hash != e.Hash {
			p.Fatalf("the chain breaks at %d", e.Seq)
		}
	}
	if pos != rec.Head {
		p.Fatalf("the head is %s, the log ends at %s", rec.Head, pos)
	}
	return rec, list
}

func (x *trio) judged(p *provider, want bool) {
	x.Helper()
	rec, _ := p.own()
	if got := len(rec.State) > 0; got != want {
		x.Fatalf("judged: %v", got)
	}
	if rec.Frozen != "" {
		x.Fatalf("frozen: %s", rec.Frozen)
	}
	report, err := fsck.Run(x.Context(), fsck.Config{Domain: p.domain, Store: p.store, Env: roomtest.Env()})
	x.must(err)
	for _, f := range report.Findings {
		if !strings.HasPrefix(f.What, "client") { // those of this package have no certificates
			x.Errorf("fsck: %s", f)
		}
	}
}

// same checks that what a provider judges is what the hub has, but for its history.
func (x *trio) same(p *provider) {
	x.Helper()
	x.judged(p, true)
	of := func(p *provider) (s string) {
		p.must(p.store.View(context.Background(), func(tx store.ReadTx) error {
			r, err := tx.Room(chat)
			if err != nil {
				return err
			}
			list, err := tx.Participants(chat)
			s = fmt.Sprint(r.Epoch, r.LastTimestamp, list)
			return err
		}))
		return s
	}
	if have, want := of(p), of(x.a); have != want {
		x.Errorf("%s has %s, the hub %s", p.domain, have, want)
	}
}

// A room at a hub that offers no snapshot: what arrives is durable before anybody can
// judge it, whoever was added reads it, and once the device has brought what it knows
// all of it is judged, writes included.
func TestPlainHub(t *testing.T) {
	for _, first := range []string{"entries", "state"} {
		t.Run(first+" first", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x := newPlain(t)
				x.judged(x.b, false)
				if first == "state" {
					x.bob.bring()
					x.judged(x.b, true)
				}
				x.say(3)
				x.alice.write(store.SubmitUpdate, x.alice.Commit())
				x.alice.catchUp()
				x.say(2)
				if _, list := x.b.own(); len(list) != 6 {
					t.Fatalf("%d entries", len(list))
				}
				if first != "state" {
					x.judged(x.b, false)
					x.b.kill()
					x.b.start()
					x.bob.bring()
				}
				x.same(x.b)
				x.bob.catchUp()
				if fmt.Sprint(x.bob.Texts) != "[1 2 3 4 5]" {
					t.Errorf("bob read %q", x.bob.Texts)
				}
				x.bob.write(store.SubmitMessage, x.bob.Post("hello"))
				x.bob.write(store.SubmitMessage, x.bob.Post("again"))
				pass(time.Minute)
				for _, txn := range []string{"1", "2"} {
					if s := x.bob.submission(txn); s.State != store.Posted {
						t.Errorf("%s is %+v", txn, s)
					}
				}
				x.alice.catchUp()
				if fmt.Sprint(x.alice.Texts) != "[hello again]" {
					t.Errorf("alice read %q", x.alice.Texts)
				}
				x.bob.catchUp()
				x.bob.write(store.SubmitUpdate, x.bob.Leave())
				pass(time.Minute)
				x.alice.catchUp()
				x.alice.write(store.SubmitUpdate, x.alice.Commit())
				pass(time.Minute)
				x.same(x.b)
				if list := x.bob.spans(); len(list) != 1 || list[0].Until == 0 {
					t.Errorf("bob's spans are %+v", list)
				}
				if _, err := x.b.follower.CatchUp(t.Context(), chat); !errors.Is(err, follower.ErrNoSource) {
					t.Errorf("catching up: %v", err)
				}
			})
		})
	}
}

// Everything arrives twice, in other pieces, with losses: it is there once.
func TestPlainHubRepeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newPlain(t)
		x.say(2)
		x.alice.write(store.SubmitUpdate, x.alice.Commit())
		x.alice.catchUp()
		x.say(2)
		_, _, log := x.a.log()
		var all []byte
		for _, e := range log[3:] {
			all = append(all, e.Body...)
		}
		before := x.b.dump()
		w := x.bob.welcomeOf().Body
		for _, body := range [][]byte{w, all, append(append([]byte{}, w...), all...), append(append([]byte{}, all...), all...)} {
			x.must(x.b.follower.Notify(t.Context(), "a.localhost", chat, nil, body))
		}
		if after := x.b.dump(); after != before {
			t.Errorf("repeats left traces:\nbefore\n%s\nafter\n%s", before, after)
		}
		x.bob.bring()
		x.same(x.b)
		before = x.b.dump()
		x.must(x.b.follower.Notify(t.Context(), "a.localhost", chat, nil, all))
		if after := x.b.dump(); after != before {
			t.Error("repeats left traces in a room that is judged")
		}
	})
}

// The second of two users of the provider comes first, with a later state: who was
// added before still reads from where he was added.
func TestPlainHubLaterStateFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newPlain(t)
		x.say(1)
		bea := x.enrol("bea@b.localhost", "phone")
		x.alice.write(store.SubmitUpdate, x.alice.Add(x.alice.claim(bea.User)...))
		x.alice.catchUp()
		x.say(1)
		bea.bring()
		x.same(x.b)
		bea.catchUp()
		x.bob.catchUp()
		if fmt.Sprint(x.bob.Texts) != "[1 2]" || fmt.Sprint(bea.Texts) != "[2]" {
			t.Errorf("bob read %q, bea %q", x.bob.Texts, bea.Texts)
		}
	})
}

// Devices join by themselves: a further one of a user who is in the room, and the first
// of a provider, whose replica begins with what it brought.
func TestPlainHubExternal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newPlain(t)
		x.bob.bring()
		laptop := x.enrol("bob@b.localhost", "laptop")
		laptop.joinExternal()
		pass(time.Minute)
		x.same(x.b)
		x.alice.catchUp()
		x.say(1)
		laptop.catchUp()
		if fmt.Sprint(laptop.Texts) != "[1]" {
			t.Errorf("the laptop read %q", laptop.Texts)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		x, dave := newPair(t)
		x.plain = true
		info := dave.groupInfo()
		got, err := x.b.follower.Bring(t.Context(), dave.URI, &room.Brought{Room: chat, GroupInfo: dave.BroughtAs(chat, info).GroupInfo})
		if err != nil || got != follower.TreeWanted {
			t.Fatal(got, err)
		}
		got, err = x.b.follower.Bring(t.Context(), dave.URI, dave.BroughtAs(chat, info))
		if err != nil || got != follower.Kept {
			t.Fatal(got, err)
		}
		x.b.kill()
		x.b.start()
		x.hush(true) // the commit is accepted, and heard of only after the next death
		dave.write(store.SubmitUpdate, dave.JoinExternal(&info.GroupInfo, info.RatchetTree.Tree))
		pass(500 * time.Millisecond)
		x.b.kill()
		x.b.start()
		x.hush(false)
		pass(10 * time.Minute)
		x.same(x.b)
		if s := dave.submission("1"); s.State != store.Posted || s.Seq != 1 {
			t.Errorf("the commit is %+v", s)
		}
		x.alice.catchUp()
		x.sent = 0
		x.say(2)
		dave.catchUp()
		if fmt.Sprint(dave.Texts) != "[1 2]" {
			t.Errorf("dave read %q", dave.Texts)
		}
	})
}

// Entries are missing: judging stops and storing goes on, until a device joins anew.
func TestPlainHubGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newPlain(t)
		x.bob.bring()
		x.say(1)
		old := x.b.backup()
		x.alice.write(store.SubmitUpdate, x.alice.Commit())
		x.alice.catchUp()
		x.say(1)
		x.b.restore(old)
		pass(time.Minute)
		x.alice.write(store.SubmitUpdate, x.alice.Commit())
		x.alice.catchUp()
		x.say(1)
		x.judged(x.b, false)
		if _, list := x.b.own(); len(list) != 3 {
			t.Fatalf("%d entries", len(list))
		}
		anew := x.enrol("bob@b.localhost", "anew")
		info := anew.groupInfo()
		if got, err := x.b.follower.Bring(t.Context(), anew.URI, anew.BroughtAs(chat, info)); err != nil || got != follower.Kept {
			t.Fatal(got, err)
		}
		anew.write(store.SubmitUpdate, anew.JoinExternal(&info.GroupInfo, info.RatchetTree.Tree))
		pass(time.Minute)
		x.same(x.b)
		x.alice.catchUp()
		x.say(1)
		anew.catchUp()
		if fmt.Sprint(anew.Texts) != "[4]" {
			t.Errorf("the new device read %q", anew.Texts)
		}
		x.same(x.b)
	})
}

// What does not hold is refused and leaves nothing behind.
func TestPlainHubForgedState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newPlain(t)
		x.say(1)
		mallory := x.enrol("mallory@b.localhost", "phone")
		good := x.bob.Brought(chat, x.bob.welcomeOf().Body)
		x.bob.catchUp()
		// Another room's group, in which mallory is with bob: they vouch for each other.
		other := x.clients.Client("eve@a.localhost", "phone")
		other.Create("mimi://a.localhost/r/other", x.a.key)
		lie := func(change func(*room.Brought)) *room.Brought {
			b := x.alice.Own(chat)
			change(b)
			return b
		}
		for name, tc := range map[string]struct {
			by *device
			in *room.Brought
		}{
			"nothing":             {x.bob, &room.Brought{Room: chat, GroupInfo: []byte{1}, Tree: []byte{0}}},
			"only bob himself":    {x.bob, x.bob.Own(chat)},
			"another's Welcome":   {mallory, x.bob.Own("mimi://a.localhost/r/other")},
			"another group":       {x.bob, other.Own(chat)},
			"another room's name": {x.bob, &room.Brought{Room: "mimi://a.localhost/r/else", GroupInfo: good.GroupInfo, Tree: x.alice.Own(chat).Tree}},
			"not its tree":        {mallory, &room.Brought{Room: chat, GroupInfo: good.GroupInfo, Tree: other.Own(chat).Tree}},
			"a bit":               {x.bob, lie(func(b *room.Brought) { b.GroupInfo[len(b.GroupInfo)-1] ^= 1 })},
			"a proposal":          {x.bob, lie(func(b *room.Brought) { b.Pending = []room.Pending{{Message: []byte("x")}} })},
			"our own room":        {x.bob, &room.Brought{Room: "mimi://b.localhost/r/x"}},
		} {
			before := x.b.dump()
			_, err := x.b.follower.Bring(t.Context(), tc.by.URI, tc.in)
			var p *mimi.Problem
			if !errors.As(err, &p) {
				t.Errorf("%s: %v", name, err)
			}
			if after := x.b.dump(); after != before {
				t.Errorf("%s left traces", name)
			}
		}
		// One who is not in the group may bring what he likes: it is used only when the
		// hub announces that he has joined.
		if got, err := x.b.follower.Bring(t.Context(), mallory.URI, lie(func(*room.Brought) {})); err != nil {
			t.Errorf("%d, %v", got, err)
		}
		// Without anything to check it by he is asked for all of it.
		if got, err := x.b.follower.Bring(t.Context(), mallory.URI, &room.Brought{Room: chat, GroupInfo: []byte{1}}); err != nil || got != follower.TreeWanted {
			t.Errorf("%d, %v", got, err)
		}
	})
}

// What a hub may not begin like that: rooms for nobody, entries without a Welcome.
func TestPlainHubUninvited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newPlain(t)
		x.say(1)
		_, _, log := x.a.log()
		w := x.bob.welcomeOf()
		f, err := mimi.ParseFanoutMessage(w.Body)
		x.must(err)
		f.Message.Welcome.Secrets[0].NewMember = []byte("nobody's key package, of 32 oct.")
		f.Raw, f.Message.Raw = nil, nil
		f.Message = *mls.NewMessage(f.Message.Welcome)
		foreign, err := f.Marshal()
		x.must(err)
		const other = "mimi://a.localhost/r/other"
		for name, tc := range map[string]struct {
			room mimi.RoomURI
			body []byte
		}{
			"a message": {other, log[3].Body}, "a commit": {other, log[2].Body}, "a Welcome for nobody": {other, foreign},
			"the same, in the chat": {chat, foreign},
		} {
			before := x.b.dump()
			var p *mimi.Problem
			if err := x.b.follower.Notify(t.Context(), "a.localhost", tc.room, nil, tc.body); !errors.As(err, &p) || p.Status/100 != 4 {
				t.Errorf("%s: %v", name, err)
			}
			if after := x.b.dump(); after != before {
				t.Errorf("%s left traces", name)
			}
		}
		for i := range 1100 {
			uri := mimi.RoomURI(fmt.Sprintf("mimi://a.localhost/r/flood%d", i))
			if err = x.b.follower.Notify(t.Context(), "a.localhost", uri, nil, w.Body); err != nil {
				break
			}
		}
		var p *mimi.Problem
		if !errors.As(err, &p) || p.Code != "too-much-unjudged" {
			t.Errorf("a flood of rooms: %v", err)
		}
	})
}

// A hub that breaks the room's rules is found out as any other.
func TestPlainHubBreaksRules(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newPlain(t)
		x.bob.bring()
		x.bob.catchUp()
		x.say(1)
		// bob, who may not, removes alice; his hub lets him.
		f := mimi.FanoutMessage{Timestamp: uint64(time.Now().UnixMilli())}
		h, err := mimi.ParseHandshakeBundle(x.bob.Commit(x.bob.Removal(x.alice.User)...))
		x.must(err)
		f.Message = h.Message
		body, err := f.Marshal()
		x.must(err)
		err = x.b.follower.Notify(t.Context(), "a.localhost", chat, nil, body)
		var p *mimi.Problem
		if !errors.As(err, &p) || p.Code != "bad-entry" {
			t.Errorf("it was taken: %v", err)
		}
		rec, _ := x.b.own()
		if rec.Frozen == "" {
			t.Error("the room goes on")
		}
		if !strings.Contains(x.b.dump(), "evidence/") {
			t.Error("no evidence")
		}
	})
}
