package client

import (
	"context"
	"errors"
	"fmt"

	"connectrpc.com/connect"

	"hubbub/client/clientpb"
	"hubbub/mimi"
	"hubbub/mimi/checkpoint"
	"hubbub/mls"
)

// maxCheck bounds how many entries are fetched to connect a checkpoint with what
// this device has processed, when nobody asked for it; [Client.Verify] has no
// bound.
const maxCheck = 1000

// errForked says that the hub's signature stands under another history than the
// one this device was given.
type errForked struct {
	signed checkpoint.Checkpoint
	have   Pos
	note   []byte
}

func (e *errForked) Error() string {
	return fmt.Sprintf("the hub has signed %s, which does not belong to the log this device was given (%s)",
		Pos{e.signed.Seq, e.signed.Hash}, e.have)
}

// standing is what this device knows of a room by itself: where it is, and who
// may sign for the hub. ok is false if it is no member.
func (c *Client) standing(room mimi.RoomURI) (pos Pos, senders []mls.ExternalSender, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.rooms[room]
	if r == nil || r.group == nil || !r.positioned || r.phase != phaseMember {
		return Pos{}, nil, false
	}
	return r.pos, r.group.Public().ExternalSenders(), true
}

// checkSigned holds a checkpoint that the provider gives against what this device
// processed. It gives the checkpoint's place if it was verified, and distrusts the
// room if the two contradict each other. What it cannot connect, it lets be.
func (c *Client) checkSigned(ctx context.Context, room mimi.RoomURI, signed []byte) (Pos, error) {
	pos, senders, ok := c.standing(room)
	if !ok || len(signed) == 0 {
		return Pos{}, nil
	}
	cp, err := checkpoint.Open(signed, room, senders)
	if err != nil {
		return Pos{}, nil // a key may have changed in an entry that is still on its way; Verify says more
	}
	at := Pos{Seq: cp.Seq, Hash: cp.Hash}
	switch {
	case at == pos:
		return at, nil
	case at.Seq > pos.Seq, pos.Seq-at.Seq > maxCheck:
		return Pos{}, nil // the stream brings what is missing; or too far away
	}
	reached := at
	if at.Seq < pos.Seq {
		entries, err := c.Log(ctx, room, at.Seq, int(pos.Seq-at.Seq))
		if err != nil {
			return Pos{}, err
		}
		for _, e := range entries {
			if e.Seq != reached.Seq+1 {
				return Pos{}, nil // from before this device joined
			}
			reached = reached.next(e.Body)
		}
		if reached.Seq != pos.Seq {
			return Pos{}, nil
		}
	}
	if reached == pos {
		return at, nil
	}
	return Pos{}, c.forked(room, &errForked{cp, pos, signed})
}

// forked stops processing a room and keeps the proof.
func (c *Client) forked(room mimi.RoomURI, cause *errForked) error {
	return c.step(func(b *batch) error {
		r := b.room(room)
		if r == nil || r.suspicious != "" {
			return nil
		}
		if err := putKey(b.tx, "evidence/"+string(room), cause.note); err != nil {
			return err
		}
		return b.distrust(r, cause.signed.Seq, cause)
	})
}

// checkAll looks at the checkpoints of all rooms this device is in.
func (c *Client) checkAll(ctx context.Context) error {
	c.mu.Lock()
	var rooms []mimi.RoomURI
	for uri, r := range c.rooms {
		if r.member() == nil {
			rooms = append(rooms, uri)
		}
	}
	c.mu.Unlock()
	for _, uri := range rooms {
		_, err := c.Room(ctx, uri)
		if err != nil && !errors.Is(err, ErrUnknownRoom) {
			return err
		}
	}
	return nil
}

// SignedHead is a checkpoint: what the hub of a room has signed about its log.
type SignedHead struct {
	Pos  Pos
	Note []byte // the C2SP signed note
	Err  error  // why its signature does not hold; nil = verified
}

// ReplicaReport is what one provider says of its copy of a room.
type ReplicaReport struct {
	Provider mimi.Domain
	Pos      Pos         // how far its copy reaches
	Signed   *SignedHead // newest checkpoint it holds; nil if none
	Err      string      // why it said nothing: a stable code such as "peer-unreachable"
}

