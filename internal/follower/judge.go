package follower

import (
	"fmt"

	"hubbub/internal/room"
	"hubbub/internal/store"
	"hubbub/mimi"
)

// judge reads a hub's answer. An answer that does not decode is no decision:
// the outcome stays unknown and the submission is repeated.
func judge(kind store.SubmissionKind, answer []byte) (*verdict, error) {
	if kind == store.SubmitUpdate {
		return judgeUpdate(answer)
	}
	a, err := mimi.ParseSubmitMessageResponse(answer)
	if err != nil {
		return nil, fmt.Errorf("follower: answer of the hub: %w", err)
	}
	switch a.Code {
	case mimi.SubmitAccepted:
		return accepted(a.Timestamp)
	case mimi.SubmitEpochTooOld:
		return &verdict{reason: string(room.EpochTooOld), epoch: a.CurrentEpoch}, nil
	}
	return &verdict{reason: string(room.NotAllowed)}, nil
}

func judgeUpdate(answer []byte) (*verdict, error) {
	a, err := mimi.ParseUpdateRoomResponse(answer)
	if err != nil {
		return nil, fmt.Errorf("follower: answer of the hub: %w", err)
	}
	v := &verdict{detail: a.Description}
	switch a.Code {
	case mimi.UpdateSuccess:
		return accepted(a.Timestamp)
	case mimi.UpdateWrongEpoch:
		v.reason, v.epoch = string(room.WrongEpoch), a.CurrentEpoch
	case mimi.UpdateInvalidProposal:
		v.reason = string(room.InvalidProposal)
	default:
		v.reason = string(room.NotAllowed)
	}
	return v, nil
}

func accepted(timestamp uint64) (*verdict, error) {
	if timestamp == 0 {
		return nil, fmt.Errorf("follower: the hub accepted at no time")
	}
	return &verdict{accepted: timestamp}, nil
}

// commitEpoch is the epoch that the commit in an update body ends.
func commitEpoch(body []byte) (uint64, bool) {
	h, err := room.ParseHandshake("", body)
	if err != nil || !h.IsCommit() {
		return 0, false
	}
	return h.Epoch(), true
}

// submissionEpoch is the epoch a submission belongs to.
func submissionEpoch(s store.Submission) (uint64, bool) {
	if s.Kind == store.SubmitUpdate {
		h, err := room.ParseHandshake("", s.Body)
		if err != nil {
			return 0, false
		}
		return h.Epoch(), true
	}
	m, err := room.ParseSubmission("", s.Body)
	if err != nil {
		return 0, false
	}
	return m.Epoch(), true
}
