package mimi

import (
	"fmt"

	"hubbub/mls/wire"
)

// EndpointSubmitBatch is an extension of ours: an ordered batch of writes to
// rooms of one hub in one request, with one answer for each.
const EndpointSubmitBatch Endpoint = "x-submitBatch"

// EndpointCatchUp is an extension of ours: what a room's log holds after a place,
// as a stream. A participating provider asks the hub; the hub asks a follower
// when it has lost something itself.
const EndpointCatchUp Endpoint = "x-catchUp"

// MaxBatchItems bounds how many writes one batch may carry.
const MaxBatchItems = 512

// A BatchKind says which endpoint a write in a batch is meant for.
type BatchKind uint8

// The kinds of writes in a batch.
const (
	BatchMessage BatchKind = 1 // body: SubmitMessageRequest
	BatchUpdate  BatchKind = 2 // body: UpdateRequest
)

// A BatchItem is one write of a batch.
type BatchItem struct {
	Kind BatchKind
	Room RoomURI
	Body []byte // the body that its own endpoint would be sent
}

// A BatchRequest is the body of x-submitBatch. The writes to one room are
// carried out in their order; writes to different rooms do not wait for each
// other. Behind a write that was not decided on (a status other than 200 in its
// answer) and behind an update that was refused, later writes to the same room
// are not tried: their status is 503.
type BatchRequest struct{ Items []BatchItem }

// ParseBatchRequest reads a body. The error wraps [ErrMalformed] or [ErrBadURI].
func ParseBatchRequest(b []byte) (*BatchRequest, error) {
	r := new(BatchRequest)
	if err := parseBody(b, r); err != nil {
		return nil, err
	}
	return r, nil
}

// Marshal gives the body.
func (b *BatchRequest) Marshal() ([]byte, error) {
	size := 16
	for i := range b.Items {
		size += 16 + len(b.Items[i].Room) + len(b.Items[i].Body)
	}
	return wire.MarshalSized(b, size)
}

// Encode writes the body to w.
func (b *BatchRequest) Encode(w *wire.Writer) {
	w.Uint8(uint8(ProtocolMLS10))
	w.Vector(func(w *wire.Writer) {
		for _, it := range b.Items {
			w.Uint8(uint8(it.Kind))
			encodeString(w, it.Room)
			w.Opaque(it.Body)
		}
	})
}

// Decode reads the body from r.
func (b *BatchRequest) Decode(r *wire.Reader) {
	decodeProtocol(r)
	for v := r.Vector(); !v.Empty(); {
		if len(b.Items) == MaxBatchItems {
			r.Fail(fmt.Errorf("%w: more than %d writes", ErrMalformed, MaxBatchItems))
			return
		}
		it := BatchItem{Kind: inRange(v, BatchKind(v.Uint8()), BatchMessage, BatchUpdate)}
		it.Room = decodeURI(v, ParseRoom)
		it.Body = v.Opaque()
		b.Items = append(b.Items, it)
	}
}

// A BatchAnswer is what became of one write of a batch.
type BatchAnswer struct {
	Status     uint16 // as the write's own endpoint would have answered
	RetryAfter uint32 // ms; 0 = none given
	Body       []byte // as its own endpoint would have answered
}

// A BatchResponse answers a [BatchRequest]: one answer for each write, in order.
type BatchResponse struct{ Answers []BatchAnswer }

// ParseBatchResponse reads an answer. The error wraps [ErrMalformed].
func ParseBatchResponse(b []byte) (*BatchResponse, error) {
	r := new(BatchResponse)
	if err := parseBody(b, r); err != nil {
		return nil, err
	}
	return r, nil
}

// Marshal gives the body.
func (b *BatchResponse) Marshal() ([]byte, error) {
	size := 16
	for i := range b.Answers {
		size += 16 + len(b.Answers[i].Body)
	}
	return wire.MarshalSized(b, size)
}

// Encode writes the body to w.
func (b *BatchResponse) Encode(w *wire.Writer) {
	w.Uint8(uint8(ProtocolMLS10))
	w.Vector(func(w *wire.Writer) {
		for _, a := range b.Answers {
			w.Uint16(a.Status)
			w.Uint32(a.RetryAfter)
			w.Opaque(a.Body)
		}
	})
}

// Decode reads the body from r.
func (b *BatchResponse) Decode(r *wire.Reader) {
	decodeProtocol(r)
	for v := r.Vector(); !v.Empty(); {
		if len(b.Answers) == MaxBatchItems {
			r.Fail(fmt.Errorf("%w: more than %d answers", ErrMalformed, MaxBatchItems))
			return
		}
		b.Answers = append(b.Answers, BatchAnswer{Status: v.Uint16(), RetryAfter: v.Uint32(), Body: v.Opaque()})
	}
}
