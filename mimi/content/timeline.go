package content

import (
	"bytes"
	"cmp"
	"slices"
	"time"

	"hubbub/mimi"
)

// Rights are what the room's policy lets the sender of a message do to those of others
// (POL-55). Everybody may edit and take back their own.
type Rights uint8

// The rights over messages of others.
const (
	DeleteOthersMessages  Rights = 1 << iota // canDeleteOtherMessage
	DeleteOthersReactions                    // canDeleteOtherReaction
)

// A Posted is a message with what its receiver knows about it: it was decoded, passed
// [Message.Check], and ID was computed from the authenticated sender and room.
type Posted struct {
	ID       ID
	Sender   mimi.UserURI
	Accepted time.Time // by the hub, whole milliseconds
	Message  *Message
	Read     time.Time // when this reader saw it; zero: not yet
	Rights   Rights    // of the sender when the message was accepted
}

// Compare orders messages as every client shows them: by acceptance time, then by id
// (CNT-34).
func (p *Posted) Compare(q *Posted) int {
	return cmp.Or(p.Accepted.Compare(q.Accepted), bytes.Compare(p.ID[:], q.ID[:]))
}

// A Version is a body that a message had or has.
type Version struct {
	ID       ID
	Accepted time.Time
	Body     Part
}

// A Count is a reaction and who gave it, in the order they did.
type Count struct {
	Reaction string
	Senders  []mimi.UserURI
}

// An Item is what there is to show of a message after all that was said about it.
type Item struct {
	ID        ID // of the first version; what an edit, a deletion or a reaction refers to
	Sender    mimi.UserURI
	Accepted  time.Time // of the first version
	Topic     []byte
	InReplyTo *ID

	// Versions are the bodies so far, the newest last; more than one if it was edited
	// (CNT-48). None are left of a message deleted or expired.
	Versions []Version
	// FirstMissing says that only edits of the message are known: sender and place are
	// those of the first of them (CNT-42).
	FirstMissing bool

	Deleted   bool
	DeletedBy mimi.UserURI
	Expired   bool      // past its time: a client removes it from its storage (CNT-49)
	Expires   time.Time // zero: never, or not before it was read

	Reactions []Count // most given first, then in the order they came
}

// Body gives the newest body, nil if the message is deleted or expired.
func (i *Item) Body() Part {
	if len(i.Versions) == 0 {
		return nil
	}
	return i.Versions[len(i.Versions)-1].Body
}

// Text is [Message.Text] of the newest body.
func (i *Item) Text() (string, bool) { return partText(i.Body()) }

// Edited says whether there was a version before the newest.
func (i *Item) Edited() bool { return len(i.Versions) > 1 || i.FirstMissing && len(i.Versions) > 0 }

// A Timeline is what there is to show of a room, the oldest message first. It does not
// change and is safe for concurrent use.
type Timeline struct {
	Items []*Item
	byID  map[ID]*Item // every version
}

// Fold makes a timeline of messages, which may come in any order and more than once: the
// same messages always give the same timeline. Now decides what has expired. The rules are
// those of mimi-content-08:
//
//   - An edit counts if its sender wrote the message and it refers to the first version.
//     It changes the body and nothing else (D-67), and a reaction only into a reaction.
//   - A deletion counts if its sender wrote the message or has the [Rights] to. It is
//     final: later edits do not bring the message back.
//   - A sender's reaction counts once however often it was given, and until taken back.
//     Reactions to any version are reactions to the message.
//
// Messages that do not count are not shown at all. Those that refer to an unknown message
// wait for it, except that edits without their original are shown as what they say now.
func Fold(messages []Posted, now time.Time) *Timeline {
	f := &fold{now: now, t: &Timeline{byID: make(map[ID]*Item)}, edits: make(map[ID][]*Posted),
		deletes: make(map[ID][]*Posted), reactions: make(map[ID][]*Posted)}
	f.sort(messages)
	for _, p := range f.first {
		if !counted(p.Message) {
			f.add(p)
		}
	}
	f.orphans()
	f.react()
	slices.SortFunc(f.t.Items, func(a, b *Item) int {
		return cmp.Or(a.Accepted.Compare(b.Accepted), bytes.Compare(a.ID[:], b.ID[:]))
	})
	return f.t
}

