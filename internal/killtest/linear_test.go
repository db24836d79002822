package killtest

import (
	"crypto/sha256"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// opKind is what a writer does to a room.
type opKind int

const (
	opMessage opKind = iota
	opCommit
	opRead
)

// input and output are one operation on the log of a room. A write is asked with
// the same octets until it is answered; an answer that never came is none.
type input struct {
	kind  opKind
	id    [32]byte // SHA-256 of the MLSMessage
	epoch uint64   // the writer's
}

type output struct {
	accepted bool
	time     uint64 // AcceptedTimestamp, if accepted
	epoch    uint64 // the hub's, if refused
	log      state  // what a read saw
}

// state is a log in short.
type state struct {
	epoch uint64
	last  uint64 // AcceptedTimestamp of the newest entry
	count int
	chain [32]byte // over the ids and timestamps, in order
}

func (s state) add(in input, at uint64) state {
	s.chain = sha256.Sum256(fmt.Appendf(nil, "%x %x %d", s.chain, in.id, at))
	s.count++
	s.last = at
	if in.kind == opCommit {
		s.epoch++
	}
	return s
}

// logModel is an append-only log: a commit is a compare-and-swap of the epoch, a
// message is accepted in the current epoch only, timestamps grow, a read sees all
// of it.
func logModel(start state) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return start },
		Step: func(st, in, out any) (bool, any) {
			s, i, o := st.(state), in.(input), out.(output)
			return step(s, i, o)
		},
		Equal: func(x, y any) bool { return x == y },
		DescribeOperation: func(in, out any) string {
			i, o := in.(input), out.(output)
			return fmt.Sprintf("%s %x in %d -> %t at %d, epoch %d, %d entries",
				[]string{"message", "commit", "read"}[i.kind], i.id[:3], i.epoch, o.accepted, o.time, o.epoch, o.log.count)
		},
	}
}

func step(s state, in input, out output) (bool, state) {
	switch {
	case in.kind == opRead:
		return out.log.count == s.count && out.log.chain == s.chain, s
	case in.kind == opCommit && out.accepted:
		return in.epoch == s.epoch && out.time > s.last, s.add(in, out.time)
	case in.kind == opCommit:
		return in.epoch != s.epoch && out.epoch == s.epoch, s
	case out.accepted:
		return in.epoch == s.epoch && out.time > s.last, s.add(in, out.time)
	}
	return in.epoch < s.epoch && out.epoch == s.epoch, s
}

// A model that takes everything would find nothing.
func TestModelRefuses(t *testing.T) {
	id := func(b byte) (h [32]byte) { h[0] = b; return h }
	commit := func(b byte, epoch uint64) input { return input{opCommit, id(b), epoch} }
	yes := func(at uint64) output { return output{accepted: true, time: at} }
	one := state{}.add(commit(1, 0), 10)
	two := one.add(commit(2, 1), 20)
	type op struct {
		in        input
		out       output
		from, end int64
	}
	for name, tc := range map[string]struct {
		ops []op
		ok  bool
	}{
		"one after the other": {[]op{{commit(1, 0), yes(10), 1, 2}, {commit(2, 1), yes(20), 3, 4}}, true},
		"two for one epoch":   {[]op{{commit(1, 0), yes(10), 1, 4}, {commit(2, 0), yes(20), 2, 3}}, false},
		"a false refusal":     {[]op{{commit(1, 0), output{epoch: 0}, 1, 2}}, false},
		"time stands still":   {[]op{{commit(1, 0), yes(10), 1, 2}, {commit(2, 1), yes(10), 3, 4}}, false},
		"an entry is lost":    {[]op{{commit(1, 0), yes(10), 1, 2}, {input{kind: opRead}, output{}, 3, 4}}, false},
		"an older state": {[]op{{commit(1, 0), yes(10), 1, 2}, {commit(2, 1), yes(20), 3, 4},
			{input{kind: opRead}, output{log: one}, 5, 6}}, false},
		"read in between": {[]op{{commit(1, 0), yes(10), 1, 2}, {commit(2, 1), yes(20), 3, 6},
			{input{kind: opRead}, output{log: one}, 4, 5}, {input{kind: opRead}, output{log: two}, 7, 8}}, true},
		"unanswered, seen later": {[]op{{commit(1, 0), yes(10), 1, math.MaxInt64}, {input{kind: opRead}, output{}, 3, 4},
			{input{kind: opRead}, output{log: one}, 5, 6}}, true},
		"seen, then not": {[]op{{commit(1, 0), yes(10), 1, math.MaxInt64}, {input{kind: opRead}, output{log: one}, 3, 4},
			{input{kind: opRead}, output{}, 5, 6}}, false},
		"too old": {[]op{{input{opMessage, id(9), 0}, output{epoch: 2}, 1, 2}}, false},
	} {
		var list []porcupine.Operation
		for i, o := range tc.ops {
			list = append(list, porcupine.Operation{ClientId: i, Input: o.in, Output: o.out, Call: o.from, Return: o.end})
		}
		want := porcupine.Illegal
		if tc.ok {
			want = porcupine.Ok
		}
		if got := porcupine.CheckOperationsTimeout(logModel(state{}), list, 10*time.Second); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}
