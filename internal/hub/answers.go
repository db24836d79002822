package hub

import (
	"hubbub/internal/room"
	"hubbub/internal/store"
	"hubbub/mimi"
)

type submitAnswers struct{}

func (submitAnswers) accepted(timestamp uint64, frank *mimi.Frank) ([]byte, error) {
	a := mimi.SubmitMessageResponse{Code: mimi.SubmitAccepted, Timestamp: timestamp, Frank: frank}
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

// again is the first answer to what has become an entry, made from the entry.
func again(a answers, e *store.Entry) ([]byte, error) {
	if e.Kind != room.KindApplication {
		return a.accepted(e.Timestamp, nil)
	}
	f, err := mimi.ParseFanoutMessage(e.Body)
	if err != nil {
		return nil, err
	}
	return a.accepted(e.Timestamp, f.Frank)
}

type updateAnswers struct{ in *room.Handshake }

func (updateAnswers) accepted(timestamp uint64, _ *mimi.Frank) ([]byte, error) {
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
