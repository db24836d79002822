package bench

import (
	"context"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"hubbub/client/clientpb"
	"hubbub/cmd/hubbub/internal/bench/load"
	"hubbub/cmd/hubbub/internal/devenv"
	"hubbub/cmd/hubbub/internal/term"
	"hubbub/mimi"
)

const (
	// maxListeners is how many users of c are connected at once.
	maxListeners = 1000
	// fanBatch is how many users one commit adds: their KeyPackages, the
	// GroupInfo and the Welcome must fit the largest body that providers take.
	fanBatch = 200
)

// FanOptions say how large the room is to be.
type FanOptions struct {
	Options
	Users []int // of c in the room, ascending
	Posts int   // per size; default 50, quick 20
}

// FanReport is what a post costs as users of c become more.
type FanReport struct {
	Head
	MessageBytes int       `json:"message_bytes"`
	Sizes        []FanSize `json:"sizes"`
}

// FanSize is the cost of a post to a room with so many users of c.
type FanSize struct {
	Name      string  `json:"name"`
	Users     int     `json:"users"`
	Connected int     `json:"connected"` // of them
	Posts     int     `json:"posts"`
	Bytes     float64 `json:"bytes_per_post"` // hub to c, with TLS
	Back      float64 `json:"bytes_back_per_post"`
	Last      Latency `json:"until_last"` // until the last connected one has it
	Processes []Usage `json:"processes"`
	// Adding is how long it took to bring in the users since the size before.
	Adding float64 `json:"adding_seconds"`
}

// audience is the users of c in one room.
type audience struct {
	st      *stage
	alice   *load.Device // owner
	bob     *load.Device // sender
	room    mimi.RoomURI
	users   []*load.Device
	open    int           // of users
	missing atomic.Int64  // arrivals of the post under way
	all     chan struct{} // has a value when none is missing
	epoch   chan error    // a value when bob has followed a commit
}

// Fan measures. The room grows from size to size.
func Fan(ctx context.Context, o FanOptions) (*FanReport, error) {
	if o.Posts == 0 {
		o.Posts = 50
		if o.Quick {
			o.Posts = 20
		}
	}
	began := time.Now()
	var w *wire
	o.prepare = func(env *devenv.Env) (err error) {
		w, err = tap(env, 0, 2)
		return err
	}
	st, err := newStage(ctx, o.Options)
	if err != nil {
		return nil, err
	}
	defer st.close()
	st.later(w.close)
	a, err := newAudience(ctx, st)
	if err != nil {
		return nil, err
	}
	r := &FanReport{Head: newHead("fan", o.Options), MessageBytes: messageBytes}
	for _, n := range o.Users {
		f, err := a.size(ctx, w, n, o.Posts)
		if err != nil {
			return nil, fmt.Errorf("%d users: %w", n, err)
		}
		r.Sizes = append(r.Sizes, f)
	}
	r.Seconds = time.Since(began).Seconds()
	return r, nil
}

func newAudience(ctx context.Context, st *stage) (a *audience, err error) {
	a = &audience{st: st, all: make(chan struct{}, 1), epoch: make(chan error, 1)}
	if a.alice, err = st.user(ctx, 0, "alice"); err != nil {
		return nil, err
	}
	if _, err := st.connect(ctx, a.alice, load.Handler{}); err != nil {
		return nil, err
	}
	if a.bob, err = st.user(ctx, 1, "bob"); err != nil {
		return nil, err
	}
	follow := func(room mimi.RoomURI, e *clientpb.Entry, _ time.Time) {
		if e.GetKind() == clientpb.EntryKind_ENTRY_KIND_COMMIT {
			_, _, err := a.bob.Read(room, e)
			a.epoch <- err
		}
	}
	joined := func(mimi.RoomURI, uint64, []byte) { a.epoch <- nil }
	if _, err := st.connect(ctx, a.bob, load.Handler{Entry: follow, Joined: joined}); err != nil {
		return nil, err
	}
	if a.room, err = st.room(ctx, a.alice, a.bob); err != nil {
		return nil, err
	}
	return a, a.followed(ctx)
}

// followed waits until the sender is in the epoch of the newest commit.
func (a *audience) followed(ctx context.Context) error {
	select {
	case err := <-a.epoch:
		return err
	case <-time.After(10 * patience):
		return fmt.Errorf("the sender did not hear of a commit")
	case <-ctx.Done():
		return ctx.Err()
	}
}

