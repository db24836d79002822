package client

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"hubbub/mimi"
	"hubbub/mimi/content"
	"hubbub/mimi/policy"
	"hubbub/mls"
	"hubbub/mls/wire"
)

// posted sends by do and waits until it is in the log.
func (f *fake) posted(c *Client, uri mimi.RoomURI, do func() (Message, error)) Message {
	f.t.Helper()
	m, err := do()
	f.ok(err)
	if m, err = c.WaitPosted(f.ctx(), uri, m.ID); err != nil {
		f.t.Fatal(err)
	}
	return m
}

func (f *fake) say(c *Client, uri mimi.RoomURI, d Draft) Message {
	f.t.Helper()
	return f.posted(c, uri, func() (Message, error) { return c.Post(f.ctx(), uri, d) })
}

// forge sends content that no rule has seen.
func (f *fake) forge(c *Client, uri mimi.RoomURI, msg *content.Message) Message {
	f.t.Helper()
	encoded, err := msg.Encode()
	f.ok(err)
	rec, err := c.ownRecord(uri, msg, encoded)
	f.ok(err)
	f.ok(c.step(func(b *batch) error {
		r := b.room(uri)
		ready, err := b.ready(r)
		if err != nil {
			return err
		}
		return b.send(r, rec, ready)
	}))
	return f.posted(c, uri, func() (Message, error) { return rec.Message, nil })
}

// inStep waits until devices have processed the log.
func (f *fake) inStep(uri mimi.RoomURI, devices ...*Client) {
	f.t.Helper()
	f.mu.Lock()
	seq := f.pos[uri].Seq
	f.mu.Unlock()
	for _, c := range devices {
		f.until(c, func() bool { return c.rooms[uri].pos.Seq >= seq })
	}
}

// only gives the one message a device shows.
func (f *fake) only(c *Client, uri mimi.RoomURI) Message {
	f.t.Helper()
	f.inStep(uri, c)
	list, err := c.Messages(f.ctx(), uri, 0, 0)
	f.ok(err)
	if len(list) != 1 {
		f.t.Fatalf("%d messages: %+v", len(list), list)
	}
	return list[0]
}

func (f *fake) restart(c *Client, dir string, o *Options) *Client {
	f.t.Helper()
	f.ok(c.Close())
	return f.open(dir, o)
}

// policy gives a room policy components as all the devices see it.
func (f *fake) policy(uri mimi.RoomURI, components map[mls.ComponentID]wire.Encoder, devices ...*Client) {
	f.t.Helper()
	for _, c := range devices {
		c.mu.Lock()
		g := c.rooms[uri].group.Public()
		d := g.Dictionary().Clone()
		for id, e := range components {
			data, err := wire.Marshal(e)
			f.ok(err)
			d.Set(id, data)
		}
		s, err := policy.NewState(uri, d, nil)
		f.ok(err)
		c.policies[uri] = policyAt{g, s}
		c.mu.Unlock()
	}
}

