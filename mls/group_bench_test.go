package mls

import (
	"crypto/rand"
	"fmt"
	"runtime"
	"testing"
)

// benchGroup makes a group of n members of whom two are here. In a filled group
// everybody has committed once and alice was the last, bob the last but one. In
// a flat group nobody has committed since alice, at leaf 0, added all others;
// bob is the last leaf.
func benchGroup(b *testing.B, suite CipherSuite, n int, filled bool) (alice, bob *Group) {
	b.Helper()
	ok := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	groupID := []byte("bench")
	kps := make([]*KeyPackageSecret, n)
	t := emptyTree(suite)
	for i := range kps {
		key, err := NewSignatureKey(suite, nil)
		ok(err)
		kps[i], err = NewKeyPackage(KeyPackageOptions{Suite: suite, Signer: key, Credential: BasicCredential(fmt.Appendf(nil, "client %d", i)), Capabilities: DefaultCapabilities()})
		ok(err)
		t, _ = t.add(&kps[i].KeyPackage.LeafNode)
	}
	first, last := LeafIndex(0), LeafIndex(n-1)
	one, err := newTreePrivate(t, first, kps[first].EncryptionPrivate)
	ok(err)
	two, err := newTreePrivate(t, last, kps[last].EncryptionPrivate)
	ok(err)
	if filled {
		first, last = last, last-1
		for i := range LeafIndex(n) {
			own, err := t.newPath(i, *t.leaf(i), leafSigner{kps[i].Signer.Private, groupID}, nil, rand.Reader)
			ok(err)
			t = own.tree
			if one, two = own.private, one; i == LeafIndex(n-1) {
				path, err := own.encrypt(suite, nil)
				ok(err)
				two, _, err = two.decryptPath(t, i, path, nil, nil)
				ok(err)
			}
		}
	}
	ok(t.fill())
	hash, err := t.hash()
	ok(err)
	p := &PublicGroup{tree: t, context: &GroupContext{Version: MLS10, CipherSuite: suite, GroupID: groupID, Epoch: 1,
		TreeHash: hash, ConfirmedTranscriptHash: hash, Extensions: Extensions{}}}
	epoch, err := suite.random(rand.Reader)
	ok(err)
	secrets, _, err := expandEpoch(suite, epoch)
	ok(err)
	tag, err := suite.MAC(secrets.confirmation, p.context.ConfirmedTranscriptHash)
	ok(err)
	p, err = p.withTag(tag)
	ok(err)
	member := func(i LeafIndex, private *treePrivate) *Group {
		g := &Group{public: p, own: i, signer: kps[i].Signer, private: private}
		secrets, roots, err := expandEpoch(suite, epoch)
		ok(err)
		g.plant(secrets, roots)
		return g
	}
	return member(first, one), member(last, two)
}

func benchKeyPackage(b *testing.B, suite CipherSuite) *KeyPackageSecret {
	b.Helper()
	key, err := NewSignatureKey(suite, nil)
	if err != nil {
		b.Fatal(err)
	}
	kp, err := NewKeyPackage(KeyPackageOptions{Suite: suite, Signer: key, Credential: BasicCredential([]byte("newcomer")), Capabilities: DefaultCapabilities()})
	if err != nil {
		b.Fatal(err)
	}
	return kp
}

