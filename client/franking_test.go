package client

import (
	"crypto/rand"
	"testing"
	"time"

	"hubbub/mimi"
	"hubbub/mimi/content"
	"hubbub/mimi/policy"
	"hubbub/mls"
)

// TestVouched: a message that its sender did not commit to is discarded; one whose hub's
// word does not hold is taken and marked (FRK-10 to FRK-12, D-36).
func TestVouched(t *testing.T) {
	const uri, alice, bob = mimi.RoomURI("mimi://a.localhost/r/x"), mimi.UserURI("mimi://a.localhost/u/alice"), mimi.UserURI("mimi://b.localhost/u/bob")
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	hub, err := mls.NewSignatureKey(suite, rand.Reader)
	ok(err)
	key, err := mls.NewSignatureKey(suite, rand.Reader)
	ok(err)
	group := func(franking bool) *mls.Group {
		tpl, err := policy.Preset("", "a.localhost")
		ok(err)
		sender := mls.ExternalSender{SignatureKey: hub.Public, Credential: mimi.ProviderCredential("a.localhost")}
		if franking {
			tpl.Franking = &mimi.FrankingAgent{SignatureKey: sender.SignatureKey, Credential: sender.Credential}
		}
		x, err := tpl.Extensions(uri, "", alice, sender)
		ok(err)
		g, err := mls.NewGroup(mls.GroupOptions{GroupID: []byte("x"), Suite: suite, Signer: key, Credential: mls.BasicCredential([]byte("mimi://a.localhost/d/alice/x")),
			Extensions: x, LeafExtensions: mls.Extensions{policy.LeafExtension()}}, &mls.Config{Components: policy.Components()})
		ok(err)
		return g
	}
	g := group(true)
	msg := content.NewText(bob, uri, "hello")
	data, err := msg.Encode()
	ok(err)
	aad, err := tagged(g, kindWrite, data, data)
	ok(err)
	tag, found := mimi.FrankTagOf(aad)
	if !found {
		t.Fatal("no tag")
	}
	keys := mimi.FrankKeys(nil).Rotate(time.UnixMilli(0), time.Hour)
	frank, err := keys.Frank(tag, &mimi.FrankingContext{Sender: bob, Room: uri, Timestamp: 1000}, hub)
	ok(err)
	for name, c := range map[string]struct {
		change func(app *mls.Application, f *mimi.FanoutMessage, in *incoming)
		taken  bool
		flags  int
	}{
		"genuine":       {func(*mls.Application, *mimi.FanoutMessage, *incoming) {}, true, flagProved},
		"no frank":      {func(_ *mls.Application, f *mimi.FanoutMessage, _ *incoming) { f.Frank = nil }, true, 0},
		"no tag":        {func(a *mls.Application, _ *mimi.FanoutMessage, _ *incoming) { a.AAD = []byte{0} }, true, 0},
		"another time":  {func(_ *mls.Application, f *mimi.FanoutMessage, _ *incoming) { f.Timestamp++ }, true, flagBadProof},
		"another frank": {func(_ *mls.Application, f *mimi.FanoutMessage, _ *incoming) { f.Frank.ServerFrank[0] ^= 1 }, true, flagBadProof},
		"tag of another": {func(a *mls.Application, _ *mimi.FanoutMessage, _ *incoming) {
			a.Data = append(a.Data[:len(a.Data):len(a.Data)], 0)
		}, false, 0},
		"another sender":    {func(_ *mls.Application, _ *mimi.FanoutMessage, in *incoming) { in.record.Sender = alice }, false, 0},
		"from another room": {func(_ *mls.Application, _ *mimi.FanoutMessage, in *incoming) { in.record.Room += "y" }, false, 0},
	} {
		copied := *frank
		app, f := &mls.Application{AAD: aad, Data: data}, &mimi.FanoutMessage{Timestamp: 1000, Frank: &copied}
		in := &incoming{record: &record{Message: Message{Sender: bob, Room: uri}}, message: msg}
		c.change(app, f, in)
		if taken := in.vouched(g, app, f); taken != c.taken || in.record.flags != c.flags {
			t.Errorf("%s: taken %v with flags %b, want %v and %b", name, taken, in.record.flags, c.taken, c.flags)
		}
	}
	if aad, err := tagged(group(false), kindWrite, data, data); aad != nil || err != nil {
		t.Errorf("a tag where nobody franks: %x, %v", aad, err)
	}
	if aad, err := tagged(g, kindReport, data, nil); aad != nil || err != nil {
		t.Errorf("a tag on a status report: %x, %v", aad, err)
	}
}