// size brings the room to n users of c and measures there.
func (a *audience) size(ctx context.Context, w *wire, n, posts int) (FanSize, error) {
	f := FanSize{Name: fmt.Sprintf("%d users", n), Users: n, Posts: posts}
	began := time.Now()
	if err := a.grow(ctx, n); err != nil {
		return f, err
	}
	f.Adding = time.Since(began).Seconds()
	f.Connected = a.open
	a.st.progress("%d users: %d posts", n, posts)
	if err := a.post(ctx, 0, nil); err != nil { // everybody is awake, every cache warm
		return f, err
	}
	h := newHistogram()
	sent, back, before := w.sent.Load(), w.back.Load(), usages(a.st.env)
	for i := range posts {
		if err := a.post(ctx, i+1, func(d time.Duration) { record(h, d) }); err != nil {
			return f, err
		}
	}
	f.Processes = usedSince(before, usages(a.st.env), posts)
	f.Bytes, f.Back = float64(w.sent.Load()-sent)/float64(posts), float64(w.back.Load()-back)/float64(posts)
	f.Last = latency(h)
	return f, nil
}

// grow adds and connects users until there are n.
func (a *audience) grow(ctx context.Context, n int) error {
	have := len(a.users)
	a.st.progress("%d users: making and adding %d", n, n-have)
	fresh := make([]*load.Device, max(0, n-have))
	err := each(len(fresh), func(i int) (err error) {
		fresh[i], err = a.st.user(ctx, 2, fmt.Sprintf("u%d", have+i))
		return err
	})
	if err != nil {
		return err
	}
	for left := fresh; len(left) > 0; {
		some := left[:min(len(left), fanBatch)]
		left = left[len(some):]
		if err := a.st.add(ctx, a.alice, a.room, some...); err != nil {
			return err
		}
		if err := a.followed(ctx); err != nil {
			return err
		}
	}
	a.users = append(a.users, fresh...)
	want := min(n, maxListeners)
	err = each(max(0, want-a.open), func(i int) error {
		_, err := a.st.connect(ctx, a.users[a.open+i], load.Handler{NoGroups: true, Entry: a.heard})
		return err
	})
	a.open = max(a.open, want)
	return err
}

func (a *audience) heard(_ mimi.RoomURI, e *clientpb.Entry, _ time.Time) {
	if e.GetKind() == clientpb.EntryKind_ENTRY_KIND_APPLICATION && a.missing.Add(-1) == 0 {
		a.all <- struct{}{}
	}
}

// post makes one post and waits until everybody connected has it.
func (a *audience) post(ctx context.Context, n int, took func(time.Duration)) error {
	post, err := a.bob.Encrypt(a.room, text(n))
	if err != nil {
		return err
	}
	a.missing.Store(int64(a.open))
	began := time.Now()
	results, err := a.bob.Submit(ctx, []load.Post{post})
	if err != nil {
		return err
	}
	if e := results[0].GetError(); e != nil {
		return fmt.Errorf("a post was refused: %s", e.GetMessage())
	}
	select {
	case <-a.all:
		if took != nil {
			took(time.Since(began))
		}
		return nil
	case <-time.After(patience):
		return fmt.Errorf("%d of %d had not got post %d after %s", a.missing.Load(), a.open, n, patience)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Print writes the report as a table.
func (r *FanReport) Print(w io.Writer) error {
	r.print(w, "one post from b to a room of a with many users of c, until the last of them has it")
	var rows [][]string
	for _, f := range r.Sizes {
		row := []string{fmt.Sprint(f.Users), fmt.Sprint(f.Connected), fmt.Sprintf("%.0f", f.Bytes), fmt.Sprintf("%.0f", f.Back),
			ms(f.Last.P50), ms(f.Last.P95), ms(f.Last.Max)}
		for _, u := range f.Processes {
			row = append(row, fmt.Sprintf("%.2f", u.PerMessage/1000))
		}
		rows = append(rows, append(row, fmt.Sprintf("%.1f", f.Adding)))
	}
	return term.Table(w, "", []string{"USERS", "CONNECTED", "BYTES a→c", "BACK", "LAST P50 ms", "P95 ms", "MAX ms",
		"CPU ms a", "b", "c", "clients", "ADDING s"}, rows)
}
