package story

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"hubbub/client"
	"hubbub/mimi"
)

// snapshot is what one provider answers when it is asked for a room, and what
// the asking device has decrypted of it.
type snapshot struct {
	who          string // the provider
	pos          client.Pos
	participants []string
	history      []string
	log          []string // entries after the last witness's join
	messages     []string // decrypted, the same stretch
}

// witnesses are devices by which each provider of a room can be asked: one per
// provider.
func (s *stage) witnesses(room mimi.RoomURI) []*device {
	if room == s.pair {
		return []*device{s.alice, s.bob}
	}
	out := []*device{s.alice, s.bob}
	if s.cathyIn && s.cathy.User().Domain() != s.bob.User().Domain() {
		out = append(out, s.cathy)
	}
	return append(out, s.others...)
}

// listeners are all devices that must get a message of lunch, without one.
func (s *stage) listeners(without *device) []*device {
	all := append([]*device{s.alice, s.bob}, s.others...)
	if s.cathyIn {
		all = append(all, s.cathy)
	}
	if s.laptop != nil {
		all = append(all, s.laptop)
	}
	var out []*device
	for _, d := range all {
		if d != without {
			out = append(out, d)
		}
	}
	return out
}

// ask puts every question about a room to the device's provider. after is where
// the stretch begins that all witnesses may read.
func (d *device) ask(ctx context.Context, room mimi.RoomURI, after uint64) (snapshot, error) {
	s := snapshot{who: string(d.User().Domain())}
	fail := func(err error) (snapshot, error) {
		return s, fmt.Errorf("asking %s: %w", s.who, err)
	}
	info, err := d.Room(ctx, room)
	if err != nil {
		return fail(err)
	}
	s.pos = info.Pos
	for _, p := range info.Participants {
		s.participants = append(s.participants, fmt.Sprintf("%s role %d", p.User.Handle(), p.Role))
	}
	history, err := d.History(ctx, room)
	if err != nil {
		return fail(err)
	}
	for _, c := range history {
		s.history = append(s.history, renderChange(c))
	}
	if s.log, err = d.askLog(ctx, room, after); err != nil {
		return fail(err)
	}
	messages, err := d.messages(ctx, room)
	if err != nil {
		return fail(err)
	}
	for _, m := range messages {
		if m.State == client.Posted && m.Seq > after {
			s.messages = append(s.messages, render(m))
		}
	}
	return s, nil
}

// askLog reads the provider's log after a place.
func (d *device) askLog(ctx context.Context, room mimi.RoomURI, after uint64) ([]string, error) {
	var out []string
	for {
		entries, err := d.Log(ctx, room, after, 1000)
		if err != nil {
			return nil, err
		}
		if len(entries) == 0 {
			return out, nil
		}
		for _, e := range entries {
			body := sha256.Sum256(e.Body)
			out = append(out, fmt.Sprintf("%d %d %s %x %x", e.Seq, e.Timestamp.UnixMilli(), e.Kind, e.Hash[:4], body[:4]))
			after = e.Seq
		}
	}
}

func renderChange(c client.Change) string {
	line := fmt.Sprintf("%d %d %s %s %s", c.Seq, c.Timestamp.UnixMilli(), c.Actor.Handle(), c.Action, c.User.Handle())
	if c.Client != "" {
		line += " " + c.Client.Device()
	}
	if c.Role != 0 {
		line += fmt.Sprintf(" role %d", c.Role)
	}
	return line
}

// commonStart is the place after which every witness may read: that of the
// newest join among them.
func commonStart(witnesses []*device, history []client.Change) uint64 {
	var start uint64
	for _, c := range history {
		for _, w := range witnesses {
			if c.Action == "client-joined" && c.Client == w.URI() {
				start = max(start, c.Seq)
			}
		}
	}
	return start
}

// askAll asks every provider of a room and compares the answers.
func (s *stage) askAll(ctx context.Context, room mimi.RoomURI) error {
	if err := s.converge(ctx, room); err != nil {
		return err
	}
	witnesses := s.witnesses(room)
	history, err := witnesses[0].History(ctx, room)
	if err != nil {
		return err
	}
	after := commonStart(witnesses, history)
	var snaps []snapshot
	for _, w := range witnesses {
		snap, err := w.ask(ctx, room, after)
		if err != nil {
			return err
		}
		snaps = append(snaps, snap)
	}
	first := snaps[0]
	name := s.name(room)
	s.checkAll(fmt.Sprintf("%s: participants (%d)", name, len(first.participants)), snaps, func(x snapshot) []string { return x.participants })
	s.checkAll(fmt.Sprintf("%s: history of membership changes (%d)", name, len(first.history)), snaps, func(x snapshot) []string { return x.history })
	s.checkAll(fmt.Sprintf("%s: entries after Seq %d (%d)", name, after, len(first.log)), snaps, func(x snapshot) []string { return x.log })
	s.checkAll(fmt.Sprintf("%s: messages after Seq %d, decrypted (%d)", name, after, len(first.messages)), snaps, func(x snapshot) []string { return x.messages })
	return nil
}

// checkAll compares one part of every provider's answer.
func (s *stage) checkAll(what string, snaps []snapshot, part func(snapshot) []string) {
	var values []Value
	for _, x := range snaps {
		values = append(values, Value{x.who, strings.Join(part(x), "\n")})
	}
	s.check(what, values...)
}

// positions asks every provider of a room where it stands.
func (s *stage) positions(ctx context.Context, room mimi.RoomURI) ([]Position, error) {
	var out []Position
	for _, w := range s.witnesses(room) {
		info, err := w.Room(ctx, room)
		if err != nil {
			return nil, fmt.Errorf("asking %s: %w", w.User().Domain(), err)
		}
		out = append(out, Position{Room: room, Name: s.name(room), Provider: w.User().Domain(),
			Seq: info.Pos.Seq, Hash: hex.EncodeToString(info.Pos.Hash[:])})
	}
	return out, nil
}

// converge waits until every provider of a room stands at the same place, and
// records where they stand. If they never do, the comparison says so.
func (s *stage) converge(ctx context.Context, room mimi.RoomURI) error {
	var last []Position
	var lastErr error
	s.alice.until(ctx, "equal positions", func() (bool, error) {
		last, lastErr = s.positions(ctx, room)
		if lastErr != nil {
			return false, lastErr
		}
		for _, p := range last {
			if p.Seq != last[0].Seq || p.Hash != last[0].Hash {
				return false, nil
			}
		}
		return true, nil
	})
	if lastErr != nil {
		return lastErr
	}
	var values []Value
	for _, p := range last {
		values = append(values, Value{string(p.Provider), fmt.Sprintf("%d:%s", p.Seq, p.Hash)})
	}
	s.now.Positions = append(s.now.Positions, last...)
	s.check(s.name(room)+": position", values...)
	return nil
}

func (s *stage) name(room mimi.RoomURI) string {
	if room == s.pair {
		return pairName
	}
	return lunchName
}
