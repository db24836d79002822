package content

import (
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"hubbub/mimi"
	"hubbub/mls"
)

func TestReactionIsOneCharacter(t *testing.T) {
	for s, want := range map[string]bool{
		"❤": true, "❤️": true, "👍🏽": true, "👩‍🚀": true, "🏳️‍🌈": true, "🇩🇪": true, "1️⃣": true, "a": true, "e\u0301": true,
		"🏴\U000E0067\U000E0062\U000E007F": true,
		"":                                false, "❤❤": false, "+1": false, "🇩🇪🇫": false, " ": false, "\n": false, "👩‍": false, "\xff": false,
	} {
		if _, err := NewReaction(alice, ourRoom, ID{1}, s); (err == nil) != want || err != nil && !errors.Is(err, ErrInvalid) {
			t.Errorf("%q: %v", s, err)
		}
	}
	if _, err := NewReaction(alice, ourRoom, ID{1}); !errors.Is(err, ErrInvalid) {
		t.Errorf("no reaction: %v", err)
	}
	m, err := NewReaction(alice, ourRoom, ID{1}, "❤", "🥳")
	if err != nil || !m.IsReaction() || !slices.Equal(m.Reactions(), []string{"❤", "🥳"}) {
		t.Errorf("two: %v, %v", m, err)
	}
}

