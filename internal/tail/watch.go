package tail

import (
	"context"
	"errors"

	"hubbub/internal/room"
	"hubbub/internal/store"
	"hubbub/mimi"
)

// Watch gives a store whose new entries are in t by the time Update returns.
func Watch(s store.Store, t *Tails) store.Store { return &watched{s, t} }

type watched struct {
	store.Store
	tails *Tails
}

func (w *watched) Update(ctx context.Context, fn func(store.Tx) error) error {
	var tx observed
	err := w.Store.Update(ctx, func(inner store.Tx) error {
		tx.undo()
		tx = observed{Tx: inner, own: &w.tails.own}
		return fn(&tx)
	})
	if err != nil {
		if !errors.Is(err, store.ErrUnknownOutcome) {
			tx.undo()
		}
		return err
	}
	for _, s := range tx.settled {
		w.tails.own.drop(s)
	}
	for _, do := range tx.made {
		if do.entries == nil {
			w.tails.forget(do.uri)
		} else {
			w.tails.add(do.uri, do.entries)
		}
	}
	for _, then := range tx.then {
		then()
	}
	return nil
}

// observed sees the verbs by which logs begin and grow.
type observed struct {
	store.Tx
	own     *own
	held    []*store.Submission // in own by this transaction
	settled []*store.Submission // to leave own with its commit
	made    []made
	then    []func()
}

// undo takes out of own what the transaction had put there.
func (t *observed) undo() {
	for _, s := range t.held {
		t.own.drop(s)
	}
}

func (t *observed) hold(s *store.Submission) {
	if t.own.hold(s) {
		t.held = append(t.held, s)
	}
}

func (t *observed) Enqueue(s store.Submission) (store.Submission, error) {
	stored, err := t.Tx.Enqueue(s)
	if err == nil {
		t.hold(&stored)
	}
	return stored, err
}

func (t *observed) EnqueueAll(list []store.Submission) ([]store.Submission, error) {
	stored, err := t.Tx.EnqueueAll(list)
	if err == nil {
		for i := range stored {
			t.hold(&stored[i])
		}
	}
	return stored, err
}

func (t *observed) PutSubmission(s store.Submission) error {
	err := t.Tx.PutSubmission(s)
	if err == nil && s.State != store.Queued {
		t.settled = append(t.settled, &s)
	}
	return err
}

// Then has fn called once the effects of a transaction on a watched store are
// durable and in the tails, before Update returns. On other stores it never is.
func Then(tx store.Tx, fn func()) {
	if t, ok := tx.(*observed); ok {
		t.then = append(t.then, fn)
	}
}

// made is what one verb did to a log: entries that follow each other, none if it
// began.
type made struct {
	uri     mimi.RoomURI
	entries []*Entry
}

func (t *observed) CreateRoom(r store.RoomRecord, changes []room.Change, participants []room.Participant, joined []store.Membership) error {
	err := t.Tx.CreateRoom(r, changes, participants, joined)
	if err == nil {
		t.made = append(t.made, made{uri: r.URI})
	}
	return err
}

func (t *observed) Append(a store.Append) error {
	err := t.Tx.Append(a)
	if err == nil {
		t.made = append(t.made, made{a.Room, t.entriesOf([]store.Append{a})})
	}
	return err
}

func (t *observed) AppendAll(list []store.Append) error {
	err := t.Tx.AppendAll(list)
	if err == nil && len(list) > 0 {
		t.made = append(t.made, made{list[0].Room, t.entriesOf(list)})
	}
	return err
}

func (t *observed) entriesOf(list []store.Append) []*Entry {
	entries := make([]Entry, len(list)) // together: they come and go together
	out := make([]*Entry, len(list))
	for i := range list {
		a := &list[i]
		entries[i].Entry = a.Entry
		entries[i].Plain = a.Entry.Kind == room.KindApplication && a.State == nil && a.Participants == nil &&
			len(a.Changes)+len(a.Joined)+len(a.Left) == 0
		entries[i].Settles = t.own.settledBy(a.Room, &a.Entry)
		t.settled = append(t.settled, entries[i].Settles...)
		out[i] = &entries[i]
	}
	return out
}
