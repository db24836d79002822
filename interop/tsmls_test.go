package interop

import (
	"fmt"
	"slices"
	"testing"
)

// TestMixedGroups plays the same scenes with each implementation in each part:
// x creates the group, y is the other.
func TestMixedGroups(t *testing.T) {
	ours, theirs := hubbubPeer(t), tsPeer(t)
	for _, parts := range [][2]*peer{{ours, theirs}, {theirs, ours}} {
		for _, suite := range []int{1, 3} {
			for _, wire := range []string{"public", "private"} {
				for name, scene := range scenes {
					t.Run(fmt.Sprintf("%s creates/suite %d/%s/%s", parts[0].name, suite, wire, name), func(t *testing.T) {
						scene(newRoom(t, suite, wire), parts[0], parts[1])
					})
				}
			}
		}
	}
}

// scenes are what is played, by name.
var scenes = map[string]func(r *room, x, y *peer){
	"add and talk":       addAndTalk,
	"update and remove":  updateAndRemove,
	"external join":      externalJoin,
	"psk":                preSharedKeys,
	"by reference":       byReference,
	"late messages":      lateMessages,
	"many changes":       manyChanges,
	"context extensions": contextExtensions,
}

// pair makes a room of alice, who creates it, and bob.
func pair(r *room, x, y *peer) (alice, bob *actor) {
	r.t.Helper()
	alice, bob = r.actor(x, "alice"), r.actor(y, "bob")
	alice.create(nil)
	alice.adds(nil, bob)
	return alice, bob
}

func addAndTalk(r *room, x, y *peer) {
	alice, bob := pair(r, x, y)
	r.everybodySpeaks()
	carol, dave := r.actor(x, "carol"), r.actor(y, "dave")
	bob.adds(fields{"tree_in_welcome": false}, carol)
	alice.adds(fields{"tree_in_welcome": false}, dave)
	r.everybodySpeaks()
	exported := fields{"label": "test", "context": []byte("context"), "length": 40}
	want := alice.do("exporter", exported)["secret"]
	for _, m := range r.members {
		if got := m.do("exporter", exported)["secret"]; got == nil || got != want {
			r.t.Errorf("%s exports another secret", m)
		}
	}
}

func updateAndRemove(r *room, x, y *peer) {
	alice, bob := pair(r, x, y)
	carol, dave := r.actor(x, "carol"), r.actor(y, "dave")
	alice.adds(nil, carol, dave)
	for _, m := range []*actor{bob, alice, dave, carol} {
		m.commits("update", nil)
	}
	r.everybodySpeaks()
	bob.removes(carol)
	alice.removes(dave)
	r.everybodySpeaks()
	bob.removes(alice)
}

func externalJoin(r *room, x, y *peer) {
	alice, bob := pair(r, x, y)
	carol, dave := r.actor(x, "carol"), r.actor(y, "dave")
	carol.joinsExternally(bob, nil)
	dave.joinsExternally(alice, fields{"with_tree": false})
	r.everybodySpeaks()
	carol.joinsExternally(bob, fields{"resync": true})
	dave.joinsExternally(alice, fields{"resync": true, "with_tree": false})
	r.everybodySpeaks()
}

func preSharedKeys(r *room, x, y *peer) {
	alice, bob := pair(r, x, y)
	carol, dave := r.actor(x, "carol"), r.actor(y, "dave")
	for i := range 3 {
		for _, m := range []*actor{alice, bob, carol, dave} {
			m.do("store_psk", fields{"psk_id": fmt.Appendf(nil, "id %d", i), "psk": fmt.Appendf(nil, "a shared secret, no %d", i)})
		}
	}
	psk := func(i int) fields { return fields{"type": "psk", "psk_id": fmt.Appendf(nil, "id %d", i)} }
	alice.commits("commit", fields{"proposals": []any{psk(0), psk(1)}})
	bob.commits("commit", fields{"proposals": []any{psk(2)}})
	// With a newcomer, who needs the key to open the Welcome.
	for _, by := range []struct{ old, young *actor }{{alice, dave}, {bob, carol}} {
		kp := by.young.do("key_package", fields{"lifetime_s": 86400})["key_package"]
		by.old.commits("commit", fields{"proposals": []any{fields{"type": "add", "key_package": kp}, psk(0)}}, by.young)
	}
	r.everybodySpeaks()
}

