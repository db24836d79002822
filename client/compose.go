package client

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"hubbub/mimi"
	"hubbub/mimi/content"
	"hubbub/mimi/policy"
)

// Draft is a message to be written; [Client.Post] says it all, [Client.Send] only text.
type Draft struct {
	// Text is at most 49,152 octets of UTF-8. It may be empty if there are attachments.
	Text string
	// Markdown says that Text is GitHub-flavoured Markdown and not plain text.
	Markdown bool
	// Mentions are users the text is to draw in. Where it names one, as @bob or
	// @bob@b.example, it becomes a link; the others are named in front.
	Mentions    []mimi.UserURI
	Attachments []*content.ExternalPart // see [Client.Attach]
	ReplyTo     MessageID               // zero: no reply
	// Topic is up to 4,096 opaque octets; empty: that of the message replied to. A
	// new topic takes something fresh, such as the ID of its first message.
	Topic string
	// ExpireAfter lets the message vanish so long after it was read, at least a
	// second; ExpireAt at a time, at most a year ahead. At most one of them may be
	// set; if none is, the room's policy decides.
	ExpireAfter time.Duration
	ExpireAt    time.Time
}

// Send posts text, 1 to 49,152 octets of UTF-8, to a room: [Client.Post] of plain text.
func (c *Client) Send(ctx context.Context, room mimi.RoomURI, text string) (Message, error) {
	return c.Post(ctx, room, Draft{Text: text})
}

// Post posts a message to a room. When it returns the message is safe on this device
// and goes out in the background, in the order of the calls; its State is Sending. It
// is encrypted for the room as it is at that time.
//
// Errors: [ErrBadArgument], [ErrDenied], [ErrUnknownMessage] (the one replied to),
// [ErrUnknownRoom], [ErrNotMember], [ErrSuspicious].
func (c *Client) Post(ctx context.Context, room mimi.RoomURI, d Draft) (Message, error) {
	body, err := d.body()
	if err != nil {
		return Message{}, err
	}
	msg := content.New(c.user, room, body)
	msg.Topic = []byte(d.Topic)
	if !d.ReplyTo.IsZero() {
		if err := c.replyTo(msg, room, d); err != nil {
			return Message{}, err
		}
	}
	switch {
	case d.ExpireAfter != 0 && !d.ExpireAt.IsZero() || d.ExpireAfter < 0:
		return Message{}, fmt.Errorf("%w: a message expires after a time or at one", ErrBadArgument)
	case d.ExpireAfter != 0:
		msg.ExpireAfter(d.ExpireAfter)
	case !d.ExpireAt.IsZero():
		msg.ExpireAt(d.ExpireAt)
	}
	return c.submitContent(ctx, room, msg)
}

// body makes the body of a message.
func (d *Draft) body() (content.Part, error) {
	if d.Text == "" && len(d.Attachments) == 0 || len(d.Text) > maxTextBytes || !utf8.ValidString(d.Text) {
		return nil, fmt.Errorf("%w: text must be 1 to %d octets of UTF-8", ErrBadArgument, maxTextBytes)
	}
	var parts []content.Part
	switch {
	case d.Text == "":
	case d.Markdown || len(d.Mentions) > 0:
		text := d.Text
		if !d.Markdown {
			text = escapeMarkdown(text)
		}
		parts = append(parts, &content.SinglePart{Disposition: content.Render, ContentType: content.GFMMarkdown,
			Content: []byte(content.EscapeHTML(mention(text, d.Mentions)))})
	default:
		parts = append(parts, &content.SinglePart{Disposition: content.Render, ContentType: content.PlainText, Content: []byte(d.Text)})
	}
	for _, a := range d.Attachments {
		parts = append(parts, a)
	}
	if len(parts) == 1 {
		return parts[0], nil
	}
	return &content.MultiPart{Disposition: content.Render, Semantics: content.ProcessAll, Parts: parts}, nil
}

// mention makes links of users where the text names them, else in front of it.
func mention(text string, users []mimi.UserURI) string {
	named := map[mimi.UserURI]bool{}
	var out strings.Builder
	for i := 0; i < len(text); {
		u, n := nameAt(text[i:], users)
		if n == 0 {
			out.WriteByte(text[i])
			i++
			continue
		}
		out.WriteString(mentionOf(u))
		named[u] = true
		i += n
	}
	var front strings.Builder
	for _, u := range users {
		if !named[u] {
			named[u] = true
			front.WriteString(mentionOf(u) + " ")
		}
	}
	return front.String() + out.String()
}

