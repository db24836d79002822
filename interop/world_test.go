package interop

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"hubbub/internal/mlspeer"
)

type fields = map[string]any

// peer is an implementation that answers JSON lines.
type peer struct {
	name string
	in   io.Writer
	out  *json.Decoder
	next int
}

// hubbubPeer runs the library behind pipes, as hubbub debug mls-peer does.
func hubbubPeer(t *testing.T) *peer {
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	done := make(chan error, 1)
	go func() {
		done <- mlspeer.New("hubbub", "test").Run(inR, outW)
		outW.Close()
	}()
	t.Cleanup(func() {
		inW.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return &peer{name: "hubbub", in: inW, out: json.NewDecoder(outR)}
}

// tsPeer runs the driver around ts-mls. make interop says that it must be
// there; any other run of the tests does without.
func tsPeer(t *testing.T) *peer {
	if os.Getenv("HUBBUB_INTEROP") == "" {
		t.Skip("needs node and the npm package ts-mls: make interop")
	}
	if _, err := os.Stat(filepath.Join("tsmls", "node_modules", "ts-mls")); err != nil {
		t.Fatalf("ts-mls is not installed: %v", err)
	}
	cmd := exec.CommandContext(t.Context(), "node", "driver.mjs")
	cmd.Dir, cmd.Stderr = "tsmls", os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil && t.Context().Err() == nil {
			t.Errorf("driver: %v", err)
		}
	})
	return &peer{name: "ts-mls", in: in, out: json.NewDecoder(out)}
}

// ask sends a command and returns the answer.
func (p *peer) ask(t *testing.T, cmd string, f fields) fields {
	t.Helper()
	p.next++
	r := fields{"id": p.next, "cmd": cmd}
	maps.Copy(r, f)
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.in.Write(append(b, '\n')); err != nil {
		t.Fatalf("%s: %v", p.name, err)
	}
	var a fields
	if err := p.out.Decode(&a); err != nil {
		t.Fatalf("%s: %v", p.name, err)
	}
	if a["id"] != float64(p.next) {
		t.Fatalf("%s: answer %v to request %d", p.name, a["id"], p.next)
	}
	return a
}

// actor is a client of one of the implementations.
type actor struct {
	*room
	peer *peer
	name string
}

func (a *actor) String() string { return a.name + " (" + a.peer.name + ")" }

// room is the group of a test and a Delivery Service that never refuses.
type room struct {
	t       *testing.T
	suite   int
	wire    string
	id      []byte
	members []*actor
}

func (r *room) actor(p *peer, name string) *actor {
	r.t.Helper()
	a := &actor{r, p, r.t.Name() + "/" + name}
	a.do("create_client", fields{"suite": r.suite})
	return a
}

// ask sends a command of the actor about the room.
func (a *actor) ask(cmd string, f fields) fields {
	a.t.Helper()
	r := fields{"client": a.name, "group": a.id, "wire": a.wire}
	maps.Copy(r, f)
	return a.peer.ask(a.t, cmd, r)
}

func (a *actor) do(cmd string, f fields) fields {
	a.t.Helper()
	got := a.ask(cmd, f)
	if got["ok"] != true {
		a.t.Fatalf("%s of %s: %v", cmd, a, got["error"])
	}
	return got
}

// refuses checks that a command fails with an error that contains want.
func (a *actor) refuses(cmd string, f fields, want string) {
	a.t.Helper()
	got := a.ask(cmd, f)
	if text, _ := got["error"].(string); got["ok"] != false || !strings.Contains(text, want) {
		a.t.Fatalf("%s of %s: %v, want an error with %q", cmd, a, got, want)
	}
}

// create makes the room.
func (a *actor) create(f fields) {
	a.t.Helper()
	a.do("create_group", f)
	a.members = []*actor{a}
}

// deliver gives a message to all members but its sender.
func (r *room) deliver(from *actor, message any) {
	r.t.Helper()
	for _, m := range r.members {
		if m != from {
			m.do("process", fields{"message": message})
		}
	}
}

// agree checks that all members are in one epoch and see the same tree.
func (r *room) agree() {
	r.t.Helper()
	var first fields
	for _, m := range r.members {
		got := m.do("state", nil)
		if first == nil {
			first = got
		}
		for _, key := range []string{"epoch", "epoch_authenticator", "tree_hash"} {
			if got[key] == nil || got[key] != first[key] {
				r.t.Fatalf("%s and %s differ in %s", r.members[0], m, key)
			}
		}
		if n := len(got["members"].([]any)); n != len(r.members) {
			r.t.Fatalf("%s sees %d members of %d", m, n, len(r.members))
		}
	}
}

// commits runs a command that commits and spreads the outcome.
func (a *actor) commits(cmd string, f fields, joiners ...*actor) {
	a.t.Helper()
	got := a.do(cmd, f)
	a.deliver(a, got["commit"])
	for _, j := range joiners {
		j.do("join_welcome", fields{"welcome": got["welcome"], "ratchet_tree": got["ratchet_tree"]})
		a.members = append(a.members, j)
	}
	a.agree()
}

// adds adds clients by value.
func (a *actor) adds(f fields, joiners ...*actor) {
	a.t.Helper()
	var list []any
	for _, j := range joiners {
		list = append(list, j.do("key_package", fields{"lifetime_s": 86400})["key_package"])
	}
	r := fields{"key_packages": list}
	maps.Copy(r, f)
	a.commits("add", r, joiners...)
}

// removes removes a member.
func (a *actor) removes(gone *actor) {
	a.t.Helper()
	got := a.do("remove", fields{"identity": []byte(gone.name)})
	a.deliver(a, got["commit"])
	if gone.peer.name == "hubbub" {
		gone.refuses("encrypt", fields{"plaintext": []byte("x")}, "removed")
	}
	for i, m := range a.members {
		if m == gone {
			a.members = append(a.members[:i:i], a.members[i+1:]...)
			break
		}
	}
	a.agree()
}

// joinsExternally lets the actor enter with a GroupInfo of helper.
func (a *actor) joinsExternally(helper *actor, f fields) {
	a.t.Helper()
	gi := helper.do("export_group_info", f)
	r := fields{"group_info": gi["group_info"], "ratchet_tree": gi["ratchet_tree"]}
	maps.Copy(r, f)
	got := a.do("external_join", r)
	a.deliver(a, got["commit"])
	if f["resync"] != true {
		a.members = append(a.members, a)
	}
	a.agree()
}

// everybodySpeaks sends a message from each member to all others.
func (r *room) everybodySpeaks() {
	r.t.Helper()
	for _, from := range r.members {
		text := []byte("this is " + from.name)
		aad := []byte("to all")
		m := from.do("encrypt", fields{"plaintext": text, "aad": aad})
		for _, to := range r.members {
			if to == from {
				continue
			}
			got := to.do("process", fields{"message": m["message"]})
			if got["kind"] != "application" || got["plaintext"] != b64(text) || got["aad"] != b64(aad) {
				r.t.Fatalf("%s read %v from %s", to, got, from)
			}
		}
	}
}

func b64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

// newRoom prepares a room of a suite and an encoding of handshake messages.
func newRoom(t *testing.T, suite int, wire string) *room {
	return &room{t: t, suite: suite, wire: wire, id: fmt.Appendf(nil, "room of %s", t.Name())}
}
