package killtest

import (
	"bytes"
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"hubbub/internal/hub"
	"hubbub/internal/room"
	"hubbub/internal/room/roomtest"
	"hubbub/internal/store"
	"hubbub/internal/store/sqlstore"
	"hubbub/internal/store/storetest"
	"hubbub/mimi"
	"hubbub/mls"
)

const (
	linearRoom = mimi.RoomURI("mimi://a.localhost/r/linear")
	writes     = 24 // of each member
)

// arena is a hub, restarted now and then, with members that write through it.
type arena struct {
	*testing.T
	store *storetest.Faulty
	key   *mls.SignatureKey
	clock atomic.Int64 // orders calls and returns

	life sync.RWMutex // held for reading while the hub is asked
	hub  *hub.Hub

	mu      sync.Mutex // guards what follows
	history []porcupine.Operation
	unknown []porcupine.Operation // never answered
}

// member is one client of the room, used by one goroutine.
type member struct {
	*arena
	n    int
	c    *roomtest.Client
	rng  *rand.Rand
	read state
	at   uint64 // Seq up to which it has followed the log
}

// The log of a room under concurrent writers, while commits fail with an unknown
// outcome and the hub loses its memory: some order of all operations explains
// every answer and every read.
func TestHubIsLinearizable(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	x := newArena(t, seed)
	members := x.members(6, seed)
	start := members[0].read
	var wg sync.WaitGroup
	for _, m := range members {
		wg.Go(func() {
			for range writes {
				m.write()
				m.catchUp()
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	x.resolve()
	t.Logf("seed %d: %d operations, %d of them never answered", seed, len(x.history), len(x.unknown))
	result, info := porcupine.CheckOperationsVerbose(logModel(start), x.history, time.Minute)
	if result != porcupine.Ok {
		t.Errorf("seed %d: %s; the longest explicable parts: %v", seed, result, info.PartialLinearizations())
	}
}

func newArena(t *testing.T, seed uint64) *arena {
	t.Helper()
	s, err := sqlstore.Open(t.TempDir())
	ok(t, err)
	t.Cleanup(func() { s.Close() })
	var mu sync.Mutex
	rng := rand.New(rand.NewPCG(seed, 1))
	calm := 3 // the room is made in peace
	x := &arena{T: t, store: &storetest.Faulty{Store: s, Decide: func(call int) storetest.Fault {
		mu.Lock()
		defer mu.Unlock()
		if call <= calm {
			return storetest.NoFault
		}
		switch rng.IntN(12) {
		case 0:
			return storetest.FailLose
		case 1:
			return storetest.FailKeep
		case 2:
			return storetest.Refuse
		}
		return storetest.NoFault
	}}}
	return x
}

// members makes the room with n members, who have all followed its log.
func (x *arena) members(n int, seed uint64) (list []*member) {
	world := &roomtest.World{T: x, Now: time.Now}
	x.key = world.NewKey()
	x.restart()
	names := []string{"alice@a.localhost", "bob@b.localhost", "cathy@c.localhost", "dave@b.localhost", "eve@c.localhost", "fred@a.localhost"}
	for i := range n {
		list = append(list, &member{arena: x, n: i, c: world.Client(names[i], "phone"), rng: rand.New(rand.NewPCG(seed, uint64(i)+2))})
	}
	alice := list[0]
	in := alice.c.Create(linearRoom, x.key)
	ok(x.T, x.hub.Create(x.Context(), alice.c.URI, hub.CreateRequest{Room: linearRoom, GroupInfo: in.GroupInfo, Tree: in.Tree}))
	var packages []*mls.KeyPackage
	for _, m := range list[1:] {
		packages = append(packages, m.c.KeyPackage())
	}
	_, err := x.hub.Update(x.Context(), "a.localhost", linearRoom, alice.c.Add(packages...))
	ok(x.T, err)
	welcome := x.welcome()
	for _, m := range list {
		if m != alice {
			m.c.Join(welcome)
			m.at = 1
		}
		m.follow()
		m.read.count, m.read.chain = 1, [32]byte{1} // the part of the log before the race
	}
	return list
}

// restart puts a hub without memory in the place of the one there was.
func (x *arena) restart() {
	x.life.Lock()
	defer x.life.Unlock()
	x.hub = hub.New(hub.Config{Domain: "a.localhost", Store: x.store, Env: roomtest.Env(), SignatureKey: x.key})
}

func (x *arena) welcome() (body []byte) {
	x.view(func(tx store.ReadTx) error {
		list, err := tx.OutWelcomes(linearRoom, "b.localhost", 0)
		if err == nil {
			body = list[0].Body
		}
		return err
	})
	return body
}

func (x *arena) view(fn func(store.ReadTx) error) {
	x.Helper()
	if err := x.store.View(context.Background(), fn); err != nil {
		x.Error(err)
	}
}

// write submits one message or commit, with the same octets until it is answered
// or given up.
func (m *member) write() {
	in := input{kind: opMessage, epoch: m.c.Group.Epoch()}
	var body []byte
	if m.rng.IntN(3) == 0 {
		in.kind, body = opCommit, m.c.Commit()
	} else {
		body = m.c.Post("x")
	}
	in.id = m.messageHash(in.kind, body)
	op := porcupine.Operation{ClientId: m.n, Input: in, Call: m.clock.Add(1), Return: math.MaxInt64}
	answer, err := m.submit(in.kind, body)
	for err != nil && m.rng.IntN(4) > 0 {
		answer, err = m.submit(in.kind, body)
	}
	if err != nil {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.unknown = append(m.unknown, op)
		return
	}
	op.Return, op.Output = m.clock.Add(1), m.parse(in.kind, answer)
	m.mu.Lock()
	m.history = append(m.history, op)
	m.mu.Unlock()
	if op.Output.(output).accepted && m.rng.IntN(3) == 0 {
		m.again(in.kind, body, answer)
	}
}

// again repeats what was accepted: the answer must be the same octets.
func (m *member) again(kind opKind, body, answer []byte) {
	if second, err := m.submit(kind, body); err == nil && !bytes.Equal(second, answer) {
		m.Errorf("a repeat is answered with %x, the first time it was %x", second, answer)
	}
}

func (m *member) submit(kind opKind, body []byte) ([]byte, error) {
	if m.rng.IntN(20) == 0 {
		m.restart()
	}
	m.life.RLock()
	defer m.life.RUnlock()
	h, peer := m.hub, m.c.User.Domain()
	if kind == opCommit {
		return h.Update(context.Background(), peer, linearRoom, body)
	}
	return h.Submit(context.Background(), peer, linearRoom, body)
}

func (m *member) messageHash(kind opKind, body []byte) [32]byte {
	if kind == opCommit {
		in, err := room.ParseHandshake(m.c.User.Domain(), body)
		if err != nil {
			m.Fatal(err)
		}
		return in.MessageHash()
	}
	in, err := room.ParseSubmission(m.c.User.Domain(), body)
	if err != nil {
		m.Fatal(err)
	}
	return in.MessageHash()
}

func (m *member) parse(kind opKind, answer []byte) output {
	if kind == opCommit {
		a, err := mimi.ParseUpdateRoomResponse(answer)
		if err != nil || a.Code != mimi.UpdateSuccess && a.Code != mimi.UpdateWrongEpoch {
			m.Errorf("a commit is answered with %+v, %v", a, err)
			return output{}
		}
		return output{accepted: a.Code == mimi.UpdateSuccess, time: a.Timestamp, epoch: a.CurrentEpoch}
	}
	a, err := mimi.ParseSubmitMessageResponse(answer)
	if err != nil || a.Code != mimi.SubmitAccepted && a.Code != mimi.SubmitEpochTooOld {
		m.Errorf("a message is answered with %+v, %v", a, err)
		return output{}
	}
	return output{accepted: a.Code == mimi.SubmitAccepted, time: a.Timestamp, epoch: a.CurrentEpoch}
}

// catchUp reads the log to its end and follows it.
func (m *member) catchUp() {
	op := porcupine.Operation{ClientId: m.n, Input: input{kind: opRead}, Call: m.clock.Add(1)}
	m.follow()
	op.Output, op.Return = output{log: m.read}, m.clock.Add(1)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.history = append(m.history, op)
}

func (m *member) follow() {
	var list []store.Entry
	m.view(func(tx store.ReadTx) (err error) {
		list, err = tx.Entries(linearRoom, m.at, 1<<20, 1<<30)
		return err
	})
	for _, e := range list {
		if !m.c.Follow(e.Body) {
			m.Errorf("%s is out of the group", m.c)
		}
		m.at = e.Seq
		m.read = m.read.add(input{kind: kindOf(e), id: e.MessageHash}, e.Timestamp)
	}
	m.read.epoch = m.c.Group.Epoch()
}

func kindOf(e store.Entry) opKind {
	if e.Kind == room.KindCommit {
		return opCommit
	}
	return opMessage
}

// resolve finds out from the log what became of writes that were never answered:
// those in it took effect at some time after they were asked, the others never.
func (x *arena) resolve() {
	for _, op := range x.unknown {
		in := op.Input.(input)
		x.view(func(tx store.ReadTx) error {
			e, err := tx.EntryByMessage(linearRoom, in.id)
			if errors.Is(err, store.ErrNotFound) {
				return nil
			}
			if err == nil {
				op.Output = output{accepted: true, time: e.Timestamp}
				x.history = append(x.history, op)
			}
			return err
		})
	}
	x.verifyChain()
}

// verifyChain checks the log as it lies in the store.
func (x *arena) verifyChain() {
	x.view(func(tx store.ReadTx) error {
		pos := room.StartPos(linearRoom)
		list, err := tx.Entries(linearRoom, 0, 1<<20, 1<<30)
		for _, e := range list {
			if pos = pos.Next(e.Body); pos.Seq != e.Seq || pos.Hash != e.Hash {
				x.Errorf("entry %d breaks the chain", e.Seq)
			}
		}
		return err
	})
}
