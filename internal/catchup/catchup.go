// Package catchup carries part of a room log from one provider to another that
// lacks it: from the hub to a follower that was away, or from a follower back to
// a hub that lost what it had.
//
// What travels is a sequence of blocks, each a place in the log and the entries
// that lead to it. A block is checked against the hash chain and made durable as
// a whole, so that what breaks off goes on where it broke. While one block is sent
// the next is read from the store, and while one is stored the next is received
// and parsed: neither side holds more than two of them, however long the log.
package catchup

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"

	"hubbub/internal/room"
	"hubbub/internal/store"
	"hubbub/mimi"
)

// Limits of a block. A single entry may be larger than blockBytes.
const (
	blockEntries  = 4096
	blockBytes    = 1 << 20
	maxBlockBytes = 16 << 20
)

// Codes of refusals.
const (
	// CodeMismatch (409): the log asked for is another one than ours.
	CodeMismatch = "log-mismatch"
	// CodeBefore (410): the part asked for is from before our copy begins.
	CodeBefore = "before-log"
)

// ErrBadBlock says that what arrived is not a sequence of blocks.
var ErrBadBlock = errors.New("catchup: not a block of a room log")

// Part is a part of a log about to be sent.
type Part struct {
	Head room.Pos // of the log, or the last place that may be sent
	st   store.Store
	room mimi.RoomURI
	from room.Pos
}

