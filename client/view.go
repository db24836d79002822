package client

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"hubbub/mimi"
	"hubbub/mimi/content"
)

// show makes of a row what there is to show of it: the row itself, what its content
// says, and what was said about it since. No rows of another query may be open.
func (c *Client) show(r *record) (*Message, error) {
	m := r.Message
	m.Read = m.Sender == c.user || c.rooms[m.Room] != nil && m.Seq != 0 && m.Seq <= c.rooms[m.Room].readTo
	if m.State == Queued && m.Room.Domain() != c.domain {
		if m.WaitingFor = c.peers[m.ID]; m.WaitingFor == nil {
			m.WaitingFor = &PeerStatus{Provider: m.Room.Domain(), Reachable: true}
		}
	}
	if r.flags&flagOrphan != 0 {
		m.ID, m.Act, m.About, m.Incomplete = r.root, ActWrite, MessageID{}, true
	}
	switch {
	case r.expires > 0:
		m.Expires = time.UnixMilli(r.expires)
	case r.expires < 0:
		m.ExpiresAfter = time.Duration(-r.expires) * time.Millisecond
	}
	due := r.expires > 0 && r.expires <= c.opts.Now().UnixMilli()
	switch {
	case r.gone == goneDeleted:
		m.Text, m.Deleted, m.DeletedBy = "", true, mimi.UserURI(r.why)
		return &m, nil
	case r.gone == goneDenied:
		m.Text, m.Hidden = "", r.why
		return &m, nil
	case r.gone == goneExpired, due: // due: it goes from the disk in a moment
		m.Text, m.Expired = "", true
		return &m, nil
	}
	m.Reportable, m.BadProof = r.flags&flagProved != 0, r.flags&flagBadProof != 0
	if r.flags&flagRich != 0 || r.kind == kindEdit {
		if msg, err := content.Decode(r.content); err == nil {
			m.describe(msg)
		}
	}
	if r.flags&(flagRelated|flagOrphan) != 0 {
		if err := c.fold(r, &m); err != nil {
			return nil, err
		}
	}
	if r.flags&flagReceipt != 0 {
		var err error
		if m.Receipts, err = c.receipts(r.ID); err != nil {
			return nil, err
		}
	}
	return &m, nil
}

// showAll is show for many.
func (c *Client) showAll(list []*record) ([]Message, error) {
	out := make([]Message, 0, len(list))
	for _, r := range list {
		m, err := c.show(r)
		if err != nil {
			return nil, err
		}
		out = append(out, *m)
	}
	return out, nil
}

// fold brings in edits of and reactions to a message, as far as they are posted.
func (c *Client) fold(r *record, m *Message) error {
	about, err := c.records("root = ? AND +room = ? AND seq > 0 AND gone = 0 ORDER BY seq", m.ID[:], string(r.Room))
	if err != nil {
		return err
	}
	if r.flags&flagOrphan == 0 {
		about = append([]*record{r}, about...)
	}
	var posted []content.Posted
	for _, a := range about {
		msg, err := content.Decode(a.content)
		if err != nil {
			continue
		}
		msg.Expires = nil // the row knows better
		posted = append(posted, content.Posted{ID: content.ID(a.ID), Sender: a.Sender, Accepted: a.Timestamp, Message: msg, Rights: a.rights})
	}
	item := content.Fold(posted, c.opts.Now()).Item(content.ID(r.ID))
	if item == nil {
		return nil
	}
	if item.Deleted { // an orphan: others are marked in their row
		*m = Message{ID: m.ID, Act: m.Act, Room: m.Room, Sender: m.Sender, Device: m.Device, Seq: m.Seq, Timestamp: m.Timestamp,
			State: m.State, Read: m.Read, Incomplete: true, Deleted: true, DeletedBy: item.DeletedBy}
		return nil
	}
	if m.Edited = item.Edited(); m.Edited {
		m.body(item.Body())
		for _, v := range item.Versions {
			var shown Message
			shown.body(v.Body)
			m.Versions = append(m.Versions, Version{MessageID(v.ID), v.Accepted, shown.Plain()})
		}
	}
	for _, n := range item.Reactions {
		m.Reactions = append(m.Reactions, Reaction{n.Reaction, n.Senders})
	}
	return nil
}

// describe fills in what a message says besides its text.
func (m *Message) describe(msg *content.Message) {
	m.Topic = string(msg.Topic)
	if msg.InReplyTo != nil {
		m.InReplyTo = MessageID(*msg.InReplyTo)
	}
	m.body(msg.Body)
}

// body fills in what a body says, in place of what an earlier one said.
func (m *Message) body(p content.Part) {
	m.Text, m.Markdown, m.Unshown, m.Alternatives, m.Attachments, m.Mentions, m.Warnings = "", false, nil, false, nil, nil, nil
	var lines []string
	m.parts(p, &lines)
	m.Text = strings.Join(lines, "\n")
	whole := &content.Message{Body: p}
	m.Mentions = whole.Mentions()
	for _, p := range whole.Referenced() {
		for i := range m.Attachments {
			m.Attachments[i].Inline = m.Attachments[i].Inline || content.Part(m.Attachments[i].Part) == p
		}
	}
	for _, l := range whole.Links() {
		if l.Deceives() {
			m.Warnings = append(m.Warnings, fmt.Sprintf("a link reads %q and leads to %q", l.Text, l.Target))
		}
	}
}

// parts goes through a body as CNT-50 says: of alternatives the first that can be
// shown, of a unit all or nothing, else as much as can be.
func (m *Message) parts(p content.Part, lines *[]string) {
	switch p := p.(type) {
	case *content.SinglePart:
		text, ok := (&content.Message{Body: p}).Text()
		if !ok {
			m.Unshown = append(m.Unshown, p.ContentType)
			return
		}
		*lines = append(*lines, text)
		m.Markdown = m.Markdown || strings.HasPrefix(strings.ToLower(p.ContentType), "text/markdown")
	case *content.ExternalPart:
		m.Attachments = append(m.Attachments, Attachment{Name: p.Filename, Description: p.Description, ContentType: p.ContentType, Bytes: p.Size, Part: p})
	case *content.MultiPart:
		m.multi(p, lines)
	}
}

func (m *Message) multi(p *content.MultiPart, lines *[]string) {
	switch {
	case p.Semantics == content.ChooseOne:
		m.Alternatives = true
		if i := slices.IndexFunc(p.Parts, presentable); i >= 0 {
			m.parts(p.Parts[i], lines)
			return
		}
		m.unshown(p)
	case p.Semantics == content.SingleUnit && !presentable(p):
		m.unshown(p)
	default:
		for _, sub := range p.Parts {
			m.parts(sub, lines)
		}
	}
}

// presentable says whether a part can be shown as it is meant to be. An attachment
// can: it is named.
func presentable(p content.Part) bool {
	switch p := p.(type) {
	case *content.SinglePart:
		_, ok := (&content.Message{Body: p}).Text()
		return ok
	case *content.MultiPart:
		if p.Semantics == content.SingleUnit {
			return !slices.ContainsFunc(p.Parts, func(sub content.Part) bool { return !presentable(sub) })
		}
		return slices.ContainsFunc(p.Parts, presentable)
	}
	return true
}

// unshown notes the types of everything in a part.
func (m *Message) unshown(p content.Part) {
	for _, sub := range content.Parts(p) {
		switch sub := sub.(type) {
		case *content.SinglePart:
			m.Unshown = append(m.Unshown, sub.ContentType)
		case *content.ExternalPart:
			m.Unshown = append(m.Unshown, sub.ContentType)
		}
	}
}
