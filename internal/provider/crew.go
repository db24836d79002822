package provider

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
)

// crew is everything that runs in the background. When one part fails, all stop.
type crew struct {
	ctx    context.Context // ends when the provider is to stop, for whatever reason
	cancel context.CancelCauseFunc
	log    *slog.Logger

	workers     sync.WaitGroup
	workCtx     context.Context // ends a little later, when the servers are drained
	stopWorkers context.CancelFunc
	servers     sync.WaitGroup
}

// server is a listener with what answers on it.
type server struct {
	name     string
	serve    func() error
	shutdown func(context.Context) error
}

// errFailed marks the cause of a stop that nobody asked for.
type errFailed struct{ err error }

func (e *errFailed) Error() string { return e.err.Error() }
func (e *errFailed) Unwrap() error { return e.err }

func newCrew(parent context.Context, log *slog.Logger) *crew {
	c := &crew{log: log}
	c.ctx, c.cancel = context.WithCancelCause(parent)
	c.workCtx, c.stopWorkers = context.WithCancel(context.WithoutCancel(parent))
	return c
}

// fail stops everything.
func (c *crew) fail(err error) { c.cancel(&errFailed{err}) }

// work runs a background worker until the servers are drained.
func (c *crew) work(name string, run func(context.Context) error) {
	c.workers.Go(func() {
		err := c.guard(name, func() error { return run(c.workCtx) })
		if err == nil && c.workCtx.Err() == nil {
			err = fmt.Errorf("%s ended by itself", name)
		}
		if err != nil {
			c.fail(err)
		}
	})
}

func (c *crew) serve(s server) {
	c.servers.Go(func() {
		if err := c.guard(s.name, s.serve); err != nil {
			c.fail(err)
		}
	})
}

// guard turns a panic into an error, with its stack in the log.
func (c *crew) guard(name string, run func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			c.log.Error("panic in a worker", "worker", name, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			err = fmt.Errorf("panic in %s", name)
		}
	}()
	if err := run(); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// stop drains the servers until ctx ends, then ends the workers.
func (c *crew) stop(ctx context.Context, servers []server) {
	var draining sync.WaitGroup
	for _, s := range servers {
		draining.Go(func() {
			if err := s.shutdown(ctx); err != nil {
				c.log.Warn("requests were cut off", "server", s.name, "err", err)
			}
		})
	}
	draining.Wait()
	c.servers.Wait()
	c.stopWorkers()
	c.workers.Wait()
}

// err is why the crew stopped; nil if it was asked to.
func (c *crew) err() error {
	var failed *errFailed
	if errors.As(context.Cause(c.ctx), &failed) {
		return failed.err
	}
	return nil
}
