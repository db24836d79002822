package content

import (
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"hubbub/mimi"
)

// validate applies the rules that need only the message. Depth and number of parts
// are checked where parts are encoded and decoded.
func (m *Message) validate(writing bool) error {
	if len(m.Topic) > MaxTopic {
		return invalid("CNT-14", "topic id is longer than %d octets", MaxTopic)
	}
	for _, id := range []*ID{m.Replaces, m.InReplyTo} {
		if id != nil && id[0] != 1 {
			return invalid("CNT-32", "message id with an unknown hash algorithm")
		}
	}
	if err := m.Extensions.check(writing); err != nil {
		return err
	}
	parts := 0
	return validatePart(m.Body, 1, &parts)
}

func validatePart(p Part, depth int, parts *int) error {
	if *parts++; *parts > MaxParts {
		return invalid("CNT-22", "more than %d parts", MaxParts)
	}
	if depth > MaxPartDepth {
		return invalid("CNT-6", "parts nested deeper than %d", MaxPartDepth)
	}
	switch p := p.(type) {
	case *NullPart:
		return checkLanguage(p.Language)
	case *SinglePart:
		return firstError(checkLanguage(p.Language), checkText(p.ContentType))
	case *ExternalPart:
		return firstError(checkLanguage(p.Language), checkExternal(p))
	case *MultiPart:
		return validateMulti(p, depth, parts)
	}
	return invalid("CNT-18", "no body")
}

func validateMulti(p *MultiPart, depth int, parts *int) error {
	if err := checkLanguage(p.Language); err != nil {
		return err
	}
	if len(p.Parts) < 2 {
		return invalid("CNT-18", "a multipart of fewer than two parts")
	}
	if p.Semantics > ProcessAll {
		return invalid("CNT-18", "unknown part semantics")
	}
	for _, sub := range p.Parts {
		if err := validatePart(sub, depth+1, parts); err != nil {
			return err
		}
	}
	return nil
}

func checkExternal(p *ExternalPart) error {
	if p.EncAlg == 0 && len(p.Key)+len(p.Nonce)+len(p.AAD) > 0 {
		return invalid("CNT-20", "key material for content that is not encrypted")
	}
	return firstError(checkText(p.ContentType), checkText(p.URL), checkText(p.Description), checkText(p.Filename))
}

// languageTags has the shape of RFC 5646 tags, not their registry: unknown ones are
// fine (CNT-17).
var languageTags = regexp.MustCompile(`^[A-Za-z]{1,8}(-[A-Za-z0-9]{1,8})*$`)

func checkLanguage(s string) error {
	if s == "" {
		return nil
	}
	for tag := range strings.SplitSeq(s, ",") {
		if len(tag) > 255 || !languageTags.MatchString(tag) {
			return invalid("CNT-17", "not a list of language tags")
		}
	}
	return nil
}

func checkText(s string) error {
	if !utf8.ValidString(s) {
		return invalid("CNT-5", "text is not UTF-8")
	}
	return nil
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

const (
	year = 365 * 24 * time.Hour
	// defaultAhead is how far a hub's clock may run ahead of ours (CNT-35).
	defaultAhead = 5 * time.Minute
)

// formatStart is when the content format came to be: nothing was sent before.
var formatStart = time.Date(2022, time.January, 1, 0, 0, 0, 0, time.UTC)

// An Arrival is what a client knows about a message it has decrypted. Sender and
// Room are the authenticated ones: the user of the sender's leaf, the room of the
// group (D-66). A zero time skips the checks that need it.
type Arrival struct {
	Sender      mimi.UserURI
	Room        mimi.RoomURI
	Accepted    time.Time     // the hub's acceptance time
	Now         time.Time     // our clock
	RoomCreated time.Time     // no message can be older
	Ahead       time.Duration // how far Accepted may lie after Now; 0 means 5 minutes
}

// Check applies the rules that depend on how the message arrived (CNT-16, CNT-31,
// CNT-35). The error wraps [ErrInvalid].
func (m *Message) Check(a Arrival) error {
	if s, ok := m.Extensions[KeySender]; ok && s != nil && m.Extensions.Sender() != a.Sender {
		return invalid("CNT-31", "names another sender than the one who sent it")
	}
	if s, ok := m.Extensions[KeyRoom]; ok && s != nil && m.Extensions.Room() != a.Room {
		return invalid("CNT-31", "names another room than the one it arrived in")
	}
	return firstError(m.checkExpiry(a.Now), checkAccepted(a))
}

func (m *Message) checkExpiry(now time.Time) error {
	if m.Expires == nil || now.IsZero() {
		return nil
	}
	if m.Expires.Relative {
		if time.Duration(m.Expires.Seconds)*time.Second > year {
			return invalid("CNT-16", "expires more than a year ahead")
		}
		return nil
	}
	at := time.Unix(int64(m.Expires.Seconds), 0)
	if at.After(now.Add(year)) || at.Before(now.Add(-year)) {
		return invalid("CNT-16", "expires more than a year from now")
	}
	return nil
}

func checkAccepted(a Arrival) error {
	if a.Accepted.IsZero() {
		return nil
	}
	ahead := a.Ahead
	if ahead == 0 {
		ahead = defaultAhead
	}
	switch {
	case a.Accepted.Before(formatStart) || a.Accepted.Before(a.RoomCreated):
		return invalid("CNT-35", "accepted before the room or the format existed")
	case !a.Now.IsZero() && a.Accepted.After(a.Now.Add(ahead)):
		return invalid("CNT-35", "accepted in the future")
	}
	return nil
}
