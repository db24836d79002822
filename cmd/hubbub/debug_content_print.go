package main

import (
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/fxamacker/cbor/v2"

	"hubbub/cmd/hubbub/internal/term"
	"hubbub/mimi/content"
)

// contentShown is a message for people and programs.
type contentShown struct {
	Salt       string           `json:"salt"`
	Replaces   string           `json:"replaces,omitempty"`
	Topic      string           `json:"topic,omitempty"` // hexadecimal
	Expires    string           `json:"expires,omitempty"`
	InReplyTo  string           `json:"inReplyTo,omitempty"`
	Extensions []extensionShown `json:"extensions,omitempty"`
	Kind       string           `json:"kind"` // text, edit, delete, reaction, unlike
	Parts      []partShown      `json:"parts"`
	Mentions   []string         `json:"mentions,omitempty"`
	Warnings   []string         `json:"warnings,omitempty"`
}

// extensionShown has its value in CBOR diagnostic notation.
type extensionShown struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// partShown is a part at its index, below as many multiparts as Level says.
type partShown struct {
	Index       int    `json:"index"`
	Level       int    `json:"level"`
	Kind        string `json:"kind"` // null, single, external, multi
	Disposition string `json:"disposition"`
	Language    string `json:"language,omitempty"`
	ContentType string `json:"contentType,omitempty"`
	Text        string `json:"text,omitempty"`
	Bytes       string `json:"bytes,omitempty"` // hexadecimal, where it is no text
	Semantics   string `json:"semantics,omitempty"`
	URL         string `json:"url,omitempty"`
	Details     string `json:"details,omitempty"`
}

// statusShown is an entry of a report.
type statusShown struct {
	Message string `json:"messageId"`
	Status  string `json:"status"`
}

func showContent(m *content.Message) *contentShown {
	s := &contentShown{Salt: hex.EncodeToString(m.Salt[:]), Topic: hex.EncodeToString(m.Topic), Kind: kindOf(m)}
	if m.Replaces != nil {
		s.Replaces = m.Replaces.String()
	}
	if m.InReplyTo != nil {
		s.InReplyTo = m.InReplyTo.String()
	}
	if e := m.Expires; e != nil && e.Relative {
		s.Expires = fmt.Sprintf("%v after it was read", time.Duration(e.Seconds)*time.Second)
	} else if e != nil {
		s.Expires = time.Unix(int64(e.Seconds), 0).UTC().Format(time.RFC3339)
	}
	s.Extensions = showExtensions(m.Extensions)
	showPart(&s.Parts, m.Body, 0)
	for _, u := range m.Mentions() {
		s.Mentions = append(s.Mentions, string(u))
	}
	for _, l := range m.Links() {
		if l.Deceives() {
			s.Warnings = append(s.Warnings, fmt.Sprintf("a link reads %q and leads to %q", l.Text, l.Target))
		}
	}
	return s
}

func kindOf(m *content.Message) string {
	switch {
	case m.IsDelete() && m.IsReaction():
		return "unlike"
	case m.IsDelete():
		return "delete"
	case m.IsReaction():
		return "reaction"
	case m.Replaces != nil:
		return "edit"
	case m.InReplyTo != nil:
		return "reply"
	}
	return "message"
}

func showExtensions(x content.Extensions) []extensionShown {
	var out []extensionShown
	for k, v := range x {
		key := strconv.FormatInt(k.Number, 10)
		switch k {
		case content.KeySender:
			key = "1 (sender)"
		case content.KeyRoom:
			key = "2 (room)"
		}
		if k.Name != "" {
			key = strconv.Quote(k.Name)
		}
		value, err := cbor.Diagnose(v)
		if err != nil {
			value = hex.EncodeToString(v)
		}
		out = append(out, extensionShown{key, value})
	}
	slices.SortFunc(out, func(a, b extensionShown) int { return strings.Compare(a.Key, b.Key) })
	return out
}

