package content

import (
	"crypto/hmac"
	"crypto/sha256"
	"math"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"hubbub/mimi"
)

// NewMarkdown makes a message of GitHub-flavoured Markdown, see [New]. Tags of HTML in
// it are made harmless, see [EscapeHTML].
func NewMarkdown(sender mimi.UserURI, room mimi.RoomURI, markdown string) *Message {
	return New(sender, room, markdownPart(markdown))
}

func markdownPart(markdown string) *SinglePart {
	return &SinglePart{Disposition: Render, ContentType: GFMMarkdown, Content: []byte(EscapeHTML(markdown))}
}

// NewReply makes a message that answers another: to is the version answered, the newest
// the author has seen (CNT-40).
func NewReply(sender mimi.UserURI, room mimi.RoomURI, to ID, body Part) *Message {
	m := New(sender, room, body)
	m.InReplyTo = &to
	return m
}

// NewEdit makes a message that replaces the body of one that its sender wrote before.
// First is the first version, also when there were edits since (CNT-42). What the first
// version answers, its topic and its expiry stay in force whatever an edit says (D-67);
// the edit repeats them.
func NewEdit(sender mimi.UserURI, room mimi.RoomURI, first ID, of *Message, body Part) *Message {
	m := New(sender, room, body)
	m.Replaces = &first
	if of != nil {
		m.InReplyTo, m.Topic, m.Expires = of.InReplyTo, of.Topic, of.Expires
	}
	return m
}

// NewDelete makes a message that takes back another: first is its first version
// (CNT-43). Of may be nil if the message is not at hand. For a reaction the disposition
// says so (CNT-44).
func NewDelete(sender mimi.UserURI, room mimi.RoomURI, first ID, of *Message) *Message {
	body := &NullPart{Disposition: Render}
	if of.IsReaction() {
		body.Disposition = Reaction
	}
	m := NewEdit(sender, room, first, of, body)
	m.Expires = nil
	return m
}

// NewReaction makes a message that reacts to another with one emoji or more, each a part
// of its own (CNT-45). The error wraps [ErrInvalid] if there is none, or one of them is
// more than a single character as people see it.
func NewReaction(sender mimi.UserURI, room mimi.RoomURI, to ID, emoji ...string) (*Message, error) {
	var parts []Part
	for _, e := range emoji {
		if !isGrapheme(e) {
			return nil, invalid("CNT-45", "a reaction is one character as people see it")
		}
		parts = append(parts, &SinglePart{Disposition: Reaction, ContentType: PlainText, Content: []byte(e)})
	}
	switch len(parts) {
	case 0:
		return nil, invalid("CNT-45", "a reaction without a character")
	case 1:
		return NewReply(sender, room, to, parts[0]), nil
	}
	return NewReply(sender, room, to, &MultiPart{Disposition: Reaction, Semantics: ProcessAll, Parts: parts}), nil
}

// InTopic puts the message into a topic, at most 4,096 octets, and gives it back. A new
// topic takes a fresh opaque id, such as the id of its first message (CNT-54).
func (m *Message) InTopic(topic []byte) *Message {
	m.Topic = topic
	return m
}

// ExpireAfter lets the message vanish so long after it was read, in whole seconds, at
// least one and at most 136 years, and gives it back (CNT-15).
func (m *Message) ExpireAfter(d time.Duration) *Message {
	m.Expires = &Expires{Relative: true, Seconds: clampSeconds(int64((d + time.Second - 1) / time.Second))}
	return m
}

// ExpireAt lets the message vanish at a time, in whole seconds, and gives it back.
func (m *Message) ExpireAt(t time.Time) *Message {
	m.Expires = &Expires{Seconds: clampSeconds(t.Unix())}
	return m
}

func clampSeconds(s int64) uint32 { return uint32(min(max(s, 1), math.MaxUint32)) }

// ExpiresAt says when the message vanishes for a reader that read it at a time; the zero
// time means that it was not read yet. It says false if there is no such time (CNT-49).
func (m *Message) ExpiresAt(read time.Time) (time.Time, bool) {
	switch {
	case m == nil || m.Expires == nil:
		return time.Time{}, false
	case !m.Expires.Relative:
		return time.Unix(int64(m.Expires.Seconds), 0), true
	case read.IsZero():
		return time.Time{}, false
	}
	return read.Add(time.Duration(m.Expires.Seconds) * time.Second), true
}

// IsReaction says whether the message reacts to another or takes such a reaction back.
// A nil message does not.
func (m *Message) IsReaction() bool {
	if m == nil || m.InReplyTo == nil && m.Replaces == nil {
		return false
	}
	return dispositionOf(m.Body) == Reaction
}

