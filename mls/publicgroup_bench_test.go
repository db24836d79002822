package mls

import (
	"crypto/rand"
	"fmt"
	"runtime"
	"testing"
)

// filled makes a group in which every member has committed once, so that no
// parent is blank. Path secrets are not encrypted: servers cannot open them.
func filled(b *testing.B, n int) *fixture {
	b.Helper()
	f := newFixture(b, 1, nil, nil)
	for f.group.MemberCount() < n {
		kp := f.keyPackage(nil)
		c := f.unencrypted(newMember, kp.KeyPackage.LeafNode, kp.Signer, values(externalInit()))
		f.keys[c.CommitterLeaf] = kp.Signer
		f.group = c.Next
	}
	return f
}

// unencrypted is commit and apply with empty ciphertexts.
func (f *fixture) unencrypted(sender Sender, leaf LeafNode, key *SignatureKey, list []ProposalOrRef) *PublicCommit {
	f.t.Helper()
	c, err := f.group.Commit(f.unencryptedMessage(sender, leaf, key, list))
	if err != nil {
		f.t.Fatal(err)
	}
	return c
}

func (f *fixture) unencryptedMessage(sender Sender, leaf LeafNode, key *SignatureKey, list []ProposalOrRef) *PublicMessage {
	f.t.Helper()
	resolved, err := f.group.resolve(list, sender)
	if err != nil {
		f.t.Fatal(err)
	}
	s, err := f.group.stage(sender, resolved)
	if err != nil {
		f.t.Fatal(err)
	}
	leaf.Lifetime = Lifetime{}
	own, err := s.createPath(leaf, key.Private, rand.Reader)
	if err != nil {
		f.t.Fatal(err)
	}
	for k := range own.steps {
		own.path.Nodes[k].EncryptedPathSecret = make([]HPKECiphertext, len(own.steps[k].copathResolution(own.added)))
	}
	return f.message(sender, key, nil, &Commit{Proposals: list, Path: &own.path})
}

// BenchmarkPublicGroupCommit is the server's part of an update in a filled
// group: decode excluded, signatures included.
func BenchmarkPublicGroupCommit(b *testing.B) {
	for _, n := range []int{100, 1000, 10000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			f := filled(b, n)
			m := f.unencryptedMessage(member(0), *f.group.Leaf(0), f.keys[0], nil)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := f.group.Commit(m); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkPublicGroupMemory reports what a group of 1,000 and one more epoch
// of it keep alive.
func BenchmarkPublicGroupMemory(b *testing.B) {
	var before, group, epochs runtime.MemStats
	f := filled(b, 1000)
	state, err := f.group.MarshalBinary()
	if err != nil {
		b.Fatal(err)
	}
	runtime.GC()
	runtime.ReadMemStats(&before)
	p, err := UnmarshalPublicGroup(state, nil)
	if err != nil {
		b.Fatal(err)
	}
	runtime.GC()
	runtime.ReadMemStats(&group)
	const n = 100
	history := []*PublicGroup{p}
	for i := range LeafIndex(n) {
		c := f.unencrypted(member(i), *f.group.Leaf(i), f.keys[i], nil)
		f.group = c.Next
		history = append(history, c.Next)
	}
	runtime.GC()
	runtime.ReadMemStats(&epochs)
	for b.Loop() { // the figures above are taken once
	}
	b.ReportMetric(float64(group.HeapAlloc-before.HeapAlloc), "B/group")
	b.ReportMetric(float64(epochs.HeapAlloc-group.HeapAlloc)/n, "B/epoch")
	runtime.KeepAlive(history)
	runtime.KeepAlive(f)
}