// mentionOf is the link to a user, by the name before the @ of the handle.
func mentionOf(u mimi.UserURI) string {
	name, _, _ := strings.Cut(u.Handle(), "@")
	return content.Mention(u, name)
}

// nameAt finds the user that a text begins with the name of, and the name's length.
func nameAt(text string, users []mimi.UserURI) (who mimi.UserURI, n int) {
	if text[0] != '@' {
		return "", 0
	}
	for _, u := range users {
		name, _, _ := strings.Cut(u.Handle(), "@")
		for _, as := range []string{name, u.Handle()} {
			as = "@" + escapeMarkdown(as)
			if rest, ok := strings.CutPrefix(text, as); ok && len(as) > n && (rest == "" || !isNameByte(rest[0])) {
				who, n = u, len(as)
			}
		}
	}
	return who, n
}

func isNameByte(c byte) bool {
	return c == '_' || c == '@' || c >= 0x80 || '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z'
}

// replyTo lets a message answer the newest version of another (CNT-40), in its topic.
func (c *Client) replyTo(msg *content.Message, room mimi.RoomURI, d Draft) error {
	to, err := c.Message(context.Background(), room, d.ReplyTo)
	if err != nil {
		return err
	}
	if to.State == Rejected {
		return fmt.Errorf("%w: the message was never posted", ErrBadArgument)
	}
	id := to.ID
	if n := len(to.Versions); n > 0 {
		id = to.Versions[n-1].ID
	}
	msg.InReplyTo = (*content.ID)(&id)
	if d.Topic == "" {
		msg.Topic = []byte(to.Topic)
	}
	return nil
}

// submitContent makes a message durable and puts it on its way.
func (c *Client) submitContent(ctx context.Context, room mimi.RoomURI, msg *content.Message) (Message, error) {
	if err := ctx.Err(); err != nil {
		return Message{}, err
	}
	encoded, err := msg.Encode()
	if err != nil {
		return Message{}, fmt.Errorf("%w: %w", ErrBadArgument, err)
	}
	if len(encoded) > maxContentBytes {
		return Message{}, fmt.Errorf("%w: the message is longer than %d octets", ErrBadArgument, maxContentBytes)
	}
	if err := msg.Check(content.Arrival{Sender: c.user, Room: room, Now: c.opts.Now()}); err != nil {
		return Message{}, fmt.Errorf("%w: %w", ErrBadArgument, err)
	}
	rec, err := c.ownRecord(room, msg, encoded)
	if err != nil {
		return Message{}, err
	}
	req := &sendRequest{record: rec, message: msg, done: make(chan struct{})}
	if err := c.sends.do(c, req); err != nil {
		return Message{}, err
	}
	if req.record.kind == kindWrite && req.record.flags == 0 { // spares a wait for others
		m := req.record.Message
		m.Read = true
		return m, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	m, err := c.show(req.record)
	if err != nil {
		return Message{}, err
	}
	return *m, nil
}

// ownRecord is the row of a message that is being sent.
func (c *Client) ownRecord(room mimi.RoomURI, msg *content.Message, encoded []byte) (*record, error) {
	id, err := content.MessageID(c.user, room, encoded)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadArgument, err)
	}
	return newRecord(Message{ID: MessageID(id), Room: room, Sender: c.user, Device: c.uri,
		Timestamp: c.opts.Now().Truncate(time.Millisecond), State: Sending}, msg, encoded), nil
}

// expireByPolicy lets a message expire if the room wants that of all (POL-30).
func (b *batch) expireByPolicy(r *room, s *sendRequest) error {
	if s.message.Expires != nil || s.record.kind != kindWrite {
		return nil
	}
	state, err := b.policyState(r)
	if err != nil {
		return err
	}
	p, err := policy.Policy(state, mimi.ComponentMessageExpiration, policy.ParseMessageExpiration)
	if p == nil || err != nil {
		return err
	}
	if p.Expire(s.message); s.message.Expires == nil {
		return nil
	}
	encoded, err := s.message.Encode()
	if err == nil {
		s.record, err = b.c.ownRecord(r.uri, s.message, encoded)
	}
	return err
}

