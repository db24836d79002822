package client

import (
	"strings"

	"hubbub/mimi"
)

// Plain is the text for a display that knows no Markdown: mentions as names, other
// links with where they lead, parts of the message by their names, no backslashes. What is
// no link stays as it is written: addresses, tables, lists of tasks, what is struck
// through, code, HTML (CNT-63, CNT-64). Text that is not Markdown is as it is.
func (m *Message) Plain() string {
	if !m.Markdown {
		return m.Text
	}
	var b strings.Builder
	s := m.Text
	for i := 0; i < len(s); {
		switch {
		case s[i] == '\\' && i+1 < len(s) && strings.IndexByte(markdownMarks, s[i+1]) >= 0:
			b.WriteByte(s[i+1])
			i += 2
		case s[i] == '`':
			n := codeSpan(s[i:])
			b.WriteString(s[i : i+n])
			i += n
		case strings.HasPrefix(s[i:], "&lt;"):
			b.WriteByte('<')
			i += len("&lt;")
		case s[i] == '[':
			text, target, n := link(s[i:])
			if n == 0 {
				b.WriteByte('[')
				i++
				continue
			}
			b.WriteString(text)
			if _, err := mimi.ParseUser(target); err != nil && text != target && !strings.HasPrefix(target, "cid:") {
				b.WriteString(" (" + target + ")")
			}
			i += n
		case strings.HasPrefix(s[i:], "!["):
			if _, _, n := link(s[i+1:]); n == 0 {
				b.WriteByte('!')
			}
			i++
		default:
			b.WriteByte(s[i])
			i++
		}
	}
	return b.String()
}

// markdownMarks are the characters that a backslash makes ordinary.
const markdownMarks = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"

// codeSpan is the length of the code, or of the marks alone, that s begins with: code ends
// with as many marks as it begins with.
func codeSpan(s string) int {
	n := len(s) - len(strings.TrimLeft(s, "`"))
	for rest, at := s[n:], n; ; {
		i := strings.IndexByte(rest, '`')
		if i < 0 {
			return n
		}
		run := len(rest[i:]) - len(strings.TrimLeft(rest[i:], "`"))
		if at += i + run; run == n {
			return at
		}
		rest = rest[i+run:]
	}
}

// link reads [text](target) at the beginning of s; n is its length, 0 if there is none.
func link(s string) (text, target string, n int) {
	end := strings.Index(s, "](")
	if end < 0 || strings.ContainsAny(s[1:end], "[\n") {
		return "", "", 0
	}
	stop := strings.IndexByte(s[end:], ')')
	if stop < 0 {
		return "", "", 0
	}
	text = s[1:end]
	for _, c := range []string{`\`, "[", "]", "<", "`", "*", "_"} {
		text = strings.ReplaceAll(text, `\`+c, c)
	}
	target = strings.Trim(s[end+2:end+stop], "<>")
	return text, target, end + stop + 1
}

// escapeMarkdown writes plain text so that Markdown shows it as it is.
func escapeMarkdown(text string) string {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if strings.IndexByte("\\`*_{}[]<>#+-!|~&", text[i]) >= 0 {
			b.WriteByte('\\')
		}
		b.WriteByte(text[i])
	}
	return b.String()
}