// fold is the work of Fold. Lists are in the order of [Posted.Compare].
type fold struct {
	now       time.Time
	t         *Timeline
	first     []*Posted // messages that replace nothing, by themselves
	known     map[ID]*Posted
	edits     map[ID][]*Posted // by what they replace
	deletes   map[ID][]*Posted
	reactions map[ID][]*Posted // by what they react to
	replaced  []ID             // keys of edits, in order of the first one
}

func (f *fold) sort(messages []Posted) {
	list := make([]*Posted, 0, len(messages))
	for _, p := range messages {
		if p.Message != nil {
			list = append(list, &p)
		}
	}
	slices.SortStableFunc(list, (*Posted).Compare)
	f.known = make(map[ID]*Posted, len(list))
	for _, p := range list {
		if was := f.known[p.ID]; was != nil { // CNT-32: a known id is shown once
			if was.Read.IsZero() || !p.Read.IsZero() && p.Read.Before(was.Read) {
				was.Read = p.Read
			}
			continue
		}
		f.known[p.ID] = p
		m := p.Message
		switch {
		case m.IsDelete():
			f.deletes[*m.Replaces] = append(f.deletes[*m.Replaces], p)
		case m.Replaces != nil:
			if f.edits[*m.Replaces] == nil {
				f.replaced = append(f.replaced, *m.Replaces)
			}
			f.edits[*m.Replaces] = append(f.edits[*m.Replaces], p)
		default:
			f.first = append(f.first, p)
			if counted(m) {
				f.reactions[*m.InReplyTo] = append(f.reactions[*m.InReplyTo], p)
			}
		}
	}
}

// counted says whether a message is shown as a count beside another. A reaction that
// cannot be shown that way is shown as the reply it also is (CNT-46).
func counted(m *Message) bool { return m.IsReaction() && len(m.Reactions()) > 0 }

// deletion finds what takes p back, nil for nothing.
func (f *fold) deletion(p *Posted, others Rights) *Posted {
	for _, d := range f.deletes[p.ID] {
		if d.Sender == p.Sender || d.Rights&others != 0 {
			return d
		}
	}
	return nil
}

// versions lists the edits of p that count.
func (f *fold) versions(p *Posted) []*Posted {
	var out []*Posted
	for _, e := range f.edits[p.ID] {
		if e.Sender == p.Sender && e.Message.IsReaction() == p.Message.IsReaction() {
			out = append(out, e)
		}
	}
	return out
}

func (f *fold) add(p *Posted) *Item {
	m := p.Message
	item := &Item{ID: p.ID, Sender: p.Sender, Accepted: p.Accepted, Topic: m.Topic, InReplyTo: m.InReplyTo,
		Versions: []Version{{p.ID, p.Accepted, m.Body}}}
	f.t.Items = append(f.t.Items, item)
	f.t.byID[p.ID] = item
	for _, e := range f.versions(p) {
		item.Versions = append(item.Versions, Version{e.ID, e.Accepted, e.Message.Body})
		f.t.byID[e.ID] = item
	}
	if d := f.deletion(p, DeleteOthersMessages); d != nil {
		item.Deleted, item.DeletedBy, item.Versions = true, d.Sender, nil
	}
	f.expire(item, p)
	return item
}

func (f *fold) expire(item *Item, p *Posted) {
	at, ok := p.Message.ExpiresAt(p.Read)
	if !ok {
		return
	}
	item.Expires = at
	if !f.now.Before(at) {
		item.Expired, item.Versions = true, nil
	}
}

