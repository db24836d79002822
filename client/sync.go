package client

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/coder/websocket"
	"google.golang.org/protobuf/proto"

	"hubbub/client/clientpb"
	"hubbub/mimi"
)

const (
	frameQueue   = 512 // frames read ahead
	frameBatch   = 512 // frames taken in with one durable step
	pingEvery    = 20 * time.Second
	pingDeadline = 10 * time.Second
)

// runSync keeps a sync stream to the provider up.
func (c *Client) runSync(ctx context.Context) {
	failures := 0
	for ctx.Err() == nil {
		live, err := c.syncOnce(ctx)
		if live {
			c.step((*batch).noteSynced) // what cannot be stored is an older time next time, which is not wrong
		}
		if ctx.Err() != nil {
			return
		}
		c.mu.Lock()
		c.online, c.offline = false, err
		c.wakeAll()
		fatal := c.fatal
		c.mu.Unlock()
		c.events.send([]Event{Disconnected{Err: err}})
		if fatal != nil {
			return
		}
		failures++
		if live {
			failures = 1
		}
		select {
		case <-ctx.Done():
		case <-time.After(jitter(failures, 50*time.Millisecond, 15*time.Second)):
		}
	}
}

// syncOnce runs one stream until it fails; live says whether it had caught up.
func (c *Client) syncOnce(ctx context.Context) (live bool, err error) {
	dctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	conn, err := c.t.dial(dctx)
	cancel()
	if err != nil {
		return false, err
	}
	defer conn.CloseNow()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	frames := make(chan *clientpb.ServerFrame, frameQueue)
	done := make(chan struct{})
	go func() {
		defer close(done)
		stop(readFrames(ctx, conn, frames))
	}()
	go func() { stop(keepAlive(ctx, conn)) }()
	s := &syncState{c: c, conn: conn, mentioned: map[string]bool{}, acks: map[mimi.RoomURI]uint64{}}
	err = s.run(ctx, frames)
	stop(err)
	<-done
	return s.live, context.Cause(ctx)
}

