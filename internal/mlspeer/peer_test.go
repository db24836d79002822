package mlspeer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"strings"
	"testing"
)

// script plays requests against a peer over pipes, as a driver does.
type script struct {
	t    *testing.T
	in   io.WriteCloser
	out  *json.Decoder
	next int
	done chan error
}

func start(t *testing.T) *script {
	t.Helper()
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	s := &script{t: t, in: inW, out: json.NewDecoder(outR), done: make(chan error, 1)}
	go func() {
		s.done <- New("hubbub", "test").Run(inR, outW)
		outW.Close()
	}()
	t.Cleanup(func() { inW.Close() })
	return s
}

type fields = map[string]any

// raw sends a line and returns the answer.
func (s *script) raw(line string) fields {
	s.t.Helper()
	if _, err := io.WriteString(s.in, line+"\n"); err != nil {
		s.t.Fatal(err)
	}
	var a fields
	if err := s.out.Decode(&a); err != nil {
		s.t.Fatal(err)
	}
	return a
}

// try sends a command for a client in the test's group.
func (s *script) try(cmd, client string, f fields) fields {
	s.t.Helper()
	s.next++
	r := fields{"id": s.next, "cmd": cmd, "client": client, "group": []byte("room")}
	maps.Copy(r, f)
	b, err := json.Marshal(r)
	if err != nil {
		s.t.Fatal(err)
	}
	a := s.raw(string(b))
	if a["id"] != float64(s.next) || a["ms"] == nil {
		s.t.Fatalf("%s: answer %v to request %d", cmd, a, s.next)
	}
	return a
}

func (s *script) do(cmd, client string, f fields) fields {
	s.t.Helper()
	a := s.try(cmd, client, f)
	if a["ok"] != true {
		s.t.Fatalf("%s of %s: %v", cmd, client, a["error"])
	}
	return a
}

func (s *script) refused(cmd, client string, f fields, want string) {
	s.t.Helper()
	a := s.try(cmd, client, f)
	if got, _ := a["error"].(string); a["ok"] != false || !strings.Contains(got, want) {
		s.t.Errorf("%s of %s: %v, want %q", cmd, client, a, want)
	}
}

// agree checks that clients are in the same epoch.
func (s *script) agree(clients ...string) {
	s.t.Helper()
	var want any
	for _, c := range clients {
		got := s.do("state", c, nil)["epoch_authenticator"]
		if want == nil {
			want = got
		}
		if got != want || got == nil {
			s.t.Fatalf("%s is in another epoch", c)
		}
	}
}

// chat makes a group of alice and bob.
func chat(t *testing.T, suite int) *script {
	s := start(t)
	for _, name := range []string{"alice", "bob", "carol"} {
		s.do("create_client", name, fields{"suite": suite})
	}
	s.do("create_group", "alice", nil)
	kp := s.do("key_package", "bob", nil)["key_package"]
	a := s.do("add", "alice", fields{"key_packages": []any{kp}, "tree_in_welcome": false})
	s.do("join_welcome", "bob", fields{"welcome": a["welcome"], "ratchet_tree": a["ratchet_tree"], "group": nil})
	s.agree("alice", "bob")
	return s
}

