package bench

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"hubbub/client"
	"hubbub/client/clientpb"
	"hubbub/cmd/hubbub/internal/bench/load"
	"hubbub/cmd/hubbub/internal/term"
	"hubbub/mimi"
)

// FetchOptions say how much was missed.
type FetchOptions struct {
	Options
	Messages int // default 10,000, quick 2,000
	Rounds   int // clients that fetch, one after the other; default 3
}

// FetchReport is how long a client that was away takes.
type FetchReport struct {
	Head
	MessageBytes int          `json:"message_bytes"`
	Messages     int          `json:"messages"`
	Rounds       []FetchRound `json:"rounds"`
	// The medians.
	Fetched   float64 `json:"fetched_seconds"`
	Decrypted float64 `json:"decrypted_seconds"`
}

// FetchRound is one client's return. The clock starts before it connects.
type FetchRound struct {
	Name    string  `json:"name"`
	First   float64 `json:"first_seconds"`             // until the first message was there
	Fetched float64 `json:"fetched_seconds,omitempty"` // until the last was; load clients only
	// Decrypted is until all were decrypted and checked, with SDK clients stored
	// as well. Load clients decrypt when all are there.
	Decrypted float64 `json:"decrypted_seconds"`
	Processes []Usage `json:"processes"`
}

// away is a client that misses messages and comes back.
type away interface {
	user() mimi.UserURI
	leave(ctx context.Context) error
	// back returns when it has all messages, of which it checks that they are n.
	back(ctx context.Context, n int) (FetchRound, error)
}

// Fetch measures.
func Fetch(ctx context.Context, o FetchOptions) (*FetchReport, error) {
	o.setDefaults()
	began := time.Now()
	st, err := newStage(ctx, o.Options)
	if err != nil {
		return nil, err
	}
	defer st.close()
	r := &FetchReport{Head: newHead("fetch", o.Options), MessageBytes: messageBytes, Messages: o.Messages}
	clients, err := missed(ctx, st, o)
	if err != nil {
		return nil, err
	}
	for i, c := range clients {
		st.progress("client %d fetches %d messages", i+1, o.Messages)
		before := usages(st.env)
		f, err := c.back(ctx, o.Messages)
		if err != nil {
			return nil, err
		}
		f.Name = fmt.Sprintf("client %d", i+1)
		f.Processes = usedSince(before, usages(st.env), o.Messages)
		r.Rounds = append(r.Rounds, f)
	}
	r.Fetched = medianOf(r.Rounds, func(f FetchRound) float64 { return f.Fetched })
	r.Decrypted = medianOf(r.Rounds, func(f FetchRound) float64 { return f.Decrypted })
	r.Seconds = time.Since(began).Seconds()
	return r, nil
}

func (o *FetchOptions) setDefaults() {
	if o.Messages == 0 {
		o.Messages = 10000
		if o.Quick {
			o.Messages = 2000
		}
	}
	if o.Rounds == 0 {
		o.Rounds = 3
	}
}

func medianOf[T any](list []T, of func(T) float64) float64 {
	var values []float64
	for _, v := range list {
		values = append(values, of(v))
	}
	return median(values)
}

// median of a list; of none it is 0.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	if n := len(sorted); n%2 == 0 {
		return (sorted[n/2-1] + sorted[n/2]) / 2
	}
	return sorted[len(sorted)/2]
}

// missed makes a room, lets the clients leave, and posts to it what they miss.
// A lane of its own tells when c has everything.
func missed(ctx context.Context, st *stage, o FetchOptions) ([]away, error) {
	var clients []away
	for i := range o.Rounds {
		c, err := newAway(ctx, st, o.clients(), fmt.Sprintf("dave%d", i))
		if err != nil {
			return nil, err
		}
		clients = append(clients, c)
	}
	l, err := st.lane(ctx, clients)
	if err != nil {
		return nil, err
	}
	for _, c := range clients {
		if err := c.leave(ctx); err != nil {
			return nil, err
		}
	}
	st.progress("posting %d messages", o.Messages)
	p, err := st.pipelined(ctx, []*lane{l}, PostOptions{Posts: o.Messages, Window: 1024})
	if err == nil && p.Delivered != o.Messages {
		err = fmt.Errorf("%d of %d messages reached c", p.Delivered, o.Messages)
	}
	return clients, err
}

// lane makes one lane whose room has further members.
func (st *stage) lane(ctx context.Context, others []away) (*lane, error) {
	alice, err := st.user(ctx, 0, "alice")
	if err != nil {
		return nil, err
	}
	l := newLane()
	if l.from, err = st.user(ctx, 1, "bob"); err != nil {
		return nil, err
	}
	if l.to, err = st.user(ctx, 2, "cathy"); err != nil {
		return nil, err
	}
	if _, err := st.connect(ctx, l.from, load.Handler{Joined: l.fromJoined, Submission: l.submission}); err != nil {
		return nil, err
	}
	if _, err := st.connect(ctx, l.to, load.Handler{Joined: l.toJoined, Entry: l.entry}); err != nil {
		return nil, err
	}
	users := []mimi.UserURI{l.from.User(), l.to.User()}
	for _, o := range others {
		users = append(users, o.user())
	}
	if l.room, err = alice.CreateRoom(ctx); err != nil {
		return nil, err
	}
	if err := st.addUsers(ctx, alice, l.room, users); err != nil {
		return nil, err
	}
	return l, l.ready(ctx)
}

