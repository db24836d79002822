package hub

import (
	"context"
	"errors"
	"math"
	"net/http"
	"time"

	"hubbub/internal/room"
	"hubbub/mimi"
)

// SubmitBatch decides on the writes of a mimi.BatchRequest and returns the body
// of the answer. Rooms do not wait for each other. Errors are as for Submit and
// concern the batch as a whole; what became of each write is in the answer.
func (h *Hub) SubmitBatch(_ context.Context, peer mimi.Domain, body []byte) ([]byte, error) {
	req, err := mimi.ParseBatchRequest(body)
	if err != nil {
		return nil, malformed(err)
	}
	return (&mimi.BatchResponse{Answers: h.Batch(peer, req.Items)}).Marshal()
}

// Batch is SubmitBatch without its encoding.
func (h *Hub) Batch(peer mimi.Domain, items []mimi.BatchItem) []mimi.BatchAnswer {
	writes := make([]*write, len(items))
	byRoom, last := map[mimi.RoomURI][]*write{}, map[mimi.RoomURI]*write{}
	for i, it := range items {
		w := h.parse(peer, it)
		w.ahead, last[it.Room], writes[i] = last[it.Room], w, w
		if !w.settled {
			byRoom[it.Room] = append(byRoom[it.Room], w)
		}
	}
	late := h.postAll(byRoom)
	answers := make([]mimi.BatchAnswer, len(writes))
	for i, w := range writes {
		if late[items[i].Room] {
			w = &write{err: errLate()}
		}
		answers[i] = h.batchAnswer(w)
	}
	return answers
}

// batchPatience is how long the rooms of a batch wait for the slowest of them.
const batchPatience = 2 * time.Second

// errLate answers a write whose room takes long. It is decided on all the same;
// the peer asks again and gets that answer.
func errLate() error {
	p := mimi.NewProblem(http.StatusServiceUnavailable, "not-yet-decided", "the room takes long to decide")
	p.RetryAfter = time.Second
	return p
}

// postAll hands writes to their rooms, all at once, and waits for the answers. Of
// several rooms those that are late keep nobody waiting: their writes are not to
// be touched.
func (h *Hub) postAll(byRoom map[mimi.RoomURI][]*write) (late map[mimi.RoomURI]bool) {
	if len(byRoom) == 1 {
		for uri, list := range byRoom {
			h.post(uri, list)
		}
		return nil
	}
	late = map[mimi.RoomURI]bool{}
	done := make(chan mimi.RoomURI, len(byRoom))
	for uri, list := range byRoom {
		late[uri] = true
		go func() {
			h.post(uri, list)
			done <- uri
		}()
	}
	timer := time.NewTimer(h.patience)
	defer timer.Stop()
	for len(late) > 0 {
		select {
		case uri := <-done:
			delete(late, uri)
		case <-timer.C:
			return late
		}
	}
	return late
}

// parse makes a write of one item; what does not decode is settled at once.
func (h *Hub) parse(peer mimi.Domain, it mimi.BatchItem) *write {
	w := newWrite(h, peer, it.Room)
	if it.Kind == mimi.BatchUpdate {
		in, err := room.ParseHandshake(peer, it.Body)
		if err != nil {
			w.settle(nil, err)
			return w
		}
		return w.handshake(in)
	}
	in, err := room.ParseSubmission(peer, it.Body)
	if err != nil {
		w.settle(nil, err)
		return w
	}
	return w.submission(in)
}

// batchAnswer is what a write's own endpoint would have said.
func (h *Hub) batchAnswer(w *write) mimi.BatchAnswer {
	if w.err == nil {
		return mimi.BatchAnswer{Status: http.StatusOK, Body: w.answer}
	}
	var p *mimi.Problem
	if !errors.As(w.err, &p) {
		h.cfg.Log.Error("hub: could not carry out a write", "cause", w.err)
		p = mimi.NewProblem(http.StatusServiceUnavailable, mimi.CodeUnavailable, "the write was not carried out; try again later")
		p.RetryAfter = time.Second
	}
	after := min(p.RetryAfter.Milliseconds(), math.MaxUint32)
	return mimi.BatchAnswer{Status: uint16(p.Status), RetryAfter: uint32(max(after, 0)), Body: p.Body()}
}
