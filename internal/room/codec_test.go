package room_test

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"hubbub/internal/room"
	"hubbub/internal/room/roomtest"
	"hubbub/mimi"
	"hubbub/mls"
)

// rename proposes another name for the room.
func rename(t testing.TB) mls.Proposal {
	b, err := (&mimi.RoomMetaData{Room: storyRoom, Name: "renamed"}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return mls.Proposal{Type: mls.ProposalTypeAppDataUpdate, AppDataUpdate: &mls.AppDataUpdate{
		Component: mimi.ComponentRoomMetadata, Op: mls.AppDataUpdateOpUpdate, Data: b,
	}}
}

// snapshotOf is a snapshot of a room with one entry and one pending proposal.
func snapshotOf(t testing.TB) []byte {
	w := &roomtest.World{T: t, Now: time.Now}
	env, key := roomtest.Env(), w.NewKey()
	alice := w.Client("alice@a.localhost", "phone")
	s, eff, err := room.Create(env, alice.Create(storyRoom, key), uint64(time.Now().UnixMilli()))
	if err != nil || eff.Refusal != nil {
		t.Fatal(err, eff.Refusal)
	}
	history := eff.Changes
	bob := w.Client("bob@b.localhost", "phone")
	for i, body := range [][]byte{alice.Add(bob.KeyPackage()), nil} {
		if i == 1 {
			body = alice.Propose(rename(t))
		}
		in, err := room.ParseHandshake("a.localhost", body)
		if err != nil {
			t.Fatal(err)
		}
		if s, eff, err = room.Step(env, s, in, uint64(time.Now().UnixMilli())); err != nil || eff.Refusal != nil {
			t.Fatal(err, eff.Refusal)
		}
		alice.Follow(eff.Entry.Body)
		history = append(history, eff.Changes...)
	}
	snap, err := room.NewSnapshot(&s, history)
	if err != nil {
		t.Fatal(err)
	}
	b, err := snap.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestSnapshotCarriesPendingProposals(t *testing.T) {
	snap, err := room.ParseSnapshot(snapshotOf(t))
	if err != nil {
		t.Fatal(err)
	}
	s, err := room.StartFrom(roomtest.Env(), snap)
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Pending()) != 1 || s.Pos != snap.Pos || s.Pos.Seq != 2 {
		t.Errorf("%d pending at %v", len(s.Pending()), s.Pos)
	}
	b, err := s.Encode()
	if err != nil {
		t.Fatal(err)
	}
	again, err := room.Decode(roomtest.Env(), b)
	if err != nil {
		t.Fatal(err)
	}
	if c, err := again.Encode(); err != nil || !bytes.Equal(b, c) {
		t.Errorf("a State does not survive encoding: %v", err)
	}
	for i := range len(b) {
		if _, err := room.Decode(roomtest.Env(), b[:i]); err == nil {
			t.Fatalf("a State cut at %d of %d decodes", i, len(b))
		}
	}
}

// FuzzSnapshot: whatever a hub sends as snapshot gives a value or an error, and
// what decodes encodes to the same octets.
func FuzzSnapshot(f *testing.F) {
	b := snapshotOf(f)
	f.Add(b)
	f.Add(b[:len(b)/2])
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, b []byte) {
		snap, err := room.ParseSnapshot(slices.Clone(b))
		if err != nil {
			return
		}
		if again, err := snap.Encode(); err != nil || !bytes.Equal(again, b) {
			t.Errorf("does not survive: %v", err)
		}
		_, _ = room.StartFrom(roomtest.Env(), snap)
	})
}

// FuzzAnnouncements: whatever a hub announces gives a list or an error.
func FuzzAnnouncements(f *testing.F) {
	f.Add([]byte{})
	f.Add(bytes.Repeat([]byte{0}, 64))
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := room.ParseAnnouncements(b)
		if err != nil {
			return
		}
		var all []byte
		for _, a := range list {
			all = append(all, a.Raw()...)
		}
		if !bytes.Equal(all, b) {
			t.Error("octets lost")
		}
	})
}
