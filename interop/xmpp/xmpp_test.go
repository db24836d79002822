package main

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestSplitter(t *testing.T) {
	const root = "<?xml version='1.0'?><stream:stream xmlns='a'>"
	tests := []struct {
		name, in string
		want     []string
		fails    bool
	}{
		{"nothing yet", root, nil, false},
		{"two", root + "<a><b/>x</a>\n <c d='1'>&gt;</c>", []string{"<a><b/>x</a>", "<c d='1'>&gt;</c>"}, false},
		{"without content", root + "<a/><b c='/'/>", []string{"<a/>", "<b c='/'/>"}, false},
		{"deep", root + "<a><a><a/></a><a></a></a>", []string{"<a><a><a/></a><a></a></a>"}, false},
		{"brackets in values", root + `<a b=">'<"><c d='/>'>x</c></a>`, []string{`<a b=">'<"><c d='/>'>x</c></a>`}, false},
		{"half of one", root + "<a/><b><c/>", []string{"<a/>"}, false},
		{"the end", root + "<a/></stream:stream>", []string{"<a/>"}, true},
	}
	for _, tt := range tests {
		for _, step := range []int{1, 7, len(tt.in)} {
			var s splitter
			var got []string
			var err error
			for piece := range slices.Chunk([]byte(tt.in), step) {
				if err = s.write(piece, func(e []byte) error {
					got = append(got, string(e))
					return nil
				}); err != nil {
					break
				}
			}
			if !slices.Equal(got, tt.want) || (err != nil) != tt.fails {
				t.Errorf("%s, %d at a time: %q and error %v, want %q", tt.name, step, got, err, tt.want)
			}
		}
	}
}

func TestSplitterBoundsAStanza(t *testing.T) {
	var s splitter
	err := s.write([]byte("<r><a>"+strings.Repeat("x", maxStanza)), func([]byte) error { return nil })
	if err == nil {
		t.Error("a stanza without end is kept")
	}
}

func TestNumberOfAPost(t *testing.T) {
	post := message("room@muc.s1.bench", 1234)
	if _, body, _ := strings.Cut(post, "<body>"); strings.Index(body, "<") != bodyBytes {
		t.Errorf("a body of %d octets, want %d", strings.Index(body, "<"), bodyBytes)
	}
	tests := []struct {
		name, stanza string
		want         int
		ok           bool
	}{
		{"as sent", post, 1234, true},
		{"with an archive's id", strings.Replace(post, "</message>", "<stanza-id id='x'/></message>", 1), 1234, true},
		{"other quotes", strings.ReplaceAll(post, "'", `"`), 1234, true},
		{"an error", strings.Replace(post, "'groupchat'", "'error'", 1), 0, false},
		{"the subject", "<message type='groupchat'><subject/></message>", 0, false},
		{"presence", "<presence type='groupchat'><body>post 1 </body></presence>", 0, false},
	}
	for _, tt := range tests {
		if got, ok := number([]byte(tt.stanza)); got != tt.want || ok != tt.ok {
			t.Errorf("%s: %d, %v", tt.name, got, ok)
		}
	}
}

