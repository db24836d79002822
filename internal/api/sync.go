package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/coder/websocket"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"hubbub/client/clientpb"
	"hubbub/internal/store"
	"hubbub/mimi"
)

// Reasons for which a stream is closed, as close codes with a text. 4xxx codes
// are ours to define.
const (
	closeBadFrame websocket.StatusCode = 4400
	closeReplaced websocket.StatusCode = 4409
	closeTooSlow  websocket.StatusCode = 4408
)

// closing is an error that ends a stream with a reason for the client.
type closing struct {
	code   websocket.StatusCode
	reason string
}

func (c *closing) Error() string { return c.reason }

var (
	errReplaced = &closing{closeReplaced, "a newer stream of this client took over"}
	errStopping = &closing{websocket.StatusGoingAway, "the provider is stopping"}
	errBadFrame = &closing{closeBadFrame, "not a client frame of the chosen subprotocol"}
	errTooSlow  = &closing{closeTooSlow, "the client reads too slowly: reconnect, nothing is lost"}
)

// serveSync is the sync stream of one client. Three goroutines share it: the
// sender, which owns all of stream but acks, the reader, and the pinger.
func (s *Server) serveSync(w http.ResponseWriter, r *http.Request) {
	c, err := s.byToken(r.Context(), r.Header)
	if err != nil {
		w.Header().Set("WWW-Authenticate", "Bearer")
		http.Error(w, "no valid token", http.StatusUnauthorized)
		return
	}
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		Subprotocols: []string{clientpb.SyncBatch, clientpb.SyncProtocol, clientpb.SyncJSON},
	})
	if err != nil {
		return // Accept has answered
	}
	conn.SetReadLimit(maxFrameBytes)
	err = newStream(s, c, conn).run(r.Context())
	s.Log.DebugContext(r.Context(), "sync stream ended", "error", err)
}

// run serves until the first of its goroutines fails.
func (st *stream) run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer st.conn.CloseNow()
	st.bell = st.s.Notifier.subscribe(st.c.URI, st.c.User)
	defer st.s.Notifier.unsubscribe(st.bell)
	var wg sync.WaitGroup
	for _, part := range []func(context.Context) error{st.send, st.read, st.keep, st.storeAcks} {
		wg.Go(func() {
			err := part(ctx)
			st.giveReason(err)
			cancel(err)
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// giveReason tells the client why the stream ends. It must come before the
// context ends, because that closes the connection without a word.
func (st *stream) giveReason(err error) {
	var reason *closing
	switch {
	case errors.As(err, &reason):
		st.conn.Close(reason.code, reason.reason)
	case errors.Is(err, context.Canceled), websocket.CloseStatus(err) != -1, isNet(err):
	default:
		st.conn.Close(websocket.StatusInternalError, "the provider made a mistake: reconnect")
	}
}

// isNet says whether the connection itself failed, so that nothing can be said
// on it.
func isNet(err error) bool {
	var ne net.Error
	return errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || errors.As(err, &ne)
}

// read takes frames from the client.
func (st *stream) read(ctx context.Context) error {
	for {
		kind, data, err := st.conn.Read(ctx)
		if err != nil {
			return err
		}
		if (kind == websocket.MessageText) != st.text {
			return errBadFrame
		}
		one := func(data []byte) error {
			var f clientpb.ClientFrame
			if st.text {
				err = protojson.Unmarshal(data, &f)
			} else {
				err = proto.Unmarshal(data, &f)
			}
			if err != nil {
				return errBadFrame
			}
			return st.take(&f)
		}
		if !st.many {
			err = one(data)
		} else if err = clientpb.EachFrame(data, one); err != nil && !errors.As(err, new(*closing)) {
			err = errBadFrame
		}
		if err != nil {
			return err
		}
	}
}

func (st *stream) take(f *clientpb.ClientFrame) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	switch f := f.Frame.(type) {
	case *clientpb.ClientFrame_Ack:
		room := mimi.RoomURI(f.Ack.GetRoom())
		if reach, sent := st.ackable[room]; !sent || f.Ack.GetSeq() > reach {
			return &closing{closeBadFrame, "ack of an entry that was not sent"}
		}
		st.acks[room] = max(st.acks[room], f.Ack.GetSeq())
	case *clientpb.ClientFrame_AckSubmission:
		if !validTxn(f.AckSubmission.GetTxn()) {
			return &closing{closeBadFrame, "ack of a submission with a bad txn"}
		}
		if len(st.settled) >= maxAckBacklog {
			return &closing{closeBadFrame, "too many acks at once"}
		}
		st.settled = append(st.settled, f.AckSubmission.GetTxn())
	default:
		return &closing{closeBadFrame, "empty client frame"}
	}
	signal(st.acked)
	return nil
}

// storeAcks makes acks durable, many at a time.
func (st *stream) storeAcks(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-st.acked:
		}
		st.mu.Lock()
		acks, settled := st.acks, st.settled
		st.acks, st.settled = map[mimi.RoomURI]uint64{}, nil
		st.mu.Unlock()
		err := st.s.Store.Update(ctx, func(tx store.Tx) error {
			for room, seq := range acks {
				if err := tx.Ack(st.c.URI, room, seq); err != nil && !errors.Is(err, store.ErrNotFound) {
					return fmt.Errorf("storing ack: %w", err)
				}
			}
			if err := tx.DeleteSubmissions(st.c.URI, settled); err != nil {
				return fmt.Errorf("forgetting submissions: %w", err)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
}

// keep pings the client, and ends the stream when it is replaced or the server
// stops.
func (st *stream) keep(ctx context.Context) error {
	t := time.NewTicker(st.s.PingEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-st.bell.replaced:
			return errReplaced
		case <-st.s.stopping:
			return errStopping
		case <-t.C:
		}
		pctx, cancel := context.WithTimeout(ctx, st.s.WriteTimeout)
		err := st.conn.Ping(pctx)
		cancel()
		if err != nil {
			return err
		}
	}
}

// maxMessageOut is the size at which a message of several frames is sent.
const maxMessageOut = 256 << 10

// write sends frames. A client that does not take them in time loses the
// connection, not the frames: they are sent again after a reconnect, because they
// were not acknowledged.
func (st *stream) write(ctx context.Context, frames ...*clientpb.ServerFrame) error {
	var message []byte
	for i, f := range frames {
		var err error
		switch {
		case st.many:
			message, err = clientpb.AppendFrame(message, f)
		case st.text:
			message, err = protojson.Marshal(f)
		default:
			message, err = proto.Marshal(f)
		}
		if err != nil {
			return fmt.Errorf("encoding frame: %w", err)
		}
		if st.many && i+1 < len(frames) && len(message) < maxMessageOut {
			continue
		}
		if err := st.writeMessage(ctx, message); err != nil {
			return err
		}
		message = message[:0]
	}
	return nil
}

func (st *stream) writeMessage(ctx context.Context, message []byte) error {
	kind := websocket.MessageBinary
	if st.text {
		kind = websocket.MessageText
	}
	wctx, cancel := context.WithTimeout(ctx, st.s.WriteTimeout)
	defer cancel()
	if err := st.conn.Write(wctx, kind, message); err != nil {
		if wctx.Err() != nil && ctx.Err() == nil {
			return errTooSlow
		}
		return err
	}
	return nil
}
