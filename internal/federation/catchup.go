package federation

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"hubbub/internal/catchup"
	"hubbub/internal/room"
	"hubbub/mimi"
)

// LogSource gives a peer the part of a room log that it lacks.
type LogSource interface {
	// CatchUp finds what follows from in a room's log, as far as the peer may
	// have it.
	CatchUp(ctx context.Context, peer mimi.Domain, uri mimi.RoomURI, from room.Pos) (*catchup.Part, error)
}

// stallTimeout is how long a peer may send nothing of a log, or take nothing.
const stallTimeout = 30 * time.Second

// catchUp streams what a peer lacks. Its answer is on the way before all of it
// has been read, so a failure in the middle cuts the connection: the peer goes on
// from what it has.
func (s *Server) catchUp(c *call) ([]byte, error) {
	uri, err := mimi.ParseRoom(c.id)
	if err != nil {
		return nil, badURI()
	}
	from, err := readFrom(c.req.URL.RawQuery)
	if err != nil {
		return nil, err
	}
	if s.cfg.Entries == nil {
		return nil, mimi.NewProblem(http.StatusNotImplemented, "no-endpoint", "not offered")
	}
	part, err := s.cfg.Entries.CatchUp(c.req.Context(), c.peer, uri, from)
	if err != nil {
		return nil, err
	}
	c.streamed = true
	writePos(c.w.Header(), part.Head)
	if s.cfg.Checkpoint != nil {
		writeCheckpoint(c.w.Header(), s.cfg.Checkpoint(uri, part.Head))
	}
	c.w.Header().Set("Content-Type", contentType)
	c.w.WriteHeader(http.StatusOK)
	if err := part.Send(c.req.Context(), &patientWriter{c.w, http.NewResponseController(c.w)}); err != nil {
		s.cfg.Log.Warn("could not send all of a log", "peer", c.peer, "cause", err)
		panic(http.ErrAbortHandler)
	}
	return nil, nil
}

// patientWriter gives each part of a block its own time, so that a slow line is
// not taken for a stalled one.
type patientWriter struct {
	w  io.Writer
	rc *http.ResponseController
}

// patience is how much of a block has to be through within stallTimeout.
const patience = 128 * kib

func (p *patientWriter) Write(b []byte) (n int, err error) {
	for part := range slices.Chunk(b, patience) {
		if err := p.rc.SetWriteDeadline(time.Now().Add(stallTimeout)); err != nil {
			return n, err
		}
		m, err := p.w.Write(part)
		if n += m; err != nil {
			return n, err
		}
	}
	return n, p.rc.Flush()
}

// readFrom reads the query seq=N&hash=H, which must be all there is.
func readFrom(rawQuery string) (pos room.Pos, err error) {
	q, err := url.ParseQuery(rawQuery)
	if err == nil && len(q) == 2 && len(q["seq"]) == 1 && len(q["hash"]) == 1 {
		seq, ok := parseSeq(q["seq"][0])
		hash, err := hex.DecodeString(q["hash"][0])
		if ok && err == nil && len(hash) == len(pos.Hash) {
			pos.Seq = seq
			copy(pos.Hash[:], hash)
			return pos, nil
		}
	}
	return pos, mimi.NewProblem(http.StatusBadRequest, mimi.CodeMalformed, "the query must be seq, a number, and hash, 64 hex digits")
}

// CatchUp asks a peer for the entries of a room after from: the blocks of package
// catchup, and the place they lead to. The caller closes body; it ends by itself
// when ctx does or when the peer stalls.
func (c *Client) CatchUp(ctx context.Context, to mimi.Domain, uri mimi.RoomURI, from room.Pos) (head room.Pos, body io.ReadCloser, err error) {
	if err := c.mayAsk(to); err != nil {
		return head, nil, err
	}
	ctx, cancel := context.WithCancel(withDialBudget(ctx))
	watch := time.AfterFunc(stallTimeout, cancel)
	defer func() {
		if body == nil {
			watch.Stop()
			cancel()
		}
	}()
	p := c.peer(to)
	query := "seq=" + strconv.FormatUint(from.Seq, 10) + "&hash=" + hex.EncodeToString(from.Hash[:])
	target, err := c.endpointURL(ctx, p, outgoing{endpoint: mimi.EndpointCatchUp, id: string(uri), query: query})
	if err != nil {
		return head, nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return head, nil, badAnswer("the directory of %s gives no usable URL for %s", to, mimi.EndpointCatchUp)
	}
	req.Header.Set("From", fromLocal+"@"+string(c.cfg.Domain))
	res, err := p.transport.RoundTrip(req)
	if err != nil {
		return head, nil, fmt.Errorf("%w: %s: %w", ErrUnreachable, to, err)
	}
	pos, err := readPos(res.Header)
	if res.StatusCode == http.StatusOK && err == nil && pos != nil {
		watch.Stop()
		w := &watched{ReadCloser: res.Body, watch: watch, cancel: cancel}
		if signed, err := readCheckpoint(res.Header); err == nil && signed != nil && c.cfg.Signed != nil {
			w.after = func() { c.heard.Go(func() { c.cfg.Signed(to, uri, signed) }) }
		}
		return *pos, w, nil
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, 64*kib))
	switch {
	case err != nil:
		return head, nil, fmt.Errorf("%w: %s: reading the answer: %w", ErrUnreachable, to, err)
	case res.StatusCode >= 400:
		return head, nil, mimi.ParseProblem(res.StatusCode, res.Header.Get("Retry-After"), b, c.cfg.Now())
	}
	return head, nil, badAnswer("%s answered with status %d", to, res.StatusCode)
}

// watched is the body of an answer whose sender may not stall.
type watched struct {
	io.ReadCloser
	watch  *time.Timer
	cancel context.CancelFunc
	after  func() // once the reader is done; nil = nothing
}

// Read counts the time that the peer takes, not what its reader does in between.
func (w *watched) Read(b []byte) (int, error) {
	w.watch.Reset(stallTimeout)
	defer w.watch.Stop()
	return w.ReadCloser.Read(b)
}

func (w *watched) Close() error {
	w.watch.Stop()
	w.cancel()
	if w.after != nil {
		w.after()
		w.after = nil
	}
	return w.ReadCloser.Close()
}