// TestEditDeleteReact is what people do with messages, as another device sees it, also
// after it was started again.
func TestEditDeleteReact(t *testing.T) {
	f := newFake(t)
	bobDir := f.enrol("bob", "phone")
	alice, bob := f.open(f.enrol("alice", "phone"), nil), f.open(bobDir, nil)
	uri := f.room(alice, bob)
	ctx := f.ctx()
	m := f.say(alice, uri, Draft{Text: "helo"})
	f.inStep(uri, bob)
	reply := f.say(bob, uri, Draft{Text: "who?", ReplyTo: m.ID})
	edit := f.posted(alice, uri, func() (Message, error) { return alice.Edit(ctx, uri, m.ID, Draft{Text: "hello"}) })
	if edit.Act != ActEdit || edit.About != m.ID || edit.Text != "hello" {
		t.Errorf("the edit: %+v", edit)
	}
	f.inStep(uri, bob)
	later := f.say(bob, uri, Draft{Text: "hi", ReplyTo: m.ID})
	f.posted(bob, uri, func() (Message, error) { return bob.React(ctx, uri, m.ID, "👍") })
	f.posted(bob, uri, func() (Message, error) { return bob.React(ctx, uri, edit.ID, "❤️") })
	f.inStep(uri, alice)
	f.posted(alice, uri, func() (Message, error) { return alice.React(ctx, uri, reply.ID, "👍") })
	f.posted(bob, uri, func() (Message, error) { return bob.Unreact(ctx, uri, m.ID, "❤️") })
	f.posted(bob, uri, func() (Message, error) { return bob.Delete(ctx, uri, reply.ID) })

	for name, c := range map[string]*Client{"alice": alice, "bob": bob} {
		f.inStep(uri, c)
		list, err := c.Messages(ctx, uri, 0, 0)
		f.ok(err)
		if len(list) != 3 {
			t.Fatalf("%s: %d messages", name, len(list))
		}
		first := list[0]
		if first.ID != m.ID || first.Text != "hello" || !first.Edited || len(first.Versions) != 2 || first.Versions[0].Text != "helo" || first.Versions[1].ID != edit.ID {
			t.Errorf("%s: edited: %+v", name, first)
		}
		if len(first.Reactions) != 1 || first.Reactions[0].Emoji != "👍" || !slices.Equal(first.Reactions[0].Users, []mimi.UserURI{bob.User()}) {
			t.Errorf("%s: reactions: %+v", name, first.Reactions)
		}
		if d := list[1]; !d.Deleted || d.DeletedBy != bob.User() || d.Text != "" || d.Seq != reply.Seq || len(d.Reactions) != 0 {
			t.Errorf("%s: deleted: %+v", name, d)
		}
		if list[2].InReplyTo != edit.ID {
			t.Errorf("%s: a reply is to the newest version, not to %s", name, list[2].InReplyTo)
		}
	}
	if found(t, bobDir, "who?") {
		t.Error("the text of a deleted message is still on the disk")
	}
	bob = f.restart(bob, bobDir, nil)
	list, err := bob.Messages(ctx, uri, 0, 0)
	f.ok(err)
	if len(list) != 3 || list[0].Text != "hello" || !list[1].Deleted || list[2].ID != later.ID {
		t.Errorf("after a restart: %+v", list)
	}
	if _, err := bob.Edit(ctx, uri, reply.ID, Draft{Text: "x"}); !errors.Is(err, ErrBadArgument) {
		t.Errorf("edit of a deleted message: %v", err)
	}
}

// found says whether a device's files hold some text.
func found(t *testing.T, dir, text string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b, []byte(text)) {
			return true
		}
	}
	return false
}