// orphans shows edits whose original never came, each author's by itself: the id may name
// anybody's message, so they speak for their author only.
func (f *fold) orphans() {
	for _, id := range f.replaced {
		if f.known[id] != nil {
			continue
		}
		shown := make(map[mimi.UserURI]*Item)
		for _, e := range f.edits[id] {
			if e.Message.IsReaction() {
				continue
			}
			item := shown[e.Sender]
			if item == nil {
				item = f.orphan(id, e)
				shown[e.Sender] = item
			} else if !item.Deleted && !item.Expired {
				item.Versions = append(item.Versions, Version{e.ID, e.Accepted, e.Message.Body})
			}
			f.t.byID[e.ID] = item
		}
		if len(shown) == 1 {
			for _, item := range shown {
				f.t.byID[id] = item
			}
		}
	}
}

func (f *fold) orphan(id ID, e *Posted) *Item {
	item := &Item{ID: id, Sender: e.Sender, Accepted: e.Accepted, Topic: e.Message.Topic, InReplyTo: e.Message.InReplyTo,
		FirstMissing: true, Versions: []Version{{e.ID, e.Accepted, e.Message.Body}}}
	for _, d := range f.deletes[id] {
		if d.Sender == e.Sender || d.Rights&DeleteOthersMessages != 0 {
			item.Deleted, item.DeletedBy, item.Versions = true, d.Sender, nil
			break
		}
	}
	f.expire(item, e)
	f.t.Items = append(f.t.Items, item)
	return item
}

// react counts the reactions of every message that is still there.
func (f *fold) react() {
	given := make(map[*Item][]*Posted)
	for to, list := range f.reactions {
		if item := f.t.byID[to]; item != nil && !item.Deleted && !item.Expired {
			given[item] = append(given[item], list...)
		}
	}
	for item, list := range given {
		slices.SortFunc(list, (*Posted).Compare)
		item.Reactions = f.count(list)
	}
}

func (f *fold) count(list []*Posted) []Count {
	var counts []Count
	for _, p := range list {
		at, expires := p.Message.ExpiresAt(p.Read)
		if f.deletion(p, DeleteOthersReactions) != nil || expires && !f.now.Before(at) {
			continue
		}
		now := p.Message
		if v := f.versions(p); len(v) > 0 {
			now = v[len(v)-1].Message
		}
		for _, r := range now.Reactions() {
			i := slices.IndexFunc(counts, func(c Count) bool { return c.Reaction == r })
			if i < 0 {
				i, counts = len(counts), append(counts, Count{Reaction: r})
			}
			if !slices.Contains(counts[i].Senders, p.Sender) {
				counts[i].Senders = append(counts[i].Senders, p.Sender)
			}
		}
	}
	slices.SortStableFunc(counts, func(a, b Count) int { return len(b.Senders) - len(a.Senders) })
	return counts
}

// Item finds the message of which id is a version, nil if it is unknown: that may well
// be, and a reply to it is shown with a placeholder (CNT-41).
func (t *Timeline) Item(id ID) *Item { return t.byID[id] }

// Chain gives the messages a message answers, the nearest first, as far as they are
// known. It ends where it would go in a circle (CNT-40).
func (t *Timeline) Chain(id ID) []*Item {
	var out []*Item
	seen := make(map[*Item]bool)
	for item := t.byID[id]; item != nil && !seen[item]; {
		if seen[item] = true; len(seen) > 1 {
			out = append(out, item)
		}
		if item.InReplyTo == nil {
			break
		}
		item = t.byID[*item.InReplyTo]
	}
	return out
}

// A Thread is the messages of one topic, in order.
type Thread struct {
	Topic []byte
	Items []*Item
}

// Threads gives the messages by topic, topics in the order of their first message.
// Messages without a topic are in none (CNT-54).
func (t *Timeline) Threads() []Thread {
	var out []Thread
	index := make(map[string]int)
	for _, item := range t.Items {
		if len(item.Topic) == 0 {
			continue
		}
		i, ok := index[string(item.Topic)]
		if !ok {
			i = len(out)
			index[string(item.Topic)] = i
			out = append(out, Thread{Topic: item.Topic})
		}
		out[i].Items = append(out[i].Items, item)
	}
	return out
}