func byReference(r *room, x, y *peer) {
	alice, bob := pair(r, x, y)
	carol, dave := r.actor(x, "carol"), r.actor(y, "dave")
	propose := func(from *actor, p fields) { r.deliver(from, from.do("propose", fields{"proposal": p})["message"]) }
	add := func(a *actor) fields {
		return fields{"type": "add", "key_package": a.do("key_package", fields{"lifetime_s": 86400})["key_package"]}
	}
	propose(bob, add(carol))
	alice.commits("commit", nil, carol)
	propose(alice, add(dave))
	bob.commits("commit", nil, dave)
	for _, m := range slices.Clone(r.members) {
		if m.peer.name != "hubbub" {
			continue // ts-mls makes no Update proposals
		}
		propose(m, fields{"type": "update"})
		r.members[(slices.Index(r.members, m)+1)%len(r.members)].commits("commit", nil)
	}
	r.everybodySpeaks()
}

// lateMessages: messages arrive out of order, and after the epoch has ended.
func lateMessages(r *room, x, y *peer) {
	alice, bob := pair(r, x, y)
	for _, p := range []struct{ from, to *actor }{{alice, bob}, {bob, alice}} {
		var sent []any
		for i := range 5 {
			sent = append(sent, p.from.do("encrypt", fields{"plaintext": fmt.Appendf(nil, "%d", i)})["message"])
		}
		for _, i := range []int{3, 0, 2, 1} {
			if got := p.to.do("decrypt", fields{"message": sent[i]}); got["plaintext"] != b64(fmt.Appendf(nil, "%d", i)) {
				r.t.Errorf("%s read %v", p.to, got["plaintext"])
			}
		}
		p.from.commits("update", nil)
		if got := p.to.do("decrypt", fields{"message": sent[4]}); got["plaintext"] != b64([]byte("4")) {
			r.t.Errorf("%s read %v after the epoch", p.to, got["plaintext"])
		}
	}
}

// manyChanges: a group that grows, shrinks and refills, with changing authors.
func manyChanges(r *room, x, y *peer) {
	alice, _ := pair(r, x, y)
	peers := []*peer{y, x}
	for i := range 8 {
		author := r.members[i%len(r.members)]
		author.adds(fields{"path": true}, r.actor(peers[i%2], fmt.Sprint("m", i)))
		r.members[(i+1)%len(r.members)].commits("update", nil)
	}
	for _, i := range []int{7, 2, 4} {
		alice.removes(r.members[i])
		r.members[len(r.members)-1].commits("update", nil)
	}
	for i := range 3 {
		r.members[i+1].adds(fields{"path": true}, r.actor(peers[i%2], fmt.Sprint("n", i)))
	}
	r.everybodySpeaks()
}

// contextExtensions: a private extension in the GroupContext, changed by a
// commit.
func contextExtensions(r *room, x, y *peer) {
	const private = 0xf123
	able := func(p *peer, name string) *actor {
		a := &actor{r, p, r.t.Name() + "/" + name}
		a.do("create_client", fields{"suite": r.suite, "cap_extensions": []int{private}})
		return a
	}
	alice, bob := able(x, "alice"), able(y, "bob")
	alice.create(fields{"group_extensions": []any{fields{"type": private, "data": []byte("one")}}})
	alice.adds(nil, bob)
	ours := alice
	if y.name == "hubbub" {
		ours = bob
	}
	ours.commits("commit", fields{"proposals": []any{fields{"type": "gce", "extensions": []any{fields{"type": private, "data": []byte("two")}}}}})
	for _, m := range r.members {
		list, _ := m.do("state", nil)["extensions"].([]any)
		if len(list) != 1 || list[0].(fields)["data"] != b64([]byte("two")) {
			r.t.Errorf("%s has %v", m, list)
		}
	}
}