// TestForgeries: what somebody says about the messages of others does not count, unless
// the room's policy says so.
func TestForgeries(t *testing.T) {
	f := newFake(t)
	admin, bob, mallory := f.open(f.enrol("alice", "phone"), nil), f.open(f.enrol("bob", "phone"), nil), f.open(f.enrol("mallory", "phone"), nil)
	uri := f.room(admin, bob, mallory)
	ctx := f.ctx()
	m := f.say(bob, uri, Draft{Text: "I owe you 5"})
	r := f.posted(bob, uri, func() (Message, error) { return bob.React(ctx, uri, m.ID, "👍") })
	f.inStep(uri, mallory)
	if _, err := mallory.Edit(ctx, uri, m.ID, Draft{Text: "x"}); !errors.Is(err, ErrDenied) || !strings.Contains(err.Error(), "mallory") {
		t.Errorf("edit: %v", err)
	}
	if _, err := mallory.Delete(ctx, uri, m.ID); !errors.Is(err, ErrDenied) {
		t.Errorf("delete: %v", err)
	}
	as := func(id MessageID, body content.Part) *content.Message {
		return content.NewEdit(mallory.User(), uri, content.ID(id), nil, body)
	}
	text := &content.SinglePart{Disposition: content.Render, ContentType: content.PlainText, Content: []byte("I owe you 5000")}
	f.forge(mallory, uri, as(m.ID, text))
	f.forge(mallory, uri, as(m.ID, &content.NullPart{Disposition: content.Render}))
	f.forge(mallory, uri, as(m.ID, &content.NullPart{Disposition: content.Reaction}))
	f.forge(mallory, uri, as(r.ID, &content.NullPart{Disposition: content.Reaction}))
	for name, c := range map[string]*Client{"bob": bob, "the admin": admin, "mallory": mallory} {
		if got := f.only(c, uri); got.Text != "I owe you 5" || got.Edited || got.Deleted || len(got.Reactions) != 1 {
			t.Errorf("%s sees %+v", name, got)
		}
	}
	f.posted(admin, uri, func() (Message, error) { return admin.Delete(ctx, uri, r.ID) })
	f.posted(admin, uri, func() (Message, error) { return admin.Delete(ctx, uri, m.ID) })
	if got := f.only(bob, uri); !got.Deleted || got.DeletedBy != admin.User() {
		t.Errorf("bob sees %+v", got)
	}
}

// TestEditBeforeOriginal: an edit, a reaction and a deletion that come before what they
// are about take effect when it comes, and an edit alone is shown as what it says.
func TestEditBeforeOriginal(t *testing.T) {
	f := newFake(t)
	alice, bob := f.open(f.enrol("alice", "phone"), nil), f.open(f.enrol("bob", "phone"), nil)
	uri := f.room(alice, bob)
	ctx, done := context.WithTimeout(t.Context(), patience)
	defer done()
	events := bob.Events(ctx)
	late := func(text string) (*content.Message, MessageID) {
		msg := content.NewText(alice.User(), uri, text)
		b, err := msg.Encode()
		f.ok(err)
		id, err := content.MessageID(alice.User(), uri, b)
		f.ok(err)
		return msg, MessageID(id)
	}
	msg, id := late("first")
	f.forge(alice, uri, content.NewEdit(alice.User(), uri, content.ID(id), msg, content.NewText("", "", "second").Body))
	f.forge(alice, uri, content.NewEdit(alice.User(), uri, content.ID(id), msg, content.NewText("", "", "third").Body))
	reaction, err := content.NewReaction(alice.User(), uri, content.ID(id), "👍")
	f.ok(err)
	f.forge(alice, uri, reaction)
	if got := f.only(bob, uri); got.ID != id || got.Text != "third" || !got.Incomplete || len(got.Reactions) != 1 {
		t.Errorf("without the original: %+v", got)
	}
	f.forge(alice, uri, msg)
	if got := f.only(bob, uri); got.ID != id || got.Text != "third" || got.Incomplete || !got.Edited || len(got.Versions) != 3 || len(got.Reactions) != 1 {
		t.Errorf("with it: %+v", got)
	}
	gone, id2 := late("never seen")
	f.forge(alice, uri, content.NewDelete(alice.User(), uri, content.ID(id2), gone))
	f.forge(alice, uri, gone)
	f.inStep(uri, bob)
	list, err := bob.Messages(f.ctx(), uri, 0, 0)
	f.ok(err)
	if len(list) != 2 || !list[1].Deleted || list[1].Text != "" {
		t.Errorf("deleted before it came: %+v", list)
	}
	var told []string
	for ev := range events {
		switch e := ev.(type) {
		case MessageReceived:
			told = append(told, "received "+e.Message.Text)
		case MessageUpdated:
			told = append(told, string(e.What)+" "+e.Message.Text)
		}
		if len(told) == 5 {
			break
		}
	}
	if want := []string{"received second", "edited third", "reacted third", "edited third", "received "}; !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
}

// clock is a clock that a test moves.
type clock struct{ ahead atomic.Int64 }

