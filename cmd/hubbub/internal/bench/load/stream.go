package load

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/coder/websocket"
	"google.golang.org/protobuf/proto"

	"hubbub/client/clientpb"
	"hubbub/mimi"
)

const (
	maxFrameBytes = 16 << 20
	maxMessageOut = 32 << 10
	pingEvery     = 20 * time.Second
	pingDeadline  = 10 * time.Second
)

// Handler is told what a stream brings; nil functions are told nothing. They are
// called one at a time, and the frame is acknowledged when they have returned.
type Handler struct {
	// Entry: at is when the octets were there.
	Entry      func(room mimi.RoomURI, e *clientpb.Entry, at time.Time)
	Submission func(s *clientpb.Submission)
	// Joined: the device has entered a room by a Welcome whose commit is entry
	// seq, with the chain hash after it. If NoGroups is set it has not.
	Joined func(room mimi.RoomURI, seq uint64, hash []byte)
	// NoGroups leaves Welcomes unopened, for devices that only have to be there.
	NoGroups bool
}

// Stream is a sync stream of a device. It is not opened again by itself.
type Stream struct {
	d      *Device
	h      Handler
	conn   *websocket.Conn
	live   chan struct{}
	done   chan struct{}
	cancel context.CancelCauseFunc
	err    error         // valid once done is closed
	due    chan struct{} // has a value if something is to be acknowledged
	acking sync.Mutex    // held while acknowledgements leave
	last   time.Time     // when the reader got its last message

	mu      sync.Mutex
	acks    map[string]uint64
	settled []string
}

// Connect opens a sync stream; ctx bounds only that.
func (d *Device) Connect(ctx context.Context, h Handler) (*Stream, error) {
	hc := d.place.plain()
	dctx, stop := context.WithTimeout(ctx, time.Minute)
	defer stop()
	conn, _, err := websocket.Dial(dctx, d.place.base.JoinPath(clientpb.SyncPath).String(), &websocket.DialOptions{
		HTTPClient: hc, HTTPHeader: http.Header{"Authorization": {"Bearer " + d.token}}, Subprotocols: []string{clientpb.SyncBatch}})
	if err != nil {
		return nil, fmt.Errorf("opening the stream of %s: %w", d.user.Handle(), err)
	}
	if conn.Subprotocol() != clientpb.SyncBatch {
		conn.CloseNow()
		return nil, errors.New("the provider does not speak " + clientpb.SyncBatch)
	}
	conn.SetReadLimit(maxFrameBytes)
	s := &Stream{d: d, h: h, conn: conn, live: make(chan struct{}), done: make(chan struct{}), due: make(chan struct{}, 1), acks: map[string]uint64{}}
	run, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	s.cancel = cancel
	go s.run(run)
	return s, nil
}

// Live waits until everything stored when the stream opened has been handed over.
func (s *Stream) Live(ctx context.Context) error {
	select {
	case <-s.live:
		return nil
	case <-s.done:
		return s.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Done is closed when the stream has ended; Err says why.
func (s *Stream) Done() <-chan struct{} { return s.done }

// Err is why the stream has ended.
func (s *Stream) Err() error { return s.err }

var errClosed = errors.New("closed")

// Close ends the stream without a word, as a lost connection would.
func (s *Stream) Close() {
	s.cancel(errClosed)
	<-s.done
}

func (s *Stream) run(ctx context.Context) {
	var wg sync.WaitGroup
	for _, part := range []func() error{
		func() error { return s.read(ctx) },
		func() error { return s.keepAlive(ctx) },
		func() error { return s.acknowledge(ctx) },
	} {
		wg.Go(func() { s.cancel(part()) })
	}
	wg.Wait()
	s.conn.CloseNow()
	s.err = context.Cause(ctx)
	close(s.done)
}

// ackApart is how close to each other frames come under load. Then acknowledging
// is left to a goroutine that waits for nothing but the end of the acknowledgement
// before, so that one stands for many frames.
const ackApart = 500 * time.Microsecond

// read hands over what comes.
func (s *Stream) read(ctx context.Context) error {
	for {
		_, data, err := s.conn.Read(ctx)
		if err != nil {
			return err
		}
		at := time.Now()
		err = clientpb.EachFrame(data, func(data []byte) error {
			var f clientpb.ServerFrame
			if err := proto.Unmarshal(data, &f); err != nil {
				return err
			}
			return s.handle(&f, at)
		})
		if err != nil {
			return err
		}
		if at.Sub(s.last) > ackApart && s.acking.TryLock() {
			err := s.sendAcks(ctx)
			s.acking.Unlock()
			if err != nil {
				return err
			}
		} else {
			select {
			case s.due <- struct{}{}:
			default:
			}
		}
		s.last = at
	}
}

func (s *Stream) keepAlive(ctx context.Context) error {
	t := time.NewTicker(pingEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
		pctx, cancel := context.WithTimeout(ctx, pingDeadline)
		err := s.conn.Ping(pctx)
		cancel()
		if err != nil {
			return err
		}
	}
}

func (s *Stream) acknowledge(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.due:
		}
		s.acking.Lock()
		err := s.sendAcks(ctx)
		s.acking.Unlock()
		if err != nil {
			return err
		}
	}
}

