package hub

import (
	"context"
	"errors"
	"net/http"
	"sync"

	"hubbub/internal/record"
	"hubbub/internal/room"
	"hubbub/internal/store"
	"hubbub/mimi"
)

// Submit decides on an application message and returns the body of the answer.
// Errors are *mimi.Problem or failures of our own, after which the peer asks
// again. peer is authenticated; for our own clients it is our domain.
func (h *Hub) Submit(_ context.Context, peer mimi.Domain, uri mimi.RoomURI, body []byte) ([]byte, error) {
	in, err := room.ParseSubmission(peer, body)
	if err != nil {
		return nil, err
	}
	return newWrite(h, peer, uri).submission(in).post()
}

// Update decides on a commit or on a bundle of proposals and returns the body of
// the answer. Errors are as for Submit.
func (h *Hub) Update(_ context.Context, peer mimi.Domain, uri mimi.RoomURI, body []byte) ([]byte, error) {
	in, err := room.ParseHandshake(peer, body)
	if err != nil {
		return nil, err
	}
	return newWrite(h, peer, uri).handshake(in).post()
}

// write is one write to a room on its way.
type write struct {
	hub     *Hub
	peer    mimi.Domain
	uri     mimi.RoomURI
	in      room.Input
	message bool // an application message
	hash    [32]byte
	answers answers
	ahead   *write          // the one before it in its batch; nil = none
	link    *store.JoinLink // by whose code its sender joins; nil = by none
	room    *hosted         // locked
	frank   *mimi.Frank     // of the entry that the batch makes of it

	// Owned by whoever decides on it until done is told.
	done     *sync.WaitGroup // shared by those that are waited for together
	settled  bool
	deferred bool // decided on after its batch; what stands behind it waits too
	refused  bool // by the rules
	answer   []byte
	err      error
}

func newWrite(h *Hub, peer mimi.Domain, uri mimi.RoomURI) *write {
	return &write{hub: h, peer: peer, uri: uri}
}

func (w *write) submission(in *room.Submission) *write {
	w.in, w.message, w.hash, w.answers = in, true, in.MessageHash(), submitAnswers{}
	return w
}

func (w *write) handshake(in *room.Handshake) *write {
	w.in, w.hash, w.answers = in, in.MessageHash(), updateAnswers{in}
	return w
}

// post has the room decide on the write and waits for the answer.
func (w *write) post() ([]byte, error) {
	w.hub.post(w.uri, []*write{w})
	return w.answer, w.err
}

// answers makes the bodies of one endpoint. They depend on nothing but what is
// in the log, so that a repeat gets the octets it got the first time.
type answers interface {
	accepted(timestamp uint64, frank *mimi.Frank) ([]byte, error)
	refused(r *room.Refusal) ([]byte, error)
	// repeats says whether a stored entry is what is being submitted.
	repeats(entry *store.Entry) bool
}

// run decides on the write by itself. The room is locked.
func (w *write) run(ctx context.Context) ([]byte, error) {
	answer, err := w.decide(ctx)
	if errors.Is(err, store.ErrConflict) { // another writer: look again, once
		if w.room.state == nil {
			if err := w.hub.load(ctx, w.uri, w.room); err != nil {
				return nil, err
			}
		}
		answer, err = w.decide(ctx)
	}
	return answer, err
}

