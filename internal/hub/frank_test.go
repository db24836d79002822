package hub_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"testing"

	"hubbub/internal/hub"
	"hubbub/internal/moderation"
	"hubbub/internal/room/roomtest"
	"hubbub/internal/store"
	"hubbub/mimi"
	"hubbub/mls"
)

// franking is a bench whose chat has franking, and its hub's keys.
func franking(t *testing.T) (*bench, *moderation.Franker) {
	x := newBench(t)
	f := moderation.NewFranker(moderation.FirstKeys(), x.key)
	x.env = roomtest.Env()
	x.env.Frank = f.Frank
	x.open()
	x.alice.Franked = true
	return x.ready(), f
}

func (x *bench) entryAt(seq uint64) (f *mimi.FanoutMessage) {
	x.Helper()
	x.view(func(tx store.ReadTx) error {
		list, err := tx.Entries(chat, seq-1, 1, 1<<20)
		if err == nil {
			f, err = mimi.ParseFanoutMessage(list[0].Body)
		}
		return err
	})
	return f
}

// The frank is made before the answer, is the same in answer and log, and holds (FRK-6,
// FRK-7, FRK-16).
func TestFrank(t *testing.T) {
	x, _ := franking(t)
	salt, data := [16]byte{1}, []byte("hello")
	body := x.bob.PostTagged(salt, data)
	answer, err := x.hub.Submit(x.Context(), "b.localhost", chat, body)
	x.must(err)
	a, err := mimi.ParseSubmitMessageResponse(answer)
	x.must(err)
	if a.Code != mimi.SubmitAccepted || a.Frank == nil {
		t.Fatalf("answer: %+v", a)
	}
	c := &mimi.FrankingContext{Sender: x.bob.User, Room: chat, Timestamp: a.Timestamp}
	if err := a.Frank.Verify(c, x.key.Public); err != nil {
		t.Error(err)
	}
	entry := x.entryAt(x.head().Seq)
	if entry.Frank == nil || entry.Timestamp != a.Timestamp || entry.Frank.ServerFrank != a.Frank.ServerFrank || !bytes.Equal(entry.Frank.Signature, a.Frank.Signature) {
		t.Errorf("answer has %+v, log has %+v", a.Frank, entry.Frank)
	}
	if bytes.Contains(entry.Raw, []byte(x.bob.User)) { // FRK-9
		t.Error("the log names the sender")
	}

	// P5: the same octets also after a restart with new keys.
	x.open()
	x.env.Frank = moderation.NewFranker(moderation.FirstKeys(), x.key).Frank
	again, err := x.hub.Submit(x.Context(), "b.localhost", chat, body)
	x.must(err)
	if !bytes.Equal(answer, again) {
		t.Errorf("first %x\nthen  %x", answer, again)
	}
	// And when several are decided on together.
	fresh := x.bob.PostTagged(salt, []byte("more"))
	items := []mimi.BatchItem{{Room: chat, Body: body}, {Room: chat, Body: fresh}}
	answers := x.hub.Batch("b.localhost", items)
	if !bytes.Equal(answers[0].Body, answer) {
		t.Errorf("in a batch %x", answers[0].Body)
	}
	if a, err := mimi.ParseSubmitMessageResponse(answers[1].Body); err != nil || a.Frank == nil {
		t.Errorf("new one in a batch: %+v, %v", a, err)
	}
	if again := x.hub.Batch("b.localhost", items); !bytes.Equal(again[1].Body, answers[1].Body) {
		t.Error("a batch that is repeated is answered differently")
	}
}

// Nothing is franked without a tag, without an agent, and by another's key (FRK-5, D-35).
func TestNoFrank(t *testing.T) {
	x, _ := franking(t)
	if a := x.submit("b.localhost", x.bob.Post("no tag")); a.Code != mimi.SubmitAccepted || a.Frank != nil {
		t.Errorf("without a tag: %+v", a)
	}
	if f := x.entryAt(x.head().Seq); f.Frank != nil {
		t.Error("the log has a frank")
	}
	plain := newBench(t)
	plain.env = roomtest.Env()
	plain.env.Frank = moderation.NewFranker(moderation.FirstKeys(), plain.key).Frank
	plain.open()
	plain.ready()
	if a := plain.submit("b.localhost", plain.bob.PostTagged([16]byte{}, []byte("x"))); a.Code != mimi.SubmitAccepted || a.Frank != nil {
		t.Errorf("without an agent: %+v", a)
	}
}

// A room whose agent has another key is not made: its messages could not be reported.
func TestForeignAgent(t *testing.T) {
	x := newBench(t)
	other, err := mls.NewSignatureKey(roomtest.Suite, rand.Reader)
	x.must(err)
	x.alice.Franked = true
	in := x.alice.CreateWithAgent(chat, x.key, other.Public)
	before := x.dump()
	err = x.hub.Create(x.Context(), x.alice.URI, hub.CreateRequest{Room: chat, GroupInfo: in.GroupInfo, Tree: in.Tree})
	var p *mimi.Problem
	if !errors.As(err, &p) || p.Status != 403 || x.dump() != before {
		t.Errorf("created: %v", err)
	}
}

// Who may report: members now, and who was one when the message came (ABU-6, D-47).
func TestMayReport(t *testing.T) {
	x, _ := franking(t)
	then := x.submit("c.localhost", x.cathy.Post("x")).Timestamp
	x.follow(x.alice)
	later := x.update(x.alice, x.alice.Commit(x.alice.Removal(x.cathy.User)...))
	for name, c := range map[string]struct {
		peer     mimi.Domain
		reporter mimi.UserURI
		times    []uint64
		want     int
	}{
		"a member":                 {"b.localhost", x.bob.User, nil, 0},
		"nobody, by a member's":    {"b.localhost", "", nil, 0},
		"a former member":          {"c.localhost", x.cathy.User, []uint64{later + 1, then}, 0},
		"of what came later":       {"c.localhost", x.cathy.User, []uint64{later + 1}, 403},
		"of nothing":               {"c.localhost", x.cathy.User, nil, 403},
		"in another's name":        {"b.localhost", x.cathy.User, []uint64{then}, 403},
		"of a provider not in it":  {"d.localhost", "", nil, 404},
		"a stranger of a member's": {"b.localhost", "mimi://b.localhost/u/eve", []uint64{then}, 403},
	} {
		agents, err := x.hub.MayReport(x.Context(), c.peer, chat, c.reporter, c.times)
		var p *mimi.Problem
		if c.want == 0 && (err != nil || len(agents) != 1) || c.want != 0 && (!errors.As(err, &p) || p.Status != c.want) {
			t.Errorf("%s: %v, want %d", name, err, c.want)
		}
	}
}