// Verification is what [Client.Verify] found out about a room.
type Verification struct {
	Room mimi.RoomURI
	Own  Pos // processed by this device
	Pos  Pos // the own provider's copy
	// First and Last are the entries of the own provider's log that were read and
	// whose hash chain was recomputed; both 0 if there are none.
	First, Last uint64
	// Signed is the newest checkpoint that was verified, from whomever it came;
	// nil if there is none.
	Signed  *SignedHead
	Reports []ReplicaReport // one for each provider, the hub first
	// Evidence is what the own provider kept when the hub signed two histories.
	Evidence []byte
	// Former are copies that the own provider has replaced by the hub's. They are
	// contradictions that were settled, and no problems.
	Former []FormerCopy
	Frozen string // why the own provider takes nothing more; empty = it does
	// NoProof says that the hub offers no proof: it gives its log no places and signs
	// nothing. Checked is then the own provider's copy by itself; what others hold cannot
	// be compared with it.
	NoProof bool
	// Problems are contradictions, each in one line; empty = everything that could
	// be compared agrees.
	Problems []string
}

// Verify checks a room's log from this device's first entry to the newest: the
// hash chain of what the own provider stores, that it leads through what this
// device processed, the hub's signature, and that all providers of the room hold
// the same history. It needs no trust in any provider: the hub's key is the one in
// the group's state. What contradicts this device's own log makes the room
// suspicious.
//
// Providers that do not answer are listed as such and are no problem. Errors:
// [ErrUnknownRoom], [ErrNotMember], an *[Error], ctx's.
func (c *Client) Verify(ctx context.Context, room mimi.RoomURI) (*Verification, error) {
	own, senders, ok := c.standing(room)
	if !ok {
		return nil, fmt.Errorf("%w: only a device in the group knows the hub's key", ErrNotMember)
	}
	res, err := c.t.api.GetRoom(ctx, connect.NewRequest(&clientpb.GetRoomRequest{Room: string(room)}))
	if err != nil {
		return nil, err
	}
	before := position(res.Msg.GetRoom().GetHead())
	answers, err := c.t.api.CompareReplicas(ctx, connect.NewRequest(&clientpb.CompareReplicasRequest{Room: string(room)}))
	if err != nil {
		return nil, err
	}
	v := &verifier{c: c, senders: senders, hashes: map[uint64][32]byte{}, signed: map[uint64][32]byte{},
		out: &Verification{Room: room, Own: own, Pos: before, Frozen: res.Msg.GetRoom().GetFrozen(), Former: formerCopies(res.Msg.GetRoom().GetFormer()), Evidence: answers.Msg.GetEvidence()}}
	if n := len(v.out.Evidence); n > 0 {
		v.problem("the own provider keeps two checkpoints of the hub that cannot both be true")
	}
	v.out.NoProof = position(res.Msg.GetRoom().GetStart()).counted(room)
	v.want(own.Seq)
	v.want(before.Seq)
	v.checkpoint(string(c.domain), res.Msg.GetRoom().GetCheckpoint())
	for _, r := range answers.Msg.GetReports() {
		v.report(r)
	}
	if err := v.chain(ctx); err != nil {
		return nil, err
	}
	if err := v.formers(ctx); err != nil {
		return nil, err
	}
	v.compare()
	if v.fork != nil {
		if err := c.forked(room, v.fork); err != nil {
			return nil, err
		}
	}
	return v.out, nil
}

// verifier is one call of Verify.
type verifier struct {
	c       *Client
	senders []mls.ExternalSender
	out     *Verification
	hashes  map[uint64][32]byte // of the own provider's log, at the places of interest; zero = not read yet
	signed  map[uint64][32]byte // by the hub, verified
	notes   []*SignedHead       // verified
	fork    *errForked
}

func (v *verifier) problem(format string, args ...any) {
	v.out.Problems = append(v.out.Problems, fmt.Sprintf(format, args...))
}

func (v *verifier) want(seq uint64) {
	if _, ok := v.hashes[seq]; !ok {
		v.hashes[seq] = [32]byte{}
	}
}

// checkpoint verifies one that somebody holds.
func (v *verifier) checkpoint(from string, note []byte) *SignedHead {
	if len(note) == 0 {
		return nil
	}
	s := &SignedHead{Note: note}
	cp, err := checkpoint.Open(note, v.out.Room, v.senders)
	if err != nil {
		s.Err = err
		v.problem("%s gives a checkpoint that does not hold: %v", from, err)
		return s
	}
	s.Pos = Pos{Seq: cp.Seq, Hash: cp.Hash}
	v.want(cp.Seq)
	if other, ok := v.signed[cp.Seq]; ok && other != cp.Hash {
		v.problem("the hub has signed two histories: both %s and %s", Pos{cp.Seq, other}, s.Pos)
	}
	v.signed[cp.Seq] = cp.Hash
	v.notes = append(v.notes, s)
	if v.out.Signed == nil || s.Pos.Seq > v.out.Signed.Pos.Seq {
		v.out.Signed = s
	}
	return s
}