func TestFixtureKinds(t *testing.T) {
	dir := sharedDir(t, "mimi-content-examples")
	load := func(name string) *Message {
		b, err := os.ReadFile(filepath.Join(dir, name+".cbor"))
		if err != nil {
			t.Fatal(err)
		}
		m, err := Decode(b)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	if m := load("reaction"); !m.IsReaction() || m.IsDelete() || !slices.Equal(m.Reactions(), []string{"❤"}) {
		t.Error("reaction")
	}
	if m := load("unlike"); !m.IsReaction() || !m.IsDelete() {
		t.Error("unlike")
	}
	if m := load("delete"); m.IsReaction() || !m.IsDelete() {
		t.Error("delete")
	}
	if m := load("edit"); m.IsReaction() || m.IsDelete() {
		t.Error("edit")
	}
	if m := load("mention"); !slices.Equal(m.Mentions(), []mimi.UserURI{"mimi://example.com/u/alice-smith"}) {
		t.Errorf("mentions %v", m.Mentions())
	}
	if m := load("attachment"); len(m.Attachments()) != 1 || m.Attachments()[0].Filename != "bigfile.mp4" {
		t.Errorf("attachments %v", m.Attachments())
	}
	m := load("multipart-1")
	vendor := m.Body.(*MultiPart).Parts[1]
	if got := Choose(m.Body, readable); len(got) != 1 || got[0] != m.Body.(*MultiPart).Parts[0] {
		t.Errorf("chosen %v", got)
	}
	if got := Choose(m.Body, func(s string) bool { return !readable(s) }); len(got) != 1 || got[0] != vendor {
		t.Errorf("with the vendor's type %v", got)
	}
	if at, ok := load("expiring").ExpiresAt(time.Time{}); !ok || at.Unix() != 1644390004 {
		t.Errorf("expires %v, %v", at, ok)
	}
}

func TestPartIndex(t *testing.T) {
	single := func() *SinglePart { return &SinglePart{ContentType: PlainText} }
	external := &ExternalPart{ContentType: "image/png"}
	inner := &MultiPart{Parts: []Part{single(), external}}
	m := &Message{Body: &MultiPart{Semantics: ProcessAll, Parts: []Part{single(), inner, &NullPart{}}}}
	parts := Parts(m.Body)
	if len(parts) != 6 || parts[2] != Part(inner) || parts[4] != Part(external) {
		t.Errorf("parts %v", parts)
	}
	if p, ok := m.ByContentID(ContentID(4)); !ok || p != Part(external) {
		t.Errorf("part 4: %v, %v", p, ok)
	}
	for _, link := range []string{ContentID(0), ContentID(2), ContentID(5), ContentID(6), "cid:-1@local.invalid", "cid:+1@local.invalid",
		"cid:@local.invalid", "cid:1@other.invalid", "1@local.invalid", "cid:99999999999999999999@local.invalid"} {
		if p, ok := m.ByContentID(link); ok {
			t.Errorf("%s: %v", link, p)
		}
	}
}

func TestChoose(t *testing.T) {
	yes, no := &SinglePart{ContentType: "yes/yes"}, &SinglePart{ContentType: "no/no"}
	multi := func(s Semantics, p ...Part) Part { return &MultiPart{Semantics: s, Parts: p} }
	can := func(s string) bool { return s == "yes/yes" }
	for name, tc := range map[string]struct {
		p    Part
		want int
	}{
		"one":                     {yes, 1},
		"unknown":                 {no, 0},
		"first alternative":       {multi(ChooseOne, no, yes, yes), 1},
		"no alternative":          {multi(ChooseOne, no, no), 0},
		"unit":                    {multi(SingleUnit, yes, yes), 2},
		"broken unit":             {multi(SingleUnit, yes, no), 0},
		"as many as possible":     {multi(ProcessAll, yes, no, yes), 2},
		"broken unit within many": {multi(ProcessAll, yes, multi(SingleUnit, yes, no)), 1},
		"many within a unit":      {multi(SingleUnit, yes, multi(ProcessAll, yes, no)), 2},
		"nothing":                 {&NullPart{}, 0},
	} {
		if got := Choose(tc.p, can); len(got) != tc.want {
			t.Errorf("%s: %d parts, want %d", name, len(got), tc.want)
		}
	}
}

func TestEscapeHTML(t *testing.T) {
	for in, want := range map[string]string{
		"a < b":                     "a < b",
		"1 <2":                      "1 <2",
		"<b>x</b>":                  "&lt;b>x&lt;/b>",
		"<!-- c -->":                "&lt;!-- c -->",
		"<?php ?>":                  "&lt;?php ?>",
		"<!DOCTYPE x>":              "&lt;!DOCTYPE x>",
		"<![CDATA[x]]>":             "&lt;![CDATA[x]]>",
		"`<b>` <i>":                 "`<b>` &lt;i>",
		"``a`<b>`` <i>":             "``a`<b>`` &lt;i>",
		"` <b>":                     "` &lt;b>",
		`\<b>`:                      `\<b>`,
		"<https://a.example>":       "<https://a.example>",
		"<mimi://a.example/u/x>":    "<mimi://a.example/u/x>",
		"<a href=\"https://evil\">": "&lt;a href=\"https://evil\">",
		"<b":                        "&lt;b",
		"x <":                       "x <",
	} {
		if got := EscapeHTML(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestLinks(t *testing.T) {
	text := "see [a](https://a.example/x \"title\") and [b [c]](<https://b.example/(y)>) `[no](https://no)` \\[no](https://no) <https://d.example> [x](mimi://a.example/u/alice) www.example.com"
	got := NewMarkdown(alice, ourRoom, text).Links()
	want := []Link{{"a", "https://a.example/x"}, {"b [c]", "https://b.example/(y)"}, {"https://d.example", "https://d.example"}, {"x", string(alice)}}
	if !slices.Equal(got, want) {
		t.Errorf("links %q, want %q", got, want)
	}
	if links := NewText(alice, ourRoom, text).Links(); links != nil {
		t.Errorf("links in plain text: %v", links)
	}
	odd := mimi.UserURI("mimi://a.example/u/o(d)d")
	m := NewMarkdown(alice, ourRoom, "hi "+Mention(bob, "Bob [x]*")+" and "+Mention(cathy, "")+" and "+Mention(bob, "again"))
	if !slices.Equal(m.Mentions(), []mimi.UserURI{bob, cathy}) || m.Links()[0].Text != "@Bob [x]*" {
		t.Errorf("mentions %v in %q", m.Mentions(), m.Links())
	}
	if l := NewMarkdown(alice, ourRoom, Mention(odd, "")).Links(); len(l) != 1 {
		t.Errorf("odd mention: %v", l)
	}
}

func TestDeceivingLinks(t *testing.T) {
	for _, tc := range []struct {
		text, target string
		want         bool
	}{
		{"our page", "https://a.example/x", false},
		{"https://a.example/x", "https://a.example/x", false},
		{"https://a.example", "https://a.example/", false},
		{"https://A.example:443/x", "https://a.example/x", false},
		{"a.example/x", "https://a.example/x", false},
		{"https://a.example/x", "https://evil.example/x", true},
		{"https://a.example/x", "https://a.example/y", true},
		{"https://a.example/x", "http://a.example/x", true},
		{"https://a.example/x", "https://a.example:8443/x", true},
		{"https://a.example/x", "https://a.example@evil.example/x", true},
		{"a.example", "javascript:alert(1)", true},
		{"https://a.example", "%zz://", true},
		{"v2.0", "https://a.example/release", false},
		{"@Alice", string(alice), false},
		{"https://a.example", string(alice), true},
	} {
		if got := (Link{tc.text, tc.target}).Deceives(); got != tc.want {
			t.Errorf("[%s](%s): %v", tc.text, tc.target, got)
		}
	}
}

func TestExpiryBounds(t *testing.T) {
	m := NewText(alice, ourRoom, "x")
	for d, want := range map[time.Duration]uint32{-time.Second: 1, 0: 1, time.Millisecond: 1, 1500 * time.Millisecond: 2, time.Hour: 3600} {
		if got := m.ExpireAfter(d).Expires; !got.Relative || got.Seconds != want {
			t.Errorf("%v: %+v", d, got)
		}
	}
	if got := m.ExpireAt(time.Unix(1<<40, 0)).Expires; got.Relative || got.Seconds != 1<<32-1 {
		t.Errorf("far off: %+v", got)
	}
	if _, ok := NewText(alice, ourRoom, "x").ExpiresAt(noon); ok {
		t.Error("a message without expiry expires")
	}
}

func TestDeriveSalt(t *testing.T) {
	mac := hmac.New(sha256.New, []byte("secret"))
	mac.Write([]byte("nonce"))
	if got := DeriveSalt([]byte("secret"), []byte("nonce")); got != Salt(mac.Sum(nil)[:16]) {
		t.Errorf("salt %x", got)
	}
}

// Parts that the text refers to need not be shown again (CNT-53).
func TestReferenced(t *testing.T) {
	text := &SinglePart{Disposition: Render, ContentType: GFMMarkdown,
		Content: []byte("![one](cid:2@local.invalid) [again](cid:2@local.invalid) [none](cid:9@local.invalid) [all](cid:0@local.invalid) `[code](cid:3@local.invalid)`")}
	one := &SinglePart{Disposition: Inline, ContentType: "image/png", Content: []byte("x")}
	other := &SinglePart{Disposition: Inline, ContentType: "image/png", Content: []byte("y")}
	m := &Message{Body: &MultiPart{Semantics: ProcessAll, Parts: []Part{text, one, other}}}
	if got := m.Referenced(); len(got) != 1 || got[0] != Part(one) {
		t.Errorf("%v", got)
	}
}

// What a leaf advertises is what is read (CNT-60, EXT-19).
func TestReceivable(t *testing.T) {
	list := Receivable()
	for _, want := range []string{MediaType, PlainText, GFMMarkdown} {
		if !slices.ContainsFunc(list, func(m mls.MediaType) bool { return mediaText(m) == want }) {
			t.Errorf("%s is not advertised", want)
		}
	}
	for _, m := range list {
		switch {
		case m.Type == MediaType, m.Type == StatusMediaType:
		case !readable(mediaText(m)):
			t.Errorf("%s is advertised and not read", mediaText(m))
		}
	}
}

func mediaText(m mls.MediaType) string {
	s := m.Type
	for _, p := range m.Parameters {
		s += ";" + p.Name + "=" + p.Value
	}
	return s
}