// target finds the message an act of this user is about, and its content.
func (c *Client) target(room mimi.RoomURI, id MessageID) (*record, *content.Message, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fatal != nil {
		return nil, nil, c.fatal
	}
	r, err := c.record(room, id)
	if err == nil && r != nil && r.kind == kindEdit {
		r, err = c.record(room, r.root)
	}
	switch {
	case err != nil:
		return nil, nil, err
	case r == nil || r.kind == kindReport || r.kind == kindDelete:
		return nil, nil, ErrUnknownMessage
	case r.State == Rejected:
		return nil, nil, fmt.Errorf("%w: the message was never posted", ErrBadArgument)
	case r.gone == goneDeleted || r.gone == goneExpired:
		return nil, nil, fmt.Errorf("%w: the message is gone", ErrBadArgument)
	}
	msg, err := content.Decode(r.content)
	if err != nil {
		return nil, nil, fmt.Errorf("reading messages: %w", err)
	}
	return r, msg, nil
}

// Edit replaces the body of a message that this user wrote. Of the draft only Text,
// Markdown, Mentions and Attachments may be set: the rest stays as it was. It gives the
// edit, which goes out as [Client.Post] says and takes effect when it is Posted.
// Errors: as of Post.
func (c *Client) Edit(ctx context.Context, room mimi.RoomURI, id MessageID, d Draft) (Message, error) {
	if !d.ReplyTo.IsZero() || d.Topic != "" || d.ExpireAfter != 0 || !d.ExpireAt.IsZero() {
		return Message{}, fmt.Errorf("%w: an edit changes nothing but the text", ErrBadArgument)
	}
	body, err := d.body()
	if err != nil {
		return Message{}, err
	}
	r, of, err := c.target(room, id)
	if err != nil {
		return Message{}, err
	}
	if r.kind != kindWrite {
		return Message{}, fmt.Errorf("%w: only a message can be edited", ErrBadArgument)
	}
	return c.submitContent(ctx, room, content.NewEdit(c.user, room, content.ID(r.ID), of, body))
}

// Delete takes back a message or a reaction of this user, or one of others if the
// room's policy lets this user do that. It gives the deletion, which goes out as
// [Client.Post] says; the text goes from every device that honours it, but nobody can
// be made to forget. Errors: as of Post.
func (c *Client) Delete(ctx context.Context, room mimi.RoomURI, id MessageID) (Message, error) {
	r, of, err := c.target(room, id)
	if err != nil {
		return Message{}, err
	}
	return c.submitContent(ctx, room, content.NewDelete(c.user, room, content.ID(r.ID), of))
}

// React reacts to a message with one emoji. It gives the reaction, which goes out as
// [Client.Post] says. Errors: as of Post.
func (c *Client) React(ctx context.Context, room mimi.RoomURI, id MessageID, emoji string) (Message, error) {
	r, of, err := c.target(room, id)
	if err != nil {
		return Message{}, err
	}
	if r.kind != kindWrite {
		return Message{}, fmt.Errorf("%w: nobody reacts to reactions", ErrBadArgument)
	}
	msg, err := content.NewReaction(c.user, room, content.ID(r.ID), emoji)
	if err != nil {
		return Message{}, fmt.Errorf("%w: %w", ErrBadArgument, err)
	}
	msg.Topic = of.Topic
	return c.submitContent(ctx, room, msg)
}

// Unreact takes back this user's reactions to a message with an emoji; empty: all. It
// gives the last of the deletions it takes. Errors: [ErrUnknownMessage] if there is no
// such reaction, and those of Post.
func (c *Client) Unreact(ctx context.Context, room mimi.RoomURI, id MessageID, emoji string) (Message, error) {
	r, _, err := c.target(room, id)
	if err != nil {
		return Message{}, err
	}
	c.mu.Lock()
	list, err := c.records("root = ? AND kind = 3 AND sender = ? AND gone = 0 AND state <> 'rejected' ORDER BY ord", r.ID[:], string(c.user))
	c.mu.Unlock()
	if err != nil {
		return Message{}, err
	}
	last := Message{}
	err = fmt.Errorf("%w: no such reaction of yours", ErrUnknownMessage)
	for _, own := range list {
		if emoji != "" && !slices.Contains(strings.Split(own.Text, "\n"), emoji) {
			continue
		}
		if last, err = c.Delete(ctx, room, own.ID); err != nil {
			return Message{}, err
		}
	}
	return last, err
}