func newAway(ctx context.Context, st *stage, clients, name string) (away, error) {
	if clients == ClientsSDK {
		return newAwaySDK(ctx, st, name)
	}
	a := &awayLoad{joined: make(chan struct{}, 1)}
	var err error
	if a.d, err = st.user(ctx, 2, name); err != nil {
		return nil, err
	}
	a.stream, err = a.d.Connect(ctx, load.Handler{Joined: func(mimi.RoomURI, uint64, []byte) { a.joined <- struct{}{} }})
	return a, err
}

type awayLoad struct {
	d      *load.Device
	stream *load.Stream
	joined chan struct{}
}

func (a *awayLoad) user() mimi.UserURI { return a.d.User() }

func (a *awayLoad) leave(ctx context.Context) error {
	select {
	case <-a.joined:
		a.stream.Close()
		return nil
	case <-time.After(patience):
		return fmt.Errorf("%s did not join", a.d.User().Handle())
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (a *awayLoad) back(ctx context.Context, n int) (f FetchRound, err error) {
	var entries []*clientpb.Entry
	var room mimi.RoomURI
	var first, last time.Time
	all := make(chan struct{})
	began := time.Now()
	s, err := a.d.Connect(ctx, load.Handler{Entry: func(r mimi.RoomURI, e *clientpb.Entry, at time.Time) {
		if entries = append(entries, e); len(entries) == 1 {
			room, first = r, at
		}
		if len(entries) == n {
			last = at
			close(all)
		}
	}})
	if err != nil {
		return f, err
	}
	defer s.Close()
	select {
	case <-all:
	case <-s.Done():
		return f, s.Err()
	case <-time.After(10 * patience):
		return f, fmt.Errorf("%d messages did not come", n)
	case <-ctx.Done():
		return f, ctx.Err()
	}
	f.First, f.Fetched = first.Sub(began).Seconds(), last.Sub(began).Seconds()
	for i, e := range entries[:n] {
		if _, got, err := a.d.Read(room, e); err != nil || got != text(i) {
			return f, fmt.Errorf("message %d is %.20q: %w", i, got, err)
		}
	}
	f.Decrypted = time.Since(began).Seconds()
	return f, nil
}

// awaySDK keeps its state on disk between leaving and coming back.
type awaySDK struct {
	uri mimi.UserURI
	dir string
	c   *client.Client
}

func newAwaySDK(ctx context.Context, st *stage, name string) (away, error) {
	user, err := mimi.NewUser(st.env.Providers[2].Domain, name)
	if err != nil {
		return nil, err
	}
	if err := st.env.AddUser(ctx, user); err != nil {
		return nil, err
	}
	a := &awaySDK{uri: user}
	if a.dir, err = st.env.Enrol(ctx, user, "bench"); err != nil {
		return nil, err
	}
	if a.c, err = client.Open(ctx, a.dir, &client.Options{KeyPackages: keyPackages}); err != nil {
		return nil, err
	}
	return a, (&sdkRun{env: st.env}).stocked(ctx, a.c)
}

func (a *awaySDK) user() mimi.UserURI { return a.uri }

func (a *awaySDK) leave(ctx context.Context) error {
	err := wait(ctx, a.uri.Handle()+" to join", func(ctx context.Context) (bool, error) {
		rooms, err := a.c.Rooms(ctx)
		return len(rooms) == 1 && rooms[0].Member, err
	})
	if err != nil {
		return err
	}
	return a.c.Close()
}

func (a *awaySDK) back(ctx context.Context, n int) (f FetchRound, err error) {
	began := time.Now()
	if a.c, err = client.Open(ctx, a.dir, nil); err != nil {
		return f, err
	}
	defer a.c.Close()
	have := 0
	var first time.Time
	ctx, cancel := context.WithTimeout(ctx, 20*patience)
	defer cancel()
	for ev := range a.c.Events(ctx) {
		e, ok := ev.(client.MessageReceived)
		if !ok {
			continue
		}
		if have == 0 {
			first = time.Now()
		}
		if e.Message.Text != text(have) {
			return f, fmt.Errorf("message %d is %.20q", have, e.Message.Text)
		}
		if have++; have == n {
			break
		}
	}
	if have != n {
		return f, fmt.Errorf("%d of %d messages came: %w", have, n, ctx.Err())
	}
	f.First, f.Decrypted = first.Sub(began).Seconds(), time.Since(began).Seconds()
	return f, nil
}

// Print writes the report as a table.
func (r *FetchReport) Print(w io.Writer) error {
	r.print(w, fmt.Sprintf("a client of c comes back and fetches %d messages from c", r.Messages))
	var rows [][]string
	for _, f := range r.Rounds {
		row := []string{f.Name, ms(f.First * 1000), ms(f.Fetched * 1000), ms(f.Decrypted * 1000)}
		for _, u := range f.Processes {
			if u.Name == "c" || u.Name == "load" {
				row = append(row, fmt.Sprintf("%.2f", u.CPU))
			}
		}
		rows = append(rows, row)
	}
	rows = append(rows, []string{"median", "", ms(r.Fetched * 1000), ms(r.Decrypted * 1000), "", ""})
	return term.Table(w, "", []string{"", "FIRST ms", "ALL FETCHED ms", "ALL DECRYPTED ms", "CPU s c", "CLIENT"}, rows)
}