func (k *clock) now() time.Time             { return time.Now().Add(time.Duration(k.ahead.Load())) }
func (k *clock) move(d time.Duration)       { k.ahead.Add(int64(d)) }
func (k *clock) options(o Options) *Options { o.Now = k.now; return &o }

// TestExpiry: a message vanishes at its time without anybody's doing: on the screen, on
// the disk, while the device is off, and only after it was read if it says so.
func TestExpiry(t *testing.T) {
	f := newFake(t)
	k := &clock{}
	bobDir := f.enrol("bob", "phone")
	alice, bob := f.open(f.enrol("alice", "phone"), nil), f.open(bobDir, k.options(Options{}))
	uri := f.room(alice, bob)
	ctx := f.ctx()
	hour := f.say(alice, uri, Draft{Text: "secret-of-an-hour", ExpireAt: time.Now().Add(time.Hour)})
	f.posted(alice, uri, func() (Message, error) { return alice.Edit(ctx, uri, hour.ID, Draft{Text: "secret-of-an-edit"}) })
	read := f.say(alice, uri, Draft{Text: "secret-once-read", ExpireAfter: time.Minute})
	if read.Expires.IsZero() {
		got, err := alice.Message(ctx, uri, read.ID)
		if f.ok(err); got.Expires.IsZero() {
			t.Error("for its author the time begins when it is posted")
		}
	}
	f.inStep(uri, bob)
	list, err := bob.Messages(ctx, uri, 0, 0)
	f.ok(err)
	if len(list) != 2 || list[0].Expires.IsZero() || list[0].Text != "secret-of-an-edit" || list[1].ExpiresAfter != time.Minute {
		t.Fatalf("before: %+v", list)
	}
	if !found(t, bobDir, "secret-of-an-hour") {
		t.Fatal("the test looks in the wrong place")
	}
	f.ok(bob.Close())
	k.move(2 * time.Hour)
	bob = f.open(bobDir, k.options(Options{}))
	list, err = bob.Messages(ctx, uri, 0, 0)
	f.ok(err)
	if len(list) != 2 || !list[0].Expired || list[0].Text != "" || list[0].Versions != nil || list[1].Text != "secret-once-read" {
		t.Errorf("after two hours off: %+v", list)
	}
	for _, text := range []string{"secret-of-an-hour", "secret-of-an-edit"} {
		if found(t, bobDir, text) {
			t.Errorf("%s is still on the disk", text)
		}
	}
	f.ok(bob.MarkRead(ctx, uri, 1<<40))
	if got, err := bob.Message(ctx, uri, read.ID); err != nil || !got.Read || got.Expires.IsZero() || got.Text == "" {
		t.Errorf("just read: %+v, %v", got, err)
	}
	limited, done := context.WithTimeout(ctx, patience)
	defer done()
	events := bob.Events(limited)
	k.move(2 * time.Minute)
	signal(bob.kickExpiry)
	for ev := range events {
		if e, ok := ev.(MessageUpdated); ok && e.What == Expired && e.Message.ID == read.ID {
			break
		}
	}
	if found(t, bobDir, "secret-once-read") {
		t.Error("what expired while the device ran is still on the disk")
	}
	if _, err := alice.Post(ctx, uri, Draft{Text: "x", ExpireAfter: 400 * 24 * time.Hour}); !errors.Is(err, ErrBadArgument) {
		t.Errorf("more than a year: %v", err)
	}
}

