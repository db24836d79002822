package mls

import (
	"bytes"
	"runtime"
	"testing"

	"hubbub/mls/wire"
)

// seedMessages returns a message of every kind.
func seedMessages(t testing.TB) (c *chat, msgs [][]byte) {
	c = newChat(t, 1, nil, nil, "alice", "bob")
	alice := c.members["alice"]
	kp := c.keyPackage("carol")
	_, proposal, err := alice.Propose(Proposal{Type: ProposalTypeUpdate}, ProposeOptions{})
	c.ok(err)
	_, app, err := alice.Encrypt([]byte("hello"), EncryptOptions{})
	c.ok(err)
	commit, err := alice.Commit(CommitOptions{Proposals: []Proposal{addOf(kp), appData(7, "x"), pskOf("p", 32)}[:2], TreeInWelcome: true})
	c.ok(err)
	msgs = [][]byte{proposal, app, commit.Message()}
	for _, m := range []*Message{NewMessage(commit.Welcome()), NewMessage(commit.GroupInfo()), NewMessage(kp.KeyPackage)} {
		b, err := m.Marshal()
		c.ok(err)
		msgs = append(msgs, b)
	}
	return c, msgs
}

// FuzzParseMessage: no input makes decoding panic, and what decodes encodes to
// the octets received.
func FuzzParseMessage(f *testing.F) {
	_, msgs := seedMessages(f)
	for _, m := range msgs {
		f.Add(m)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := ParseMessage(b)
		if err != nil {
			return
		}
		m.Header()
		got, err := wire.Marshal(m)
		if err != nil || !bytes.Equal(got, b) {
			t.Fatalf("%x encodes to %x (%v)", b, got, err)
		}
	})
}

// FuzzProcess: no message makes a group panic.
func FuzzProcess(f *testing.F) {
	c, msgs := seedMessages(f)
	for _, m := range msgs {
		f.Add(m)
	}
	bob := c.members["bob"]
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, err := bob.Process(b); err == nil && got == nil {
			t.Fatal("neither a result nor an error")
		}
		m, err := ParseMessage(b)
		if err != nil || m.Public == nil {
			return
		}
		// Reach the code behind the signature: the same content, freshly
		// signed by a member.
		a := m.Public.Authenticated()
		a.Content.GroupID, a.Content.Epoch, a.Content.Sender = bob.GroupID(), bob.Epoch(), member(0)
		if a.Sign(1, c.signers["alice"].Private, bob.Context()) != nil {
			return
		}
		if a.Content.ContentType == ContentTypeCommit {
			a.Auth.ConfirmationTag = make([]byte, 32)
		}
		if a.Content.ContentType != ContentTypeApplication {
			bob.handshake(a)
		}
	})
}

// FuzzUnmarshalGroup: no stored octets make loading panic.
func FuzzUnmarshalGroup(f *testing.F) {
	c, msgs := seedMessages(f)
	c.encrypt("alice", "passed over")
	_, app, err := c.members["alice"].Encrypt([]byte("later"), EncryptOptions{})
	c.ok(err)
	c.receive("bob", "alice", app, "later")
	for _, g := range c.members {
		b, err := g.MarshalBinary()
		c.ok(err)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		g, err := UnmarshalGroup(b, nil)
		if err != nil {
			return
		}
		g.Encrypt([]byte("x"), EncryptOptions{})
		g.Commit(CommitOptions{})
		for _, m := range msgs {
			g.Process(m)
		}
	})
}

// A length that the input does not back must not be allocated.
func TestDecodingIsBounded(t *testing.T) {
	_, msgs := seedMessages(t)
	huge := []byte{0xbf, 0xff, 0xff, 0xff}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	tried := 0
	for _, m := range msgs {
		for i := range m {
			ParseMessage(append(bytes.Clone(m[:i]), huge...))
			tried++
		}
	}
	runtime.ReadMemStats(&after)
	if per := (after.TotalAlloc - before.TotalAlloc) / uint64(tried); per > 64<<10 {
		t.Fatalf("%d octets allocated per input", per)
	}
}

func TestPeek(t *testing.T) {
	c, msgs := seedMessages(t)
	id := c.members["alice"].GroupID()
	want := []Header{
		{WireFormat: WireFormatPublicMessage, GroupID: id, Epoch: 1, ContentType: ContentTypeProposal, Sender: member(0)},
		{WireFormat: WireFormatPrivateMessage, GroupID: id, Epoch: 1, ContentType: ContentTypeApplication},
		{WireFormat: WireFormatPublicMessage, GroupID: id, Epoch: 1, ContentType: ContentTypeCommit, Sender: member(0)},
		{WireFormat: WireFormatWelcome},
		{WireFormat: WireFormatGroupInfo, GroupID: id, Epoch: 2},
		{WireFormat: WireFormatKeyPackage},
	}
	for i, m := range msgs {
		got, err := Peek(m)
		if err != nil || got.WireFormat != want[i].WireFormat || !bytes.Equal(got.GroupID, want[i].GroupID) ||
			got.Epoch != want[i].Epoch || got.ContentType != want[i].ContentType || got.Sender != want[i].Sender {
			t.Errorf("message %d: %+v, %v", i, got, err)
		}
	}
	if _, err := Peek([]byte{0, 1, 0, 9}); err == nil {
		t.Error("unknown wire format accepted")
	}
}
