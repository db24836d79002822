package main

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// maxStanza bounds what is kept of a stanza that does not end.
const maxStanza = 1 << 20

// splitter cuts a stream into the elements directly below its root. It knows
// what XMPP allows (RFC 6120 §11.1: no comments, no processing instructions)
// and trusts the servers of a benchmark for the rest.
type splitter struct {
	buf    []byte
	at     int  // buf[:at] has been looked at
	done   int  // buf[:done] is not needed any more
	depth  int  // elements that are open
	inTag  bool // at is within <...>
	tag    int  // where the last tag began
	stanza int  // where the last element of depth 1 began
	quote  byte // within a value: the quote that ends it
}

// write adds octets and calls give for every element that is whole. The slice is
// good until give returns.
func (s *splitter) write(p []byte, give func([]byte) error) error {
	s.buf = append(s.buf, p...)
	for ; s.at < len(s.buf); s.at++ {
		c := s.buf[s.at]
		switch {
		case !s.inTag:
			if c == '<' {
				s.inTag, s.tag = true, s.at
			}
		case s.quote != 0:
			if c == s.quote {
				s.quote = 0
			}
		case c == '\'' || c == '"':
			s.quote = c
		case c == '>':
			s.inTag = false
			if err := s.tagEnds(give); err != nil {
				return err
			}
		}
	}
	s.buf = append(s.buf[:0], s.buf[s.done:]...)
	s.at, s.tag, s.stanza, s.done = s.at-s.done, s.tag-s.done, s.stanza-s.done, 0
	if len(s.buf) > maxStanza {
		return errors.New("a stanza does not end")
	}
	return nil
}

// tagEnds looks at the tag whose last octet is at s.at.
func (s *splitter) tagEnds(give func([]byte) error) error {
	tag := s.buf[s.tag : s.at+1]
	opens, closes := tag[1] != '/' && tag[1] != '?', tag[1] == '/' || tag[len(tag)-2] == '/'
	if opens {
		if s.depth++; s.depth == 2 {
			s.stanza = s.tag
		}
	}
	if closes {
		s.depth--
	}
	switch {
	case s.depth > 1:
		return nil
	case s.depth < 1 && closes:
		return errors.New("the server has closed the stream")
	}
	s.done = s.at + 1
	if !closes {
		return nil // the root, or <?xml?>
	}
	return give(s.buf[s.stanza:s.done])
}

// attribute is the value of an attribute of the first tag of a stanza.
func attribute(stanza []byte, name string) string {
	end := bytes.IndexByte(stanza, '>')
	head := string(stanza[:max(0, end)])
	for _, quote := range []string{"'", `"`} {
		if _, rest, ok := strings.Cut(head, " "+name+"="+quote); ok {
			value, _, _ := strings.Cut(rest, quote)
			return value
		}
	}
	return ""
}

func has(stanza []byte, text string) bool { return bytes.Contains(stanza, []byte(text)) }

// bodyBytes is the size of a message's text, as in the posts of hubbub bench.
const bodyBytes = 200

const bodyMark = "<body>post "

// message is post n to a room; number finds n again.
func message(room string, n int) string {
	text := fmt.Sprintf("post %d ", n)
	return fmt.Sprintf("<message to='%s' type='groupchat' id='p%d'><body>%s%s</body></message>",
		room, n, text, strings.Repeat("x", bodyBytes-len(text)))
}

// number is the number of a post that a room has sent out, false if the stanza
// is something else.
func number(stanza []byte) (int, bool) {
	if !bytes.HasPrefix(stanza, []byte("<message")) {
		return 0, false
	}
	_, rest, ok := bytes.Cut(stanza, []byte(bodyMark))
	if !ok || attribute(stanza, "type") != "groupchat" {
		return 0, false
	}
	digits, _, _ := bytes.Cut(rest, []byte(" "))
	n, err := strconv.Atoi(string(digits))
	return n, err == nil
}
