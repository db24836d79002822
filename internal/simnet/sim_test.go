package simnet

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"hubbub/internal/backoff"
	"hubbub/internal/hub"
	"hubbub/internal/room"
	"hubbub/internal/room/roomtest"
	"hubbub/internal/store"
	"hubbub/mimi"
)

// sim is one run. Its main goroutine picks one event, lets everything that
// follows from it happen until nothing moves, checks, and picks the next.
type sim struct {
	seed      uint64
	rng       *rand.Rand // of the main goroutine only
	ctx       context.Context
	cancel    context.CancelFunc
	dir       string
	began     time.Time
	net       *network
	order     []mimi.Domain
	providers map[mimi.Domain]*provider
	rooms     []*roomView
	clients   *roomtest.World
	devices   []*device
	events    int
	relapses  int // hubs restored
	log       []string

	mu          sync.Mutex
	faulty      bool     // faults happen
	storeFaults uint64   // per thousand writes
	notes       []string // what goroutines have to say about this event
	trouble     string   // the first violation they saw
	byBody      map[[32]byte]*write
	answers     []hubAnswer
	handedOut   map[string]mimi.Domain // KeyPackageRefs, and whose they are
	batches     map[string][32]byte
}

// violation is how a run ends early.
type violation string

// result is what a run leaves behind.
type result struct {
	failure string
	log     []string
	events  int
	entries int
	relapse int
}

