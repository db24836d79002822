package mls

import (
	"bytes"
	"testing"

	"hubbub/mls/wire"
)

// The shape of a keySet differs from run to run, and with it the coverage: fuzz
// with -fuzzminimizetime 5x, or the fuzzer minimizes for ever.

// FuzzRatchetTree: any octets give an error or a tree that encodes to the same
// octets and survives every operation.
func FuzzRatchetTree(f *testing.F) {
	fx := newFixture(f, 5, nil, nil)
	f.Add(encoded(fx.group.Tree()))
	fx.apply(fx.commit(2, values(removeOf(1))))
	f.Add(encoded(fx.group.Tree()))
	f.Add([]byte{1, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		var nodes RatchetTree
		if len(b) > 1<<12 || wire.Unmarshal(b, &nodes) != nil {
			return
		}
		tr, err := buildTree(1, nodes)
		if err != nil {
			return
		}
		if err := tr.fill(); err != nil {
			t.Fatal(err)
		}
		_ = tr.verifyParentHashes()
		if !bytes.Equal(encoded(tr.array()), b) {
			t.Fatal("the tree encodes differently")
		}
		next, i := tr.add(plainLeaf(1))
		checkAgainstRebuilt(t, next)
		checkAgainstRebuilt(t, next.remove(i))
		next.eachLeaf(func(i LeafIndex, _ *LeafNode) bool {
			next.filteredPath(i)
			checkAgainstRebuilt(t, next.update(i, plainLeaf(2)))
			return i < 8
		})
	})
}

// FuzzPublicGroupCommit signs whatever decodes as a Commit and has a group
// process it: it must be refused, or lead to a consistent epoch.
func FuzzPublicGroupCommit(f *testing.F) {
	fx := newFixture(f, 4, nil, nil)
	ref := fx.mustPropose(2, selfRemove())
	kp := fx.keyPackage(nil)
	f.Add(encoded(fx.commit(0, values(removeOf(1), addOf(kp), appData(0x22, "x"))).Content.Commit), false)
	f.Add(encoded(fx.commit(0, []ProposalOrRef{ref}).Content.Commit), false)
	f.Add(encoded(fx.bare(0, values(pskOf("p", 32), ephemeral(1, ""))).Content.Commit), false)
	f.Add(encoded(fx.join(kp, append(values(externalInit()), ref)).Content.Commit), true)
	fixed := *fx
	f.Fuzz(func(t *testing.T, b []byte, external bool) {
		fx := fixed
		fx.t = t
		c := new(Commit)
		if wire.Unmarshal(b, c) != nil {
			return
		}
		sender, key := member(0), fx.keys[0]
		if external {
			sender, key = newMember, kp.Signer
		}
		out, err := fx.group.Commit(fx.message(sender, key, nil, c))
		if err != nil {
			return
		}
		checkAgainstRebuilt(t, out.Next.tree)
		if out.Next.tree.leaf(out.CommitterLeaf) == nil || out.Next.Epoch() != fx.group.Epoch()+1 {
			t.Fatal("inconsistent epoch")
		}
	})
}

// FuzzPublicGroupProposal does the same for proposals.
func FuzzPublicGroupProposal(f *testing.F) {
	fx := newFixture(f, 3, nil, nil)
	for _, p := range []Proposal{addOf(fx.keyPackage(nil)), removeOf(2), fx.update(1, nil), selfRemove(), reInit(),
		pskOf("p", 32), appData(0x22, "x"), ephemeral(1, "x"), contextExtensions(fx.group.Context().Extensions)} {
		f.Add(encoded(&p), false)
		f.Add(encoded(&p), true)
	}
	fixed := *fx
	f.Fuzz(func(t *testing.T, b []byte, external bool) {
		fx := fixed
		fx.t = t
		p := new(Proposal)
		if wire.Unmarshal(b, p) != nil {
			return
		}
		sender, key := member(1), fx.keys[1]
		if external {
			sender, key = Sender{Type: SenderTypeExternal}, fx.external
		}
		c, err := fx.group.Proposal(fx.message(sender, key, p, nil))
		if err != nil {
			return
		}
		g := fx.group.WithProposal(c)
		stored, err := g.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := UnmarshalPublicGroup(stored, nil); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzUnmarshalPublicGroup: damaged state is refused, never a crash.
func FuzzUnmarshalPublicGroup(f *testing.F) {
	fx := newFixture(f, 3, nil, nil)
	fx.mustPropose(2, selfRemove())
	b, err := fx.group.MarshalBinary()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := UnmarshalPublicGroup(b, nil)
		if err != nil {
			return
		}
		if again, err := p.MarshalBinary(); err != nil || !bytes.Equal(again, b) {
			t.Fatalf("encodes differently (%v)", err)
		}
	})
}
