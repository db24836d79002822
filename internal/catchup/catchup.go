// Package catchup carries part of a room log from one provider to another that
// lacks it: from the hub to a follower that was away, or from a follower back to
// a hub that lost what it had.
//
// What travels is a sequence of blocks, each a place in the log and the entries
// that lead to it. A block is checked against the hash chain and made durable
// before the next is read, so that neither side holds more than one of them,
// however long the log, and what breaks off goes on where it broke.
package catchup

import (
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
	blockEntries  = 512
	blockBytes    = 256 << 10
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
		rec, err := tx.Room(uri)
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

// Send writes the part, block by block.
func (p *Part) Send(ctx context.Context, w io.Writer) error {
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
		if _, err := w.Write(encode(list)); err != nil {
			return err
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
	Pos  room.Pos
	Body []byte // concatenated FanoutMessages
}

// Read reads the next block, io.EOF after the last one.
func Read(r io.Reader) (*Block, error) {
	var header [headerBytes]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		if err == io.EOF {
			return nil, io.EOF
		}
		return nil, fmt.Errorf("%w: %w", ErrBadBlock, err)
	}
	b := &Block{Pos: room.Pos{Seq: binary.BigEndian.Uint64(header[:])}}
	copy(b.Pos.Hash[:], header[8:])
	size := binary.BigEndian.Uint32(header[40:])
	if size == 0 || size > maxBlockBytes {
		return nil, fmt.Errorf("%w: %d octets", ErrBadBlock, size)
	}
	var err error
	if b.Body, err = io.ReadAll(io.LimitReader(r, int64(size))); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadBlock, err)
	}
	if len(b.Body) != int(size) {
		return nil, fmt.Errorf("%w: it ends early", ErrBadBlock)
	}
	return b, nil
}