func readFrames(ctx context.Context, conn *websocket.Conn, frames chan<- *clientpb.ServerFrame) error {
	for {
		kind, data, err := conn.Read(ctx)
		if err != nil {
			return fmt.Errorf("sync stream: %w", err)
		}
		if kind != websocket.MessageBinary {
			return errNoFrame
		}
		one := func(data []byte) error {
			f := &clientpb.ServerFrame{}
			if proto.Unmarshal(data, f) != nil {
				return errNoFrame
			}
			select {
			case frames <- f:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if conn.Subprotocol() == clientpb.SyncBatch {
			err = clientpb.EachFrame(data, one)
		} else {
			err = one(data)
		}
		if err != nil {
			return err
		}
	}
}

var errNoFrame = errors.New("sync stream: the provider sent something else than a frame")

// keepAlive notices a connection that died without a word.
func keepAlive(ctx context.Context, conn *websocket.Conn) error {
	t := time.NewTicker(pingEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
		pctx, cancel := context.WithTimeout(ctx, pingDeadline)
		err := conn.Ping(pctx)
		cancel()
		if err != nil {
			return fmt.Errorf("sync stream: no answer to a ping: %w", err)
		}
	}
}

// syncState is one stream, owned by the goroutine that takes frames in.
type syncState struct {
	c         *Client
	conn      *websocket.Conn
	live      bool
	mentioned map[string]bool // submissions the provider told of before Live
	acks      map[mimi.RoomURI]uint64
	unacked   int
}

func (s *syncState) run(ctx context.Context, frames <-chan *clientpb.ServerFrame) error {
	for {
		var list []*clientpb.ServerFrame
		select {
		case <-ctx.Done():
			return ctx.Err()
		case f := <-frames:
			list = append(list, f)
		}
		for len(list) < frameBatch && len(frames) > 0 {
			list = append(list, <-frames)
		}
		if err := s.take(ctx, list); err != nil {
			return err
		}
		if len(frames) == 0 || s.unacked > 4*frameBatch {
			if err := s.sendAcks(ctx); err != nil {
				return err
			}
		}
	}
}

// take makes a few frames durable with one step. Only then are they acked.
func (s *syncState) take(ctx context.Context, list []*clientpb.ServerFrame) error {
	var settled []string
	var live bool
	acks := map[mimi.RoomURI]uint64{}
	err := s.c.step(func(b *batch) error {
		b.openAhead(list)
		for _, f := range list {
			if err := s.frame(b, f, acks, &live); err != nil {
				return err
			}
		}
		settled = b.acks
		return nil
	})
	if err != nil {
		return err
	}
	for room, seq := range acks {
		s.acks[room] = max(s.acks[room], seq)
		s.unacked++
	}
	var forget []*clientpb.ClientFrame
	for _, txn := range settled {
		forget = append(forget, &clientpb.ClientFrame{Frame: &clientpb.ClientFrame_AckSubmission{
			AckSubmission: &clientpb.AckSubmission{Txn: txn}}})
	}
	if err := s.send(ctx, forget...); err != nil {
		return err
	}
	if live {
		s.live = true
		s.c.goOnline()
	}
	return nil
}

func (s *syncState) frame(b *batch, f *clientpb.ServerFrame, acks map[mimi.RoomURI]uint64, live *bool) error {
	ack := func(room string, seq uint64) {
		acks[mimi.RoomURI(room)] = max(acks[mimi.RoomURI(room)], seq)
	}
	switch f := f.Frame.(type) {
	case *clientpb.ServerFrame_RoomChanged:
		return b.roomChanged(f.RoomChanged)
	case *clientpb.ServerFrame_Welcome:
		ack(f.Welcome.GetRoom(), f.Welcome.GetSeq())
		return b.enterKnowing(f.Welcome)
	case *clientpb.ServerFrame_Entry:
		uri, err := mimi.ParseRoom(f.Entry.GetRoom())
		if err != nil {
			return fmt.Errorf("sync stream: entry: %w", err)
		}
		ack(f.Entry.GetRoom(), f.Entry.GetEntry().GetSeq())
		return b.entry(uri, f.Entry.GetEntry())
	case *clientpb.ServerFrame_Submission:
		if !s.live {
			s.mentioned[f.Submission.GetTxn()] = true
		}
		return b.submission(f.Submission)
	case *clientpb.ServerFrame_Removed:
		ack(f.Removed.GetRoom(), f.Removed.GetSeq())
		return nil // the entry that did it has said so
	case *clientpb.ServerFrame_Live:
		*live = true
		if err := b.noteSynced(); err != nil {
			return err
		}
		return b.resendUnknown(s.mentioned)
	}
	return nil // Hello, and what later versions add
}

func (s *syncState) sendAcks(ctx context.Context) error {
	var list []*clientpb.ClientFrame
	for room, seq := range s.acks {
		list = append(list, &clientpb.ClientFrame{Frame: &clientpb.ClientFrame_Ack{
			Ack: &clientpb.Ack{Room: string(room), Seq: seq}}})
	}
	if err := s.send(ctx, list...); err != nil {
		return err
	}
	clear(s.acks)
	s.unacked = 0
	return nil
}

// maxMessageOut keeps a message of several frames below what a provider reads.
const maxMessageOut = 32 << 10

func (s *syncState) send(ctx context.Context, list ...*clientpb.ClientFrame) error {
	many := s.conn.Subprotocol() == clientpb.SyncBatch
	var message []byte
	for i, f := range list {
		var err error
		if many {
			message, err = clientpb.AppendFrame(message, f)
		} else {
			message, err = proto.Marshal(f)
		}
		if err != nil {
			return err
		}
		if many && i+1 < len(list) && len(message) < maxMessageOut {
			continue
		}
		if err := s.write(ctx, message); err != nil {
			return err
		}
		message = message[:0]
	}
	return nil
}

func (s *syncState) write(ctx context.Context, message []byte) error {
	wctx, cancel := context.WithTimeout(ctx, pingDeadline)
	defer cancel()
	return s.conn.Write(wctx, websocket.MessageBinary, message)
}

// noteSynced stores that the device was in step with its provider just now.
func (b *batch) noteSynced() error {
	return putKey(b.tx, keySynced, strconv.AppendInt(nil, b.c.opts.Now().UnixMilli(), 10))
}

// goOnline notes that the device has caught up.
func (c *Client) goOnline() {
	c.mu.Lock()
	c.online = true
	c.wakeAll()
	c.mu.Unlock()
	c.events.send([]Event{Connected{}})
	c.stockDue.Store(true)
	c.refreshDue.Store(true)
	c.proofDue.Store(true)
	c.bringDue.Store(true)
	signal(c.kickOutbox)
	signal(c.kickChores)
}

// roomChanged notes rooms the user is in, also those whose group this device
// has not entered.
func (b *batch) roomChanged(f *clientpb.RoomChanged) error {
	uri, err := mimi.ParseRoom(f.GetRoom())
	if err != nil {
		return fmt.Errorf("sync stream: room: %w", err)
	}
	if !f.GetParticipant() {
		return nil
	}
	r := b.newRoom(uri)
	if r.announced || f.GetMember() {
		return nil // a Welcome or an own commit tells of it
	}
	r.announced = true
	b.emit(RoomAdded{Room: uri, Hub: uri.Domain()})
	return nil
}
