package fsck

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"

	"hubbub/internal/record"
	"hubbub/internal/room"
	"hubbub/internal/store"
	"hubbub/mimi"
	"hubbub/mls"
)

// projections compares what is stored beside the log with what follows from it.
func (w *walk) projections() error {
	if w.replay == nil || w.broken {
		return nil
	}
	history, err := w.tx.History(w.uri, 0)
	if err != nil {
		return err
	}
	w.compareHistory(history)
	participants, err := w.tx.Participants(w.uri)
	if err != nil {
		return err
	}
	if want := w.replay.state.Participants(); !slices.Equal(participants, want) {
		w.wrong("participants", 0, "stored are %v, the log gives %v", participants, want)
	}
	if err := w.former(); err != nil {
		return err
	}
	if w.rec.Hub == w.cfg.Domain {
		owner, err := w.tx.Meta(record.GroupKey(w.replay.state.Group().GroupID()))
		if err != nil || string(owner) != string(w.uri) {
			w.wrong("group", 0, "its group id is not reserved for it: %q, %v", owner, err)
		}
	}
	if epoch := w.replay.state.Epoch(); w.rec.Epoch != epoch {
		w.wrong("room", 0, "the epoch is stored as %d, the log gives %d", w.rec.Epoch, epoch)
	}
	spans, err := w.tx.RoomMemberships(w.uri)
	if err != nil {
		return err
	}
	w.compareSpans(spans)
	return w.compareState()
}

// former checks that everybody who ever was in the room still finds it, unless it was
// set aside, which is in nobody's list.
func (w *walk) former() error {
	if w.rec.Former != "" {
		return nil
	}
	seen := map[mimi.UserURI]bool{}
	for _, c := range w.replay.history {
		if seen[c.User] {
			continue
		}
		seen[c.User] = true
		rooms, err := w.tx.RoomsOfUser(c.User)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(rooms, func(r store.RoomRecord) bool { return r.URI == w.uri }) {
			w.wrong("participants", c.Seq, "%s, whom the log names, is in no row", c.User)
		}
	}
	return nil
}

func (w *walk) compareHistory(stored []room.Change) {
	want := w.replay.history
	for i := range max(len(stored), len(want)) {
		switch {
		case i >= len(stored):
			w.wrong("history", want[i].Seq, "line %d is missing: %v", i+1, want[i])
		case i >= len(want):
			w.wrong("history", stored[i].Seq, "line %d follows from nothing: %v", i+1, stored[i])
		case stored[i] != want[i]:
			w.wrong("history", want[i].Seq, "line %d is stored as %v, the log gives %v", i+1, stored[i], want[i])
		default:
			continue
		}
		return
	}
}

func (w *walk) compareSpans(stored []store.Membership) {
	want := w.replay.spans
	for i, m := range stored {
		if m.Acked > w.rec.Head.Seq {
			w.wrong("membership", 0, "%s has acknowledged %d of %d entries", m.Client, m.Acked, w.rec.Head.Seq)
		}
		stored[i].Acked, stored[i].Room = 0, w.name
	}
	if !slices.Equal(stored, want) && !w.own() { // there the log alone does not say it
		w.wrong("membership", 0, "stored are %v, the log gives %v", stored, want)
	}
}

// compareState holds the stored group against the one that follows from the log.
func (w *walk) compareState() error {
	if w.stored == nil {
		return nil
	}
	have, err := w.stored.Group().MarshalBinary()
	if err != nil {
		return err
	}
	want, err := w.replay.state.Group().MarshalBinary()
	if err != nil {
		return err
	}
	if !bytes.Equal(have, want) {
		w.wrong("state", 0, "the stored group is not the one that the log gives, from octet %d of its encoding on", firstDifference(have, want))
	}
	if !slices.Equal(w.stored.Members(), w.replay.state.Members()) {
		w.wrong("state", 0, "stored are the members %v, the log gives %v", w.stored.Members(), w.replay.state.Members())
	}
	same := slices.EqualFunc(w.stored.Pending(), w.replay.state.Pending(), func(a, b room.Pending) bool {
		return bytes.Equal(a.Ref, b.Ref) && bytes.Equal(a.Message, b.Message) && a.Timestamp == b.Timestamp
	})
	if !same {
		w.wrong("state", 0, "the stored pending proposals are not those of the log")
	}
	return nil
}

