package client

import (
	"hubbub/mimi"
	"hubbub/mimi/content"
	"hubbub/mimi/policy"
	"hubbub/mls"
)

// policyState is the room's policy in the group's present epoch. It is kept while
// the epoch lasts, for every message asks for it.
func (b *batch) policyState(r *room) (*policy.State, error) { return b.c.policyState(r.uri, r.group) }

// policyState is that of a group. mu is held.
func (c *Client) policyState(uri mimi.RoomURI, g *mls.Group) (*policy.State, error) {
	if have, ok := c.policies[uri]; ok && have.group == g.Public() {
		return have.state, nil
	}
	s, err := policy.StateOf(uri, g.Public())
	if err == nil {
		c.policies[uri] = policyAt{g.Public(), s}
	}
	return s, err
}

// policyAt is a policy and the group it was read from.
type policyAt struct {
	group *mls.PublicGroup
	state *policy.State
}

// judge asks the room's policy about a message of its sender (POL-54, POL-55) and
// notes the rights over others that the sender has. It gives why not, in words.
func (b *batch) judge(r *room, rec *record, msg *content.Message) (denied string, err error) {
	if r.group == nil {
		return "", nil
	}
	s, err := b.policyState(r)
	if err != nil {
		return "the room's policy cannot be read: " + err.Error(), nil
	}
	if rec.kind == kindDelete {
		rec.rights = s.Rights(rec.Sender)
	}
	about := policy.About{}
	if msg.Replaces != nil {
		target, err := b.c.record(rec.Room, MessageID(*msg.Replaces))
		if err != nil {
			return "", err
		}
		if target != nil {
			about.Author = target.Sender
		}
	}
	if rec.Topic != "" && rec.kind == kindWrite {
		var known bool
		if err := b.tx.QueryRow("SELECT EXISTS (SELECT 1 FROM message WHERE room = ? AND topic = ? AND id <> ?)",
			string(rec.Room), []byte(rec.Topic), rec.ID[:]).Scan(&known); err != nil {
			return "", err
		}
		about.NewTopic = !known
	}
	if err := policy.AuthorizeContent(s, rec.Sender, msg, about, rec.Timestamp); err != nil {
		return policy.DecisionOf(err).Explain(), nil
	}
	return "", nil
}

// receive stores a message of somebody else, or of another device of this user, and
// does what it says.
func (b *batch) receive(r *room, rec *record, msg *content.Message) error {
	denied, err := b.judge(r, rec, msg)
	switch {
	case err != nil:
		return err
	case denied != "" && rec.kind != kindWrite:
		return nil // it changes nothing, and there is nothing to show of it
	case denied != "":
		rec.gone, rec.why = goneDenied, denied
	}
	if rec.Sender == b.c.user {
		rec.startExpiry(rec.Timestamp) // the author has read it
	}
	if rec.kind != kindWrite {
		return b.act(rec, false)
	}
	added, err := b.insert(rec, false, nil)
	if !added || err != nil {
		return err
	}
	replaces, err := b.adopt(rec)
	if err != nil {
		return err
	}
	if rec.Sender != b.c.user && rec.gone == there {
		b.toReport(r, rec.ID)
	}
	m, err := b.c.show(rec)
	if err != nil {
		return err
	}
	if replaces {
		b.emit(MessageUpdated{Message: *m, What: Edited, By: rec.Sender})
		return nil
	}
	b.emit(MessageReceived{Message: *m})
	return nil
}

// adopt gives a new message, or reaction, what was said about it before it came: that
// happens when the original was kept back, as by a refusal, and its edit was not.
// Replaces says that such an edit was shown in its place.
func (b *batch) adopt(rec *record) (replaces bool, err error) {
	about, err := b.c.records("root = ? AND +room = ? AND kind <> 4 ORDER BY seq", rec.ID[:], string(rec.Room))
	if err != nil || len(about) == 0 {
		return false, err
	}
	if _, err := b.tx.Exec("UPDATE message SET flags = flags & ~4, expires = NULL WHERE root = ?", rec.ID[:]); err != nil {
		return false, err
	}
	for _, a := range about {
		replaces = replaces || a.flags&flagOrphan != 0 && a.Sender == rec.Sender
		if a.kind == kindDelete && a.Seq > 0 && mayDelete(rec, a) {
			return replaces, b.wipe(rec, goneDeleted, string(a.Sender), false)
		}
	}
	if rec.kind == kindReaction {
		_, err := b.tx.Exec("UPDATE message SET root = ? WHERE root = ?", rec.root[:], rec.ID[:])
		return false, err
	}
	return replaces, b.flag(rec, flagRelated)
}

func (b *batch) flag(rec *record, flag int) error {
	if rec.flags&flag != 0 {
		return nil
	}
	rec.flags |= flag
	_, err := b.tx.Exec("UPDATE message SET flags = flags | ? WHERE id = ?", flag, rec.ID[:])
	return err
}

// mayDelete says whether a deletion counts: of the own, or with the right to (POL-55).
func mayDelete(target, deletion *record) bool {
	right := content.DeleteOthersMessages
	if target.kind == kindReaction {
		right = content.DeleteOthersReactions
	}
	return target.Sender == deletion.Sender || deletion.rights&right != 0
}

