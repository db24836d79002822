package bench

import (
	"context"
	"fmt"
	"sync"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"

	"hubbub/client"
	"hubbub/cmd/hubbub/internal/devenv"
	"hubbub/mimi"
)

const (
	manyRooms = 50
	// manySenders is how many clients post to the many rooms, each to its own
	// share of them: a follower sends one client's posts one after the other.
	manySenders = 8
	// keyPackages is the stock of each receiving client: one for each room it
	// is added to, and some to spare.
	keyPackages = 80
)

// pace says how long each part lasts.
type pace struct {
	single  time.Duration // one at a time
	posting time.Duration // pipelined: how long posts are made
	drain   time.Duration // pipelined: how long to wait for the rest
	writers int           // goroutines posting to one room
	window  int           // posts that may be under way at once
}

var (
	quickPace = pace{single: 6 * time.Second, posting: 4 * time.Second, drain: 7 * time.Second, writers: 16, window: 96}
	fullPace  = pace{single: 30 * time.Second, posting: 20 * time.Second, drain: 60 * time.Second, writers: 16, window: 256}
)

// target is a room with the client that posts to it.
type target struct {
	room mimi.RoomURI
	by   *client.Client
}

// sdkRun is one run with clients of the SDK. The receiver's events arrive on a goroutine of its own,
// which mu keeps apart from the posting ones.
type sdkRun struct {
	env                *devenv.Env
	alice, cathy       *client.Client
	bobs               []*client.Client // the senders; the first one posts to one
	pace               pace
	progress           func(format string, args ...any)
	one                target
	many               []target
	mu                 sync.Mutex
	begun              map[client.MessageID]time.Time // posts under way
	early              map[client.MessageID]time.Time // arrived before Send returned
	hist               *hdr.Histogram
	delivered, refused int
	last               time.Time
	arrived            chan struct{} // one token per arrival, for the window
}

// postSDK runs the whole measurement with clients of the SDK.
func postSDK(ctx context.Context, st *stage, quick bool) ([]Part, error) {
	b := &sdkRun{env: st.env, pace: fullPace, progress: st.progress}
	if quick {
		b.pace = quickPace
	}
	defer b.close()
	if err := b.cast(ctx); err != nil {
		return nil, err
	}
	b.progress("one at a time for %s", b.pace.single)
	single, err := measured(st, func() (Part, error) { return b.single(ctx) })
	if err != nil {
		return nil, err
	}
	parts := []Part{single}
	for _, targets := range [][]target{{b.one}, b.many} {
		b.progress("pipelined, %d room(s), for %s", len(targets), b.pace.posting)
		p, err := measured(st, func() (Part, error) { return b.pipelined(ctx, targets) })
		if err != nil {
			return nil, err
		}
		parts = append(parts, p)
	}
	return parts, nil
}

func (b *sdkRun) close() {
	for _, c := range append(b.bobs, b.alice, b.cathy) {
		if c != nil {
			c.Close()
		}
	}
}

// cast makes the clients and all rooms.
func (b *sdkRun) cast(ctx context.Context) (err error) {
	if b.alice, err = b.person(ctx, 0, "alice"); err != nil {
		return err
	}
	if b.cathy, err = b.person(ctx, 2, "cathy"); err != nil {
		return err
	}
	go b.receive(b.cathy.Events(ctx))
	for i := range manySenders {
		bob, err := b.person(ctx, 1, fmt.Sprintf("bob%d", i+1))
		if err != nil {
			return err
		}
		b.bobs = append(b.bobs, bob)
		go b.watchRefusals(bob.Events(ctx))
	}
	for _, c := range append(b.bobs, b.cathy) {
		if err := b.stocked(ctx, c); err != nil {
			return err
		}
	}
	b.progress("creating %d rooms", manyRooms+1)
	if b.one, err = b.room(ctx, b.bobs[0]); err != nil {
		return err
	}
	for i := range manyRooms {
		t, err := b.room(ctx, b.bobs[i%manySenders])
		if err != nil {
			return err
		}
		b.many = append(b.many, t)
	}
	return b.joined(ctx)
}

// person makes a user with one client at the i-th provider.
func (b *sdkRun) person(ctx context.Context, i int, name string) (*client.Client, error) {
	user, err := mimi.NewUser(b.env.Providers[i].Domain, name)
	if err != nil {
		return nil, err
	}
	if err := b.env.AddUser(ctx, user); err != nil {
		return nil, err
	}
	dir, err := b.env.Enrol(ctx, user, "bench")
	if err != nil {
		return nil, err
	}
	return client.Open(ctx, dir, &client.Options{KeyPackages: keyPackages})
}

// room makes a room at the hub with one sender and the receiver.
func (b *sdkRun) room(ctx context.Context, by *client.Client) (target, error) {
	room, added, err := b.alice.CreateRoom(ctx, client.RoomOptions{Name: "bench", Members: []mimi.UserURI{by.User(), b.cathy.User()}})
	if err != nil {
		return target{}, err
	}
	for _, a := range added {
		if !a.Added {
			return target{}, fmt.Errorf("%s was not added: %w", a.User.Handle(), a.Err)
		}
	}
	return target{room, by}, nil
}

// wait asks ok until it says yes.
func wait(ctx context.Context, what string, ok func(context.Context) (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		done, err := ok(ctx)
		if done {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waited in vain for %s: %v", what, err)
		case <-tick.C:
		}
	}
}