// Open finds the part of a room's log after a place, up to until (0 = its head).
// If the log does not reach from, there is nothing to send and Head says so. A
// from that is not in the log is refused with CodeMismatch, as a *mimi.Problem.
func Open(ctx context.Context, st store.Store, uri mimi.RoomURI, from room.Pos, until uint64) (*Part, error) {
	p := &Part{st: st, room: uri, from: from}
	err := st.View(ctx, func(tx store.ReadTx) error {
		rec, err := tx.RoomHead(uri)
		if err != nil {
			return err
		}
		if p.Head = rec.Head; until != 0 && until < rec.Head.Seq {
			if p.Head, err = at(tx, rec, until); err != nil {
				return err
			}
		}
		if from.Seq > rec.Head.Seq {
			return nil
		}
		have, err := at(tx, rec, from.Seq)
		if err == nil && have != from {
			err = mimi.NewProblem(http.StatusConflict, CodeMismatch, "the log holds %s there, not %s", have, from)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return p, nil
}

// at is the place after entry seq of a log.
func at(tx store.ReadTx, rec *store.RoomRecord, seq uint64) (room.Pos, error) {
	switch {
	case seq == rec.Head.Seq:
		return rec.Head, nil
	case seq == rec.Start.Seq:
		return rec.Start, nil
	case seq < rec.Start.Seq:
		return room.Pos{}, mimi.NewProblem(http.StatusGone, CodeBefore, "our copy of the log begins at %d", rec.Start.Seq)
	}
	list, err := tx.Entries(rec.URI, seq-1, 1, 0)
	if err != nil {
		return room.Pos{}, err
	}
	if len(list) == 0 || list[0].Seq != seq {
		return room.Pos{}, fmt.Errorf("catchup: the log of %s lacks entry %d", rec.URI, seq)
	}
	return room.Pos{Seq: seq, Hash: list[0].Hash}, nil
}

// Send writes the part, block by block, and reads the next block while one is
// being written.
func (p *Part) Send(ctx context.Context, w io.Writer) error {
	if p.from.Seq >= p.Head.Seq {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	blocks := make(chan []byte)
	failed := make(chan error, 1)
	go func() {
		defer close(blocks)
		failed <- p.read(ctx, blocks)
	}()
	var err error
	for b := range blocks {
		if err == nil {
			if _, err = w.Write(b); err != nil {
				cancel()
			}
		}
	}
	cancel()
	if err != nil {
		return err
	}
	return <-failed
}

// read hands the part over, block by block, as fast as they are taken.
func (p *Part) read(ctx context.Context, blocks chan<- []byte) error {
	for after := p.from.Seq; after < p.Head.Seq; {
		limit := int(min(p.Head.Seq-after, blockEntries))
		var list []store.Entry
		err := p.st.View(ctx, func(tx store.ReadTx) (err error) {
			list, err = tx.Entries(p.room, after, limit, blockBytes)
			return err
		})
		if err != nil {
			return err
		}
		if len(list) == 0 {
			return fmt.Errorf("catchup: the log of %s ends at %d", p.room, after)
		}
		select {
		case blocks <- encode(list):
		case <-ctx.Done():
			return ctx.Err()
		}
		after = list[len(list)-1].Seq
	}
	return nil
}

// headerBytes is what stands before the entries of a block: the place they lead
// to, Seq and Hash, and their length.
const headerBytes = 8 + 32 + 4

func encode(list []store.Entry) []byte {
	size := 0
	for i := range list {
		size += len(list[i].Body)
	}
	last := &list[len(list)-1]
	b := make([]byte, 0, headerBytes+size)
	b = binary.BigEndian.AppendUint64(b, last.Seq)
	b = append(b, last.Hash[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(size))
	for i := range list {
		b = append(b, list[i].Body...)
	}
	return b
}

// Block is some entries of a log and the place they lead to.
type Block struct {
	Pos     room.Pos
	Entries []*room.Announcement
}

// read reads the next block, io.EOF after the last one.
func read(r io.Reader) (*Block, error) {
	var header [headerBytes]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		if err == io.EOF {
			return nil, io.EOF
		}
		return nil, fmt.Errorf("%w: %w", ErrBadBlock, err)
	}
	b := &Block{Pos: room.Pos{Seq: binary.BigEndian.Uint64(header[:])}}
	copy(b.Pos.Hash[:], header[8:])
	size := int64(binary.BigEndian.Uint32(header[40:]))
	if size == 0 || size > maxBlockBytes {
		return nil, fmt.Errorf("%w: %d octets", ErrBadBlock, size)
	}
	var body bytes.Buffer
	body.Grow(int(min(size, blockBytes+bytes.MinRead))) // what a peer says and does not send costs no memory
	switch n, err := body.ReadFrom(io.LimitReader(r, size)); {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrBadBlock, err)
	case n != size:
		return nil, fmt.Errorf("%w: it ends early", ErrBadBlock)
	}
	var err error
	if b.Entries, err = room.ParseAnnouncements(body.Bytes()); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadBlock, err)
	}
	return b, nil
}

// Stream is a sequence of blocks that arrives. One of them is read ahead. It is
// for one goroutine.
type Stream struct {
	body   io.ReadCloser
	blocks chan *Block // closed at the end
	closed chan struct{}
	err    error // why it ended; readable once blocks is closed
}

// Receive reads the blocks of a body. The caller closes the Stream, which closes
// the body.
func Receive(body io.ReadCloser) *Stream {
	s := &Stream{body: body, blocks: make(chan *Block), closed: make(chan struct{})}
	go s.run()
	return s
}

func (s *Stream) run() {
	defer close(s.blocks)
	for {
		b, err := read(s.body)
		if err != nil {
			s.err = err
			return
		}
		select {
		case s.blocks <- b:
		case <-s.closed:
			s.err = io.ErrClosedPipe
			return
		}
	}
}

// Next is the next block, io.EOF after the last one. An error wrapping ErrBadBlock
// says that what arrived is no sequence of blocks, or not all of one.
func (s *Stream) Next() (*Block, error) {
	if b, ok := <-s.blocks; ok {
		return b, nil
	}
	return nil, s.err
}

// Close ends the reading, wherever it is, and waits until it has ended.
func (s *Stream) Close() error {
	close(s.closed)
	err := s.body.Close()
	for range s.blocks {
	}
	return err
}
