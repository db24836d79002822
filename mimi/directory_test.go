package mimi

import (
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"testing"
)

const roomUnderTest = "mimi://a.example/r/clubhouse"

func TestExpand(t *testing.T) {
	vars := map[string]string{VarRoomID: roomUnderTest, VarTargetUser: "é"}
	for _, tc := range []struct {
		template, want string
		bad            bool
	}{
		{template: "https://b/x/{roomId}", want: "https://b/x/mimi%3A%2F%2Fa.example%2Fr%2Fclubhouse"},
		{template: "https://b/v1/update{roomId}", want: "https://b/v1/updatemimi%3A%2F%2Fa.example%2Fr%2Fclubhouse"},
		{template: "https://b/{targetUser}/y", want: "https://b/%C3%A9/y"},
		{template: "https://b/", want: "https://b/"},
		{template: "https://b/{+roomId}", bad: true},
		{template: "https://b/{roomId,targetUser}", bad: true},
		{template: "https://b/{other}", bad: true},
		{template: "https://b/{roomId", bad: true},
		{template: "https://b/roomId}", bad: true},
		{template: "https://b/ {roomId}", bad: true},
		{template: "https://b/\r\nX: y/{roomId}", bad: true},
	} {
		got, err := Expand(tc.template, vars)
		if tc.bad != errors.Is(err, ErrBadTemplate) || got != tc.want {
			t.Errorf("Expand(%q) = %q, %v", tc.template, got, err)
		}
	}
}

func TestOwnDirectory(t *testing.T) {
	d := NewDirectory("https://mimi.a.example/v1/")
	draft := 0
	for e := range d {
		if !strings.HasPrefix(string(e), "x-") {
			draft++
		}
	}
	if draft != 10 {
		t.Errorf("%d endpoints, want the ten of the draft and those of ours, which begin with x-", draft)
	}
	for e, template := range d {
		if !strings.HasSuffix(template, "/{"+e.Variable()+"}") || strings.Count(template, "{") != 1 {
			t.Errorf("%s: %s breaks the rule for our own templates", e, template)
		}
	}
	b, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	back, err := ParseDirectory(b)
	if err != nil || !maps.Equal(d, back) {
		t.Fatalf("own document read back as %v, %v", back, err)
	}
	url, err := d.Expand(EndpointNotify, map[string]string{VarRoomID: roomUnderTest})
	if want := "https://mimi.a.example/v1/notify/mimi%3A%2F%2Fa.example%2Fr%2Fclubhouse"; url != want || err != nil {
		t.Errorf("notify = %q, %v", url, err)
	}
	if _, err := NewDirectory("https://x", EndpointNotify).Expand(EndpointUpdate, nil); !errors.Is(err, ErrNoEndpoint) {
		t.Errorf("missing endpoint: %v", err)
	}
}

func TestParseDirectory(t *testing.T) {
	d, err := ParseDirectory([]byte(`{"update":"http://b/{roomId}","notify":"https://b/n/{roomId}","keyMaterial":7,
		"groupInfo":"https://u@b/{roomId}","submitMessage":"https://b/no-variable","reportAbuse":"https:///{roomId}",
		"requestConsent":"https://b/c/{targetUser}","updateConsent":"https://b/c/{requesterDomain}","x":{"a":[1]}}`))
	if err != nil {
		t.Fatal(err)
	}
	want := Directory{EndpointNotify: "https://b/n/{roomId}", EndpointRequestConsent: "https://b/c/{targetUser}",
		EndpointUpdateConsent: "https://b/c/{requesterDomain}"}
	if !maps.Equal(d, want) {
		t.Errorf("got %v", d)
	}
	for _, bad := range []string{"", "[]", "{", `{"a":1,}`, `{"notify":"https://b/{roomId}" "x":1}`, `{} {}`,
		`{"notify":"a","notify":"b"}`, `{"x":"` + strings.Repeat("x", MaxDirectoryBytes) + `"}`} {
		if _, err := ParseDirectory([]byte(bad)); !errors.Is(err, ErrBadDirectory) {
			t.Errorf("ParseDirectory(%.40q): %v", bad, err)
		}
	}
}

func FuzzParseDirectory(f *testing.F) {
	f.Add([]byte(`{"notify":"https://b/n/{roomId}"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := ParseDirectory(b)
		for e := range d {
			if err != nil {
				t.Fatal("a value beside an error")
			}
			if u, err := d.Expand(e, map[string]string{e.Variable(): "x"}); err == nil && !strings.HasPrefix(strings.ToLower(u), "https:") {
				t.Fatalf("%s leads to %q", e, u)
			}
		}
	})
}