func (b *sdkRun) stocked(ctx context.Context, c *client.Client) error {
	admin, err := b.env.Admin(c.User().Domain())
	if err != nil {
		return err
	}
	return wait(ctx, "KeyPackages of "+c.User().Handle(), func(ctx context.Context) (bool, error) {
		users, err := admin.ListUsers(ctx)
		for _, u := range users {
			for _, uc := range u.GetClients() {
				if uc.GetClient() == string(c.URI()) && uc.GetKeyPackages() >= keyPackages {
					return true, nil
				}
			}
		}
		return false, err
	})
}

// joined waits until every sender and the receiver is a member of its rooms.
func (b *sdkRun) joined(ctx context.Context) error {
	want := map[*client.Client]int{b.cathy: manyRooms + 1}
	for _, t := range append(b.many, b.one) {
		want[t.by]++
	}
	for c, rooms := range want {
		err := wait(ctx, c.User().Handle()+" to be in every room", func(ctx context.Context) (bool, error) {
			have, err := c.Rooms(ctx)
			n := 0
			for _, r := range have {
				if r.Member && r.Name != "" {
					n++
				}
			}
			return n == rooms, err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// single posts one message after the other.
func (b *sdkRun) single(ctx context.Context) (Part, error) {
	b.reset(1)
	began, n := time.Now(), 0
	for ; time.Since(began) < b.pace.single; n++ {
		if err := b.post(ctx, b.one, n); err != nil {
			return Part{}, err
		}
		select {
		case <-b.arrived:
		case <-time.After(patience):
			return Part{}, fmt.Errorf("post %d did not arrive within %s", n, patience)
		case <-ctx.Done():
			return Part{}, ctx.Err()
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	p := Part{Name: partSingle, Rooms: 1, Senders: 1, Window: 1, Posted: n}
	p.done(b.delivered, began, b.last, b.hist)
	return p, nil
}

// reset begins a new count; at most window arrivals are buffered.
func (b *sdkRun) reset(window int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.begun, b.early = map[client.MessageID]time.Time{}, map[client.MessageID]time.Time{}
	b.hist, b.delivered, b.refused = newHistogram(), 0, 0
	b.arrived = make(chan struct{}, window)
}

// post sends one message; the clock runs from before Send.
func (b *sdkRun) post(ctx context.Context, to target, n int) error {
	began := time.Now()
	m, err := to.by.Send(ctx, to.room, text(n))
	if err != nil {
		return fmt.Errorf("posting: %w", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if at, ok := b.early[m.ID]; ok {
		delete(b.early, m.ID)
		b.count(began, at)
		return nil
	}
	b.begun[m.ID] = began
	return nil
}

// count books one arrival. The caller holds mu.
func (b *sdkRun) count(began, at time.Time) {
	b.hist.RecordValue(max(1, at.Sub(began).Microseconds()))
	b.delivered++
	b.last = at
	b.release()
}

// release lets one more post go out. The caller holds mu.
func (b *sdkRun) release() {
	select {
	case b.arrived <- struct{}{}:
	default:
	}
}

// receive books what the receiver's client is shown.
func (b *sdkRun) receive(events func(func(client.Event) bool)) {
	for ev := range events {
		e, ok := ev.(client.MessageReceived)
		if !ok {
			continue
		}
		now := time.Now()
		b.mu.Lock()
		if began, ok := b.begun[e.Message.ID]; ok {
			delete(b.begun, e.Message.ID)
			b.count(began, now)
		} else if b.early != nil {
			b.early[e.Message.ID] = now
		}
		b.mu.Unlock()
	}
}

// watchRefusals books posts that the hub refused: they never arrive.
func (b *sdkRun) watchRefusals(events func(func(client.Event) bool)) {
	for ev := range events {
		e, ok := ev.(client.MessageChanged)
		if !ok || e.Message.State != client.Rejected {
			continue
		}
		b.mu.Lock()
		delete(b.begun, e.Message.ID)
		b.refused++
		b.release()
		b.mu.Unlock()
	}
}

// pipelined posts to the rooms from several goroutines with a window of posts
// under way, then waits for the rest.
func (b *sdkRun) pipelined(ctx context.Context, targets []target) (Part, error) {
	b.reset(b.pace.window)
	for range b.pace.window {
		b.arrived <- struct{}{}
	}
	began := time.Now()
	posting, cancel := context.WithDeadline(ctx, began.Add(b.pace.posting))
	defer cancel()
	posted, err := b.flood(ctx, posting, targets)
	if err != nil {
		return Part{}, err
	}
	b.drain(ctx, posted)
	b.mu.Lock()
	defer b.mu.Unlock()
	p := Part{Name: partName(len(targets)), Rooms: len(targets), Senders: min(len(targets), manySenders), Window: b.pace.window,
		Posted: posted, Rejected: b.refused}
	p.done(b.delivered, began, b.last, b.hist)
	return p, ctx.Err()
}

// flood posts until the time for posting is over and returns how many.
func (b *sdkRun) flood(ctx, posting context.Context, targets []target) (int, error) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	var first error
	total := 0
	for i := range max(b.pace.writers, len(targets)) {
		wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-posting.Done():
					return
				case <-b.arrived:
				}
				err := b.post(ctx, targets[i%len(targets)], n*1000+i)
				mu.Lock()
				if err != nil {
					if first == nil {
						first = err
					}
					mu.Unlock()
					return
				}
				total++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return total, first
}

// drain waits until everything posted has arrived or was refused, or the time
// for it is up.
func (b *sdkRun) drain(ctx context.Context, posted int) {
	end := time.NewTimer(b.pace.drain)
	defer end.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		b.mu.Lock()
		done := b.delivered+b.refused >= posted
		b.mu.Unlock()
		if done {
			return
		}
		select {
		case <-tick.C:
		case <-end.C:
			return
		case <-ctx.Done():
			return
		}
	}
}
