package follower

import (
	"context"
	"errors"
	"net/http"
	"runtime"
	"slices"

	"hubbub/internal/room"
	"hubbub/internal/store"
	"hubbub/mimi"
)

// Enqueue makes a client's write to a room of another provider durable and
// returns it, Queued or, if the client asks a second time, as it stands by now.
// Client, Txn, Room, Kind and Body are the caller's; the rest is filled in.
// Refusals are *mimi.Problem: what does not decode, an unknown room, somebody
// else's identity, a Txn used before for something else, and what finds the outbox
// full.
func (f *Follower) Enqueue(ctx context.Context, s store.Submission) (store.Submission, error) {
	s.Hub, s.State, s.EnqueuedAt = s.Room.Domain(), store.Queued, f.nowMS()
	var sender mimi.UserURI
	var joins bool
	var err error
	if s.MessageHash, sender, joins, err = inspect(s); err != nil {
		return s, err
	}
	if s.Hub == f.cfg.Domain {
		return s, mimi.NewProblem(http.StatusNotFound, mimi.CodeNoSuchRoom, "the room is hosted here")
	}
	var stored store.Submission
	err = f.cfg.Store.Update(context.WithoutCancel(ctx), func(tx store.Tx) (err error) {
		if err := f.checkOwner(tx, s, sender, joins); err != nil {
			return err
		}
		if full := f.outbox.hasRoom([]store.Submission{s}); full != nil {
			// A repeat is answered however full it is.
			if _, err := tx.Submission(s.Client, s.Txn); errors.Is(err, store.ErrNotFound) {
				return full
			}
		}
		if stored, err = tx.Enqueue(s); err == nil {
			f.outbox.insert(stored)
			runtime.Gosched() // it may leave before its row becomes durable: now
		}
		return err
	})
	err = f.settle(ctx, s, &stored, err)
	switch {
	case errors.Is(err, store.ErrExists):
		return s, mimi.NewProblem(http.StatusConflict, "txn-conflict", "this transaction id was used for something else")
	case err != nil:
		return s, err
	}
	f.tell(stored)
	return stored, nil
}

// tell has a client shown those of its writes that are settled from the start. Of
// the others it hears by the answer that it waits for, and once they are settled.
func (f *Follower) tell(stored ...store.Submission) {
	if slices.ContainsFunc(stored, func(s store.Submission) bool { return s.State != store.Queued }) {
		f.cfg.WakeClient(stored[0].Client)
	}
}

// EnqueueAll is Enqueue for several writes of one client to one room, in order:
// all of them or none. After an error each may be tried by itself.
func (f *Follower) EnqueueAll(ctx context.Context, list []store.Submission) ([]store.Submission, error) {
	if len(list) == 0 {
		return nil, nil
	}
	senders := map[mimi.UserURI]bool{}
	for i := range list {
		s := &list[i]
		s.Hub, s.State, s.EnqueuedAt = s.Room.Domain(), store.Queued, f.nowMS()
		var sender mimi.UserURI
		var err error
		if s.MessageHash, sender, _, err = inspect(*s); err != nil {
			return nil, err
		}
		if s.Hub == f.cfg.Domain || s.Room != list[0].Room || s.Client != list[0].Client {
			return nil, mimi.NewProblem(http.StatusNotFound, mimi.CodeNoSuchRoom, "the room is not one followed here")
		}
		senders[sender] = true
	}
	var stored []store.Submission
	err := f.cfg.Store.Update(context.WithoutCancel(ctx), func(tx store.Tx) (err error) {
		for sender := range senders {
			if err := f.checkOwner(tx, list[0], sender, false); err != nil {
				return err
			}
		}
		if full := f.outbox.hasRoom(list); full != nil {
			return full
		}
		if stored, err = tx.EnqueueAll(list); err == nil {
			f.outbox.insert(stored...)
			runtime.Gosched()
		}
		return err
	})
	if errors.Is(err, store.ErrUnknownOutcome) {
		for i, s := range stored {
			f.settle(ctx, list[i], &s, err)
		}
		return nil, err // asked again, one by one, the client gets what is stored
	}
	f.outbox.settle(err == nil, stored...)
	if err != nil {
		return nil, err
	}
	f.tell(stored...)
	return stored, nil
}

// settle tells the outbox what became of the row it was shown inside the
// transaction. After an unknown outcome the store is asked.
func (f *Follower) settle(ctx context.Context, s store.Submission, stored *store.Submission, err error) error {
	if stored.ID == 0 {
		return err
	}
	if errors.Is(err, store.ErrUnknownOutcome) {
		var row *store.Submission
		ask := f.cfg.Store.View(context.WithoutCancel(ctx), func(tx store.ReadTx) (err error) {
			row, err = tx.Submission(s.Client, s.Txn)
			return err
		})
		if ask == nil && row.ID == stored.ID {
			*stored, err = *row, nil
		}
	}
	f.outbox.settle(err == nil, *stored)
	return err
}

// checkOwner refuses a write in somebody else's name and one to a room of which
// this provider knows nothing, unless it is a client's own entry into it.
func (f *Follower) checkOwner(tx store.Tx, s store.Submission, sender mimi.UserURI, joins bool) error {
	user, err := f.userOf(tx, s.Client)
	if errors.Is(err, store.ErrNotFound) {
		return mimi.NewProblem(http.StatusForbidden, mimi.CodeForbidden, "no such client")
	}
	if err != nil {
		return err
	}
	if sender != "" && sender != user {
		return mimi.NewProblem(http.StatusForbidden, "identity-mismatch", "the sender is another user")
	}
	if joins {
		return nil
	}
	if known, err := tx.HasRoom(s.Room); err != nil {
		return err
	} else if !known {
		return mimi.NewProblem(http.StatusNotFound, mimi.CodeNoSuchRoom, "no such room")
	}
	return nil
}

// userOf finds the user of a client, which never changes: one that wrote before
// costs the writer of the store nothing.
func (f *Follower) userOf(tx store.Tx, client mimi.ClientURI) (mimi.UserURI, error) {
	if user, known := f.users.Load(client); known {
		return user.(mimi.UserURI), nil
	}
	c, err := tx.Client(client)
	if err != nil {
		return "", err
	}
	f.users.Store(client, c.User)
	return c.User, nil
}

// inspect decodes a submission as the hub will, so that what cannot be accepted
// is refused before it is promised. sender is known for messages only; joins says
// that it is the commit by which a client lets itself in.
func inspect(s store.Submission) (hash [32]byte, sender mimi.UserURI, joins bool, err error) {
	if s.Kind == store.SubmitUpdate {
		in, err := room.ParseHandshake(s.Client.Domain(), s.Body)
		if err != nil {
			return hash, "", false, err
		}
		return in.MessageHash(), "", in.Joins(), nil
	}
	in, err := room.ParseSubmission(s.Client.Domain(), s.Body)
	if err != nil {
		return hash, "", false, err
	}
	return in.MessageHash(), in.Sender, false, nil
}