func firstDifference(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

// clients checks what is stored of the local users' clients.
func (c *check) clients(ctx context.Context) {
	err := c.cfg.Store.View(ctx, func(tx store.ReadTx) error {
		users, err := tx.Users()
		if err != nil {
			return err
		}
		for _, u := range users {
			if p, err := mimi.ParseUser(string(u)); err != nil || c.cfg.Domain != "" && p.Domain() != c.cfg.Domain {
				c.found(Finding{What: "user", Wrong: fmt.Sprintf("%q is none of ours", string(u))})
			}
			clients, err := tx.ClientsOfUser(u)
			if err != nil {
				return err
			}
			for i := range clients {
				if err := c.client(tx, &clients[i]); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil && ctx.Err() == nil {
		c.found(Finding{What: "clients", Wrong: err.Error()})
	}
}

func (c *check) client(tx store.ReadTx, cl *store.Client) error {
	what := "client " + string(cl.URI)
	credential := mls.Credential{Type: mls.CredentialTypeX509, Certificates: cl.Certificates}
	id, err := mimi.ClaimedIdentity(&credential)
	if err != nil || id.Client != cl.URI || id.User != cl.User || !certifies(cl.Certificates, cl.SignatureKey) {
		c.found(Finding{What: what, Wrong: "its certificate is not for this name and key"})
	}
	welcomes, err := tx.InWelcomes(cl.URI)
	if err != nil {
		return err
	}
	for _, in := range welcomes {
		if f, err := mimi.ParseFanoutMessage(in.Body); err != nil || f.Kind() != mimi.FanoutWelcome {
			c.found(Finding{Room: in.Room, Seq: in.Seq, What: "welcome", Wrong: fmt.Sprintf("for %s does not decode", cl.URI)})
		}
	}
	subs, err := tx.Submissions(cl.URI, 0)
	if err != nil {
		return err
	}
	for i := range subs {
		whole, err := tx.Submission(cl.URI, subs[i].Txn)
		if err != nil {
			return err
		}
		if err := c.submission(tx, whole); err != nil {
			return err
		}
	}
	return nil
}

// certifies says whether the first of a chain is for an Ed25519 key.
func certifies(chain [][]byte, key []byte) bool {
	cert, err := x509.ParseCertificate(chain[0])
	if err != nil {
		return false
	}
	public, err := x509.MarshalPKIXPublicKey(cert.PublicKey)
	return err == nil && bytes.HasSuffix(public, key) && len(key) > 0
}

// submission checks that a write is what its client sent, and where it says.
func (c *check) submission(tx store.ReadTx, s *store.Submission) error {
	what := fmt.Sprintf("submission %d of %s", s.ID, s.Client)
	var hash [32]byte
	var err error
	switch s.Kind {
	case store.SubmitMessage:
		var in *room.Submission
		if in, err = room.ParseSubmission(s.Client.Domain(), s.Body); err == nil {
			hash = in.MessageHash()
		}
	case store.SubmitUpdate:
		var in *room.Handshake
		if in, err = room.ParseHandshake(s.Client.Domain(), s.Body); err == nil {
			hash = in.MessageHash()
		}
	default:
		err = fmt.Errorf("kind %d", s.Kind)
	}
	if err != nil || hash != s.MessageHash {
		c.found(Finding{Room: s.Room, What: what, Wrong: "the body is not what the client sent"})
		return nil
	}
	if s.State < store.Queued || s.State > store.Expired {
		c.found(Finding{Room: s.Room, What: what, Wrong: fmt.Sprintf("is in state %d, which there is not", s.State)})
	}
	if s.State != store.Posted {
		return nil
	}
	e, err := c.entryOf(tx, s)
	switch {
	case errors.Is(err, store.ErrNotFound):
		c.found(Finding{Room: s.Room, Seq: s.Seq, What: what, Wrong: "is posted, but not in the log"})
	case err != nil:
		return err
	case e.Seq != s.Seq || e.Timestamp != s.Accepted:
		c.found(Finding{Room: s.Room, Seq: e.Seq, What: what, Wrong: fmt.Sprintf("is posted at %d, the log has it at %d", s.Seq, e.Seq)})
	}
	return nil
}

// entryOf finds the entry of a posted write in the log or, if it was given up with
// the rest of a copy, there.
func (c *check) entryOf(tx store.ReadTx, s *store.Submission) (*store.Entry, error) {
	e, err := tx.EntryByMessage(s.Room, s.MessageHash)
	for _, uri := range c.aside[s.Room] {
		if err == nil && e.Seq == s.Seq && e.Timestamp == s.Accepted {
			break
		}
		if old, oldErr := tx.EntryByMessage(uri, s.MessageHash); oldErr == nil && old.Seq == s.Seq {
			return old, nil
		}
	}
	return e, err
}
