package mls

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"hubbub/mls/wire"
)

// octets is a hex string in the vector files.
type octets []byte

func (o *octets) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	var err error
	*o, err = hex.DecodeString(s)
	return err
}

// readTreeVectors reads an official vector file, which lives beside the module
// because it carries no licence to copy it.
func readTreeVectors(t *testing.T, name string, into any) {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if filepath.Dir(dir) == dir {
			t.Fatal("no go.mod above the test")
		}
		dir = filepath.Dir(dir)
	}
	b, err := os.ReadFile(filepath.Join(dir, "..", "shared", "mls-test-vectors", name))
	if errors.Is(err, os.ErrNotExist) && os.Getenv("HUBBUB_REQUIRE_SHARED") == "" {
		t.Skipf("official vectors %s are absent", name)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, into); err != nil {
		t.Fatal(err)
	}
}

func decodeTree(t *testing.T, suite CipherSuite, b []byte) *tree {
	t.Helper()
	var nodes RatchetTree
	if err := wire.Unmarshal(b, &nodes); err != nil {
		t.Fatal(err)
	}
	tr, err := buildTree(suite, nodes)
	if err != nil {
		t.Fatal(err)
	}
	if err := tr.fill(); err != nil {
		t.Fatal(err)
	}
	return tr
}

