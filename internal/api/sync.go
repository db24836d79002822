package api

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/coder/websocket"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"hubbub/client/clientpb"
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

// serveSync begins the sync stream of one client. It goes on after the request,
// whose goroutine and buffers would weigh more than all the rest of an idle stream.
func (s *Server) serveSync(w http.ResponseWriter, r *http.Request) {
	c, err := s.byToken(r.Context(), r.Header)
	if err != nil {
		w.Header().Set("WWW-Authenticate", "Bearer")
		http.Error(w, "no valid token", http.StatusUnauthorized)
		return
	}
	if err := s.acks.flushOf(r.Context(), c.URI); err != nil {
		http.Error(w, "the provider cannot tell where to begin", http.StatusServiceUnavailable)
		return
	}
	conn, err := websocket.Accept(slim{w}, r, &websocket.AcceptOptions{
		Subprotocols: []string{clientpb.SyncBatch, clientpb.SyncProtocol, clientpb.SyncJSON},
	})
	if err != nil {
		return // Accept has answered
	}
	conn.SetReadLimit(maxFrameBytes)
	newStream(s, c, conn, conn.Subprotocol()).begin()
}

// begin sets a stream going.
func (st *stream) begin() {
	st.bell = &wakeup{client: st.c.URI, user: st.c.User, pump: st.pump, end: st.end}
	st.ping = time.AfterFunc(st.s.PingEvery, st.keep)
	st.s.Notifier.subscribe(st.bell)
	st.bell.addAll()
	select {
	case <-st.s.stopping:
		go st.end(errStopping)
	default:
	}
	go func() { st.end(st.read()) }()
}

// end ends a stream for the reason given, once.
func (st *stream) end(err error) {
	st.ending.Do(func() {
		st.s.Log.Debug("sync stream ended", "error", err)
		st.ping.Stop()
		if err := st.s.acks.flushOf(context.Background(), st.c.URI); err != nil {
			st.s.Log.Warn("what a client acknowledged last is not stored", "error", err)
		}
		st.s.Notifier.unsubscribe(st.bell)
		st.giveReason(err)
		st.cancel()
		st.conn.CloseNow()
	})
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
func (st *stream) read() error {
	for {
		kind, data, err := st.conn.Read(st.ctx)
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
	switch f := f.Frame.(type) {
	case *clientpb.ClientFrame_Ack:
		room := mimi.RoomURI(f.Ack.GetRoom())
		st.mu.Lock()
		reach, sent := st.ackable[room]
		st.mu.Unlock()
		if !sent || f.Ack.GetSeq() > reach {
			return &closing{closeBadFrame, "ack of an entry that was not sent"}
		}
		st.s.acks.ack(st.c.URI, room, f.Ack.GetSeq())
	case *clientpb.ClientFrame_AckSubmission:
		if !validTxn(f.AckSubmission.GetTxn()) {
			return &closing{closeBadFrame, "ack of a submission with a bad txn"}
		}
		if st.s.acks.settle(st.c.URI, f.AckSubmission.GetTxn()) >= maxAckBacklog {
			return st.s.acks.flush(st.ctx)
		}
	default:
		return &closing{closeBadFrame, "empty client frame"}
	}
	return nil
}

// keep pings the client now and then, and ends the stream if it does not answer.
func (st *stream) keep() {
	ctx, cancel := context.WithTimeout(st.ctx, st.s.WriteTimeout)
	defer cancel()
	if err := st.conn.Ping(ctx); err != nil {
		st.end(err)
		return
	}
	if st.ctx.Err() == nil {
		st.ping.Reset(st.s.PingEvery)
	}
}

// write sends messages. A client that does not take them in time loses the
// connection, not what is in them: it is sent again after a reconnect, because it
// was not acknowledged.
func (st *stream) write(messages [][]byte) error {
	kind := websocket.MessageBinary
	if st.text {
		kind = websocket.MessageText
	}
	for _, m := range messages {
		ctx, cancel := context.WithTimeout(st.ctx, st.s.WriteTimeout)
		err := st.conn.Write(ctx, kind, m)
		slow := ctx.Err() != nil && st.ctx.Err() == nil
		cancel()
		switch {
		case err != nil && slow:
			return errTooSlow
		case err != nil:
			return err
		}
	}
	return nil
}
