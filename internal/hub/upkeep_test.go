package hub_test

import (
	"testing"

	"hubbub/internal/room/roomtest"
	"hubbub/internal/store"
	"hubbub/mimi"
	"hubbub/mls"
	"hubbub/mls/wire"
)

// senders gives the providers among a client's external senders.
func senders(t *testing.T, c *roomtest.Client) (out []mimi.Domain) {
	t.Helper()
	for _, e := range c.Group.Public().ExternalSenders() {
		d, err := mimi.ProviderIdentity(&e.Credential)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, d)
	}
	return out
}

// withSenders is a commit of alice's that adds external senders for providers.
func (x *bench) withSenders(domains ...mimi.Domain) []byte {
	x.Helper()
	ctx := x.alice.Group.Context()
	list := append(mls.ExternalSenders{}, x.alice.Group.Public().ExternalSenders()...)
	for _, d := range domains {
		list = append(list, mls.ExternalSender{SignatureKey: x.world.NewKey().Public, Credential: mimi.ProviderCredential(d)})
	}
	data, err := wire.Marshal(list)
	x.must(err)
	return x.alice.Commit(mls.Proposal{Type: mls.ProposalTypeGroupContextExtensions,
		GroupContextExtensions: &mls.GroupContextExtensions{Extensions: ctx.Extensions.Set(mls.ExtensionTypeExternalSenders, data)}})
}

// TestSenderOfAbsentProviderGoes is RS-8 and RS-10: when the last participant of a
// provider is out, the hub proposes to take out its entry, and the next commit carries it.
func TestSenderOfAbsentProviderGoes(t *testing.T) {
	x := newBench(t)
	x.env = roomtest.Env()
	x.env.Signer = x.key
	x.open()
	x.ready()
	x.update(x.alice, x.withSenders("b.localhost", "c.localhost"))
	x.follow(x.bob, x.cathy)
	if got := senders(t, x.cathy); len(got) != 3 {
		t.Fatalf("senders: %v", got)
	}

	x.update(x.alice, x.alice.Commit(x.alice.Removal(x.bob.User)...))
	at := x.head().Seq
	x.view(func(tx store.ReadTx) error {
		list, err := tx.Entries(chat, at-1, 10, 1<<20)
		x.must(err)
		f, err := mimi.ParseFanoutMessage(list[0].Body)
		x.must(err)
		if c := f.Message.Public.Content; c.Sender.Type != mls.SenderTypeExternal || c.Proposal.Type != mls.ProposalTypeGroupContextExtensions {
			t.Fatalf("the entry after the removal is from sender type %v", c.Sender.Type)
		}
		return nil
	})
	x.follow(x.cathy)
	before := x.cathy.Group.Context().Extensions
	if got := senders(t, x.cathy); len(got) != 3 {
		t.Errorf("a change counts before it is committed: %v", got) // RS-9
	}

	// The commit that carries it takes the entry out, and changes no other extension.
	x.update(x.cathy, x.cathy.Commit())
	x.follow(x.alice)
	for _, c := range []*roomtest.Client{x.alice, x.cathy} {
		if got := senders(t, c); len(got) != 2 || got[0] != "a.localhost" || got[1] != "c.localhost" {
			t.Errorf("%s: senders %v", c, got)
		}
	}
	after := x.cathy.Group.Context().Extensions
	for i := range before {
		if before[i].Type != after[i].Type || before[i].Type != mls.ExtensionTypeExternalSenders && string(before[i].Data) != string(after[i].Data) {
			t.Errorf("extension %v changed as well", before[i].Type)
		}
	}
	if end := x.head().Seq; end != at+1 {
		t.Errorf("the hub goes on proposing: head at %d, want %d", end, at+1)
	}
}

// TestSenderProposalSurvivesJoin: a device that lets itself in drops what is pending; the
// hub proposes anew, by the extensions as they are then.
func TestSenderProposalSurvivesJoin(t *testing.T) {
	x := newBench(t)
	x.env = roomtest.Env()
	x.env.Signer = x.key
	x.open()
	x.ready()
	x.update(x.alice, x.withSenders("b.localhost"))
	x.follow(x.bob, x.cathy)
	x.update(x.alice, x.alice.Commit(x.alice.Removal(x.bob.User)...))
	x.follow(x.cathy)

	laptop := x.world.Client("cathy@c.localhost", "laptop")
	d := &doors{bench: x}
	content, err := d.ask(laptop, chat, nil)
	x.must(err)
	at := x.head().Seq
	b, err := x.hub.Update(t.Context(), "c.localhost", chat, laptop.JoinExternal(&content.GroupInfo, content.RatchetTree.Tree))
	x.must(err)
	if a := x.parseUpdate(b); a.Code != mimi.UpdateSuccess {
		t.Fatalf("%+v", a)
	}
	x.read[laptop] = at
	x.follow(laptop, x.alice, x.cathy)
	if end := x.head().Seq; end != at+2 {
		t.Fatalf("head at %d, want the join and a proposal after %d", end, at)
	}
	x.update(x.alice, x.alice.Commit())
	x.follow(laptop)
	if got := senders(t, laptop); len(got) != 1 || got[0] != "a.localhost" {
		t.Errorf("senders: %v", got)
	}
}