// decide steps and stores. Whether the input is a repeat is looked up only when
// it was not accepted as new: what is in the log can never be accepted again,
// so the outcome is the same as if that were asked first, at half the cost.
func (w *write) decide(ctx context.Context) ([]byte, error) {
	if err := w.showCode(ctx); err != nil {
		return nil, err
	}
	next, eff, err := room.Step(w.hub.cfg.Env, *w.room.state, w.in, w.hub.nowMS())
	if err != nil {
		return nil, err
	}
	if eff.Refusal != nil || eff.Repeat != 0 {
		return w.repeatOr(ctx, &eff)
	}
	if w.hub.cfg.Limit != nil {
		if err := w.hub.cfg.Limit(w.peer); err != nil {
			if again, ok, e := w.repeat(ctx); ok || e != nil {
				return again, e
			}
			return nil, err
		}
	}
	a := accepted{hub: w.hub, room: w.room, next: next, eff: &eff, also: w.useCode}
	if refusal, err := a.store(ctx); refusal != nil {
		w.refused = true
		return w.answers.refused(refusal)
	} else if errors.Is(err, store.ErrExists) {
		return w.repeatOr(ctx, &room.Effects{Refusal: &room.Refusal{
			Code: room.NotAllowed, Description: "the message is in the log, with other proposals"}})
	} else if err != nil {
		return nil, err
	}
	a.announce()
	if eff.Entry.Kind == room.KindCommit {
		w.hub.upkeep(ctx, w.uri, w.room)
	}
	return w.answers.accepted(eff.Entry.Timestamp, eff.Entry.Frank)
}

// repeatOr answers a repeat as the first time, anything else with what eff says.
func (w *write) repeatOr(ctx context.Context, eff *room.Effects) ([]byte, error) {
	if again, ok, err := w.repeat(ctx); ok || err != nil {
		return again, err
	}
	if eff.Repeat != 0 {
		return w.answers.accepted(eff.Repeat, nil)
	}
	if eff.Refusal.Code == room.FrozenRoom {
		return nil, mimi.NewProblem(http.StatusServiceUnavailable, "room-frozen", "the room is frozen")
	}
	w.refused = true
	return w.answers.refused(eff.Refusal)
}

func (w *write) repeat(ctx context.Context) (answer []byte, ok bool, err error) {
	var entry *store.Entry
	err = w.hub.cfg.Store.View(ctx, func(tx store.ReadTx) (err error) {
		entry, err = tx.EntryByMessage(w.uri, w.hash)
		return err
	})
	if errors.Is(err, store.ErrNotFound) || err == nil && !w.answers.repeats(entry) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	answer, err = again(w.answers, entry)
	return answer, true, err
}

// accepted is an entry about to be stored with all that follows from it.
type accepted struct {
	hub  *Hub
	room *hosted // locked
	next room.State
	eff  *room.Effects
	also func(store.Tx) error // what else goes with it; nil = nothing

	row       store.Append
	followers map[mimi.Domain]bool // as it will be; nil = unchanged
	fresh     []mimi.Domain        // followers that start here
	gone      []mimi.Domain        // followers whose last client left
}

// store makes the entry durable. A refusal comes from rules that need the store.
func (a *accepted) store(ctx context.Context) (*room.Refusal, error) {
	prev := a.room.state
	var err error
	if a.row, err = record.Append(a.hub.cfg.Domain, prev.Pos, &a.next, a.eff); err != nil {
		return nil, err
	}
	if len(a.eff.Joined)+len(a.eff.Left) > 0 {
		a.planFollowers(prev)
	}
	var refusal *room.Refusal
	err = a.hub.commit(context.WithoutCancel(ctx), a.room, a.next, func(tx store.Tx) error {
		if err := tx.Append(a.row); err != nil {
			return err
		}
		if a.eff.Entry.Kind == room.KindApplication {
			return a.hub.extend(tx, prev.Pos, a.next.Pos, []store.Append{a.row})
		}
		if a.also != nil {
			if err := a.also(tx); err != nil {
				return err
			}
		}
		return a.writeFollowers(tx)
	})
	if errors.As(err, &refusal) {
		return refusal, nil
	}
	if err == nil && a.followers != nil {
		a.room.followers = a.followers
	}
	return nil, err
}

// announce tells those who wait for new entries. Nothing depends on it but time.
func (a *accepted) announce() {
	for _, peer := range a.fresh {
		if a.hub.cfg.Shipper != nil {
			a.hub.cfg.Shipper.Follow(a.next.Room, peer)
		}
	}
	a.hub.cfg.Wake(a.next.Room)
	if a.eff.Welcome != nil {
		for _, r := range a.eff.Welcome.Recipients {
			if r.Client.Domain() == a.hub.cfg.Domain {
				a.hub.cfg.WakeClient(r.Client)
			}
		}
	}
}