// IsDelete says whether the message takes back another (CNT-43, CNT-44).
func (m *Message) IsDelete() bool {
	_, null := m.Body.(*NullPart)
	return m.Replaces != nil && null
}

// Reactions gives what a reaction says, one entry for each part a client can show; nil
// if the message is none.
func (m *Message) Reactions() []string {
	if !m.IsReaction() {
		return nil
	}
	parts := []Part{m.Body}
	if multi, ok := m.Body.(*MultiPart); ok {
		parts = multi.Parts
	}
	var out []string
	for _, p := range parts {
		if s, ok := partText(p); ok && dispositionOf(p) == Reaction {
			out = append(out, s)
		}
	}
	return out
}

func dispositionOf(p Part) Disposition {
	switch p := p.(type) {
	case *NullPart:
		return p.Disposition.Effective()
	case *SinglePart:
		return p.Disposition.Effective()
	case *ExternalPart:
		return p.Disposition.Effective()
	case *MultiPart:
		return p.Disposition.Effective()
	}
	return Render
}

// DeriveSalt makes the salt of a message from a secret exported from its group under a
// label such as "salt_base_secret" and a nonce the sender never uses twice, instead of
// from chance (CNT-12).
func DeriveSalt(secret, nonce []byte) Salt {
	mac := hmac.New(sha256.New, secret)
	mac.Write(nonce)
	return Salt(mac.Sum(nil)[:SaltBytes])
}

const zeroWidthJoiner = '\u200d'

// isGrapheme says whether s is one character as people see it: a base with marks,
// joined emoji, a pair of regional indicators. It is the part of the Unicode rules that
// emoji need; text of scripts with conjoined syllables is refused.
func isGrapheme(s string) bool {
	if s == "" || len(s) > 256 || !utf8.ValidString(s) {
		return false
	}
	var last rune
	flags := 0
	for i, r := range s {
		switch {
		case i == 0 && (unicode.IsControl(r) || unicode.IsSpace(r)):
			return false
		case isRegional(r):
			if flags++; i > 0 && !(flags == 2 && isRegional(last)) {
				return false
			}
		case i > 0 && !extends(r) && last != zeroWidthJoiner:
			return false
		}
		last = r
	}
	return last != zeroWidthJoiner
}

func isRegional(r rune) bool { return r >= 0x1F1E6 && r <= 0x1F1FF }

// extends says whether r belongs to the character before it.
func extends(r rune) bool {
	return unicode.In(r, unicode.Mn, unicode.Me) || // with variation selectors
		r == zeroWidthJoiner ||
		r >= 0x1F3FB && r <= 0x1F3FF || // skin tones
		r >= 0xE0020 && r <= 0xE007F // tags of subdivision flags
}

// EscapeHTML writes the < of anything that would be a tag of HTML in Markdown as &lt;,
// as senders have to (CNT-64). Code is left alone, and so are links in angle brackets.
func EscapeHTML(markdown string) string {
	var b strings.Builder
	for i := 0; i < len(markdown); {
		switch {
		case markdown[i] == '`':
			n := codeSpan(markdown[i:])
			b.WriteString(markdown[i : i+n])
			i += n
			continue
		case markdown[i] == '\\' && i+1 < len(markdown):
			b.WriteString(markdown[i : i+2])
			i += 2
			continue
		case markdown[i] == '<' && opensTag(markdown[i+1:]):
			b.WriteString("&lt;")
		default:
			b.WriteByte(markdown[i])
		}
		i++
	}
	return b.String()
}

// codeSpan gives the length of the code that starts with a run of backticks, or of the
// run alone if nothing closes it.
func codeSpan(s string) int {
	run := len(s) - len(strings.TrimLeft(s, "`"))
	for i := run; i < len(s); {
		if s[i] != '`' {
			i++
			continue
		}
		n := len(s[i:]) - len(strings.TrimLeft(s[i:], "`"))
		if i += n; n == run {
			return i
		}
	}
	return run
}

// opensTag says whether what follows a < is a tag, comment, instruction or declaration
// rather than a link.
func opensTag(s string) bool {
	if s == "" {
		return false
	}
	if c := s[0]; c == '/' || c == '!' || c == '?' {
		return true
	}
	if !isLetter(s[0]) {
		return false
	}
	end := strings.IndexAny(s, "> \t\n")
	return end < 0 || s[end] != '>' || !strings.ContainsAny(s[:end], ":@")
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }
