package bench

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime/pprof"
	"slices"
	"sync"
	"time"

	"hubbub/cmd/hubbub/internal/bench/load"
	"hubbub/cmd/hubbub/internal/devenv"
	"hubbub/mimi"
)

const (
	providers    = 3
	messageBytes = 200
	// patience bounds each wait for one event.
	patience = 30 * time.Second
	// atOnce is how much of the preparations goes on at the same time.
	atOnce = 24
)

// Options say how to run. Not every scenario heeds all of them.
type Options struct {
	Dir      string // new or empty
	Quick    bool
	Clients  string // ClientsLoad, ClientsSDK; "" = ClientsLoad
	Profiles string // directory for CPU profiles of all processes; "" = none
	Environ  []string
	Progress func(format string, args ...any)

	prepare func(*devenv.Env) error        // before the providers start
	serve   func(devenv.Provider) []string // further arguments of hubbub serve
}

// Which clients make the load.
const (
	ClientsLoad = "load"
	ClientsSDK  = "sdk"
)

func (o Options) clients() string {
	if o.Clients == "" {
		return ClientsLoad
	}
	return o.Clients
}

// stage is the providers of a run and the way to make users there.
type stage struct {
	env      *devenv.Env
	places   []*load.Place
	progress func(format string, args ...any)
	mu       sync.Mutex
	closers  []func() // guarded by mu
}

// newStage starts the providers. The caller closes the stage.
func newStage(ctx context.Context, o Options) (*stage, error) {
	options := devenv.Options{Dir: o.Dir, Providers: providers, Environ: append(slices.Clone(o.Environ), "HUBBUB_CONSENT=open"), Serve: o.serve}
	st := &stage{progress: o.Progress}
	if o.Profiles != "" {
		stop, err := profile(&options, o.Profiles)
		if err != nil {
			return nil, err
		}
		st.later(stop)
	}
	var err error
	if st.env, err = devenv.New(options); err != nil {
		st.close()
		return nil, err
	}
	st.later(func() { st.env.Close() })
	if o.prepare != nil {
		if err := o.prepare(st.env); err != nil {
			st.close()
			return nil, err
		}
	}
	st.progress("starting %d providers", providers)
	if err := st.start(ctx); err != nil {
		st.close()
		return nil, err
	}
	return st, nil
}

// profile makes every provider write CPU and heap profiles when it ends, and this
// process a CPU profile when stop is called.
func profile(o *devenv.Options, dir string) (stop func(), err error) {
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	more := o.Serve
	o.Serve = func(p devenv.Provider) []string {
		args := []string{"--cpuprofile", filepath.Join(dir, p.Name+".pprof")}
		if more != nil {
			args = append(args, more(p)...)
		}
		return args
	}
	f, err := os.Create(filepath.Join(dir, "load.pprof"))
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		f.Close()
		return nil, err
	}
	return func() { pprof.StopCPUProfile(); f.Close() }, nil
}

func (st *stage) start(ctx context.Context) error {
	if err := st.env.StartAll(ctx); err != nil {
		return err
	}
	m, err := devenv.ReadManifest(st.env.Dir)
	if err != nil {
		return err
	}
	ca, err := os.ReadFile(m.CA)
	if err != nil {
		return err
	}
	for _, p := range st.env.Providers {
		place, err := load.NewPlace(ctx, p.API, p.Domain, ca)
		if err != nil {
			return err
		}
		st.places = append(st.places, place)
	}
	return nil
}

// close ends everything, the newest first.
func (st *stage) close() {
	for i := len(st.closers) - 1; i >= 0; i-- {
		st.closers[i]()
	}
}

// later has f done when the stage is closed.
func (st *stage) later(f func()) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.closers = append(st.closers, f)
}

// user makes a user with one load client at the i-th provider; one KeyPackage is
// published.
func (st *stage) user(ctx context.Context, i int, name string) (*load.Device, error) {
	user, err := mimi.NewUser(st.env.Providers[i].Domain, name)
	if err != nil {
		return nil, err
	}
	admin, err := st.env.Admin(user.Domain())
	if err != nil {
		return nil, err
	}
	if err := admin.AddUser(ctx, user); err != nil {
		return nil, err
	}
	code, err := admin.Code(ctx, user)
	if err != nil {
		return nil, err
	}
	d, err := st.places[i].Enrol(ctx, user, "load", code.GetCode())
	if err != nil {
		return nil, err
	}
	return d, d.Stock(ctx, 1)
}

// room makes a room of hub, a device at the hub, with the users of others. Each
// must have a KeyPackage left.
func (st *stage) room(ctx context.Context, hub *load.Device, others ...*load.Device) (mimi.RoomURI, error) {
	room, err := hub.CreateRoom(ctx)
	if err != nil {
		return "", err
	}
	return room, st.add(ctx, hub, room, others...)
}

// add brings users into a room with one commit.
func (st *stage) add(ctx context.Context, by *load.Device, room mimi.RoomURI, others ...*load.Device) error {
	var users []mimi.UserURI
	for _, o := range others {
		users = append(users, o.User())
	}
	return st.addUsers(ctx, by, room, users)
}

func (st *stage) addUsers(ctx context.Context, by *load.Device, room mimi.RoomURI, users []mimi.UserURI) error {
	newcomers := make([]load.Newcomer, len(users))
	err := each(len(users), func(i int) error {
		packages, err := by.Claim(ctx, room, users[i])
		newcomers[i] = load.Newcomer{User: users[i], Packages: packages}
		return err
	})
	if err != nil {
		return err
	}
	return by.Add(ctx, room, newcomers...)
}

// each does something n times, some of them at once, and gives the first error.
func each(n int, do func(i int) error) error {
	var wg sync.WaitGroup
	var mu sync.Mutex
	var first error
	next := 0
	take := func() (int, bool) {
		mu.Lock()
		defer mu.Unlock()
		next++
		return next - 1, next <= n && first == nil
	}
	for range min(n, atOnce) {
		wg.Go(func() {
			for {
				i, ok := take()
				if !ok {
					return
				}
				if err := do(i); err != nil {
					mu.Lock()
					if first == nil {
						first = fmt.Errorf("%d of %d: %w", i+1, n, err)
					}
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return first
}
