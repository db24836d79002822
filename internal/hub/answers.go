package hub

import (
	"hubbub/internal/room"
	"hubbub/internal/store"
	"hubbub/mimi"
)

type submitAnswers struct{}

func (submitAnswers) accepted(timestamp uint64) ([]byte, error) {
	a := mimi.SubmitMessageResponse{Code: mimi.SubmitAccepted, Timestamp: timestamp}
	return a.Marshal()
}

func (submitAnswers) refused(r *room.Refusal) ([]byte, error) {
	a := mimi.SubmitMessageResponse{Code: mimi.SubmitNotAllowed}
	if r.Code == room.EpochTooOld {
		a = mimi.SubmitMessageResponse{Code: mimi.SubmitEpochTooOld, CurrentEpoch: r.Epoch}
	}
	return a.Marshal()
}

func (submitAnswers) repeats(e *store.Entry) bool { return e.Kind == room.KindApplication }

type updateAnswers struct{ in *room.Handshake }

func (updateAnswers) accepted(timestamp uint64) ([]byte, error) {
	a := mimi.UpdateRoomResponse{Code: mimi.UpdateSuccess, Timestamp: timestamp}
	return a.Marshal()
}

func (updateAnswers) refused(r *room.Refusal) ([]byte, error) {
	a := mimi.UpdateRoomResponse{Code: mimi.UpdateNotAllowed, Description: r.Description}
	switch r.Code {
	case room.WrongEpoch:
		a.Code, a.CurrentEpoch = mimi.UpdateWrongEpoch, r.Epoch
	case room.InvalidProposal:
		a.Code, a.InvalidProposals = mimi.UpdateInvalidProposal, r.Refs
	}
	return a.Marshal()
}

func (u updateAnswers) repeats(e *store.Entry) bool { return u.in.Repeats(e.Body) }