func showPart(to *[]partShown, p content.Part, level int) {
	s := partShown{Index: len(*to), Level: level}
	switch p := p.(type) {
	case *content.NullPart:
		s.Kind, s.Disposition, s.Language = "null", p.Disposition.String(), p.Language
	case *content.SinglePart:
		s.Kind, s.Disposition, s.Language, s.ContentType = "single", p.Disposition.String(), p.Language, p.ContentType
		if utf8.Valid(p.Content) {
			s.Text = string(p.Content)
		} else {
			s.Bytes = hex.EncodeToString(p.Content)
		}
	case *content.ExternalPart:
		s.Kind, s.Disposition, s.Language, s.ContentType, s.URL = "external", p.Disposition.String(), p.Language, p.ContentType, p.URL
		s.Details = externalDetails(p)
	case *content.MultiPart:
		s.Kind, s.Disposition, s.Language, s.Semantics = "multi", p.Disposition.String(), p.Language, p.Semantics.String()
	}
	*to = append(*to, s)
	if m, ok := p.(*content.MultiPart); ok {
		for _, sub := range m.Parts {
			showPart(to, sub, level+1)
		}
	}
}

func externalDetails(p *content.ExternalPart) string {
	d := []string{"size unknown", "not encrypted", "never expires", "no hash"}
	if p.Size != 0 {
		d[0] = fmt.Sprintf("%d octets", p.Size)
	}
	if p.EncAlg != content.NoEncryption {
		d[1] = fmt.Sprintf("AEAD %d, key of %d octets, nonce %x", p.EncAlg, len(p.Key), p.Nonce)
	}
	if p.Expires != 0 {
		d[2] = "expires " + time.Unix(int64(p.Expires), 0).UTC().Format(time.RFC3339)
	}
	if p.HashAlg != content.NoHash {
		d[3] = fmt.Sprintf("hash %d: %x", p.HashAlg, p.ContentHash)
	}
	if p.Filename != "" {
		d = append(d, "file "+p.Filename)
	}
	if p.Description != "" {
		d = append(d, p.Description)
	}
	return strings.Join(d, ", ")
}

func (f *contentFile) print(w io.Writer) error {
	var b strings.Builder
	line := func(indent int, name, value string) {
		switch {
		case value != "" && name == "|":
			fmt.Fprintf(&b, "%*s| %s\n", indent, "", term.Printable(value))
		case value != "":
			fmt.Fprintf(&b, "%*s%-12s %s\n", indent, "", name, term.Printable(value))
		}
	}
	switch {
	case f.Error != "":
		fmt.Fprintf(&b, "%s: not readable: %s\n", f.File, term.Printable(f.Error))
	case f.Kind == "status":
		fmt.Fprintf(&b, "%s: status report, %d octets, %d entries\n", f.File, f.Bytes, len(f.Status))
	default:
		fmt.Fprintf(&b, "%s: %s, %d octets\n", f.File, map[string]string{"message": "MIMI message", "derived": "derived values"}[f.Kind], f.Bytes)
	}
	line(2, "framed as", f.Framed)
	line(2, "message id", f.ID)
	for _, s := range f.Status {
		line(2, s.Status, s.Message)
	}
	if f.Message != nil {
		f.Message.print(line)
	}
	if d, ok := f.Derived.(map[string]any); ok {
		for _, k := range []string{"accepted", "sender", "client", "room", "group", "leaf"} {
			line(2, k, fmt.Sprint(d[k]))
		}
	}
	for _, n := range f.Notes {
		line(2, "note", n)
	}
	if f.Error == "" {
		line(2, "encoded anew", map[bool]string{true: "the same octets", false: "DIFFERENT octets"}[f.Same])
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (s *contentShown) print(line func(indent int, name, value string)) {
	line(2, "kind", s.Kind)
	line(2, "salt", s.Salt)
	line(2, "replaces", s.Replaces)
	line(2, "in reply to", s.InReplyTo)
	line(2, "topic", s.Topic)
	line(2, "expires", s.Expires)
	for _, x := range s.Extensions {
		line(2, "extension", x.Key+": "+x.Value)
	}
	for _, p := range s.Parts {
		line(2+2*p.Level, fmt.Sprintf("part %d", p.Index), p.heading())
		for text := range strings.SplitSeq(p.Text, "\n") {
			line(6+2*p.Level, "|", text)
		}
		line(6+2*p.Level, "octets", p.Bytes)
		line(6+2*p.Level, "at", p.URL)
		line(6+2*p.Level, "with", p.Details)
	}
	for _, u := range s.Mentions {
		line(2, "mentions", u)
	}
	for _, w := range s.Warnings {
		line(2, "warning", w)
	}
}

func (p *partShown) heading() string {
	words := []string{p.Kind, p.Disposition}
	for _, s := range []string{p.Semantics, p.ContentType} {
		if s != "" {
			words = append(words, s)
		}
	}
	if p.Language != "" {
		words = append(words, "in "+p.Language)
	}
	return strings.Join(words, ", ")
}
