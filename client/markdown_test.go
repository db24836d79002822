package client

import "testing"

// Plain shows what GFM-MIMI says to a display without Markdown (CNT-60, CNT-63, CNT-64).
func TestPlain(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"an address is no link":    {"see www.example.com or https://example.com/x", "see www.example.com or https://example.com/x"},
		"a link":                   {"[docs](https://example.com/x)", "docs (https://example.com/x)"},
		"a link that reads so":     {"[https://example.com](https://example.com)", "https://example.com"},
		"a mention":                {"hello [Bob](mimi://b.example/u/bob)!", "hello Bob!"},
		"a part of the message":    {"look: ![the cat](cid:1@local.invalid) and [this](cid:2@local.invalid)", "look: the cat and this"},
		"no image":                 {"wow![] !x", "wow![] !x"},
		"a table":                  {"| a | b |\n|---|---|\n| 1 | 2 |", "| a | b |\n|---|---|\n| 1 | 2 |"},
		"tasks":                    {"- [ ] one\n- [x] two", "- [ ] one\n- [x] two"},
		"struck through":           {"~~gone~~", "~~gone~~"},
		"escaped":                  {`1 \* 2 \[x\](y)`, "1 * 2 [x](y)"},
		"HTML is text":             {"&lt;b>bold&lt;/b> <!-- c --> <?pi?>", "<b>bold</b> <!-- c --> <?pi?>"},
		"code is as it is written": {"`[a](b) \\*` and ``x ` [c](d)``", "`[a](b) \\*` and ``x ` [c](d)``"},
		"a mark alone":             {"it`s [a](https://b.example/)", "it`s a (https://b.example/)"},
	} {
		m := Message{Text: c.in, Markdown: true}
		if got := m.Plain(); got != c.want {
			t.Errorf("%s: %q gives %q, want %q", name, c.in, got, c.want)
		}
		if got := (&Message{Text: c.in}).Plain(); got != c.in {
			t.Errorf("%s: text that is not Markdown became %q", name, got)
		}
	}
}