func mustHash(t *testing.T, tr *tree) []byte {
	t.Helper()
	h, err := tr.hash()
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func encodeArray(t *testing.T, tr *tree) []byte {
	t.Helper()
	b, err := wire.Marshal(tr.array())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestVectorsTreeOperations(t *testing.T) {
	var cases []struct {
		CipherSuite    CipherSuite `json:"cipher_suite"`
		TreeBefore     octets      `json:"tree_before"`
		Proposal       octets
		ProposalSender LeafIndex `json:"proposal_sender"`
		TreeHashBefore octets    `json:"tree_hash_before"`
		TreeAfter      octets    `json:"tree_after"`
		TreeHashAfter  octets    `json:"tree_hash_after"`
	}
	readTreeVectors(t, "tree-operations.json", &cases)
	for n, c := range cases {
		before := decodeTree(t, c.CipherSuite, c.TreeBefore)
		if !bytes.Equal(mustHash(t, before), c.TreeHashBefore) {
			t.Errorf("case %d: tree hash before", n)
		}
		var p Proposal
		if err := wire.Unmarshal(c.Proposal, &p); err != nil {
			t.Fatal(err)
		}
		var after *tree
		switch p.Type {
		case ProposalTypeAdd:
			after, _ = before.add(&p.Add.KeyPackage.LeafNode)
		case ProposalTypeUpdate:
			after = before.update(c.ProposalSender, &p.Update.LeafNode)
		case ProposalTypeRemove:
			after = before.remove(p.Remove.Removed)
		}
		if !bytes.Equal(mustHash(t, after), c.TreeHashAfter) {
			t.Errorf("case %d (%v): tree hash after", n, p.Type)
		}
		if !bytes.Equal(encodeArray(t, after), c.TreeAfter) {
			t.Errorf("case %d (%v): tree after", n, p.Type)
		}
		if !bytes.Equal(encodeArray(t, before), c.TreeBefore) {
			t.Errorf("case %d (%v): the operation changed its input", n, p.Type)
		}
	}
	if len(cases) != 5 {
		t.Errorf("%d cases, want 5", len(cases))
	}
}

func TestVectorsTreeValidation(t *testing.T) {
	var cases []struct {
		CipherSuite CipherSuite `json:"cipher_suite"`
		Tree        octets
		GroupID     octets   `json:"group_id"`
		TreeHashes  []octets `json:"tree_hashes"`
		Resolutions [][]uint32
	}
	readTreeVectors(t, "tree-validation.json", &cases)
	ran, skipped := 0, 0
	for n, c := range cases {
		if !c.CipherSuite.Supported() {
			skipped++
			continue
		}
		ran++
		tr := decodeTree(t, c.CipherSuite, c.Tree)
		if err := tr.verifyParentHashes(); err != nil {
			t.Errorf("case %d: %v", n, err)
		}
		tr.eachLeaf(func(i LeafIndex, l *LeafNode) bool {
			if err := l.VerifySignature(c.CipherSuite, c.GroupID, i); err != nil {
				t.Errorf("case %d: leaf %d: %v", n, i, err)
			}
			return true
		})
		if len(c.TreeHashes) != int(2*tr.width()-1) {
			t.Fatalf("case %d: %d hashes for width %d", n, len(c.TreeHashes), tr.width())
		}
		tr.root.eachNode(tr.level, 0, func(n2 *treeNode, level uint8, first uint32) {
			x := nodeIndex(level, first)
			h, err := n2.fillHash(c.CipherSuite, level, first)
			if err != nil || !bytes.Equal(h, c.TreeHashes[x]) {
				t.Errorf("case %d: hash of node %d", n, x)
			}
			var got []uint32
			for _, r := range n2.resolution(level, first, nil, nil) {
				got = append(got, nodeIndex(r.level, r.first))
			}
			if !slices.Equal(got, c.Resolutions[x]) {
				t.Errorf("case %d: resolution of node %d is %v, want %v", n, x, got, c.Resolutions[x])
			}
		})
		if !bytes.Equal(encodeArray(t, tr), c.Tree) {
			t.Errorf("case %d: encoding changed", n)
		}
	}
	if ran != 98 || skipped != 0 {
		t.Errorf("ran %d and skipped %d cases, want 98 and 0", ran, skipped)
	}
}

// eachNode visits every node, expanding blank subtrees.
func (n *treeNode) eachNode(level uint8, first uint32, fn func(n *treeNode, level uint8, first uint32)) {
	if level > 0 {
		left, right := n.children()
		left.eachNode(level-1, first, fn)
		right.eachNode(level-1, first|1<<(level-1), fn)
	}
	fn(n, level, first)
}

type treeKEMCase struct {
	CipherSuite             CipherSuite `json:"cipher_suite"`
	GroupID                 octets      `json:"group_id"`
	Epoch                   uint64
	ConfirmedTranscriptHash octets `json:"confirmed_transcript_hash"`
	RatchetTree             octets `json:"ratchet_tree"`
	LeavesPrivate           []struct {
		Index          LeafIndex
		EncryptionPriv octets `json:"encryption_priv"`
		SignaturePriv  octets `json:"signature_priv"`
		PathSecrets    []struct {
			Node       uint32
			PathSecret octets `json:"path_secret"`
		} `json:"path_secrets"`
	} `json:"leaves_private"`
	UpdatePaths []struct {
		Sender        LeafIndex
		UpdatePath    octets   `json:"update_path"`
		PathSecrets   []octets `json:"path_secrets"`
		CommitSecret  octets   `json:"commit_secret"`
		TreeHashAfter octets   `json:"tree_hash_after"`
	} `json:"update_paths"`
}

func TestVectorsTreeKEM(t *testing.T) {
	var cases []treeKEMCase
	readTreeVectors(t, "treekem.json", &cases)
	ran, skipped := 0, 0
	for n := range cases {
		c := &cases[n]
		if !c.CipherSuite.Supported() {
			skipped++
			continue
		}
		ran++
		tr := decodeTree(t, c.CipherSuite, c.RatchetTree)
		if err := tr.verifyParentHashes(); err != nil {
			t.Errorf("case %d: %v", n, err)
		}
		private := c.private(t, tr)
		for k := range c.UpdatePaths {
			c.checkReceived(t, tr, private, k)
		}
		for i := range c.LeavesPrivate {
			c.checkOwn(t, tr, private, i)
		}
		if t.Failed() {
			t.Fatalf("case %d, suite %v", n, c.CipherSuite)
		}
	}
	if ran != 77 || skipped != 0 {
		t.Errorf("ran %d and skipped %d cases, want 77 and 0", ran, skipped)
	}
}

// private builds each member's keys from the path secrets the vector lists.
func (c *treeKEMCase) private(t *testing.T, tr *tree) map[LeafIndex]*treePrivate {
	out := map[LeafIndex]*treePrivate{}
	for _, l := range c.LeavesPrivate {
		p, err := newTreePrivate(tr, l.Index, l.EncryptionPriv)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range l.PathSecrets {
			level := uint8(NodeIndex(s.Node).level())
			key, err := deriveNodeKey(c.CipherSuite, s.PathSecret)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(key.public, tr.parentAt(level, l.Index).EncryptionKey) {
				t.Errorf("leaf %d: path secret for node %d does not match", l.Index, s.Node)
			}
			p.nodes[level] = key
		}
		out[l.Index] = p
	}
	return out
}

func (c *treeKEMCase) context(t *testing.T, after *tree) []byte {
	b, err := wire.Marshal(&GroupContext{
		Version: MLS10, CipherSuite: c.CipherSuite, GroupID: c.GroupID, Epoch: c.Epoch,
		TreeHash: mustHash(t, after), ConfirmedTranscriptHash: c.ConfirmedTranscriptHash,
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (c *treeKEMCase) checkReceived(t *testing.T, tr *tree, private map[LeafIndex]*treePrivate, k int) {
	u := &c.UpdatePaths[k]
	var path UpdatePath
	if err := wire.Unmarshal(u.UpdatePath, &path); err != nil {
		t.Fatal(err)
	}
	after, err := tr.mergePath(u.Sender, &path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(mustHash(t, after), u.TreeHashAfter) {
		t.Errorf("path %d: tree hash", k)
	}
	if err := after.verifyParentHashes(); err != nil {
		t.Errorf("path %d: %v", k, err)
	}
	context := c.context(t, after)
	for i, p := range private {
		if i == u.Sender {
			continue
		}
		next, secret, err := p.decryptPath(after, u.Sender, &path, nil, context)
		if err != nil {
			t.Errorf("path %d, leaf %d: %v", k, i, err)
			continue
		}
		if !bytes.Equal(secret, u.CommitSecret) {
			t.Errorf("path %d, leaf %d: commit secret", k, i)
		}
		key, err := deriveNodeKey(c.CipherSuite, u.PathSecrets[i])
		if err != nil || !bytes.Equal(key.private, next.nodes[commonLevel(i, u.Sender)].private) {
			t.Errorf("path %d, leaf %d: path secret", k, i)
		}
	}
}

// checkOwn makes a path for a member and lets all others process it.
func (c *treeKEMCase) checkOwn(t *testing.T, tr *tree, private map[LeafIndex]*treePrivate, n int) {
	l := &c.LeavesPrivate[n]
	own, err := tr.newPath(l.Index, *tr.leaf(l.Index), leafSigner{SignaturePrivateKey(l.SignaturePriv), c.GroupID}, nil, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	context := c.context(t, own.tree)
	path, err := own.encrypt(c.CipherSuite, context)
	if err != nil {
		t.Fatal(err)
	}
	after, err := tr.mergePath(l.Index, path, nil)
	if err != nil {
		t.Fatalf("own path of leaf %d: %v", l.Index, err)
	}
	if !bytes.Equal(mustHash(t, after), mustHash(t, own.tree)) {
		t.Errorf("own path of leaf %d: trees differ", l.Index)
	}
	if err := after.leaf(l.Index).VerifySignature(c.CipherSuite, c.GroupID, l.Index); err != nil {
		t.Errorf("own path of leaf %d: %v", l.Index, err)
	}
	for i, p := range private {
		if i == l.Index {
			continue
		}
		if _, secret, err := p.decryptPath(after, l.Index, path, nil, context); err != nil || !bytes.Equal(secret, own.commitSecret) {
			t.Errorf("own path of leaf %d at leaf %d: %v", l.Index, i, err)
		}
	}
}