func TestAttribute(t *testing.T) {
	stanza := []byte(`<iq id="a" type='b'><x to='c'/></iq>`)
	for name, want := range map[string]string{"id": "a", "type": "b", "to": "", "d": ""} {
		if got := attribute(stanza, name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// question is a query for one name.
func question(name string, kind byte) []byte {
	q := []byte{7, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0}
	for _, label := range strings.Split(name, ".") {
		q = append(append(q, byte(len(label))), label...)
	}
	return append(q, 0, 0, kind, 0, 1)
}

func TestAnswer(t *testing.T) {
	const typeAAAA = 28
	tests := []struct {
		name string
		kind byte
		code byte   // of the reply
		data []byte // the end of the record
	}{
		{"s2.bench", typeA, 0, []byte{0, 4, 127, 0, 1, 2}},
		{"muc.S1.bench", typeA, 0, []byte{0, 4, 127, 0, 1, 1}},
		{"s2.bench", typeAAAA, 0, nil},
		{"s4.bench", typeA, 3, nil},
		{"_xmpp-server._tcp.muc.s1.bench", typeSRV, 0,
			[]byte("\x00\x00\x00\x00\x14\x95\x03127\x010\x011\x011\x00")},
		{"_xmpps-server._tcp.s1.bench", typeSRV, 3, nil},
		{"_xmpp-server._tcp.s1.bench", typeA, 0, nil},
	}
	for _, tt := range tests {
		q := question(tt.name, tt.kind)
		got := answer(q)
		if got == nil || !bytes.Equal(got[:2], q[:2]) || got[2]&0x80 == 0 || got[3]&15 != tt.code {
			t.Errorf("%s: %x", tt.name, got)
			continue
		}
		if int(got[7]) != min(1, len(tt.data)) || !bytes.HasSuffix(got, tt.data) || tt.data == nil && len(got) != len(q) {
			t.Errorf("%s: records %x, want %x", tt.name, got[len(q):], tt.data)
		}
	}
	whole := question("s1.bench", typeA)
	for n := range whole {
		if got := answer(whole[:n]); got != nil {
			t.Errorf("%d octets of a query are answered: %x", n, got)
		}
	}
	if answer(answer(whole)) != nil {
		t.Error("a reply is answered")
	}
}

func TestSpread(t *testing.T) {
	var took []time.Duration
	for i := 200; i > 0; i-- {
		took = append(took, time.Duration(i)*time.Millisecond)
	}
	if got, want := spreadOf(took, time.Millisecond), (spread{200, 100, 190, 198, 200}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got := spreadOf([]time.Duration{time.Second}, time.Second); got != (spread{1, 1, 1, 1, 1}) {
		t.Errorf("of one: %+v", got)
	}
	if got := spreadOf(nil, time.Second); got != (spread{}) {
		t.Errorf("of none: %+v", got)
	}
}

// A lane takes each post once and in order.
func TestLaneOrder(t *testing.T) {
	for _, tt := range []struct {
		posts []int
		count int64
		wrong bool
	}{
		{[]int{0, 1, 2}, 3, false},
		{[]int{0, 2}, 1, true},
		{[]int{0, 1, 1}, 2, true},
		{[]int{0, 1, 2, 3}, 3, true},
	} {
		l := &lane{err: make(chan error, 1)}
		c := &client{}
		l.watch(c, &l.arrived, 3)
		for _, n := range tt.posts {
			if err := c.got([]byte(message("r", n))); err != nil {
				t.Fatal(err)
			}
		}
		if got := l.arrived.count.Load(); got != tt.count || len(l.err) > 0 != tt.wrong {
			t.Errorf("%v: %d taken, %d complaints", tt.posts, got, len(l.err))
		}
	}
}

func TestConfigurations(t *testing.T) {
	for _, store := range allStores {
		s := settings{Host: "s1.bench", IP: "127.0.1.1", Store: store, Dir: t.TempDir(), DNS: dnsIP, DNSPort: 53}
		for _, name := range []string{"prosody.cfg.lua", "ejabberd.yml", "inetrc"} {
			file, err := s.config(name)
			if err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if sql := strings.Contains(string(text), "archive.sqlite"); name != "inetrc" && sql != (store == "sqlite") {
				t.Errorf("%s with %s: SQLite is %v", name, store, sql)
			}
			if strings.Contains(string(text), "{{") || strings.Contains(string(text), "<no value>") {
				t.Errorf("%s is not filled in", name)
			}
		}
	}
}

func TestParse(t *testing.T) {
	o, err := parse([]string{"-works", "one,single", "-servers", "ejabberd"})
	if err != nil || fmt.Sprint(o.works, o.servers, o.stores) != "[single one] [ejabberd] [sqlite native]" {
		t.Errorf("%v %v %v, %v", o.works, o.servers, o.stores, err)
	}
	for _, bad := range []string{"-works=all", "-rooms=0", "more"} {
		if _, err := parse([]string{bad}); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
}
