package api

import (
	"bytes"
	"testing"

	"google.golang.org/protobuf/proto"

	"hubbub/client/clientpb"
	"hubbub/internal/room"
	"hubbub/internal/store"
)

// What is written without protobuf's own encoder is what that would write.
func TestEntryFrames(t *testing.T) {
	for _, e := range []store.Entry{
		{},
		{Seq: 1, Timestamp: 2, Kind: room.KindApplication, Body: []byte("x"), Hash: [32]byte{1, 2, 3}},
		{Seq: 1<<64 - 1, Timestamp: 1 << 41, Kind: room.KindCommit, Body: bytes.Repeat([]byte("body"), 10_000)},
	} {
		want, err := clientpb.AppendFrame([]byte("before"), &clientpb.ServerFrame{Frame: &clientpb.ServerFrame_Entry{
			Entry: &clientpb.RoomEntry{Room: string(lobby), Entry: entryPB(e)}}})
		if err != nil {
			t.Fatal(err)
		}
		if got := appendEntry([]byte("before"), lobby, &e); !bytes.Equal(got, want) {
			t.Errorf("entry %d: %x\nwant %x", e.Seq, got, want)
		}
		if n := len(appendEntry(nil, lobby, &e)); n > entrySize(lobby, &e) {
			t.Errorf("entry %d takes %d octets, foreseen %d", e.Seq, n, entrySize(lobby, &e))
		}
	}
}

// A message is complete at maxMessageOut and ends with a whole frame.
func TestMessagesOfManyFrames(t *testing.T) {
	p := &page{many: true}
	const n = 100
	for i := range uint64(n) {
		p.entry(lobby, &store.Entry{Seq: i, Body: make([]byte, 10<<10)})
	}
	if len(p.messages) < 3 {
		t.Errorf("%d messages", len(p.messages))
	}
	next := uint64(0)
	for _, m := range p.messages {
		if len(m) > maxMessageOut+11<<10 {
			t.Errorf("a message of %d octets", len(m))
		}
		if err := clientpb.EachFrame(m, func(data []byte) error {
			var f clientpb.ServerFrame
			err := proto.Unmarshal(data, &f)
			if f.GetEntry().GetEntry().GetSeq() != next {
				t.Errorf("entry %d, want %d", f.GetEntry().GetEntry().GetSeq(), next)
			}
			next++
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	if next != n {
		t.Errorf("%d entries, want %d", next, n)
	}
}
