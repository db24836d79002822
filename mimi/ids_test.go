package mimi

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func TestParseIdentifiers(t *testing.T) {
	parseAs := map[string]func(string) error{
		"user":     func(s string) error { _, err := ParseUser(s); return err },
		"client":   func(s string) error { _, err := ParseClient(s); return err },
		"room":     func(s string) error { _, err := ParseRoom(s); return err },
		"group":    func(s string) error { _, err := ParseGroup(s); return err },
		"domain":   func(s string) error { _, err := ParseDomain(s); return err },
		"provider": func(s string) error { _, err := ParseProvider(s); return err },
	}
	for _, tc := range []struct {
		kind, in string
		ok       bool
	}{
		{"user", "mimi://a.example/u/alice", true},
		{"user", "mimi://A.example/u/alice", true},
		{"user", "mimi://a.localhost/u/alice%20smith", true},
		{"user", "mimi://a.example/u/zoë", true},
		{"user", "mimi://a.example/u/a@b", true},
		{"user", "mimi://a.example/d/alice", false},
		{"user", "mimi://a.example/u/", false},
		{"user", "mimi://a.example/u", false},
		{"user", "mimi://a.example", false},
		{"user", "mimi://a.example/u/alice/", false},
		{"user", "mimi://a.example/u/alice/x", false},
		{"user", "mimi://a.example//u/alice", false},
		{"user", "mimi://x@a.example/u/alice", false},
		{"user", "mimi://a.example:443/u/alice", false},
		{"user", "mimi://a.example/u/alice?x", false},
		{"user", "mimi://a.example/u/alice#x", false},
		{"user", "mimi://a.example/u/..", false},
		{"user", "mimi://a.example/u/%2e%2E", false},
		{"user", "mimi://a.example/u/a%2fb", false},
		{"user", "mimi://a.example/u/a%00", false},
		{"user", "mimi://a.example/u/a\x00", false},
		{"user", "mimi://a.example/u/a\xff", false},
		{"user", "mimi://a.example/u/a%ff", false},
		{"user", "mimi://a.example/u/a%4", false},
		{"user", "mimi://a.example/u/a b", false},
		{"user", "mimi://a.example/u/a\u202eb", false},
		{"user", "https://a.example/u/alice", false},
		{"user", "MIMI://a.example/u/alice", false},
		{"user", "mimi://10.0.0.1/u/alice", false},
		{"user", "mimi://[::1]/u/alice", false},
		{"user", "mimi://a.example./u/alice", false},
		{"user", "mimi://-a.example/u/alice", false},
		{"user", "mimi://é.example/u/alice", false},
		{"user", "mimi://a.example/u/" + strings.Repeat("x", MaxURIBytes-19), true},
		{"user", "mimi://a.example/u/" + strings.Repeat("x", MaxURIBytes-18), false},
		{"client", "mimi://a.example/d/alice/A1", true},
		{"client", "mimi://a.example/d/opaque", true},
		{"client", "mimi://a.example/d/alice/A1/x", false},
		{"room", "mimi://a.example/r/clubhouse", true},
		{"room", "mimi://a.example/g/clubhouse", false},
		{"group", "mimi://a.example/g/clubhouse", true},
		{"domain", "a.localhost", true},
		{"domain", "A.localhost", false},
		{"domain", "a.localhost:1", false},
		{"domain", "", false},
		{"provider", "mimi://a.localhost", true},
		{"provider", "mimi://a.localhost/", false},
	} {
		err := parseAs[tc.kind](tc.in)
		if (err == nil) != tc.ok {
			t.Errorf("%s %q: error %v, want ok=%v", tc.kind, tc.in, err, tc.ok)
		}
		if err != nil && !errors.Is(err, ErrBadURI) {
			t.Errorf("%s %q: %v does not wrap ErrBadURI", tc.kind, tc.in, err)
		}
	}
}

func TestIdentifierParts(t *testing.T) {
	bob, err := ParseHandle("bob@B.localhost")
	if err != nil || bob != "mimi://b.localhost/u/bob" || bob.Handle() != "bob@b.localhost" {
		t.Fatalf("ParseHandle = %q, %v; handle %q", bob, err, bob.Handle())
	}
	for _, bad := range []string{"bob", "@b.localhost", "bob@", "a/b@b.localhost"} {
		if u, err := ParseHandle(bad); err == nil {
			t.Errorf("ParseHandle(%q) = %q", bad, u)
		}
	}
	client, err := NewClient(bob, "phone")
	if err != nil || client != "mimi://b.localhost/d/bob/phone" || client.User() != bob || client.Device() != "phone" {
		t.Fatalf("NewClient = %q, %v; user %q", client, err, client.User())
	}
	if u := ClientURI("mimi://b.localhost/d/opaque").User(); u != "" {
		t.Errorf("user of an opaque client = %q", u)
	}
	if d := RoomURI("mimi://A.Example/r/x").Domain(); d != "a.example" {
		t.Errorf("hub = %q", d)
	}
	if _, err := NewClient("nonsense", "x"); !errors.Is(err, ErrBadURI) {
		t.Errorf("NewClient of nonsense: %v", err)
	}
}

func TestIdentifierJSON(t *testing.T) {
	var v struct {
		U UserURI
		R RoomURI
	}
	if err := json.Unmarshal([]byte(`{"U":"mimi://a.example/u/x","R":""}`), &v); err != nil || v.U.Name() != "x" {
		t.Fatalf("%+v, %v", v, err)
	}
	if err := json.Unmarshal([]byte(`{"U":"x"}`), &v); !errors.Is(err, ErrBadURI) {
		t.Fatalf("bad identifier accepted: %v", err)
	}
}

func FuzzIdentifiers(f *testing.F) {
	f.Add("mimi://a.example/d/alice/A1")
	f.Add("mimi://a.example/u/%2e%2e")
	f.Fuzz(func(t *testing.T, s string) {
		if c, err := ParseClient(s); err == nil && c.User() != "" {
			if _, err := ParseUser(string(c.User())); err != nil {
				t.Fatalf("client %q is fine but its user is not: %v", s, err)
			}
		}
		if u, err := ParseHandle(s); err == nil {
			if again, err := ParseHandle(u.Handle()); err != nil || again != u {
				t.Fatalf("handle of %q does not round-trip: %q, %v", u, again, err)
			}
		}
	})
}
