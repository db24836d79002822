package content

import (
	"slices"
	"strconv"
	"strings"
)

// Parts gives a part and everything in it, depth first: the index of an entry is its
// part index, multiparts counted (CNT-51). A nil part has none.
func Parts(p Part) []Part {
	if p == nil {
		return nil
	}
	out := []Part{p}
	if m, ok := p.(*MultiPart); ok {
		for _, sub := range m.Parts {
			out = append(out, Parts(sub)...)
		}
	}
	return out
}

// ContentID writes the link by which a part of a message refers to another of the same
// message: cid:3@local.invalid (CNT-52).
func ContentID(index int) string { return "cid:" + strconv.Itoa(index) + "@local.invalid" }

// ByContentID finds the part a link of the form of [ContentID] refers to. Only a
// *[SinglePart] or an *[ExternalPart] can be referred to; for everything else, and links
// of another form, it says false, and the link is to be ignored (CNT-52).
func (m *Message) ByContentID(link string) (Part, bool) {
	rest, ok := strings.CutPrefix(link, "cid:")
	number, ok2 := strings.CutSuffix(rest, "@local.invalid")
	if !ok || !ok2 || len(number) > 4 || number == "" || number != strings.TrimLeft(number, "+-") {
		return nil, false
	}
	i, err := strconv.Atoi(number)
	parts := Parts(m.Body)
	if err != nil || i >= len(parts) {
		return nil, false
	}
	switch p := parts[i].(type) {
	case *SinglePart, *ExternalPart:
		return p, true
	}
	return nil, false
}

// Referenced gives the parts that the Markdown of the message refers to, such as pictures
// between its lines: whoever shows them there need not show them again (CNT-53).
func (m *Message) Referenced() []Part {
	var out []Part
	for _, l := range m.Links() {
		if p, ok := m.ByContentID(l.Target); ok && !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	return out
}

// Attachments gives every part that is stored elsewhere, in order.
func (m *Message) Attachments() []*ExternalPart {
	var out []*ExternalPart
	for _, p := range Parts(m.Body) {
		if e, ok := p.(*ExternalPart); ok {
			out = append(out, e)
		}
	}
	return out
}

// Choose gives the parts a client shows, in order, given which content types it can
// show: of alternatives the first it can, of a single unit all or nothing, else as many
// as it can (CNT-50). The others can be had with [Parts], since alternatives need not
// say the same (CNT-56). Null parts are left out.
func Choose(p Part, can func(contentType string) bool) []Part {
	shown, _ := choose(p, can)
	return shown
}

// choose also says whether p can be shown as it is meant to be.
func choose(p Part, can func(string) bool) ([]Part, bool) {
	switch p := p.(type) {
	case *SinglePart:
		if can(p.ContentType) {
			return []Part{p}, true
		}
	case *ExternalPart:
		if can(p.ContentType) {
			return []Part{p}, true
		}
	case *NullPart:
		return nil, true
	case *MultiPart:
		return chooseMulti(p, can)
	}
	return nil, false
}

func chooseMulti(m *MultiPart, can func(string) bool) ([]Part, bool) {
	var out []Part
	for _, sub := range m.Parts {
		shown, ok := choose(sub, can)
		switch {
		case ok && m.Semantics == ChooseOne:
			return shown, true
		case !ok && m.Semantics == SingleUnit:
			return nil, false
		case ok:
			out = append(out, shown...)
		}
	}
	return out, len(out) > 0
}