func TestPeerChat(t *testing.T) {
	for suite := 1; suite <= 7; suite++ {
		t.Run(fmt.Sprint(suite), func(t *testing.T) {
			s := chat(t, suite)
			for _, wire := range []string{"public", "private"} {
				u := s.do("update", "bob", fields{"wire": wire})
				if got := s.do("process", "alice", fields{"message": u["commit"]}); got["kind"] != "commit" {
					t.Errorf("kind %v", got["kind"])
				}
				s.agree("alice", "bob")
			}
			m := s.do("encrypt", "alice", fields{"plaintext": []byte("hi"), "aad": []byte("to all")})
			got := s.do("process", "bob", fields{"message": m["message"]})
			if got["kind"] != "application" || got["plaintext"] != "aGk=" || got["aad"] != "dG8gYWxs" {
				t.Errorf("got %v", got)
			}
			m = s.do("encrypt", "bob", fields{"plaintext": []byte("ho")})
			if got := s.do("decrypt", "alice", fields{"message": m["message"]}); got["plaintext"] != "aG8=" {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestPeerExternalJoinAndRemove(t *testing.T) {
	s := chat(t, 1)
	for _, f := range []fields{{"resync": false}, {"resync": true}} {
		gi := s.do("export_group_info", "bob", fields{"with_tree": f["resync"]})
		f["group_info"], f["ratchet_tree"] = gi["group_info"], gi["ratchet_tree"]
		j := s.do("external_join", "carol", f)
		for _, c := range []string{"alice", "bob"} {
			s.do("process", c, fields{"message": j["commit"]})
		}
		s.agree("alice", "bob", "carol")
	}
	if n := len(s.do("state", "alice", nil)["members"].([]any)); n != 3 {
		t.Errorf("%d members", n)
	}
	r := s.do("remove", "alice", fields{"identity": []byte("bob")})
	s.do("process", "carol", fields{"message": r["commit"]})
	if got := s.do("process", "bob", fields{"message": r["commit"]}); got["active"] != false {
		t.Errorf("bob is still active: %v", got)
	}
	s.refused("encrypt", "bob", fields{"plaintext": []byte("x")}, "removed")
	s.agree("alice", "carol")
}

func TestPeerProposals(t *testing.T) {
	s := chat(t, 1)
	for _, c := range []string{"alice", "bob"} {
		s.do("store_psk", c, fields{"psk_id": []byte("k"), "psk": []byte("secret")})
	}
	for _, p := range []fields{
		{"type": "psk", "psk_id": []byte("k")},
		{"type": "gce", "extensions": []any{}},
		{"type": "update"},
		{"type": "psk", "epoch": 1},
		{"type": "add", "key_package": s.do("key_package", "carol", nil)["key_package"]},
	} {
		m := s.do("propose", "bob", fields{"proposal": p})
		if got := s.do("process", "alice", fields{"message": m["message"]}); got["kind"] != "proposal" {
			t.Errorf("kind %v", got["kind"])
		}
		c := s.do("commit", "alice", nil)
		s.do("process", "bob", fields{"message": c["commit"]})
		s.agree("alice", "bob")
		if c["welcome"] != nil {
			s.do("join_welcome", "carol", fields{"welcome": c["welcome"]})
		}
	}
	s.agree("alice", "bob", "carol")
	e := fields{"label": "l", "context": []byte("c"), "length": 16}
	if a, b := s.do("exporter", "alice", e)["secret"], s.do("exporter", "carol", e)["secret"]; a != b || a == nil {
		t.Error("exported secrets differ")
	}
	s.refused("commit", "carol", fields{"proposals": []any{fields{"type": "psk", "psk_id": []byte("k")}}}, "missing pre-shared key")
	s.do("store_psk", "carol", fields{"psk_id": []byte("k"), "psk": []byte("secret")})
	c := s.do("commit", "carol", fields{"wire": "private", "proposals": []any{
		fields{"type": "psk", "psk_id": []byte("k")}, fields{"type": "remove", "identity": []byte("bob")}}})
	s.do("process", "alice", fields{"message": c["commit"]})
	s.agree("alice", "carol")
}

func TestPeerX509AndCapabilities(t *testing.T) {
	s := start(t)
	s.do("create_client", "x", fields{"suite": 2, "credential": "x509", "cap_extensions": []int{0xf042}, "cap_proposals": []int{0xf043}})
	s.do("create_client", "y", fields{"suite": 2, "cap_extensions": []int{0xf042}, "cap_proposals": []int{0xf043}})
	s.do("create_group", "x", fields{"group_extensions": []any{fields{"type": 0xf042, "data": []byte("room")}}})
	kp := s.do("key_package", "y", fields{"lifetime_s": 3600, "leaf_extensions": []any{fields{"type": 0xf042, "data": []byte("leaf")}}})
	a := s.do("add", "x", fields{"key_packages": []any{kp["key_package"]}})
	s.do("join_welcome", "y", fields{"welcome": a["welcome"]})
	m := s.do("propose", "y", fields{"proposal": fields{"type": "custom", "proposal_type": 9, "data": []byte("\x80\x01\x01p")}})
	s.do("process", "x", fields{"message": m["message"]})
	s.do("process", "y", fields{"message": s.do("commit", "x", nil)["commit"]})
	s.agree("x", "y")
	m = s.do("propose", "y", fields{"proposal": fields{"type": "custom", "proposal_type": 0xf043, "data": []byte("of the application")}})
	s.do("process", "x", fields{"message": m["message"]})
	s.do("process", "y", fields{"message": s.do("commit", "x", nil)["commit"]})
	s.agree("x", "y")
	list := s.do("state", "y", nil)["extensions"].([]any)
	if len(list) != 1 || list[0].(fields)["data"] != "cm9vbQ==" {
		t.Errorf("extensions %v", list)
	}
}

// TestPeerBadInput: nothing ends the peer, and each error names its request.
func TestPeerBadInput(t *testing.T) {
	s := chat(t, 1)
	for _, line := range []string{"x", "{", "[]", `"a"`, `{"id":[1],"cmd":7}`, `{"cmd":"nope"}`, `{"id":1,"cmd":"add","key_packages":["!"]}`} {
		if a := s.raw(line); a["ok"] != false || a["error"] == "" {
			t.Errorf("%s: %v", line, a)
		}
	}
	if a := s.raw(`{"id":"x","cmd":"nope"}`); a["id"] != "x" {
		t.Errorf("id of %v", a)
	}
	for cmd := range commands() {
		if cmd == "quit" || cmd == "info" || cmd == "create_client" {
			continue
		}
		s.refused(cmd, "nobody", nil, "unknown client")
		for _, junk := range [][]byte{nil, {}, {0}, []byte("\x00\x01\x00\x01junk"), bytes.Repeat([]byte{0xff}, 100)} {
			f := fields{"key_packages": [][]byte{junk}, "message": junk, "welcome": junk, "ratchet_tree": junk, "group_info": junk,
				"identity": junk, "length": -1, "wire": "pigeon", "lifetime_s": -1, "extensions": []any{}, "leaf": 4000000000,
				"proposal": fields{"type": "custom", "proposal_type": 1, "data": junk}, "proposals": []any{nil, fields{"type": "remove"}}}
			if a := s.try(cmd, "alice", f); strings.Contains(fmt.Sprint(a["error"]), "panic") {
				t.Errorf("%s: %v", cmd, a["error"])
			}
			if cmd == "free" {
				break
			}
		}
	}
	s.refused("join_welcome", "bob", fields{"welcome": nil}, "missing field")
	s.refused("create_client", "bob", nil, "exists")
	s.refused("create_client", "z", fields{"suite": 9999}, "unsupported")
	s.refused("exporter", "bob", fields{"length": 1 << 30}, "")
	s.do("info", "", nil)
	s.do("free", "bob", nil)
	s.refused("state", "bob", nil, "not in this group")
	s.do("free", "bob", fields{"group": nil})
	s.refused("state", "bob", nil, "unknown client")
	s.do("quit", "", nil)
	if err := <-s.done; err != nil {
		t.Fatal(err)
	}
}
