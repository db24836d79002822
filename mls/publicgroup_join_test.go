package mls

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"hubbub/mls/wire"
)

// TestNewPublicGroupRules: whatever is wrong with a GroupInfo or its tree, it
// is found before the group exists.
func TestNewPublicGroupRules(t *testing.T) {
	f := newFixture(t, 5, nil, nil)
	f.apply(f.commit(3, nil))
	late := f.keyPackage(nil) // unmerged: no parent hash covers this leaf
	f.apply(f.bare(3, values(addOf(late))))
	type input struct {
		gi   GroupInfo
		tree RatchetTree
		key  *SignatureKey
	}
	fresh := func() *input {
		in := &input{gi: GroupInfo{GroupContext: *f.group.Context(), ConfirmationTag: f.group.ConfirmationTag(), Signer: 3}, key: f.keys[3]}
		if err := wire.Unmarshal(encoded(f.group.Tree()), &in.tree); err != nil {
			t.Fatal(err)
		}
		return in
	}
	// rehash makes the GroupInfo agree with a changed tree.
	rehash := func(in *input) {
		tr, err := buildTree(1, in.tree)
		if err != nil {
			t.Fatal(err)
		}
		if in.gi.GroupContext.TreeHash, err = tr.hash(); err != nil {
			t.Fatal(err)
		}
	}
	leaf := func(change func(l *LeafNode)) func(in *input) {
		return func(in *input) {
			l := in.tree[10].Leaf
			change(l)
			if err := l.sign(1, late.Signer.Private, nil, 0); err != nil {
				t.Fatal(err)
			}
			rehash(in)
		}
	}
	for _, c := range []struct {
		name, reason string
		change       func(in *input)
	}{
		{"signature", ErrBadSignature.Error(), func(in *input) { in.key = f.keys[2] }},
		{"blank signer", "not a member", func(in *input) { in.gi.Signer = 7 }},
		{"signer out of range", "not a member", func(in *input) { in.gi.Signer = 1 << 30 }},
		{"tree hash", "tree hash differs", func(in *input) { in.gi.GroupContext.TreeHash = randomTag() }},
		{"version", "protocol version", func(in *input) { in.gi.GroupContext.Version = 9 }},
		{"suite", ErrUnsupportedSuite.Error(), func(in *input) { in.gi.GroupContext.CipherSuite = 9 }},
		{"another suite", "tree hash differs", func(in *input) { in.gi.GroupContext.CipherSuite = 7 }},
		{"extension twice", "occurs twice", func(in *input) { in.gi.Extensions = Extensions{{Type: 0x0a0a}, {Type: 0x0a0a}} }},
		{"hostile tree", "last node is blank", func(in *input) { in.tree = append(in.tree, nil) }},
		{"leaf changed", "leaf signature", func(in *input) { in.tree[10].Leaf.Lifetime.NotAfter++; rehash(in) }},
		{"commit leaf changed", "parent hash", func(in *input) { in.tree[6].Leaf.ParentHash = randomTag(); rehash(in) }},
		{"leaf moved", "leaf signature", func(in *input) {
			in.gi.GroupContext.GroupID = []byte("another group")
		}},
		{"capabilities", "extension app_data_dictionary", leaf(func(l *LeafNode) { l.Capabilities.Extensions, l.Extensions = nil, nil })},
		{"encryption key", "leaf encryption key", leaf(func(l *LeafNode) { l.EncryptionKey = []byte{1} })},
		{"credential support", "not supported by all", leaf(func(l *LeafNode) {
			l.Capabilities.Credentials = []CredentialType{CredentialTypeX509}
			l.Credential = certificate(t, late.Signer)
		})},
		{"context extension", "extension 0xf00d", func(in *input) {
			in.gi.GroupContext.Extensions = in.gi.GroupContext.Extensions.Set(0xf00d, nil)
		}},
		{"malformed external_senders", "malformed extension external_senders", func(in *input) {
			in.gi.GroupContext.Extensions = in.gi.GroupContext.Extensions.Set(ExtensionTypeExternalSenders, []byte{1})
		}},
	} {
		in := fresh()
		c.change(in)
		// A suite or version of no use cannot be signed for, and need not be.
		if err := in.gi.Sign(in.key.Private); err != nil && !strings.Contains(c.name, "suite") {
			t.Fatal(err)
		}
		if _, err := NewPublicGroup(&in.gi, in.tree, nil); err == nil || !strings.Contains(err.Error(), c.reason) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	in := fresh()
	in.gi.Extensions = Extensions{{Type: ExtensionTypeRatchetTree, Data: encoded(in.tree)}}
	if err := in.gi.Sign(in.key.Private); err != nil {
		t.Fatal(err)
	}
	p, err := NewPublicGroup(&in.gi, nil, nil)
	if err != nil || p.Epoch() != f.group.Epoch() || p.MemberCount() != 6 {
		t.Errorf("tree inside the GroupInfo: %v", err)
	}
}

// TestSharedSnapshot: many goroutines may use one snapshot. Run with -race.
func TestSharedSnapshot(t *testing.T) {
	f := newFixture(t, 9, nil, nil)
	f.apply(f.commit(4, values(removeOf(2))))
	ms := []*PublicMessage{f.commit(0, nil), f.commit(1, values(removeOf(8))), f.join(f.keyPackage(nil), values(externalInit())),
		f.bare(3, values(addOf(f.keyPackage(nil))))}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			c, err := f.group.Commit(ms[i%len(ms)])
			if err != nil {
				t.Error(err)
				return
			}
			f.group.Tree()
			f.group.Members()
			if _, err := c.Next.MarshalBinary(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// TestCommittableConflicts covers the kinds that exclude their own.
func TestCommittableConflicts(t *testing.T) {
	f := newFixture(t, 4, nil, nil)
	returning := f.keyPackage(func(o *KeyPackageOptions) { o.Signer = f.keys[2] })
	staying := f.keyPackage(func(o *KeyPackageOptions) { o.Signer = f.keys[3] })
	x := f.group.Context().Extensions
	want := []ProposalOrRef{
		f.mustPropose(1, pskOf("p", 32)),
		f.mustPropose(1, pskOf("q", 32)),
		f.mustPropose(1, contextExtensions(x)),
		f.mustPropose(1, appData(0x22, "a")),
		f.mustPropose(1, appData(0x22, "b")),
		f.mustPropose(1, removeOf(2)),
		f.mustPropose(1, addOf(returning)),
	}
	f.mustPropose(2, pskOf("p", 32))
	f.mustPropose(2, contextExtensions(x))
	f.mustPropose(2, appDataRemove(0x22))
	f.mustPropose(2, addOf(staying))
	f.mustPropose(2, f.update(2, nil)) // gives way to the Remove before it
	got := f.group.Committable(member(0))
	if len(got) != len(want) {
		t.Fatalf("%d proposals are committable, want %d", len(got), len(want))
	}
	var list []ProposalOrRef
	for i, c := range got {
		if !bytes.Equal(c.Ref, want[i].Ref) {
			t.Errorf("committable proposal %d is a %v", i, c.Proposal.Type)
		}
		list = append(list, ProposalOrRef{Ref: c.Ref})
	}
	f.apply(f.commit(0, list))

	f = newFixture(t, 2, nil, nil)
	alone := f.mustPropose(1, reInit())
	f.mustPropose(1, reInit())
	if got := f.group.Committable(member(0)); len(got) != 1 || !bytes.Equal(got[0].Ref, alone.Ref) {
		t.Errorf("%d proposals are committable, want the first reinit", len(got))
	}
	f.apply(f.bare(0, []ProposalOrRef{alone}))
}

// TestDecryptPathRules: a path that passes public validation can still be bad
// for a member, who must notice.
func TestDecryptPathRules(t *testing.T) {
	kps := []*KeyPackageSecret{}
	f := newFixture(t, 1, nil, nil)
	var adds []ProposalOrRef
	for range 3 {
		kp := f.keyPackage(nil)
		kps = append(kps, kp)
		adds = append(adds, byValue(addOf(kp)))
	}
	f.apply(f.commit(0, adds))
	private, err := newTreePrivate(f.group.tree, 3, kps[2].EncryptionPrivate)
	if err != nil {
		t.Fatal(err)
	}
	path := f.path(member(0), *f.group.Leaf(0), f.keys[0], nil)
	s, err := f.group.stage(member(0), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.mergePath(path); err != nil {
		t.Fatal(err)
	}
	provisional, err := s.provisionalContext()
	if err != nil {
		t.Fatal(err)
	}
	context := encoded(provisional)
	try := func(p *UpdatePath, sender LeafIndex, context []byte) error {
		_, _, err := private.decryptPath(s.tree, sender, p, nil, context)
		return err
	}
	if err := try(path, 0, context); err != nil {
		t.Fatal(err)
	}
	damaged := func(change func(p *UpdatePath)) *UpdatePath {
		p := new(UpdatePath)
		if err := wire.Unmarshal(slices.Clone(encoded(path)), p); err != nil {
			t.Fatal(err)
		}
		change(p)
		return p
	}
	last := len(path.Nodes) - 1
	for name, err := range map[string]error{
		"context":        try(path, 0, nil),
		"ciphertext":     try(damaged(func(p *UpdatePath) { p.Nodes[last].EncryptedPathSecret[1].Ciphertext[0] ^= 1 }), 0, context),
		"kem output":     try(damaged(func(p *UpdatePath) { p.Nodes[last].EncryptedPathSecret[1].KEMOutput = nil }), 0, context),
		"another secret": try(damaged(func(p *UpdatePath) { p.Nodes[last].EncryptedPathSecret[1] = mustEncrypt(t, f.group.Leaf(3), context) }), 0, context),
		"fewer nodes":    try(damaged(func(p *UpdatePath) { p.Nodes = p.Nodes[:last] }), 0, context),
		"fewer secrets":  try(damaged(func(p *UpdatePath) { p.Nodes[last].EncryptedPathSecret = nil }), 0, context),
		"own path":       try(path, 3, context),
	} {
		if err == nil {
			t.Errorf("%s: accepted", name)
		} else if name == "another secret" && !errors.Is(err, errPathSecret) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := private.follow(s.tree.remove(3), nil); err == nil {
		t.Error("followed into a tree without the own leaf")
	}
	if _, err := private.follow(s.tree.update(3, plainLeaf(3)), nil); err == nil {
		t.Error("followed into a tree with another own leaf")
	}
	if _, err := newTreePrivate(s.tree, 9, nil); err == nil {
		t.Error("private state for a blank leaf")
	}
}

// mustEncrypt encrypts a well-formed path secret that is not the right one.
func mustEncrypt(t *testing.T, to *LeafNode, context []byte) HPKECiphertext {
	t.Helper()
	c, err := leafSuite.EncryptWithLabel(to.EncryptionKey, "UpdatePathNode", context, randomTag())
	if err != nil {
		t.Fatal(err)
	}
	return c
}
