package content

import (
	"fmt"

	"github.com/fxamacker/cbor/v2"
)

// StatusMediaType is the type of an encoded [StatusReport].
const StatusMediaType = "application/mimi-message-status"

// A Status says what became of a message at one of its receivers
// (draft-mahy-mimi-message-status-01). Values beyond StatusError are kept.
type Status uint8

// The statuses of the draft.
const (
	StatusUnread Status = iota
	StatusDelivered
	StatusRead
	StatusExpired
	StatusDeleted
	StatusHidden
	StatusError
)

var statusNames = [...]string{"unread", "delivered", "read", "expired", "deleted", "hidden", "error"}

func (s Status) String() string {
	if int(s) < len(statusNames) {
		return statusNames[s]
	}
	return fmt.Sprintf("status %d", uint8(s))
}

// Next gives the status after a later report said to: a message that was read cannot
// become undelivered, and one that is gone stays gone; such reports change nothing, nor
// do values not known here (STS-5). A read message may be marked unread or hidden, and
// shown again.
func (s Status) Next(to Status) Status {
	switch {
	case to > StatusError, s == StatusExpired, s == StatusDeleted:
		return s
	case to == StatusDelivered && s != StatusUnread && s != StatusError:
		return s
	case to == StatusError && s != StatusUnread && s != StatusDelivered:
		return s
	}
	return to
}

// A MessageStatus is the status of one message.
type MessageStatus struct {
	_       struct{} `cbor:",toarray"`
	Message ID
	Status  Status
}

// A StatusReport tells the members of a room what became of messages of the same room at
// its sender: a delivery notification or a read receipt. It is an application message like
// others and never reported on itself (STS-2, STS-4). At most 4,096 entries; none is fine.
type StatusReport []MessageStatus

// maxStatuses bounds a report: its reader looks every message up.
const maxStatuses = 4096

// Encode gives the one encoding of the report, or an error wrapping [ErrInvalid].
func (r StatusReport) Encode() ([]byte, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	b := appendHead(nil, majorArray, uint64(len(r)))
	for _, s := range r {
		e, err := encMode.Marshal(s)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
		}
		b = append(b, e...)
	}
	return b, nil
}

// DecodeStatus reads a report and refuses every encoding but the deterministic one, as
// [Decode] does (STS-1). The error wraps [ErrInvalid].
func DecodeStatus(b []byte) (StatusReport, error) {
	if len(b) > MaxBytes {
		return nil, invalid("STS-1", "report is longer than %d octets", MaxBytes)
	}
	s := scanner{b: b, most: 3}
	if err := s.item(0, anyKey); err != nil {
		return nil, err
	}
	if s.off != len(b) {
		return nil, invalid("STS-1", "octets after the report")
	}
	head := scanner{b: b}
	if major, n, err := head.head(); err != nil || major != majorArray || n > maxStatuses {
		return nil, invalid("STS-1", "not a list of at most %d statuses", maxStatuses)
	}
	var list []cbor.RawMessage
	if err := decMode.Unmarshal(b, &list); err != nil {
		return nil, decodeError("STS-1", err)
	}
	r := make(StatusReport, len(list))
	for i, e := range list {
		if err := decMode.Unmarshal(e, &r[i]); err != nil {
			return nil, decodeError("STS-1", err)
		}
	}
	return r, r.check()
}

func (r StatusReport) check() error {
	if len(r) > maxStatuses {
		return invalid("STS-1", "more than %d statuses", maxStatuses)
	}
	for i := range r {
		if r[i].Message[0] != 1 {
			return invalid("CNT-32", "message id with an unknown hash algorithm")
		}
	}
	return nil
}
