package catchup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"hubbub/internal/room"
	"hubbub/internal/store"
	"hubbub/internal/store/sqlstore"
	"hubbub/mimi"
	"hubbub/mls"
)

const chat mimi.RoomURI = "mimi://a.localhost/r/chat"

// newLog stores a room with n entries and returns all places of its log.
func newLog(t *testing.T, n int) (store.Store, []room.Pos) {
	t.Helper()
	s, err := sqlstore.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	places := []room.Pos{room.StartPos(chat)}
	var list []store.Append
	for i := range n {
		body := message(t, i)
		prev := places[i]
		next := prev.Next(body)
		places = append(places, next)
		list = append(list, store.Append{Room: chat, Prev: prev, Entry: store.Entry{Seq: next.Seq, Hash: next.Hash,
			Timestamp: next.Seq, Kind: room.KindApplication, Body: body, MessageHash: next.Hash}})
	}
	err = s.Update(t.Context(), func(tx store.Tx) error {
		rec := store.RoomRecord{URI: chat, Hub: chat.Domain(), Head: places[0], Start: places[0], State: []byte{1}}
		return errors.Join(tx.CreateRoom(rec, nil, nil, nil), tx.AppendAll(list))
	})
	if err != nil {
		t.Fatal(err)
	}
	return s, places
}

// message is a FanoutMessage that no other is equal to.
func message(t *testing.T, n int) []byte {
	t.Helper()
	m := mls.NewMessage(&mls.PrivateMessage{GroupID: []byte("group"), ContentType: mls.ContentTypeApplication,
		EncryptedSenderData: []byte("sender"), Ciphertext: fmt.Appendf(nil, "entry %d", n)})
	body, err := (&mimi.FanoutMessage{Timestamp: uint64(n) + 1, Message: *m}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// largest remembers the largest write.
type largest struct {
	bytes.Buffer
	most int
}

func (l *largest) Write(b []byte) (int, error) {
	l.most = max(l.most, len(b))
	return l.Buffer.Write(b)
}

func TestSendAndRead(t *testing.T) {
	const n = 2*blockEntries + 10
	s, places := newLog(t, n)
	for _, tc := range []struct{ from, until, end uint64 }{{0, 0, n}, {0, 3, 3}, {blockEntries, 0, n}, {n - 1, 0, n}, {n, 0, n}, {5, 5, 5}} {
		part, err := Open(t.Context(), s, chat, places[tc.from], tc.until)
		if err != nil {
			t.Fatal(err)
		}
		if part.Head != places[tc.end] {
			t.Errorf("%+v: head %v", tc, part.Head)
		}
		var stream largest
		if err := part.Send(t.Context(), &stream); err != nil {
			t.Fatal(err)
		}
		if stream.most > headerBytes+blockBytes {
			t.Errorf("%+v: a block of %d octets", tc, stream.most)
		}
		at := places[tc.from]
		for {
			b, err := read(&stream)
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, a := range b.Entries {
				at = at.Next(a.Raw())
			}
			if at != b.Pos {
				t.Fatalf("%+v: the block says %v, its entries lead to %v", tc, b.Pos, at)
			}
		}
		if at != places[tc.end] {
			t.Errorf("%+v: ended at %v", tc, at)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	s, places := newLog(t, 3)
	forked := places[2]
	forked.Hash[0] ^= 1
	var p *mimi.Problem
	if _, err := Open(t.Context(), s, chat, forked, 0); !errors.As(err, &p) || p.Code != CodeMismatch {
		t.Errorf("another log: %v", err)
	}
	if _, err := Open(t.Context(), s, "mimi://a.localhost/r/none", places[0], 0); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("no such room: %v", err)
	}
	part, err := Open(t.Context(), s, chat, room.Pos{Seq: 9}, 0)
	if err != nil || part.Head != places[3] {
		t.Fatalf("from beyond the head: %+v, %v", part, err)
	}
	var b bytes.Buffer
	if err := part.Send(t.Context(), &b); err != nil || b.Len() != 0 {
		t.Errorf("from beyond the head: %d octets, %v", b.Len(), err)
	}
}

func TestReadRefuses(t *testing.T) {
	good := encode([]store.Entry{{Seq: 1, Body: message(t, 0)}})
	for name, b := range map[string][]byte{
		"half a header": good[:headerBytes-1],
		"cut off":       good[:len(good)-1],
		"empty block":   encode([]store.Entry{{Seq: 1}}),
		"no message":    encode([]store.Entry{{Seq: 1, Body: []byte("body")}}),
		"too large":     append(bytes.Clone(good[:headerBytes-4]), 0xff, 0xff, 0xff, 0xff),
	} {
		if _, err := read(bytes.NewReader(b)); !errors.Is(err, ErrBadBlock) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := read(bytes.NewReader(nil)); err != io.EOF {
		t.Errorf("nothing: %v", err)
	}
}

// closing is a body that notes that it was closed.
type closing struct {
	io.Reader
	closed bool
}

func (c *closing) Close() error { c.closed = true; return nil }

// What arrives whole before the end is handed over, and the end says what it was.
func TestReceive(t *testing.T) {
	s, places := newLog(t, blockEntries+5)
	part, err := Open(t.Context(), s, chat, places[0], 0)
	if err != nil {
		t.Fatal(err)
	}
	var whole bytes.Buffer
	if err := part.Send(t.Context(), &whole); err != nil {
		t.Fatal(err)
	}
	for cut, want := range map[int]error{0: io.EOF, 1: ErrBadBlock} {
		body := &closing{Reader: bytes.NewReader(whole.Bytes()[:whole.Len()-cut])}
		stream, blocks := Receive(body), 0
		for ; ; blocks++ {
			if _, err = stream.Next(); err != nil {
				break
			}
		}
		if !errors.Is(err, want) || blocks != 2-cut {
			t.Errorf("%d octets cut off: %d blocks, then %v, want %v", cut, blocks, err, want)
		}
		if stream.Close(); !body.closed {
			t.Error("the body is open")
		}
	}
	stream := Receive(&closing{Reader: &whole})
	stream.Close() // while a block waits to be taken
	if _, err := stream.Next(); err == nil {
		t.Error("a closed stream went on")
	}
}

// refusing takes one write.
type refusing struct{ writes int }

func (r *refusing) Write(b []byte) (int, error) {
	if r.writes++; r.writes > 1 {
		return 0, io.ErrShortWrite
	}
	return len(b), nil
}

// Reading ahead ends when nobody takes it.
func TestSendEnds(t *testing.T) {
	s, places := newLog(t, 3*blockEntries)
	part, err := Open(t.Context(), s, chat, places[0], 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := part.Send(t.Context(), new(refusing)); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("Send = %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := part.Send(ctx, io.Discard); !errors.Is(err, context.Canceled) {
		t.Errorf("Send = %v", err)
	}
}
