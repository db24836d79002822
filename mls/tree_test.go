package mls

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"hubbub/mls/wire"
)

// plainLeaf makes a leaf with distinct keys that need not be real ones.
func plainLeaf(n int) *LeafNode {
	return &LeafNode{
		EncryptionKey: fmt.Appendf(nil, "e%d", n), SignatureKey: fmt.Appendf(nil, "s%d", n),
		Credential: BasicCredential(fmt.Appendf(nil, "c%d", n)), Capabilities: *DefaultCapabilities(),
		Source: LeafNodeSourceUpdate,
	}
}

func plainParent(key string, unmerged ...LeafIndex) *Node {
	return &Node{Parent: &ParentNode{EncryptionKey: []byte(key), UnmergedLeaves: unmerged}}
}

func plainNode(n int) *Node { return &Node{Leaf: plainLeaf(n)} }

func TestHostileTrees(t *testing.T) {
	blanks := func(n int) RatchetTree { return make(RatchetTree, n) }
	full := func(root *Node) RatchetTree {
		return RatchetTree{plainNode(0), plainParent("x"), plainNode(1), root, plainNode(2), plainParent("y"), plainNode(3)}
	}
	with := func(tr RatchetTree, i int, n *Node) RatchetTree { tr[i] = n; return tr }
	for _, c := range []struct {
		name, reason string
		tree         RatchetTree
	}{
		{"nil", "last node is blank", nil},
		{"blank leaf", "last node is blank", blanks(1)},
		{"blank at the end", "last node is blank", append(full(nil), nil)},
		{"blanks at the end", "last node is blank", append(full(nil), blanks(1<<20)...)},
		{"a million blanks", "last node is blank", blanks(1 << 20)},
		{"ends in a parent", "last node is not a leaf", full(nil)[:6]},
		{"single parent", "last node is not a leaf", RatchetTree{plainParent("x")}},
		{"parent in the place of a leaf", "in the place of leaf 1", with(full(nil), 2, plainParent("z"))},
		{"leaf in the place of a parent", "in the place of parent node 3", full(plainNode(9))},
		{"node with nothing", "in the place of parent node 3", full(&Node{})},
		{"leaf with nothing", "in the place of leaf 1", with(full(nil), 2, &Node{})},
		{"parent without leaves", "node 1 has no leaf", RatchetTree{nil, plainParent("x"), nil, nil, plainNode(2)}},
		{"unmerged unsorted", "not ascending", full(plainParent("r", 2, 1))},
		{"unmerged repeated", "not ascending", with(full(plainParent("r", 1, 1)), 1, plainParent("x", 1))},
		{"unmerged out of range", "leaf 4 does not belong", full(plainParent("r", 4))},
		{"unmerged far out of range", "does not belong", full(plainParent("r", 1<<31))},
		{"unmerged of the other half", "leaf 2 does not belong under node 1", with(full(nil), 1, plainParent("x", 2))},
		{"unmerged blank leaf", "leaf 1 does not belong", with(with(full(plainParent("r", 1)), 2, nil), 1, nil)},
		{"unmerged above only", "leaf 2 does not belong under node 3", full(plainParent("r", 2))},
		{"leaf key twice", "repeated key", with(full(nil), 2, plainNode(0))},
		{"parent key twice", "repeated key", full(plainParent("x"))},
		{"parent key of a leaf", "repeated key", full(plainParent("e2"))},
		{"signature key twice", "repeated key", with(full(nil), 2, &Node{Leaf: func() *LeafNode {
			l := plainLeaf(1)
			l.SignatureKey = plainLeaf(0).SignatureKey
			return l
		}()})},
	} {
		_, err := buildTree(1, c.tree)
		if !errors.Is(err, ErrInvalidTree) || !strings.Contains(err.Error(), c.reason) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	// Unmerged leaves of a lower node may exceed those above (trap: comparing
	// the lists instead of looking for the members).
	lower := with(full(plainParent("r", 2)), 5, plainParent("y", 2, 3))
	if _, err := buildTree(1, lower); err != nil {
		t.Errorf("longer list below: %v", err)
	}
}

// TestSparseTree: a million blanks before a leaf cost time in proportion to
// the input and no memory for the blanks.
func TestSparseTree(t *testing.T) {
	nodes := make(RatchetTree, 1<<20+1)
	nodes[0], nodes[1<<20] = plainNode(0), plainNode(1)
	start := time.Now()
	var tr *tree
	allocated := testing.AllocsPerRun(1, func() {
		var err error
		if tr, err = buildTree(1, nodes); err != nil {
			t.Fatal(err)
		}
	})
	if allocated > 1000 {
		t.Errorf("%v allocations for two leaves", allocated)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
	if tr.width() != 1<<20 || tr.leaf(1<<19) == nil || tr.leftmostBlank() != 1 {
		t.Errorf("width %d, leftmost blank %d", tr.width(), tr.leftmostBlank())
	}
	if tr = tr.remove(1 << 19); tr.width() != 1 {
		t.Errorf("width %d after truncation, want 1", tr.width())
	}
}

// TestParentHashForgery: any change to a tree that commits have built breaks
// the parent hashes, except to leaves that are not covered.
func TestParentHashForgery(t *testing.T) {
	f := newFixture(t, 6, nil, nil)
	for i := range LeafIndex(6) {
		f.apply(f.commit(i, nil))
	}
	f.apply(f.bare(1, values(addOf(f.keyPackage(nil)))))
	rebuilt := func(change func(RatchetTree)) error {
		var nodes RatchetTree
		if err := wire.Unmarshal(encoded(f.group.Tree()), &nodes); err != nil {
			t.Fatal(err)
		}
		change(nodes)
		tr, err := buildTree(1, nodes)
		if err != nil {
			return err
		}
		return tr.verifyParentHashes()
	}
	if err := rebuilt(func(RatchetTree) {}); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(RatchetTree){
		"parent key":      func(n RatchetTree) { n[3].Parent.EncryptionKey = []byte("mine") },
		"parent hash":     func(n RatchetTree) { n[3].Parent.ParentHash = []byte("mine") },
		"root key":        func(n RatchetTree) { n[7].Parent.EncryptionKey = []byte("mine") },
		"unmerged hidden": func(n RatchetTree) { n[7].Parent.UnmergedLeaves = nil },
		"leaf hash":       func(n RatchetTree) { n[10].Leaf.ParentHash = []byte("mine") },
		"leaf source":     func(n RatchetTree) { n[10].Leaf.Source = LeafNodeSourceUpdate },
		"node inserted":   func(n RatchetTree) { n[11] = plainParent("mine") },
		"leaf removed":    func(n RatchetTree) { n[10] = nil },
	} {
		if err := rebuilt(change); !errors.Is(err, ErrInvalidTree) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// arrayModel is a ratchet tree after the text of RFC 9420, on an array, to
// compare the persistent one with.
type arrayModel struct{ nodes RatchetTree }

func (m *arrayModel) size() uint32 { return uint32(len(m.nodes)+1) / 2 }

func (m *arrayModel) resolution(x NodeIndex) (out []uint32) {
	switch n := m.nodes[x]; {
	case n == nil && x.isLeaf():
		return nil
	case n == nil:
		l, _ := x.left()
		r, _ := x.right()
		return append(m.resolution(l), m.resolution(r)...)
	case n.Leaf != nil:
		return []uint32{uint32(x)}
	default:
		out = []uint32{uint32(x)}
		for _, i := range n.Parent.UnmergedLeaves {
			out = append(out, uint32(i.Node()))
		}
		return out
	}
}

func (m *arrayModel) blankAbove(i LeafIndex) {
	for _, x := range i.Node().directPath(m.size()) {
		m.nodes[x] = nil
	}
}

func (m *arrayModel) add(l *LeafNode) LeafIndex {
	i := LeafIndex(0)
	for ; uint32(i) < m.size() && m.nodes[i.Node()] != nil; i++ {
	}
	if uint32(i) == m.size() {
		m.nodes = append(m.nodes, make(RatchetTree, len(m.nodes)+1)...)
	}
	for _, x := range i.Node().directPath(m.size()) {
		if p := m.nodes[x]; p != nil {
			c := *p.Parent
			c.UnmergedLeaves = append(slices.Clone(c.UnmergedLeaves), i)
			slices.Sort(c.UnmergedLeaves)
			m.nodes[x] = &Node{Parent: &c}
		}
	}
	m.nodes[i.Node()] = &Node{Leaf: l}
	return i
}

func (m *arrayModel) remove(i LeafIndex) {
	m.nodes[i.Node()] = nil
	m.blankAbove(i)
	for len(m.nodes) > 1 && !slices.ContainsFunc(m.nodes[len(m.nodes)/2+1:], func(n *Node) bool { return n != nil }) {
		m.nodes = m.nodes[:len(m.nodes)/2]
	}
}

// path sets new keys on the filtered direct path.
func (m *arrayModel) path(i LeafIndex, l *LeafNode, key string) (levels []uint8) {
	path, copath := i.Node().directPath(m.size()), i.Node().copath(m.size())
	m.nodes[i.Node()] = &Node{Leaf: l}
	for k, x := range path {
		filtered := len(m.resolution(copath[k])) > 0
		if m.nodes[x] = nil; filtered {
			levels = append(levels, uint8(x.level()))
			m.nodes[x] = plainParent(fmt.Sprintf("%s.%d", key, x.level()))
		}
	}
	return levels
}

// TestTreeModel drives the persistent tree and the array model with the same
// random operations, and compares content, resolutions, filtered paths, hashes
// and key sets. Old versions must keep their content.
func TestTreeModel(t *testing.T) {
	for seed := range uint64(30) {
		rnd := mathrand.New(mathrand.NewPCG(seed, 1))
		tr := emptyTree(1)
		tr, _ = tr.add(plainLeaf(0))
		m := &arrayModel{nodes: RatchetTree{{Leaf: plainLeaf(0)}}}
		for n := 1; n < 80; n++ {
			old := encoded(tr.array())
			next := step(t, tr, m, rnd, n)
			if !bytes.Equal(encoded(tr.array()), old) {
				t.Fatalf("seed %d, step %d: the old version changed", seed, n)
			}
			compareTrees(t, next, m, rnd)
			if t.Failed() {
				t.Fatalf("seed %d, step %d", seed, n)
			}
			tr = next
		}
	}
}

// step applies one random operation to both.
func step(t *testing.T, tr *tree, m *arrayModel, rnd *mathrand.Rand, n int) *tree {
	t.Helper()
	var occupied []LeafIndex
	tr.eachLeaf(func(i LeafIndex, _ *LeafNode) bool { occupied = append(occupied, i); return true })
	i := occupied[rnd.IntN(len(occupied))]
	switch op := rnd.IntN(6); {
	case op <= 1:
		next, at := tr.add(plainLeaf(n))
		if want := m.add(plainLeaf(n)); at != want {
			t.Errorf("added at %d, want %d", at, want)
		}
		return next
	case op == 2 && len(occupied) > 1:
		m.remove(i)
		return tr.remove(i)
	case op == 3:
		m.nodes[i.Node()] = plainNode(n)
		m.blankAbove(i)
		return tr.update(i, plainLeaf(n))
	default:
		key := fmt.Sprintf("p%d", n)
		parents := map[uint8]*ParentNode{}
		var levels []uint8
		for _, s := range tr.filteredPath(i) {
			levels = append(levels, s.level)
			parents[s.level] = &ParentNode{EncryptionKey: fmt.Appendf(nil, "%s.%d", key, s.level)}
		}
		if want := m.path(i, plainLeaf(n), key); !slices.Equal(levels, want) {
			t.Errorf("filtered path of %d is %v, want %v", i, levels, want)
		}
		return tr.setPath(i, plainLeaf(n), parents)
	}
}

func compareTrees(t *testing.T, tr *tree, m *arrayModel, rnd *mathrand.Rand) {
	t.Helper()
	if uint32(len(m.nodes)) != 2*tr.width()-1 {
		t.Errorf("width %d, model has %d nodes", tr.width(), len(m.nodes))
		return
	}
	trimmed := m.nodes
	for trimmed[len(trimmed)-1] == nil {
		trimmed = trimmed[:len(trimmed)-1]
	}
	if !bytes.Equal(encoded(tr.array()), encoded(trimmed)) {
		t.Error("content differs from the model")
	}
	tr.root.eachNode(tr.level, 0, func(n *treeNode, level uint8, first uint32) {
		var got []uint32
		for _, r := range n.resolution(level, first, nil, nil) {
			got = append(got, nodeIndex(r.level, r.first))
		}
		if want := m.resolution(NodeIndex(nodeIndex(level, first))); !slices.Equal(got, want) {
			t.Errorf("resolution %v, want %v", got, want)
		}
	})
	if rnd.IntN(2) == 0 { // hash after one change or several
		if err := tr.fill(); err != nil {
			t.Fatal(err)
		}
		checkAgainstRebuilt(t, tr)
	}
	keys := 0
	for _, n := range m.nodes {
		if n != nil && n.Leaf != nil && (!tr.signature.has(n.Leaf.SignatureKey) || !tr.encryption.has(n.Leaf.EncryptionKey)) ||
			n != nil && n.Parent != nil && !tr.encryption.has(n.Parent.EncryptionKey) {
			t.Error("a key is missing from the key sets")
		}
		if n != nil {
			keys++
		}
	}
	if got := tr.encryption.root.size(); got != keys || tr.encryption.duplicates != 0 || tr.signature.duplicates != 0 {
		t.Errorf("key set holds %d keys with %d duplicates, want %d", got, tr.encryption.duplicates, keys)
	}
}

// size counts the keys of a subtrie with their multiplicity.
func (n *keyNode) size() (sum int) {
	for e := n; e != nil; e = e.next() {
		sum += e.count
		if e.isBranch() {
			for _, k := range e.more.kids {
				sum += k.size()
			}
		}
	}
	return sum
}

func TestKeySet(t *testing.T) {
	rnd := mathrand.New(mathrand.NewPCG(7, 7))
	counts := map[string]int{}
	var s, old keySet
	for range 5000 {
		key := fmt.Appendf(nil, "%d", rnd.IntN(400))
		if rnd.IntN(2) == 0 {
			s = s.add(key)
			counts[string(key)]++
		} else {
			s = s.remove(key)
			counts[string(key)] = max(counts[string(key)]-1, 0)
		}
		if s.has(key) != (counts[string(key)] > 0) {
			t.Fatalf("has(%s) is %v, held %d times", key, s.has(key), counts[string(key)])
		}
	}
	sum, duplicates := 0, 0
	for k, n := range counts {
		sum += n
		if n > 1 {
			duplicates++
		}
		if s.has([]byte(k)) != (n > 0) {
			t.Errorf("has(%s) with count %d", k, n)
		}
	}
	if s.root.size() != sum || s.duplicates != duplicates {
		t.Errorf("size %d and %d duplicates, want %d and %d", s.root.size(), s.duplicates, sum, duplicates)
	}
	if old.has([]byte("1")) {
		t.Error("the empty set has a key")
	}
	// Keys whose hashes collide live side by side.
	var n *keyNode
	for _, k := range []string{"a", "b", "a", "c"} {
		n, _ = n.add(42, 0, []byte(k))
	}
	if n.size() != 4 {
		t.Errorf("chain holds %d, want 4", n.size())
	}
	for i, k := range []string{"b", "a", "c", "a"} {
		var left int
		if n, left = n.remove(42, 0, []byte(k)); left < 0 || n.size() != 3-i {
			t.Errorf("after removing %s: %d left of it, %d in all", k, left, n.size())
		}
	}
}

// member state of TestTreeKEMEpochs.
type kemMember struct {
	private *treePrivate
	signer  *SignatureKey
}

// TestTreeKEMEpochs runs members through random epochs with adds, removals and
// updates: after every commit all agree on the commit secret, the newcomers by
// the path secret a Welcome would give them.
func TestTreeKEMEpochs(t *testing.T) {
	f := newFixture(t, 1, nil, nil)
	kp := f.keyPackage(nil)
	leaf := kp.KeyPackage.LeafNode
	p, err := newCreatorGroup([]byte("kem"), &leaf, 1, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if f.group, err = p.withTag(randomTag()); err != nil {
		t.Fatal(err)
	}
	own, err := newTreePrivate(p.tree, 0, kp.EncryptionPrivate)
	if err != nil {
		t.Fatal(err)
	}
	members := map[LeafIndex]*kemMember{0: {own, kp.Signer}}
	rnd := mathrand.New(mathrand.NewPCG(3, 3))
	for range 40 {
		kemEpoch(t, f, members, rnd)
	}
}

func pick(rnd *mathrand.Rand, members map[LeafIndex]*kemMember) LeafIndex {
	var all []LeafIndex
	for i := range members {
		all = append(all, i)
	}
	slices.Sort(all)
	return all[rnd.IntN(len(all))]
}

func kemEpoch(t *testing.T, f *fixture, members map[LeafIndex]*kemMember, rnd *mathrand.Rand) {
	t.Helper()
	committer := pick(rnd, members)
	var list []ProposalOrRef
	var joiners []*KeyPackageSecret
	if victim := pick(rnd, members); victim != committer && rnd.IntN(2) == 0 {
		list = append(list, byValue(removeOf(victim)))
		delete(members, victim)
	}
	for range rnd.IntN(3) {
		kp := f.keyPackage(nil)
		joiners = append(joiners, kp)
		list = append(list, byValue(addOf(kp)))
	}
	resolved, err := f.group.resolve(list, member(committer))
	if err != nil {
		t.Fatal(err)
	}
	s, err := f.group.stage(member(committer), resolved)
	if err != nil {
		t.Fatal(err)
	}
	leaf := *f.group.Leaf(committer)
	leaf.Lifetime = Lifetime{}
	own, err := s.createPath(leaf, members[committer].signer.Private, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	context, err := s.provisionalContext()
	if err != nil {
		t.Fatal(err)
	}
	path, err := own.encrypt(1, encoded(context))
	if err != nil {
		t.Fatal(err)
	}
	f.keys[committer] = members[committer].signer
	c := f.apply(f.message(member(committer), f.keys[committer], nil, &Commit{Proposals: list, Path: path}))
	for i, m := range members {
		if i == committer {
			m.private = own.private
			continue
		}
		next, err := m.private.follow(c.staged.proposed, nil)
		if err != nil {
			t.Fatalf("member %d: %v", i, err)
		}
		next, secret, err := next.decryptPath(f.group.tree, committer, path, c.staged.addedLeaves, encoded(context))
		if err != nil || !bytes.Equal(secret, own.commitSecret) {
			t.Fatalf("member %d: commit secret (%v)", i, err)
		}
		m.private = next
	}
	for k, a := range c.Adds {
		private, err := newTreePrivate(f.group.tree, a.Index, joiners[k].EncryptionPrivate)
		if err != nil {
			t.Fatal(err)
		}
		secret, ok := own.secretFor(a.Index)
		if !ok {
			t.Fatalf("no path secret for the newcomer at %d", a.Index)
		}
		if private, err = private.withPathSecret(f.group.tree, committer, secret); err != nil {
			t.Fatalf("newcomer at %d: %v", a.Index, err)
		}
		if _, err := private.withPathSecret(f.group.tree, committer, randomTag()); !errors.Is(err, errPathSecret) {
			t.Errorf("a foreign path secret: %v", err)
		}
		members[a.Index] = &kemMember{private, joiners[k].Signer}
	}
}
