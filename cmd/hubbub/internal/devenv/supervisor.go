package devenv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// readyTimeout is how long a provider may take to answer.
	readyTimeout = 15 * time.Second
	// stopTimeout is how long it may take to end when asked to.
	stopTimeout = 10 * time.Second
)

// ErrState: a provider is already running, or already stopped.
var ErrState = errors.New("nothing to do")

// supervisor runs the providers' processes. Safe for concurrent use: mu guards
// children, and whoever holds a child's busy mutex changes its state.
type supervisor struct {
	exe string
	// spawn runs functions on one thread that never ends: the kernel ties
	// Pdeathsig to the thread that started the child, not to the process.
	spawn   chan func()
	serve   func(Provider) []string // further arguments
	environ []string                // further variables

	mu       sync.Mutex
	children map[string]*child
}

type child struct {
	p    Provider
	busy sync.Mutex
	cmd  *exec.Cmd     // nil when not running
	done chan struct{} // closed when cmd has ended
	err  error         // how it ended; valid once done is closed
}

func newSupervisor(exe string, providers []Provider) *supervisor {
	s := &supervisor{exe: exe, spawn: make(chan func()), children: map[string]*child{},
		serve: func(Provider) []string { return nil }}
	for _, p := range providers {
		s.children[p.Name] = &child{p: p}
	}
	go func() {
		runtime.LockOSThread()
		for f := range s.spawn {
			f()
		}
	}()
	return s
}

func (s *supervisor) child(name string) (*child, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.children {
		if c.p.Name == name || string(c.p.Domain) == name {
			return c, nil
		}
	}
	return nil, fmt.Errorf("no provider %q; there are %s", name, strings.Join(slices.Sorted(maps.Keys(s.children)), ", "))
}

// alive says whether the process runs. The caller holds c.busy.
func (c *child) alive() bool {
	if c.cmd == nil {
		return false
	}
	select {
	case <-c.done:
		return false
	default:
		return true
	}
}

// start runs a provider and returns once it answers.
func (s *supervisor) start(ctx context.Context, name string) error {
	c, err := s.child(name)
	if err != nil {
		return err
	}
	c.busy.Lock()
	defer c.busy.Unlock()
	if c.alive() {
		return fmt.Errorf("%s is running: %w", c.p.Domain, ErrState)
	}
	log, err := os.OpenFile(c.p.Log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(s.exe, append([]string{"serve", "--config", c.p.Config}, s.serve(c.p)...)...)
	cmd.Stdout, cmd.Stderr = log, log
	// What is set for a provider elsewhere must not reach ours; how much they log may.
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(kv string) bool {
		return strings.HasPrefix(kv, "HUBBUB_") && !strings.HasPrefix(kv, "HUBBUB_LOG__")
	}), s.environ...)
	cmd.SysProcAttr = childAttr()
	started := make(chan error)
	s.spawn <- func() { started <- cmd.Start() }
	if err := <-started; err != nil {
		return fmt.Errorf("starting %s: %w", c.p.Domain, err)
	}
	done := make(chan struct{})
	c.cmd, c.done, c.err = cmd, done, nil
	go func() {
		err := cmd.Wait()
		c.err = err
		close(done)
	}()
	return c.waitReady(ctx)
}

// waitReady waits until the provider answers its operator.
func (c *child) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	admin := NewAdmin(c.p.AdminSocket)
	tick := time.NewTicker(15 * time.Millisecond)
	defer tick.Stop()
	for {
		if admin.Ready(ctx) == nil {
			return nil
		}
		select {
		case <-c.done:
			return fmt.Errorf("%s ended at once (%v); its log ends with:\n%s", c.p.Domain, c.err, tail(c.p.Log, 5))
		case <-ctx.Done():
			return fmt.Errorf("%s does not answer after %s; its log ends with:\n%s", c.p.Domain, readyTimeout, tail(c.p.Log, 5))
		case <-tick.C:
		}
	}
}

// end sends a signal and waits until the process is gone; one that ignores
// SIGTERM is killed.
func (s *supervisor) end(name string, sig syscall.Signal) error {
	c, err := s.child(name)
	if err != nil {
		return err
	}
	c.busy.Lock()
	defer c.busy.Unlock()
	if !c.alive() {
		return fmt.Errorf("%s is not running: %w", c.p.Domain, ErrState)
	}
	if err := c.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-c.done:
		return nil
	case <-time.After(stopTimeout):
	}
	if err := c.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-c.done
	return fmt.Errorf("%s did not end within %s of %s and was killed", c.p.Domain, stopTimeout, sig)
}

// pid is the process id of a running provider, 0 if it is not running.
func (s *supervisor) pid(name string) int {
	c, err := s.child(name)
	if err != nil {
		return 0
	}
	c.busy.Lock()
	defer c.busy.Unlock()
	if !c.alive() {
		return 0
	}
	return c.cmd.Process.Pid
}

// endAll stops whatever still runs.
func (s *supervisor) endAll() {
	var wg sync.WaitGroup
	for name := range s.children {
		wg.Go(func() { s.end(name, syscall.SIGTERM) })
	}
	wg.Wait()
	close(s.spawn)
}

// tail returns the last n lines of a file, indented.
func tail(file string, n int) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return "  (" + err.Error() + ")"
	}
	lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	lines = lines[max(0, len(lines)-n):]
	return "  " + string(bytes.Join(lines, []byte("\n  ")))
}