func (v *verifier) report(p *clientpb.ReplicaReport) {
	r := ReplicaReport{Provider: mimi.Domain(p.GetProvider()), Err: p.GetError()}
	if r.Err == "" {
		r.Pos = position(p.GetHead())
		r.Signed = v.checkpoint(p.GetProvider(), p.GetCheckpoint())
		v.want(r.Pos.Seq)
		// The own provider's copy was read before: the hub can only be ahead of it.
		if r.Provider == v.out.Room.Domain() && r.Pos.Seq < v.out.Pos.Seq {
			v.problem("the log of the hub, %s, ends at %s and is shorter than the copy of %s, which ends at %s: the hub lost entries",
				r.Provider, r.Pos, v.c.domain, v.out.Pos)
		}
	}
	v.out.Reports = append(v.out.Reports, r)
}

// chain reads the own provider's log and recomputes the hashes.
func (v *verifier) chain(ctx context.Context) error {
	var pos Pos
	for after := uint64(0); ; {
		page, err := v.c.Log(ctx, v.out.Room, after, 0)
		if err != nil {
			return err
		}
		if len(page) == 0 {
			return nil
		}
		for _, e := range page {
			next := Pos{Seq: e.Seq, Hash: e.Hash}
			// Where a span of the log begins the first hash is taken as given: what
			// this device processed later commits to it.
			if pos.Seq != 0 && e.Seq == pos.Seq+1 && pos.next(e.Body) != next {
				v.problem("entry %d of the copy of %s does not continue the hash chain", e.Seq, v.c.domain)
				return nil
			}
			pos = next
			if v.out.First == 0 {
				v.out.First = e.Seq
			}
			v.out.Last = e.Seq
			if _, wanted := v.hashes[e.Seq]; wanted {
				v.hashes[e.Seq] = e.Hash
			}
		}
		after = page[len(page)-1].Seq
	}
}

// formers recomputes the hashes of the copies that were set aside, as far as this
// device may read them.
func (v *verifier) formers(ctx context.Context) error {
	for _, f := range v.out.Former {
		page, err := v.c.Log(ctx, f.Room, 0, 1<<20)
		if err != nil {
			return err
		}
		var pos Pos
		for _, e := range page {
			next := Pos{Seq: e.Seq, Hash: e.Hash}
			if pos.Seq != 0 && e.Seq == pos.Seq+1 && pos.next(e.Body) != next {
				v.problem("entry %d of the copy that %s has set aside does not continue the hash chain", e.Seq, v.c.domain)
				break
			}
			pos = next
		}
	}
	return nil
}

// compare holds everything that was said against the own provider's log, and that
// log against what this device processed.
func (v *verifier) compare() {
	at := func(seq uint64) (Pos, bool) {
		h := v.hashes[seq]
		return Pos{Seq: seq, Hash: h}, h != [32]byte{}
	}
	if have, ok := at(v.out.Own.Seq); ok && have != v.out.Own {
		v.problem("the copy of %s holds %s where this device processed %s", v.c.domain, have, v.out.Own)
	}
	if have, ok := at(v.out.Pos.Seq); ok && have != v.out.Pos {
		v.problem("the copy of %s says it stands at %s, its log leads to %s", v.c.domain, v.out.Pos, have)
	}
	for _, s := range v.notes {
		if have, ok := at(s.Pos.Seq); ok && have != s.Pos {
			v.problem("the hub has signed %s, the copy of %s holds %s", s.Pos, v.c.domain, have)
			v.fork = &errForked{checkpoint.Checkpoint{Room: v.out.Room, Seq: s.Pos.Seq, Hash: s.Pos.Hash}, v.out.Own, s.Note}
		}
	}
	for _, r := range v.out.Reports {
		if have, ok := at(r.Pos.Seq); r.Err == "" && ok && have != r.Pos {
			v.problem("%s holds %s, the copy of %s holds %s", r.Provider, r.Pos, v.c.domain, have)
		}
	}
	if v.fork != nil && v.fork.signed.Seq > v.out.Own.Seq {
		v.fork = nil // not about what this device processed
	}
}