func BenchmarkKeyPackage(b *testing.B) {
	for _, suite := range []CipherSuite{1, SuiteMLKEM768X25519AES128SHA256Ed25519} {
		b.Run(suite.String(), func(b *testing.B) {
			key, err := NewSignatureKey(suite, nil)
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				if _, err := NewKeyPackage(KeyPackageOptions{Suite: suite, Signer: key, Credential: BasicCredential([]byte("x"))}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkMessage(b *testing.B) {
	alice, bob := benchGroup(b, 1, 2, false)
	text := make([]byte, 1<<10)
	b.Run("Encrypt", func(b *testing.B) {
		g := alice
		var err error
		for b.Loop() {
			if g, _, err = g.Encrypt(text, EncryptOptions{}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Decrypt", func(b *testing.B) {
		from, to := alice, bob
		for b.Loop() {
			b.StopTimer()
			next, msg, err := from.Encrypt(text, EncryptOptions{})
			if err != nil {
				b.Fatal(err)
			}
			from = next
			b.StartTimer()
			got, err := to.Process(msg)
			if err != nil {
				b.Fatal(err)
			}
			to = got.(*Application).Next
		}
	})
}

// BenchmarkGroup is the members' part: add one client, renew the own keys
// (Update, which is an empty commit), process either, join by Welcome or by
// external commit. Joins verify every leaf and every parent hash.
func BenchmarkGroup(b *testing.B) {
	for _, shape := range []struct {
		suite  CipherSuite
		n      int
		filled bool
	}{
		{1, 10, false}, {1, 100, false}, {1, 1000, false}, {1, 100, true}, {1, 1000, true}, {1, 10000, true},
		{SuiteMLKEM768X25519AES128SHA256Ed25519, 100, true},
	} {
		name := fmt.Sprintf("suite=%d/flat/%d", uint16(shape.suite), shape.n)
		if shape.filled {
			name = fmt.Sprintf("suite=%d/filled/%d", uint16(shape.suite), shape.n)
		}
		b.Run(name, func(b *testing.B) { benchmarkGroup(b, shape.suite, shape.n, shape.filled) })
	}
}

func benchmarkGroup(b *testing.B, suite CipherSuite, n int, filled bool) {
	alice, bob := benchGroup(b, suite, n, filled)
	kp := benchKeyPackage(b, suite)
	add := CommitOptions{Proposals: []Proposal{addOf(kp)}}
	commit := func(b *testing.B, o CommitOptions) *PendingCommit {
		p, err := alice.Commit(o)
		if err != nil {
			b.Fatal(err)
		}
		return p
	}
	process := func(b *testing.B, msg []byte) {
		if _, err := bob.Process(msg); err != nil {
			b.Fatal(err)
		}
	}
	added, updated := commit(b, add), commit(b, CommitOptions{})
	b.Run("Add", func(b *testing.B) {
		for b.Loop() {
			commit(b, add)
		}
		b.ReportMetric(float64(len(added.Message())), "B/commit")
	})
	b.Run("ProcessAdd", func(b *testing.B) {
		for b.Loop() {
			process(b, added.Message())
		}
	})
	b.Run("Update", func(b *testing.B) {
		for b.Loop() {
			commit(b, CommitOptions{})
		}
		b.ReportMetric(float64(len(updated.Message())), "B/commit")
	})
	b.Run("ProcessUpdate", func(b *testing.B) {
		for b.Loop() {
			process(b, updated.Message())
		}
	})
	if n > 1000 {
		return
	}
	b.Run("Welcome", func(b *testing.B) {
		tree := added.Tree()
		for b.Loop() {
			if _, err := JoinWelcome(added.Welcome(), kp, JoinOptions{Tree: tree}, nil); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(len(encoded(added.Welcome()))+len(encoded(tree))), "B/welcome+tree")
	})
	b.Run("ExternalJoin", func(b *testing.B) {
		gi, err := alice.GroupInfo()
		if err != nil {
			b.Fatal(err)
		}
		tree := alice.Tree()
		for b.Loop() {
			if _, err := JoinExternal(gi, ExternalJoinOptions{Tree: tree, Signer: kp.Signer, Credential: BasicCredential([]byte("x"))}, nil); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkGroupMemory reports what a member of a filled group of 1,000 keeps
// alive, and each further epoch of it with its past ones.
func BenchmarkGroupMemory(b *testing.B) {
	alice, bob := benchGroup(b, 1, 1000, true)
	state, err := bob.MarshalBinary()
	if err != nil {
		b.Fatal(err)
	}
	var before, group, epochs runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	if bob, err = UnmarshalGroup(state, nil); err != nil {
		b.Fatal(err)
	}
	runtime.GC()
	runtime.ReadMemStats(&group)
	const n = 50
	var history []*Group
	for range n {
		p, err := alice.Commit(CommitOptions{})
		if err != nil {
			b.Fatal(err)
		}
		got, err := bob.Process(p.Message())
		if err != nil {
			b.Fatal(err)
		}
		alice, bob = p.Merge(), got.(*CommitReceived).Merge()
		history = append(history, bob)
	}
	runtime.GC()
	runtime.ReadMemStats(&epochs)
	for b.Loop() { // the figures above are taken once
	}
	b.ReportMetric(float64(group.HeapAlloc-before.HeapAlloc), "B/group")
	b.ReportMetric(float64(group.HeapAlloc-before.HeapAlloc)/1000, "B/member")
	b.ReportMetric(float64(epochs.HeapAlloc-group.HeapAlloc)/n, "B/epoch")
	runtime.KeepAlive(history)
	runtime.KeepAlive(alice)
}
