package content

import (
	"strings"
	"unicode/utf8"
)

// Text gives what a client that shows only text can show of m: the text itself, the
// first readable alternative, or the readable parts line by line. It says false if
// there is nothing (a deletion, an attachment, a type it does not know). Markdown
// comes as written.
func (m *Message) Text() (string, bool) { return partText(m.Body) }

func partText(p Part) (string, bool) {
	switch p := p.(type) {
	case *SinglePart:
		if !readable(p.ContentType) || !utf8.Valid(p.Content) {
			return "", false
		}
		return string(p.Content), true
	case *MultiPart:
		return multiText(p)
	}
	return "", false
}

func multiText(p *MultiPart) (string, bool) {
	var lines []string
	for _, sub := range p.Parts {
		s, ok := partText(sub)
		switch {
		case ok && p.Semantics == ChooseOne:
			return s, true
		case ok:
			lines = append(lines, s)
		case p.Semantics == SingleUnit:
			return "", false
		}
	}
	return strings.Join(lines, "\n"), len(lines) > 0
}

// readable knows the text types of CNT-60; parameters other than the charset do not
// keep plain text from being shown.
func readable(contentType string) bool {
	kind, parameters, _ := strings.Cut(strings.ToLower(contentType), ";")
	if strings.TrimSpace(kind) != "text/plain" && strings.TrimSpace(kind) != "text/markdown" {
		return false
	}
	for p := range strings.SplitSeq(parameters, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(p), "=")
		value = strings.Trim(value, `"`)
		if name == "charset" && value != "utf-8" && value != "us-ascii" {
			return false
		}
	}
	return true
}