// act does what an edit, a deletion or a reaction that is posted says. Stored says
// that it is in the table: it is of this device. What does not count is not stored.
func (b *batch) act(rec *record, stored bool) error {
	target, err := b.c.record(rec.Room, rec.root)
	if err != nil {
		return err
	}
	if target != nil && !counts(rec, target) {
		return nil
	}
	root := rec.root
	if target != nil && !target.root.IsZero() {
		root = target.root
	}
	if rec.kind != kindDelete {
		rec.root = root
	}
	switch {
	case target == nil && rec.kind == kindEdit:
		return b.orphan(rec)
	case target != nil:
		if rec.expires = 0; rec.kind == kindReaction {
			rec.expires = target.expires
		}
		if target.gone != there {
			rec.content, rec.Text, rec.gone, rec.why = []byte{}, "", target.gone, target.why
		}
	}
	if !stored {
		if added, err := b.insert(rec, false, nil); !added || err != nil {
			return err
		}
		if rec.kind == kindReaction {
			if _, err := b.adopt(rec); err != nil {
				return err
			}
		}
	} else if _, err := b.tx.Exec("UPDATE message SET root = ?, rights = ?, gone = ?, why = ?, content = ?, text = ? WHERE id = ?",
		rec.root[:], rec.rights, rec.gone, rec.why, rec.content, rec.Text, rec.ID[:]); err != nil {
		return err
	}
	if target == nil {
		return b.updatedOrphans(rec)
	}
	if target.gone != there {
		return nil
	}
	if rec.kind == kindDelete {
		if err := b.wipe(target, goneDeleted, string(rec.Sender), false); err != nil {
			return err
		}
	}
	shown, err := b.c.record(rec.Room, root)
	if shown == nil || err != nil {
		return err
	}
	if err := b.flag(shown, flagRelated); err != nil {
		return err
	}
	return b.updated(shown, updateOf(rec, target), rec.Sender)
}

// counts says whether an act can be about a message: edits and deletions name first
// versions, edits are by the author and turn reactions into nothing but reactions,
// and nobody reacts to reactions.
func counts(rec, target *record) bool {
	switch rec.kind {
	case kindDelete:
		return (target.kind == kindWrite || target.kind == kindReaction) && mayDelete(target, rec)
	case kindEdit:
		msg, err := content.Decode(rec.content)
		if err != nil || target.Sender != rec.Sender || target.kind != kindWrite && target.kind != kindReaction {
			return false
		}
		return msg.IsReaction() == (target.kind == kindReaction)
	}
	return target.kind == kindWrite || target.kind == kindEdit
}

func updateOf(rec, target *record) Update {
	switch {
	case rec.kind == kindReaction || target.kind == kindReaction:
		return Reacted
	case rec.kind == kindDelete:
		return Deleted
	}
	return Edited
}

// orphan stores an edit of a message that is not here; the first of its author is
// shown in the message's place.
func (b *batch) orphan(rec *record) error {
	var known bool
	if err := b.tx.QueryRow("SELECT EXISTS (SELECT 1 FROM message WHERE root = ? AND sender = ? AND flags & 4)", rec.root[:], string(rec.Sender)).
		Scan(&known); err != nil {
		return err
	}
	if !known {
		rec.flags |= flagOrphan
	}
	if added, err := b.insert(rec, false, nil); !added || err != nil {
		return err
	}
	list, err := b.c.records("root = ? AND sender = ? AND flags & 4", rec.root[:], string(rec.Sender))
	if err != nil || len(list) == 0 {
		return err
	}
	m, err := b.c.show(list[0])
	if err != nil {
		return err
	}
	if known {
		b.emit(MessageUpdated{Message: *m, What: Edited, By: rec.Sender})
	} else {
		b.emit(MessageReceived{Message: *m})
	}
	return nil
}

// updatedOrphans tells of edits that are shown in place of a message which something
// was said about.
func (b *batch) updatedOrphans(rec *record) error {
	list, err := b.c.records("root = ? AND +room = ? AND flags & 4", rec.root[:], string(rec.Room))
	for _, shown := range list {
		if err == nil && (rec.kind == kindReaction || mayDelete(shown, rec)) {
			err = b.updated(shown, updateOf(rec, shown), rec.Sender)
		}
	}
	return err
}

// updated tells of a message that changed.
func (b *batch) updated(rec *record, what Update, by mimi.UserURI) error {
	m, err := b.c.show(rec)
	if err == nil {
		b.emit(MessageUpdated{Message: *m, What: what, By: by})
	}
	return err
}

// wipe takes text and content of a message off the disk, and of what was said about
// it. Waiting says whether that includes what is on its way from this device.
func (b *batch) wipe(rec *record, gone int, why string, waiting bool) error {
	rec.gone, rec.why, rec.Text, rec.content, rec.expires = gone, why, "", []byte{}, 0
	b.wiped = true
	if _, err := b.tx.Exec("UPDATE message SET text = '', content = x'', gone = ?, why = ?, expires = NULL WHERE id = ?", gone, why, rec.ID[:]); err != nil {
		return err
	}
	about := rec.ID
	switch {
	case rec.flags&flagOrphan != 0:
		about = rec.root
	case rec.kind != kindWrite:
		return nil
	}
	_, err := b.tx.Exec(`UPDATE message SET text = '', content = x'', gone = ?, why = ?, expires = NULL
		WHERE root = ? AND (? OR NOT (mine = 1 AND state IN ('sending', 'queued')))`, gone, why, about[:], waiting)
	return err
}