// TestExpiryWhileWaiting: what could not be sent before its time is given up.
func TestExpiryWhileWaiting(t *testing.T) {
	f := newFake(t)
	k := &clock{}
	dir := f.enrol("alice", "phone")
	alice := f.open(dir, k.options(Options{}))
	uri := f.room(alice)
	want := func(epoch uint64) {
		work := *alice.rooms[uri]
		work.wantEpoch = epoch
		alice.rooms[uri] = &work
	}
	alice.mu.Lock()
	want(99) // nothing is encrypted until then
	alice.mu.Unlock()
	m, err := alice.Post(f.ctx(), uri, Draft{Text: "too late", ExpireAt: k.now().Add(time.Hour)})
	f.ok(err)
	alice.mu.Lock()
	k.move(2 * time.Hour)
	want(0)
	alice.mu.Unlock()
	signal(alice.kickExpiry)
	if got, err := alice.WaitPosted(f.ctx(), uri, m.ID); !errors.Is(err, ErrRejected) || got.Reason != "expired" || got.Text != "" {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestRoomWantsExpiry: where the policy says so messages expire by themselves, and one
// that does not is not shown.
func TestRoomWantsExpiry(t *testing.T) {
	f := newFake(t)
	alice, bob := f.open(f.enrol("alice", "phone"), nil), f.open(f.enrol("bob", "phone"), nil)
	uri := f.room(alice, bob)
	most := uint32(3600)
	f.policy(uri, map[mls.ComponentID]wire.Encoder{mimi.ComponentMessageExpiration: &policy.MessageExpiration{
		Expiring: policy.Required, Min: 60, Max: most, Default: &most}}, alice, bob)
	m := f.say(alice, uri, Draft{Text: "by policy"})
	f.inStep(uri, bob)
	if got, err := bob.Message(f.ctx(), uri, m.ID); err != nil || got.ExpiresAfter != time.Hour {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := alice.Post(f.ctx(), uri, Draft{Text: "short", ExpireAfter: 59 * time.Second}); !errors.Is(err, ErrDenied) {
		t.Errorf("below the minimum: %v", err)
	}
	bad := f.forge(alice, uri, content.NewText(alice.User(), uri, "for ever"))
	f.inStep(uri, bob)
	if got, err := bob.Message(f.ctx(), uri, bad.ID); err != nil || got.Text != "" || !strings.Contains(got.Hidden, "expire") {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestReceipts: others are told what the user and the room want told, once, and reports
// bring no reports.
func TestReceipts(t *testing.T) {
	f := newFake(t)
	bobDir := f.enrol("bob", "phone")
	alice, bob := f.open(f.enrol("alice", "phone"), nil), f.open(bobDir, nil)
	tablet := f.open(f.enrol("bob", "tablet"), nil)
	uri := f.room(alice, bob, tablet)
	ctx := f.ctx()
	status := func(id MessageID, want ...content.Status) {
		t.Helper()
		f.inStep(uri, alice)
		m, err := alice.Message(ctx, uri, id)
		f.ok(err)
		var got []content.Status
		for _, r := range m.Receipts {
			if r.User != bob.User() {
				t.Errorf("receipt of %s", r.User)
			}
			got = append(got, r.Status)
		}
		if !slices.Equal(got, want) {
			t.Errorf("receipts %v, want %v", got, want)
		}
	}
	seq := func() uint64 {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.pos[uri].Seq
	}
	told := func(n uint64) { // so many reports
		t.Helper()
		f.until(alice, func() bool { return alice.rooms[uri].pos.Seq == n })
	}
	one := f.say(alice, uri, Draft{Text: "one"})
	f.inStep(uri, bob, tablet)
	f.ok(bob.MarkRead(ctx, uri, one.Seq))
	status(one.ID)

	f.ok(bob.SetReceipts(ReceiptSettings{Delivered: true, Read: true}))
	bob = f.restart(bob, bobDir, nil)
	if bob.Receipts() != (ReceiptSettings{Delivered: true, Read: true}) {
		t.Error("the settings are gone after a restart")
	}
	two := f.say(alice, uri, Draft{Text: "two"})
	told(two.Seq + 1)
	status(two.ID, content.StatusDelivered)
	f.ok(bob.MarkRead(ctx, uri, two.Seq))
	told(two.Seq + 2)
	status(two.ID, content.StatusRead)
	f.ok(bob.MarkRead(ctx, uri, two.Seq))
	f.inStep(uri, tablet)
	if m, err := tablet.Message(ctx, uri, two.ID); err != nil || !m.Read {
		t.Errorf("the user's other device: %+v, %v", m, err)
	}
	f.ok(bob.step(func(b *batch) error {
		return b.report(b.room(uri), content.StatusDelivered, []MessageID{two.ID, {1, 2, 3}})
	}))
	told(two.Seq + 3)
	status(two.ID, content.StatusRead)

	f.policy(uri, map[mls.ComponentID]wire.Encoder{mimi.ComponentStatusNotification: &policy.StatusNotificationPolicy{
		DeliveryNotifications: policy.Forbidden, ReadReceipts: policy.Required}}, bob)
	f.ok(bob.SetReceipts(ReceiptSettings{Delivered: true}))
	three := f.say(alice, uri, Draft{Text: "three"})
	f.inStep(uri, bob)
	f.ok(bob.MarkRead(ctx, uri, three.Seq))
	told(three.Seq + 1)
	status(three.ID, content.StatusRead)
	if n := seq(); n != three.Seq+1 {
		t.Errorf("%d entries, want %d: reports bring no reports", n, three.Seq+1)
	}
	list, err := bob.Messages(ctx, uri, 0, 0)
	if f.ok(err); len(list) != 3 {
		t.Errorf("reports are not messages: %+v", list)
	}
	var left int
	bob.mu.Lock()
	f.ok(bob.db.QueryRow("SELECT COUNT(*) FROM message WHERE kind = 4").Scan(&left))
	bob.mu.Unlock()
	if f.inStep(uri, bob); left > 1 { // the last may not have come back yet
		t.Errorf("%d reports are kept", left)
	}
}

// TestForeignContent: of what other programs send the best part is shown, and what
// cannot be shown is named.
func TestForeignContent(t *testing.T) {
	f := newFake(t)
	alice, bob := f.open(f.enrol("alice", "phone"), nil), f.open(f.enrol("bob", "phone"), nil)
	uri := f.room(alice, bob)
	part := func(kind, text string) content.Part {
		return &content.SinglePart{Disposition: content.Render, ContentType: kind, Content: []byte(text)}
	}
	multi := func(s content.Semantics, parts ...content.Part) content.Part {
		return &content.MultiPart{Disposition: content.Render, Semantics: s, Parts: parts}
	}
	image := &content.ExternalPart{Disposition: content.Attachment, ContentType: "image/png", URL: "https://a.localhost/x", Filename: "cat.png", Size: 7}
	link := "[@bob](" + string(bob.User()) + ") see [good.example](https://bad.example/)"
	for name, c := range map[string]struct {
		body content.Part
		want Message
	}{
		"alternatives":          {multi(content.ChooseOne, part("application/vnd.x", "?"), part(content.PlainText, "plain")), Message{Text: "plain", Alternatives: true}},
		"no known alternative":  {multi(content.ChooseOne, part("application/vnd.x", "?"), part("video/mp4", "?")), Message{Alternatives: true, Unshown: []string{"application/vnd.x", "video/mp4"}}},
		"a unit in part":        {multi(content.SingleUnit, part(content.PlainText, "half"), part("audio/ogg", "?")), Message{Unshown: []string{content.PlainText, "audio/ogg"}}},
		"as much as possible":   {multi(content.ProcessAll, part(content.PlainText, "a"), part("audio/ogg", "?"), part(content.PlainText, "b")), Message{Text: "a\nb", Unshown: []string{"audio/ogg"}}},
		"an unknown type alone": {part("application/vnd.x", "?"), Message{Unshown: []string{"application/vnd.x"}}},
		"an attachment":         {multi(content.ProcessAll, part(content.PlainText, "look"), image), Message{Text: "look", Attachments: []Attachment{{Name: "cat.png", ContentType: "image/png", Bytes: 7}}}},
		"links":                 {part(content.GFMMarkdown, link), Message{Text: link, Markdown: true, Mentions: []mimi.UserURI{bob.User()}, Warnings: []string{"one"}}},
	} {
		m := f.forge(alice, uri, content.New(alice.User(), uri, c.body))
		f.inStep(uri, bob)
		got, err := bob.Message(f.ctx(), uri, m.ID)
		f.ok(err)
		if got.Text != c.want.Text || got.Markdown != c.want.Markdown || got.Alternatives != c.want.Alternatives || !slices.Equal(got.Unshown, c.want.Unshown) ||
			len(got.Attachments) != len(c.want.Attachments) || !slices.Equal(got.Mentions, c.want.Mentions) || len(got.Warnings) != len(c.want.Warnings) {
			t.Errorf("%s: %+v", name, got)
		}
		for i, a := range c.want.Attachments {
			if got.Attachments[i].Part == nil || got.Attachments[i].Name != a.Name || got.Attachments[i].Bytes != a.Bytes {
				t.Errorf("%s: %+v", name, got.Attachments[i])
			}
		}
	}
}

// TestMentions: who is named becomes a link, the rest of the text stays as it was.
func TestMentions(t *testing.T) {
	f := newFake(t)
	alice, bob := f.open(f.enrol("alice", "phone"), nil), f.open(f.enrol("bob", "phone"), nil)
	uri := f.room(alice, bob)
	for text, want := range map[string]string{
		"@bob: is 2*3_x < 7? [no]": "@bob: is 2*3_x < 7? [no]",
		"hi @bob@a.localhost!":     "hi @bob!",
		"hi @bobby":                "@bob hi @bobby",
	} {
		m := f.say(alice, uri, Draft{Text: text, Mentions: []mimi.UserURI{bob.User()}})
		f.inStep(uri, bob)
		got, err := bob.Message(f.ctx(), uri, m.ID)
		if f.ok(err); !got.MentionsUser(bob.User()) || got.MentionsUser(alice.User()) || got.Plain() != want {
			t.Errorf("%q: %q, %v", text, got.Plain(), got.Mentions)
		}
	}
}

// TestTopics: a reply stays in the topic of what it answers.
func TestTopics(t *testing.T) {
	f := newFake(t)
	alice, bob := f.open(f.enrol("alice", "phone"), nil), f.open(f.enrol("bob", "phone"), nil)
	uri := f.room(alice, bob)
	m := f.say(alice, uri, Draft{Text: "tea?", Topic: "tea"})
	f.inStep(uri, bob)
	f.say(bob, uri, Draft{Text: "yes", ReplyTo: m.ID})
	f.inStep(uri, alice)
	list, err := alice.Messages(f.ctx(), uri, 0, 0)
	if f.ok(err); len(list) != 2 || list[0].Topic != "tea" || list[1].Topic != "tea" || list[1].InReplyTo != m.ID {
		t.Errorf("%+v", list)
	}
}

// TestIsReport: where nothing frames them, reports and messages are told apart.
func TestIsReport(t *testing.T) {
	for n := range 9 {
		r := make(content.StatusReport, n)
		for i := range r {
			r[i] = content.MessageStatus{Message: content.ID{1}, Status: content.StatusRead}
		}
		b, err := r.Encode()
		if err != nil || !isReport(nil, b) {
			t.Errorf("a report of %d: %v", n, err)
		}
	}
	b, err := content.NewText("mimi://a.example/u/a", "mimi://a.example/r/r", "x").Encode()
	if err != nil || isReport(nil, b) || isReport(nil, nil) {
		t.Error("a message is no report", err)
	}
	if !isReport(&mls.MediaType{Type: content.StatusMediaType}, b) || isReport(&mls.MediaType{Type: content.MediaType}, nil) {
		t.Error("a framing says what it is")
	}
}
