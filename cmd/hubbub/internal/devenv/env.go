package devenv

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"hubbub/client"
	"hubbub/internal/identity"
	"hubbub/mimi"
)

// Options say what to make.
type Options struct {
	Dir       string
	Providers int
	Keep      bool // leave the directory behind
	// Serve gives further arguments of a provider's hubbub serve; nil = none.
	Serve func(Provider) []string
	// Environ is added to the environment of every provider.
	Environ []string
}

// Env is a running environment. Safe for concurrent use.
type Env struct {
	Dir       string
	Providers []Provider

	keep     bool
	sockets  string // to be removed with the environment; "" = inside Dir
	ca       []byte // PEM
	manifest Manifest
	sup      *supervisor
	control  net.Listener
	closing  sync.Once
	closeErr error
}

// New claims the directory and writes keys and configurations; no provider
// runs yet. The caller closes the environment.
func New(o Options) (*Env, error) {
	if o.Providers < MinProviders || o.Providers > MaxProviders {
		return nil, fmt.Errorf("an environment has %d to %d providers, not %d", MinProviders, MaxProviders, o.Providers)
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, err
	}
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	if err := claim(dir); err != nil {
		return nil, err
	}
	e := &Env{Dir: dir, keep: o.Keep}
	if err := e.prepare(exe, o.Providers); err != nil {
		e.remove()
		return nil, err
	}
	e.sup.environ = o.Environ
	if o.Serve != nil {
		e.sup.serve = o.Serve
	}
	return e, nil
}

func (e *Env) prepare(exe string, n int) error {
	sockets, own, err := socketDir(e.Dir)
	if err != nil {
		return err
	}
	if own {
		e.sockets = sockets
	}
	// The manifest comes first: from now on the directory is known to be ours.
	e.manifest = Manifest{PID: os.Getpid(), Started: time.Now(), Control: filepath.Join(sockets, "control.sock"),
		CA: filepath.Join(e.Dir, "ca.pem")}
	if err := e.manifest.write(e.Dir); err != nil {
		return err
	}
	if e.control, err = net.Listen("unix", e.manifest.Control); err != nil {
		return err
	}
	ca, err := identity.NewCA("hubbub dev, throw-away")
	if err != nil {
		return err
	}
	e.ca = ca.CertPEM()
	if err := ca.WriteCert(e.manifest.CA); err != nil {
		return err
	}
	if e.Providers, err = plan(e.Dir, sockets, n); err != nil {
		return err
	}
	for _, p := range e.Providers {
		if err := writeProvider(ca, e.manifest.CA, p, e.Providers); err != nil {
			return fmt.Errorf("preparing %s: %w", p.Domain, err)
		}
	}
	e.manifest.Providers = e.Providers
	if err := e.manifest.write(e.Dir); err != nil {
		return err
	}
	e.sup = newSupervisor(exe, e.Providers)
	go e.serveControl(e.control)
	return nil
}

// StartAll starts every provider at the same time and returns when all answer.
func (e *Env) StartAll(ctx context.Context) error {
	errs := make(chan error, len(e.Providers))
	for _, p := range e.Providers {
		go func() { errs <- e.sup.start(ctx, p.Name) }()
	}
	var first error
	for range e.Providers {
		if err := <-errs; err != nil && first == nil {
			first = err
		}
	}
	return first
}

// Start starts one provider and waits until it answers.
func (e *Env) Start(ctx context.Context, name string) error { return e.sup.start(ctx, name) }

// Stop ends one in good order.
func (e *Env) Stop(name string) error { return e.sup.end(name, syscall.SIGTERM) }

// Kill ends one with SIGKILL: it gets no chance to finish anything.
func (e *Env) Kill(name string) error { return e.sup.end(name, syscall.SIGKILL) }

// States lists the providers' processes.
func (e *Env) States() []State {
	var out []State
	for _, p := range e.Providers {
		pid := e.sup.pid(p.Name)
		out = append(out, State{Name: p.Name, Domain: string(p.Domain), PID: pid, API: p.API, Running: pid != 0})
	}
	return out
}

// Admin is the operator's connection to the provider of that domain.
func (e *Env) Admin(d mimi.Domain) (*Admin, error) {
	p, ok := e.manifest.Find(string(d))
	if !ok {
		return nil, fmt.Errorf("no provider %s here", d)
	}
	return NewAdmin(p.AdminSocket), nil
}

// AddUser makes a user at its provider.
func (e *Env) AddUser(ctx context.Context, user mimi.UserURI) error {
	a, err := e.Admin(user.Domain())
	if err != nil {
		return err
	}
	return a.AddUser(ctx, user)
}

// Enrol makes a device of an existing user and returns its directory.
func (e *Env) Enrol(ctx context.Context, user mimi.UserURI, device string) (string, error) {
	return Enrol(ctx, e.Dir, &e.manifest, user, device)
}

// Enrol makes a device of an existing user of the environment in dir, which
// may be run by another process, and returns the device's directory.
func Enrol(ctx context.Context, dir string, m *Manifest, user mimi.UserURI, device string) (string, error) {
	p, ok := m.Find(string(user.Domain()))
	if !ok {
		return "", fmt.Errorf("no provider %s in %s", user.Domain(), dir)
	}
	ca, err := os.ReadFile(m.CA)
	if err != nil {
		return "", err
	}
	code, err := NewAdmin(p.AdminSocket).Code(ctx, user)
	if err != nil {
		return "", err
	}
	state := ClientDir(dir, user, device)
	return state, client.Enrol(ctx, client.EnrolOptions{
		Dir: state, Server: p.API, ServerName: string(p.Domain), CA: ca,
		User: user, Device: device, Code: code.GetCode(),
	})
}

// Close ends every provider and removes the directory, or marks it as kept.
func (e *Env) Close() error {
	e.closing.Do(func() {
		if e.control != nil {
			e.control.Close()
		}
		if e.sup != nil {
			e.sup.endAll()
		}
		if e.keep {
			e.manifest.Kept = true
			e.closeErr = e.manifest.write(e.Dir)
			return
		}
		e.closeErr = e.remove()
	})
	return e.closeErr
}

// remove deletes what New made, sockets that lie elsewhere included.
func (e *Env) remove() error {
	if e.control != nil {
		e.control.Close()
	}
	if e.sockets != "" {
		os.RemoveAll(e.sockets)
	}
	err := os.RemoveAll(e.Dir)
	if e.Dir == DefaultDir() {
		os.Remove(filepath.Dir(e.Dir)) // ours as well, unless something else is in it
	}
	return err
}
