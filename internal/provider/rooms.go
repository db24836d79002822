package provider

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"hubbub/internal/failpoint"
	"hubbub/internal/federation"
	"hubbub/internal/follower"
	"hubbub/internal/hub"
	"hubbub/internal/keymaterial"
	"hubbub/internal/room"
	"hubbub/internal/store"
	"hubbub/mimi"
)

// rooms is what the client API asks of a room, wherever it is hosted: the one
// place where a local and a remote room part.
type rooms struct {
	domain      mimi.Domain
	store       store.Store
	hub         *hub.Hub
	follower    *follower.Follower
	keymaterial *keymaterial.Service
	remote      *federation.Client
	wakeClient  func(mimi.ClientURI)
}

// Submit makes a write durable. One to a room of ours is decided at once; one to
// a room of another provider waits in the outbox.
func (r *rooms) Submit(ctx context.Context, s store.Submission) (store.Submission, error) {
	if s.Room.Domain() != r.domain {
		stored, err := r.follower.Enqueue(ctx, s)
		failpoint.Hit("api.queued", "")
		return stored, err
	}
	return r.post(ctx, s)
}

// SubmitAll is Submit for several messages of one client to one room, in order.
// It takes all of them or none; after an error each may be tried by itself.
func (r *rooms) SubmitAll(ctx context.Context, list []store.Submission) ([]store.Submission, error) {
	if list[0].Room.Domain() != r.domain {
		return r.follower.EnqueueAll(ctx, list)
	}
	return r.postAll(context.WithoutCancel(ctx), list)
}

// MayPost says whether a client is known to be able to post to a room of another
// provider.
func (r *rooms) MayPost(uri mimi.RoomURI, client mimi.ClientURI) bool {
	return uri.Domain() != r.domain && r.follower.MayPost(uri, client)
}

// GroupInfo asks the room's hub.
func (r *rooms) GroupInfo(ctx context.Context, _ mimi.ClientURI, uri mimi.RoomURI, body []byte) ([]byte, error) {
	if uri.Domain() == r.domain {
		return r.hub.GroupInfo(ctx, r.domain, uri, body)
	}
	answer, err := r.remote.GroupInfo(ctx, uri.Domain(), uri, body)
	return answer, unreachable(uri.Domain(), err)
}

// KeyMaterial asks for a user's KeyPackages, by way of the room's hub.
func (r *rooms) KeyMaterial(ctx context.Context, _ mimi.ClientURI, target mimi.UserURI, body []byte) ([]byte, error) {
	return r.keymaterial.Claim(ctx, r.domain, target, body)
}

// CreateRoom makes a room that we host.
func (r *rooms) CreateRoom(ctx context.Context, client mimi.ClientURI, uri mimi.RoomURI, groupInfo, tree []byte) (room.Pos, error) {
	err := r.hub.Create(ctx, client, hub.CreateRequest{Room: uri, GroupInfo: groupInfo, Tree: tree})
	return room.StartPos(uri), err
}

