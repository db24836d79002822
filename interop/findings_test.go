package interop

import (
	"fmt"
	"testing"
)

// The tests here hold what README.md says of ts-mls 1.6. One that fails after
// an update of ts-mls may tell that the finding is history.

// TestFindingExternalPub: ts-mls leaves out the length header of external_pub
// (RFC 9420 §12.4.3.2), so external joins work with it only if the driver sets
// that right.
func TestFindingExternalPub(t *testing.T) {
	ours, theirs := hubbubPeer(t), tsPeer(t)
	r := newRoom(t, 1, "public")
	_, bob := pair(r, ours, theirs)
	gi := bob.do("export_group_info", fields{"as_is": true})
	r.actor(ours, "carol").refuses("external_join", fields{"group_info": gi["group_info"]}, "")
	gi = r.members[0].do("export_group_info", nil)
	got := r.actor(theirs, "dave").ask("external_join", fields{"group_info": gi["group_info"], "as_is": true})
	if got["ok"] == true {
		t.Error("ts-mls reads external_pub as RFC 9420 wants it")
	}
	r.agree()
}

// TestFindingLoneContextExtensions: ts-mls commits GroupContextExtensions
// without a path, which RFC 9420 §12.4 requires.
func TestFindingLoneContextExtensions(t *testing.T) {
	ours, theirs := hubbubPeer(t), tsPeer(t)
	r := newRoom(t, 1, "public")
	alice, bob := pair(r, ours, theirs)
	c := bob.do("commit", fields{"proposals": []any{fields{"type": "gce", "extensions": []any{}}}})
	alice.refuses("process", fields{"message": c["commit"]}, "path")
}

// TestFindingCompressedKeys: ts-mls encodes ECDSA public keys as compressed
// points, where RFC 9420 §5.1.1 wants uncompressed ones.
func TestFindingCompressedKeys(t *testing.T) {
	ours, theirs := hubbubPeer(t), tsPeer(t)
	r := newRoom(t, 2, "public")
	alice, bob := r.actor(ours, "alice"), r.actor(theirs, "bob")
	alice.create(nil)
	kp := bob.do("key_package", fields{"lifetime_s": 86400})["key_package"]
	alice.refuses("add", fields{"key_packages": []any{kp}}, "malformed key")
}

// TestFindingUnmergedLeaves: ts-mls wants every node above an unmerged leaf to
// have the same unmerged leaves, where RFC 9420 §12.4.3.1 asks only that the
// nodes between leaf and node list that leaf too. It refuses to join a group
// in which a commit from elsewhere has merged the leaf higher up.
func TestFindingUnmergedLeaves(t *testing.T) {
	ours, theirs := hubbubPeer(t), tsPeer(t)
	r := newRoom(t, 1, "public")
	alice := r.actor(ours, "alice")
	alice.create(nil)
	var six []*actor
	for i := range 6 {
		six = append(six, r.actor(ours, fmt.Sprint("m", i+1)))
	}
	alice.adds(nil, six...)
	six[3].commits("update", nil) // fills the nodes above leaves 4 to 7
	alice.adds(nil, r.actor(ours, "m7"))
	join := func(p *peer, name string) fields {
		gi := alice.do("export_group_info", nil)
		return r.actor(p, name).ask("external_join", fields{"group_info": gi["group_info"]})
	}
	if got := join(theirs, "before"); got["ok"] != true {
		t.Fatalf("ts-mls cannot join at all: %v", got["error"])
	}
	alice.commits("update", nil) // merges leaf 7 at the root only
	if got := join(ours, "ours"); got["ok"] != true {
		t.Fatalf("the group is not valid: %v", got["error"])
	}
	if got := join(theirs, "theirs"); got["ok"] == true {
		t.Error("ts-mls joins")
	}
}
