package mimi

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestJoinLink(t *testing.T) {
	l := NewJoinLink("mimi://a.example/r/lunch", [JoinCodeBytes]byte{0xff, 0xee, 15: 1})
	text := l.Text()
	if text != "mimi://a.example/r/lunch?join=_-4AAAAAAAAAAAAAAAAAAQ" {
		t.Errorf("text: %s", text)
	}
	got, err := ParseJoinLink(text)
	if err != nil || got.Room != l.Room || !bytes.Equal(got.Code(), l.Code()) {
		t.Errorf("read back: %v, %v", got, err)
	}
	for _, bad := range []string{"", "mimi://a.example/r/lunch", "mimi://a.example/r/lunch?join=", "mimi://a.example/u/lunch?join=AAAA",
		"mimi://a.example/r/lunch?join=A", "mimi://a.example/r/lunch?join=AA\nAA", "mimi://a.example/r/lunch?join=" + strings.Repeat("AAAA", 400)} {
		if _, err := ParseJoinLink(bad); !errors.Is(err, ErrBadURI) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("joined", "link", l, "more", struct{ Link JoinLink }{l})
	fmt.Fprintf(&log, "%v %+v %s", l, l, l)
	if strings.Contains(log.String(), "_-4AAAA") || !strings.Contains(log.String(), "a.example/r/lunch") {
		t.Errorf("logged: %s", log.String())
	}
}

func TestJoinLinkEntry(t *testing.T) {
	l := NewJoinLink("mimi://a.example/r/lunch", [JoinCodeBytes]byte{1})
	for _, e := range []JoinLinkEntry{{Hash: l.Hash()}, {Hash: l.Hash(), Single: true, NotAfter: 1_800_000_000}} {
		got, ok := ParseJoinLinkEntry(e.Marshal())
		if !ok || *got != e {
			t.Errorf("%+v came back as %+v", e, got)
		}
	}
	e := JoinLinkEntry{Hash: l.Hash()}
	good := e.Marshal()
	for name, bad := range map[string][]byte{"short": good[1:], "long": append(bytes.Clone(good), 0), "a link": []byte("https://a.example/j/123"), "empty": nil,
		"other head": append([]byte{1}, good[1:]...), "flag": append(bytes.Clone(good[:34]), append([]byte{2}, good[35:]...)...)} {
		if _, ok := ParseJoinLinkEntry(bad); ok {
			t.Errorf("%s: taken for an entry", name)
		}
	}
	if l.Hash() == JoinCodeHash("mimi://a.example/r/other", l.Code()) {
		t.Error("a code is the same in every room")
	}
}