// newSim makes a run in which nothing has happened yet.
func newSim(seed uint64) *sim {
	s := &sim{
		seed: seed, rng: rand.New(rand.NewPCG(seed, 4)), began: time.Now(),
		net:       &network{counts: map[string]int{}, blocked: map[link]bool{}},
		providers: map[mimi.Domain]*provider{}, byBody: map[[32]byte]*write{}, handedOut: map[string]mimi.Domain{},
		batches: map[string][32]byte{},
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// run plays one seed. It must be called in a bubble of synctest.
func run(seed uint64, events int) (res result) {
	s := newSim(seed)
	defer s.end(&res)
	s.set()
	for s.events = 1; s.events <= events; s.events++ {
		s.event()
		s.settle()
	}
	s.heal()
	return res
}

// end takes down what is left and turns a violation into a result.
func (s *sim) end(res *result) {
	failed := recover()
	if v, ok := failed.(violation); ok {
		res.failure, failed = string(v), nil
	}
	s.cancel()
	for _, p := range s.providers {
		if p.life != nil {
			p.life.dead.Store(true)
			p.life.cancel()
		}
	}
	synctest.Wait()
	for _, p := range s.providers {
		if p.engine != nil {
			p.engine.Close()
		}
	}
	os.RemoveAll(s.dir)
	res.log, res.events, res.relapse = s.log, s.events, s.relapses
	for _, r := range s.rooms {
		res.entries += len(r.log)
	}
	if failed != nil {
		panic(failed)
	}
}

func (s *sim) fail(format string, args ...any) {
	panic(violation(fmt.Sprintf(format, args...)))
}

func (s *sim) must(err error) {
	if err != nil {
		s.fail("the simulator itself: %v", err)
	}
}

// Helper and Fatalf let the simulator's clients complain.
func (s *sim) Helper() {}

// Fatalf ends the run: a client met something it cannot process.
func (s *sim) Fatalf(format string, args ...any) { s.fail(format, args...) }

// say adds a line to the transcript.
func (s *sim) say(format string, args ...any) {
	at := time.Since(s.began)
	s.log = append(s.log, fmt.Sprintf("%4d %10.3fs  %s", s.events, at.Seconds(), fmt.Sprintf(format, args...)))
}

// note is say for other goroutines. Notes of one event are sorted: they have no
// order among themselves.
func (s *sim) note(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.notes = append(s.notes, fmt.Sprintf(format, args...))
}

// broken reports a violation from another goroutine.
func (s *sim) broken(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.trouble == "" {
		s.trouble = fmt.Sprintf(format, args...)
	}
}

// casts are the users of each room, the maker first. The maker's provider is
// the hub.
var casts = [][]string{
	{"alice@a.localhost/phone", "bob@b.localhost/phone", "cathy@c.localhost/phone", "bob@b.localhost/laptop", "anna@a.localhost/phone"},
	{"dave@b.localhost/phone", "erin@a.localhost/phone", "frank@c.localhost/phone"},
}

// set makes providers, rooms and devices. Nothing goes wrong yet.
func (s *sim) set() {
	count := 3
	if s.seed%8 == 7 {
		count = 5
	}
	s.found(count)
	for i, cast := range casts[:1+s.seed%2] {
		if i == 0 && count > 3 {
			cast = append(slices.Clone(cast), "gina@d.localhost/phone", "hugo@e.localhost/phone")
		}
		s.addRoom(cast)
	}
	for _, d := range s.order {
		if p := s.providers[d]; p.mayLose() {
			p.save()
		}
	}
	s.mu.Lock()
	s.faulty, s.storeFaults = true, []uint64{0, 10, 30}[s.seed%3]
	s.mu.Unlock()
	s.settle()
}

// found makes the first of the providers.
func (s *sim) found(count int) {
	var err error
	if s.dir, err = os.MkdirTemp(fast(), "simnet"); err != nil {
		s.must(err)
	}
	s.clients = &roomtest.World{T: s, Now: time.Now}
	for _, d := range []mimi.Domain{"a.localhost", "b.localhost", "c.localhost", "d.localhost", "e.localhost"}[:count] {
		p := &provider{sim: s, domain: d, dir: s.dir, key: s.clients.NewKey(), writes: map[string]int{}}
		s.providers[d], s.order = p, append(s.order, d)
		p.start()
	}
}

// fast is a directory in memory, if there is one.
func fast() string {
	if st, err := os.Stat("/dev/shm"); err == nil && st.IsDir() {
		return "/dev/shm"
	}
	return ""
}

// addRoom makes the room of a cast at the provider of its maker.
func (s *sim) addRoom(cast []string) {
	maker, _, _ := strings.Cut(cast[0], "/")
	_, domain, _ := strings.Cut(maker, "@")
	r := s.plan(mimi.RoomURI("mimi://"+domain+"/r/chat"), cast)
	r.create()
}

// plan enrols the devices of a room that is to be.
func (s *sim) plan(uri mimi.RoomURI, cast []string) *roomView {
	r := &roomView{sim: s, uri: uri,
		has: map[mimi.Domain]*replica{}, out: map[mimi.Domain]uint64{}, writes: map[[32]byte]*write{}, invited: map[mimi.UserURI]int{}}
	for _, name := range cast {
		handle, device, _ := strings.Cut(name, "/")
		r.cast = append(r.cast, s.enrol(r, handle, device))
	}
	return r
}

// create has the first of the cast make the room.
func (r *roomView) create() {
	s, boss := r.sim, r.cast[0]
	in := boss.Create(r.uri, boss.home.key)
	s.must(boss.home.life.hub.Create(s.ctx, boss.URI, hub.CreateRequest{Room: r.uri, GroupInfo: in.GroupInfo, Tree: in.Tree}))
	var rec *store.RoomRecord
	s.view(boss.home, func(tx store.ReadTx) (err error) {
		rec, err = tx.Room(r.uri)
		return err
	})
	state, err := room.Decode(roomtest.Env(), rec.State)
	s.must(err)
	r.state = state.At(rec.Head, rec.LastTimestamp, "")
	r.start = s.project(boss.home, rec)
	s.rooms = append(s.rooms, r)
}

// settle waits until nothing moves, ends what crashed, and checks.
func (s *sim) settle() {
	synctest.Wait()
	s.mu.Lock()
	slices.Sort(s.notes)
	notes := s.notes
	s.notes = nil
	s.mu.Unlock()
	for _, n := range notes {
		s.say("%s", n)
	}
	for _, d := range s.order {
		if p := s.providers[d]; p.life != nil && p.life.doomed.Load() {
			p.crash(false)
		}
	}
	s.check()
	for _, d := range s.devices {
		d.hear()
	}
	synctest.Wait() // what they ask next is on the network
}

// event makes one thing happen.
func (s *sim) event() {
	switch n := s.rng.IntN(1000); {
	case n < 620:
		if s.network(true) {
			return
		}
		s.device()
	case n < 870:
		s.device()
	case n < 940:
		s.pass()
	case n < 956:
		s.crash()
	case n < 980:
		s.restart()
	case n < 988:
		s.partition()
	case n < 992:
		s.jump()
	case n < 996:
		p := s.someone()
		s.say("the disk of %s is full", p.domain)
		p.full.Store(true)
	case n < 998:
		s.archive()
	default:
		s.heed()
	}
}

// network lets one message get on. false if there is none.
func (s *sim) network(faults bool) bool {
	list := s.net.list()
	if len(list) == 0 {
		return false
	}
	m := list[s.rng.IntN(len(list))]
	n := 1000
	if faults {
		n = s.rng.IntN(1000)
	}
	switch {
	case m.answer != nil && n < 60:
		s.say("loses the answer to %v", m)
		s.answer(m, true)
	case m.answer != nil:
		how := ""
		if m.answer.err != nil {
			how = ": " + m.answer.err.Error()
		}
		s.say("answers %v%s", m, how)
		s.answer(m, false)
	case n < 50:
		s.say("drops %v", m)
		s.net.reply(m, reply{err: errNetwork})
	case n < 90:
		s.say("lets %v wait for ever, its caller gives up", m)
		s.net.ghost(m)
		s.net.reply(m, reply{err: errNetwork})
	case n < 130:
		s.say("delivers %v, and keeps a copy", m)
		s.net.ghost(m)
		s.deliver(m)
	default:
		s.say("delivers %v", m)
		s.deliver(m)
	}
	return true
}

// device lets one client do something, if the first few asked have something
// to do.
func (s *sim) device() {
	for range 4 {
		d := s.devices[s.rng.IntN(len(s.devices))]
		if what := d.act(); what != "" {
			s.say("%s %s", d.name, what)
			return
		}
	}
}

// pass lets time go by.
func (s *sim) pass() {
	steps := []time.Duration{time.Millisecond, 20 * time.Millisecond, 200 * time.Millisecond, time.Second, 5 * time.Second, 30 * time.Second, 5 * time.Minute}
	d := steps[s.rng.IntN(len(steps))]
	s.say("%v pass", d)
	<-time.After(d)
}

func (s *sim) someone() *provider { return s.providers[s.order[s.rng.IntN(len(s.order))]] }

func (s *sim) crash() {
	p, reopen := s.someone(), s.rng.IntN(4) == 0
	if p.life != nil {
		s.say("%s crashes", p.domain)
		p.crash(reopen)
	}
}

// restart makes space on a full disk, brings a provider back, or starts one again whose store gave up.
func (s *sim) restart() {
	for _, d := range s.order {
		p := s.providers[d]
		if p.full.Load() {
			s.say("%s has space again", d)
			p.full.Store(false)
			return
		}
		if p.life != nil && p.life.failed.Load() {
			s.say("%s ends because its store failed", d)
			p.crash(true)
		}
		if p.life == nil {
			s.say("%s starts", d)
			p.start()
			return
		}
	}
}

// partition cuts a link in one direction or in both, or mends all.
func (s *sim) partition() {
	s.net.mu.Lock()
	defer s.net.mu.Unlock()
	if len(s.net.blocked) > 0 {
		s.say("all links are whole")
		clear(s.net.blocked)
		return
	}
	a, b := string(s.order[s.rng.IntN(len(s.order))]), string(s.order[s.rng.IntN(len(s.order))])
	s.net.blocked[link{a, b}] = true
	both := s.rng.IntN(2) == 0
	if both {
		s.net.blocked[link{b, a}] = true
	}
	s.say("nothing gets from %s to %s (and back: %v)", a, b, both)
}

// jump sets a provider's clock.
func (s *sim) jump() {
	p := s.someone()
	s.mu.Lock()
	defer s.mu.Unlock()
	p.skew = time.Duration(s.rng.IntN(100)-50) * time.Minute
	s.say("the clock of %s is off by %v", p.domain, p.skew)
}

// heed lets a provider hear of another, as any request would.
func (s *sim) heed() {
	p, q := s.someone(), s.someone()
	if p.life != nil && p != q {
		s.say("%s hears of %s", p.domain, q.domain)
		p.life.fanout.PeerAlive(q.domain)
		p.life.follower.PeerAlive(q.domain)
	}
}

// outage cuts a follower off for half a day, with a message for it on the way,
// and has it say nothing when it is back: the hub must come to it by itself.
func (s *sim) outage() {
	boss := s.devices[0]
	lost := string(s.order[len(s.order)-1])
	s.say("nothing gets to %s or from it for 12 hours", lost)
	for _, d := range s.order {
		s.net.blocked[link{string(d), lost}] = true
		s.net.blocked[link{lost, string(d)}] = true
	}
	boss.sync()
	if boss.ask == nil && boss.retry == nil && boss.Group != nil && boss.commit == nil && len(boss.Group.PendingProposals()) == 0 {
		s.say("%s %s", boss.name, boss.post())
	}
	for range 12 * 12 {
		for n := 0; n < 100 && s.network(false); n++ {
			s.settle()
		}
		<-time.After(5 * time.Minute)
		s.settle()
	}
	s.say("all links are whole")
	clear(s.net.blocked)
}

// bound is how long everything may take to come to rest after the last fault:
// the longest backoff on the way there and once more behind it, and the work.
const bound = 2*backoff.Cap + time.Minute

// heal ends all faults and demands that everything comes to rest in time.
func (s *sim) heal() {
	s.say("the faults end")
	s.mu.Lock()
	s.faulty = false
	s.mu.Unlock()
	clear(s.net.blocked)
	for _, d := range s.order {
		p := s.providers[d]
		p.full.Store(false)
		if p.life != nil && p.life.failed.Load() {
			p.crash(false)
		}
		if p.life == nil {
			p.start()
		}
	}
	s.settle()
	if s.seed%8 == 5 {
		s.outage()
	}
	if s.seed%5 == 3 {
		s.relapse()
	}
	for over := time.Now().Add(bound); ; {
		for n := 0; n < 1000 && s.network(false); n++ {
			s.settle()
		}
		for _, d := range s.devices {
			if d.ask == nil && d.retry != nil {
				s.say("%s %s", d.name, d.act())
			}
		}
		what := s.restless()
		if what == "" {
			break
		}
		if time.Now().After(over) {
			s.fail("not at rest after %v:\n%s", bound, what)
		}
		<-time.After(time.Second)
		s.settle()
	}
	for _, d := range s.devices {
		d.sync()
	}
	s.checkEnd()
	s.say("at rest")
}

var _ roomtest.TB = (*sim)(nil)

// play runs a seed in a bubble of its own.
func play(t *testing.T, seed uint64, events int) (res result) {
	synctest.Test(t, func(*testing.T) { res = run(seed, events) })
	return res
}