// post stores a write to a room of ours and has the hub decide on it. If it ends
// in between, or the hub cannot decide just now, the row stays queued: the client,
// which got no answer, repeats it, and so does the outbox. The hub takes it once.
func (r *rooms) post(ctx context.Context, s store.Submission) (store.Submission, error) {
	ctx = context.WithoutCancel(ctx)
	s.Hub, s.State, s.EnqueuedAt = r.domain, store.Queued, uint64(time.Now().UnixMilli())
	err := r.store.Update(ctx, func(tx store.Tx) (err error) {
		if _, err := tx.RoomHead(s.Room); err != nil {
			return err
		}
		s, err = tx.Enqueue(s)
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return s, mimi.NewProblem(http.StatusNotFound, mimi.CodeNoSuchRoom, "no such room")
	}
	if err != nil || s.State != store.Queued {
		return s, err
	}
	failpoint.Hit("api.own.queued", "")
	rejected, err := r.decide(ctx, s)
	failpoint.Hit("api.own.decided", "")
	if err != nil {
		r.follower.Take(s)
		return s, err
	}
	defer r.wakeClient(s.Client)
	return r.settled(ctx, s, rejected)
}

// postAll is post for several messages: one transaction queues them all, and the
// hub decides on them together.
func (r *rooms) postAll(ctx context.Context, list []store.Submission) ([]store.Submission, error) {
	for i := range list {
		list[i].Hub, list[i].State, list[i].EnqueuedAt = r.domain, store.Queued, uint64(time.Now().UnixMilli())
	}
	var stored []store.Submission
	err := r.store.Update(ctx, func(tx store.Tx) (err error) {
		if known, err := tx.HasRoom(list[0].Room); err != nil || !known {
			return errors.Join(err, store.ErrNotFound)
		}
		stored, err = tx.EnqueueAll(list)
		return err
	})
	if err != nil {
		return nil, err
	}
	var items []mimi.BatchItem
	var asked []int
	for i, s := range stored {
		if s.State == store.Queued {
			items = append(items, mimi.BatchItem{Kind: mimi.BatchMessage, Room: s.Room, Body: s.Body})
			asked = append(asked, i)
		}
	}
	defer r.wakeClient(list[0].Client)
	answers := r.hub.Batch(r.domain, items)
	if err := r.rereadAll(ctx, stored, asked); err != nil {
		return nil, err
	}
	for i, a := range answers {
		s := &stored[asked[i]]
		if s.State != store.Queued {
			continue
		}
		rejected, err := readAnswer(a)
		if err != nil {
			for _, i := range asked[i:] {
				if stored[i].State == store.Queued {
					r.follower.Take(stored[i])
				}
			}
			return nil, err
		}
		if *s, err = r.settled(ctx, *s, rejected); err != nil {
			return nil, err
		}
	}
	return stored, nil
}

func (r *rooms) rereadAll(ctx context.Context, list []store.Submission, which []int) error {
	return r.store.View(ctx, func(tx store.ReadTx) error {
		for _, i := range which {
			row, err := tx.Submission(list[i].Client, list[i].Txn)
			if err != nil {
				return err
			}
			list[i] = *row
		}
		return nil
	})
}

// readAnswer is decide for a message of a batch.
func readAnswer(a mimi.BatchAnswer) (*rejection, error) {
	if a.Status == http.StatusOK {
		return readSubmit(a.Body)
	}
	p := mimi.ParseProblem(int(a.Status), "", a.Body, time.Now())
	if p.Retryable() {
		return nil, p
	}
	return &rejection{reason: p.Code, detail: p.Detail}, nil
}

// rejection is why a hub does not take a write.
type rejection struct {
	reason string
	detail string
	epoch  uint64
}

// decide asks the hub; nil means that the write is in the log.
func (r *rooms) decide(ctx context.Context, s store.Submission) (*rejection, error) {
	var answer []byte
	var err error
	if s.Kind == store.SubmitUpdate {
		answer, err = r.hub.Update(ctx, r.domain, s.Room, s.Body)
	} else {
		answer, err = r.hub.Submit(ctx, r.domain, s.Room, s.Body)
	}
	var p *mimi.Problem
	switch {
	case errors.As(err, &p) && !p.Retryable():
		return &rejection{reason: p.Code, detail: p.Detail}, nil
	case err != nil:
		return nil, err
	case s.Kind == store.SubmitUpdate:
		return readUpdate(answer)
	}
	return readSubmit(answer)
}

func readSubmit(answer []byte) (*rejection, error) {
	a, err := mimi.ParseSubmitMessageResponse(answer)
	if err != nil {
		return nil, fmt.Errorf("reading our own answer: %w", err)
	}
	switch a.Code {
	case mimi.SubmitAccepted:
		return nil, nil
	case mimi.SubmitEpochTooOld:
		return &rejection{reason: string(room.EpochTooOld), epoch: a.CurrentEpoch}, nil
	}
	return &rejection{reason: string(room.NotAllowed)}, nil
}

func readUpdate(answer []byte) (*rejection, error) {
	a, err := mimi.ParseUpdateRoomResponse(answer)
	if err != nil {
		return nil, fmt.Errorf("reading our own answer: %w", err)
	}
	switch a.Code {
	case mimi.UpdateSuccess:
		return nil, nil
	case mimi.UpdateWrongEpoch:
		return &rejection{string(room.WrongEpoch), a.Description, a.CurrentEpoch}, nil
	case mimi.UpdateInvalidProposal:
		return &rejection{reason: string(room.InvalidProposal), detail: a.Description}, nil
	}
	return &rejection{reason: string(room.NotAllowed), detail: a.Description}, nil
}

// settled gives the row as it stands after the decision. Appending the entry has
// settled an accepted one, unless the message was in the log before; that, and a
// rejection, is stored here.
func (r *rooms) settled(ctx context.Context, s store.Submission, rejected *rejection) (store.Submission, error) {
	if rejected == nil {
		row, err := r.reread(ctx, s)
		if err != nil || row.State != store.Queued {
			return row, err
		}
	}
	err := r.store.Update(ctx, func(tx store.Tx) error {
		if rejected != nil {
			s.State, s.Reason, s.Detail, s.Epoch = store.Rejected, rejected.reason, rejected.detail, rejected.epoch
			return tx.PutSubmission(s)
		}
		entry, err := tx.EntryByMessage(s.Room, s.MessageHash)
		if err != nil {
			return err
		}
		s.State, s.Seq, s.Accepted = store.Posted, entry.Seq, entry.Timestamp
		return tx.PutSubmission(s)
	})
	if err != nil {
		return s, err
	}
	return r.reread(ctx, s)
}

func (r *rooms) reread(ctx context.Context, s store.Submission) (store.Submission, error) {
	err := r.store.View(ctx, func(tx store.ReadTx) error {
		row, err := tx.Submission(s.Client, s.Txn)
		if err == nil {
			s = *row
		}
		return err
	})
	return s, err
}

// unreachable turns silence of a peer into something a client can be told.
func unreachable(peer mimi.Domain, err error) error {
	if errors.Is(err, federation.ErrHeld) {
		return mimi.NewProblem(http.StatusGatewayTimeout, "peer-unreachable", "%s is on hold: our operator wants nothing sent there for now", peer)
	}
	if errors.Is(err, federation.ErrUnreachable) {
		return mimi.NewProblem(http.StatusGatewayTimeout, "peer-unreachable", "%s does not answer", peer)
	}
	return err
}