// ack notes that the device has everything up to a Seq of a room.
func (s *Stream) ack(room string, seq uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.acks[room] = max(s.acks[room], seq)
}

func (s *Stream) settle(txn string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settled = append(s.settled, txn)
}

func (s *Stream) handle(f *clientpb.ServerFrame, at time.Time) error {
	switch f := f.Frame.(type) {
	case *clientpb.ServerFrame_Entry:
		e := f.Entry
		if s.h.Entry != nil {
			s.h.Entry(mimi.RoomURI(e.GetRoom()), e.GetEntry(), at)
		}
		s.ack(e.GetRoom(), e.GetEntry().GetSeq())
	case *clientpb.ServerFrame_Welcome:
		if !s.h.NoGroups {
			if err := s.d.join(f.Welcome); err != nil {
				return fmt.Errorf("welcome: %w", err)
			}
		}
		if s.h.Joined != nil {
			s.h.Joined(mimi.RoomURI(f.Welcome.GetRoom()), f.Welcome.GetSeq(), f.Welcome.GetHash())
		}
		s.ack(f.Welcome.GetRoom(), f.Welcome.GetSeq())
	case *clientpb.ServerFrame_Removed:
		s.ack(f.Removed.GetRoom(), f.Removed.GetSeq())
	case *clientpb.ServerFrame_Submission:
		if s.h.Submission != nil {
			s.h.Submission(f.Submission)
		}
		if f.Submission.GetState() != clientpb.SubmissionState_SUBMISSION_STATE_QUEUED {
			s.settle(f.Submission.GetTxn())
		}
	case *clientpb.ServerFrame_Live:
		close(s.live)
	}
	return nil
}

// takeAcks empties what is to be acknowledged.
func (s *Stream) takeAcks() (list []*clientpb.ClientFrame) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for room, seq := range s.acks {
		list = append(list, &clientpb.ClientFrame{Frame: &clientpb.ClientFrame_Ack{Ack: &clientpb.Ack{Room: room, Seq: seq}}})
	}
	for _, txn := range s.settled {
		list = append(list, &clientpb.ClientFrame{Frame: &clientpb.ClientFrame_AckSubmission{AckSubmission: &clientpb.AckSubmission{Txn: txn}}})
	}
	clear(s.acks)
	s.settled = s.settled[:0]
	return list
}

func (s *Stream) sendAcks(ctx context.Context) error {
	list := s.takeAcks()
	var message []byte
	for i, f := range list {
		var err error
		if message, err = clientpb.AppendFrame(message, f); err != nil {
			return err
		}
		if i+1 < len(list) && len(message) < maxMessageOut {
			continue
		}
		wctx, cancel := context.WithTimeout(ctx, pingDeadline)
		err = s.conn.Write(wctx, websocket.MessageBinary, message)
		cancel()
		if err != nil {
			return err
		}
		message = message[:0]
	}
	return nil
}
