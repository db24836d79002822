package moderation

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"testing"
	"time"

	"hubbub/internal/store"
	"hubbub/internal/store/sqlstore"
	"hubbub/mimi"
	"hubbub/mimi/content"
	"hubbub/mls"
)

const (
	lobby mimi.RoomURI = "mimi://a.localhost/r/lobby"
	bob   mimi.UserURI = "mimi://b.localhost/u/bob"
	cathy mimi.UserURI = "mimi://b.localhost/u/cathy"
	noon               = uint64(1_800_000_000_000)
)

// desk is a service over a store, with a key, for the lobby.
type desk struct {
	*testing.T
	*Service
	signer *mls.SignatureKey
	agent  *mimi.FrankingAgent
	refuse error // by the room
	spent  int   // of limits
	limit  error
	sent   []byte // to other hubs
}

func (d *desk) MayReport(context.Context, mimi.Domain, mimi.RoomURI, mimi.UserURI, []uint64) ([][]byte, error) {
	return [][]byte{d.agent.SignatureKey}, d.refuse
}

func (d *desk) ReportAbuse(_ context.Context, to mimi.Domain, _ mimi.RoomURI, body []byte) error {
	d.sent = body
	return nil
}

func newDesk(t *testing.T) *desk {
	st, err := sqlstore.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	signer, err := mls.NewSignatureKey(mls.SuiteX25519AES128SHA256Ed25519, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	d := &desk{T: t, signer: signer, agent: &mimi.FrankingAgent{SignatureKey: signer.Public, Credential: mimi.ProviderCredential("a.localhost")}}
	take := func() error { d.spent++; return d.limit }
	d.Service = New(Config{Domain: "a.localhost", Store: st, Rooms: d, Remote: d, Franker: NewFranker(FirstKeys(), signer),
		Limit: func(mimi.UserURI) error { return take() }, LimitPeer: func(mimi.Domain) error { return take() },
		Now: func() time.Time { return time.UnixMilli(int64(noon)) }})
	return d
}

func (d *desk) must(err error) {
	if err != nil {
		d.Helper()
		d.Fatal(err)
	}
}

// message is what somebody sent and the hub franked.
func (d *desk) message(sender mimi.UserURI, room mimi.RoomURI, text string) mimi.AbusiveMessage {
	d.Helper()
	m := content.NewText(sender, room, text)
	data, err := m.Encode()
	d.must(err)
	frank, err := d.cfg.Franker.Frank(d.signer.Suite, d.agent, mimi.NewFrankTag(m.Salt, data),
		&mimi.FrankingContext{Sender: sender, Room: room, Timestamp: noon})
	d.must(err)
	return mimi.AbusiveMessage{Content: data, Frank: *frank, Timestamp: noon}
}

func (d *desk) body(r mimi.AbuseReport) []byte {
	d.Helper()
	b, err := r.Marshal()
	d.must(err)
	return b
}

// last is the newest case.
func (d *desk) last() Case {
	d.Helper()
	list, err := d.Cases(d.Context(), 0, true, 10_000)
	d.must(err)
	return list[len(list)-1]
}

func (d *desk) dump() (s string) {
	d.Helper()
	d.must(d.cfg.Store.View(d.Context(), func(tx store.ReadTx) (err error) { s, err = tx.Dump(); return err }))
	return s
}

// A genuine report is proved; with any octet of content, time, frank or signature changed
// it is taken just so and not proved (ABU-3, ABU-4, H81).
func TestEvidence(t *testing.T) {
	d := newDesk(t)
	genuine := d.message(bob, lobby, "I hate you")
	report := func(m mimi.AbusiveMessage) Evidence {
		t.Helper()
		if err := d.Take(t.Context(), "b.localhost", lobby, d.body(mimi.AbuseReport{Reporter: cathy, Abuser: bob, Note: "help", Messages: []mimi.AbusiveMessage{m}})); err != nil {
			t.Fatalf("answered differently: %v", err)
		}
		return d.last().Messages[0]
	}
	if e := report(genuine); e.Unproved != "" || e.Text != "I hate you" {
		t.Errorf("genuine: %+v", e)
	}
	tried := 0
	flip := func(what string, at int, change func(*mimi.AbusiveMessage)) {
		t.Helper()
		m := genuine
		m.Content, m.Frank.Signature = bytes.Clone(m.Content), bytes.Clone(m.Frank.Signature)
		change(&m)
		tried++
		if e := report(m); e.Unproved == "" {
			t.Errorf("%s, octet %d changed: still proved", what, at)
		}
	}
	for i := range genuine.Content {
		flip("content", i, func(m *mimi.AbusiveMessage) { m.Content[i] ^= 1 })
	}
	for i := range genuine.Frank.ServerFrank {
		flip("frank", i, func(m *mimi.AbusiveMessage) { m.Frank.ServerFrank[i] ^= 1 })
	}
	for i := range genuine.Frank.Signature {
		flip("signature", i, func(m *mimi.AbusiveMessage) { m.Frank.Signature[i] ^= 1 })
	}
	for i := range 8 {
		flip("time", i, func(m *mimi.AbusiveMessage) { m.Timestamp ^= 1 << (8 * i) })
	}
	flip("suite", 0, func(m *mimi.AbusiveMessage) { m.Frank.Suite ^= 1 })
	flip("suite", 1, func(m *mimi.AbusiveMessage) { m.Frank.Suite ^= 0x100 })
	if tried < 150 {
		t.Errorf("only %d octets tried", tried)
	}
}

// Evidence about somebody else or another room is void (ABU-5), as is one made by a key
// that is not ours; after a rotation old messages are still proved (FRK-8).
func TestVoidEvidence(t *testing.T) {
	d := newDesk(t)
	m := d.message(bob, lobby, "x")
	stored := 0
	d.must(d.cfg.Franker.Rotate(time.UnixMilli(int64(noon)+1), func(keys mimi.FrankKeys) error { stored = len(keys); return nil }))
	if stored != 2 {
		t.Errorf("%d keys stored", stored)
	}
	list := []mimi.AbusiveMessage{m, d.message(cathy, lobby, "y"), d.message(bob, "mimi://a.localhost/r/other", "z"), {Content: []byte("no message"), Frank: m.Frank}}
	d.must(d.Take(t.Context(), "b.localhost", lobby, d.body(mimi.AbuseReport{Abuser: bob, Reason: 200, Messages: list})))
	c := d.last()
	if c.Claim.Reason != 200 || c.Claim.Reporter != "" || c.Proved() != 1 || c.Messages[0].Unproved != "" { // ABU-7, ABU-2
		t.Errorf("%+v", c)
	}
	d.must(d.Take(t.Context(), "b.localhost", lobby, d.body(mimi.AbuseReport{Abuser: cathy, Messages: list[:1]})))
	if c := d.last(); c.Proved() != 0 {
		t.Errorf("proved against another: %+v", c)
	}
	if err := d.cfg.Franker.Rotate(time.UnixMilli(1), func(mimi.FrankKeys) error { return errors.New("disk") }); err == nil || len(d.cfg.Franker.Keys()) != 2 {
		t.Error("a key is used that is not stored")
	}
}

// The same report is one case, also beyond the limit; what is refused leaves nothing.
func TestTake(t *testing.T) {
	d := newDesk(t)
	named := mimi.AbuseReport{Reporter: cathy, Abuser: bob}
	body := d.body(named)
	d.must(d.Take(t.Context(), "b.localhost", lobby, body))
	if d.spent != 2 { // of the user and of its provider
		t.Errorf("%d limits asked", d.spent)
	}
	before := d.dump()
	d.limit = mimi.NewProblem(429, mimi.CodeTooMany, "too many")
	d.must(d.Take(t.Context(), "b.localhost", lobby, body))
	status := func(body []byte, want int) {
		t.Helper()
		var p *mimi.Problem
		if err := d.Take(t.Context(), "b.localhost", lobby, body); !errors.As(err, &p) || p.Status != want {
			t.Errorf("answered %v, want %d", err, want)
		}
		if d.dump() != before {
			t.Error("something was stored")
		}
	}
	named.Note = "another"
	status(d.body(named), 429)
	d.limit = nil
	d.refuse = mimi.NewProblem(403, mimi.CodeForbidden, "no")
	status(d.body(named), 403)
	d.refuse = nil
	status(body[:len(body)-1], 400)
	named.Note = string(make([]byte, MaxNoteBytes+1))
	status(d.body(named), 400)
	named.Note, named.Messages = "", make([]mimi.AbusiveMessage, 1000)
	status(d.body(named), 400)
	d.must(d.Resolve(t.Context(), 1, "warned"))
	if list, err := d.Cases(t.Context(), 0, false, 10); err != nil || len(list) != 0 {
		t.Errorf("open: %v, %v", list, err)
	}
	if c, err := d.Case(t.Context(), 1); err != nil || c.Resolution != "warned" {
		t.Errorf("%+v, %v", c, err)
	}
	var p *mimi.Problem
	if err := d.Resolve(t.Context(), 9, ""); !errors.As(err, &p) || p.Status != 404 {
		t.Errorf("resolved what is not there: %v", err)
	}
}

// Nobody reports in another's name, nor from a room it was never in.
func TestSend(t *testing.T) {
	d := newDesk(t)
	before := d.dump()
	for _, r := range []mimi.AbuseReport{{Reporter: bob, Abuser: bob}, {Abuser: bob}} {
		var p *mimi.Problem
		if err := d.Send(t.Context(), cathy, "mimi://b.localhost/r/x", d.body(r)); !errors.As(err, &p) {
			t.Errorf("%+v: %v", r, err)
		}
	}
	if d.sent != nil || d.dump() != before || d.spent != 0 {
		t.Error("something was done")
	}
}
