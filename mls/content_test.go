package mls

import (
	"bytes"
	"slices"
	"testing"

	"hubbub/mls/wire"
)

var (
	contentGFM   = MediaType{Type: "text/markdown", Parameters: []MediaTypeParameter{{"variant", "GFM-MIMI"}}}
	contentPlain = MediaType{Type: "text/plain", Parameters: []MediaTypeParameter{{"charset", "UTF-8"}}}
)

// TestContentFraming: EXT-16 to EXT-18.
func TestContentFraming(t *testing.T) {
	var d, own AppDataDictionary
	d.Set(ComponentContentMediaTypes, encoded(MediaTypeList{contentGFM}))
	own.Set(ComponentAppComponents, encoded(ComponentsList{1, 2, 3}))
	own.Set(ComponentContentMediaTypes, encoded(MediaTypeList{contentPlain, contentGFM}))
	c := newChat(t, 1, nil, nil, "plain")
	if data, err := c.members["plain"].Context().FrameContent(nil, []byte("x")); err != nil || string(data) != "x" {
		t.Errorf("group without the component frames: %q, %v", data, err)
	}
	if _, err := c.members["plain"].Context().FrameContent(&contentGFM, nil); err == nil {
		t.Error("media type lost")
	}
	group := func(x Extensions) (*Group, error) {
		return NewGroup(GroupOptions{Suite: 1, Signer: c.signer("alice"), Credential: BasicCredential([]byte("alice")), LeafExtensions: x,
			Extensions: Extensions{{Type: ExtensionTypeAppDataDictionary, Data: encoded(&d)}}}, nil)
	}
	if _, err := group(nil); err == nil {
		t.Error("a creator that cannot receive the required type was accepted")
	}
	g, err := group(Extensions{{Type: ExtensionTypeAppDataDictionary, Data: encoded(&own)}})
	c.ok(err)
	data, err := g.Context().FrameContent(nil, []byte("hello"))
	c.ok(err)
	if !bytes.Equal(data, append([]byte{0, 0, 5}, "hello"...)) {
		t.Errorf("framed as %x", data)
	}
	kind, content, err := g.Context().UnframeContent(data)
	if err != nil || kind.Type != "text/markdown" || kind.Parameters[0].Value != "GFM-MIMI" || string(content) != "hello" {
		t.Errorf("%v %q %v", kind, content, err)
	}
	data, err = g.Context().FrameContent(&contentPlain, []byte("hello"))
	c.ok(err)
	if kind, _, err = g.Context().UnframeContent(data); err != nil || kind.Type != "text/plain" {
		t.Errorf("%v %v", kind, err)
	}
	if _, _, err = g.Context().UnframeContent([]byte("hello")); err == nil {
		t.Error("unframed data accepted")
	}
	for _, bad := range []string{"text", "/plain", "text/", "a/b/c"} {
		if wire.Unmarshal(encoded(&MediaType{Type: bad}), new(MediaType)) == nil {
			t.Errorf("media type %q accepted", bad)
		}
	}
	if wire.Unmarshal([]byte{0}, new(MediaTypeList)) == nil {
		t.Error("empty list accepted")
	}
}

// TestAppAck: EXT-26.
func TestAppAck(t *testing.T) {
	var mine, all AppAck
	for _, g := range []uint32{5, 0, 1, 3, 2, 2, 1<<32 - 1} {
		mine.Add(1, g)
	}
	mine.Add(0, 7)
	want := []MessageRange{{0, 7, 7}, {1, 0, 3}, {1, 5, 5}, {1, 1<<32 - 1, 1<<32 - 1}}
	if !slices.Equal(mine.Received, want) {
		t.Fatalf("received %v", mine.Received)
	}
	all.Received = []MessageRange{{1, 2, 8}, {2, 0, 1}, {0, 7, 7}, {1, 1<<32 - 2, 1<<32 - 1}}
	missing := []MessageRange{{1, 4, 4}, {1, 6, 8}, {2, 0, 1}, {1, 1<<32 - 2, 1<<32 - 2}}
	if got := mine.Missing(&all); !slices.Equal(got, missing) {
		t.Errorf("missing %v", got)
	}
	// The hub keeps a message from carol; bob's AppAck shows it.
	c := newChat(t, 1, nil, nil, "alice", "bob", "carol")
	c.encrypt("alice", "suppressed")
	var ack AppAck
	ack.Add(c.members["alice"].OwnLeaf(), 0)
	p, err := ack.Proposal()
	c.ok(err)
	pending, err := c.members["bob"].Commit(CommitOptions{Proposals: []Proposal{p}})
	c.ok(err)
	got, err := c.members["carol"].Process(pending.Message())
	c.ok(err)
	var seen AppAck
	c.ok(wire.Unmarshal(got.(*CommitReceived).Proposals[0].Proposal.AppEphemeral.Data, &seen))
	if gap := new(AppAck).Missing(&seen); !slices.Equal(gap, []MessageRange{{0, 0, 0}}) {
		t.Errorf("gap %v", gap)
	}
	if wire.Unmarshal([]byte{12, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 1}, new(AppAck)) == nil {
		t.Error("range that ends before it begins accepted")
	}
}
