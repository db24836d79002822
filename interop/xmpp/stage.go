package main

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// startup bounds how long a server may take until it answers.
const startup = 60 * time.Second

// stage is three running servers and the owner of all rooms, alice at s1, who
// is in every room and gets every post.
type stage struct {
	setting
	ca      *authority
	servers [3]*server
	alice   *client
	clients []*client
}

func newStage(ctx context.Context, s setting, names *names) (st *stage, err error) {
	progress("%s with %s: starting three servers", s.server, s.store)
	st = &stage{setting: s}
	defer func() {
		if err != nil {
			err = fmt.Errorf("%w%s", err, st.logs())
			st.close()
		}
	}()
	if st.ca, err = newAuthority(); err != nil {
		return st, err
	}
	for i := range hosts {
		if st.servers[i], err = startServer(s, i, st.ca, names); err != nil {
			return st, err
		}
	}
	up, cancel := context.WithTimeout(ctx, startup)
	defer cancel()
	for i, sv := range st.servers {
		if err := sv.ready(up, i); err != nil {
			return st, err
		}
	}
	st.alice, err = st.login(ctx, 0, "alice")
	return st, err
}

// close logs everybody out and stops the servers.
func (st *stage) close() {
	for _, c := range st.clients {
		c.close()
	}
	var wg sync.WaitGroup
	for _, sv := range st.servers {
		if sv != nil {
			wg.Go(sv.stop)
		}
	}
	wg.Wait()
}

// logs is what the servers had to say, for an error.
func (st *stage) logs() (text string) {
	for _, sv := range st.servers {
		if sv != nil {
			text += sv.tail()
		}
	}
	return text
}

// login is a user that is logged in until the stage is closed. It is not for
// several goroutines.
func (st *stage) login(ctx context.Context, i int, user string) (*client, error) {
	c, err := login(ctx, i, user, st.ca)
	if err == nil {
		st.clients = append(st.clients, c)
	}
	return c, err
}

// room makes a room with alice in it.
func (st *stage) room(ctx context.Context, name string) (string, error) {
	room := name + "@muc." + hosts[0]
	return room, st.alice.join(ctx, room, "alice")
}

// use is the processor time of the servers and of this process.
type use struct {
	servers [3]time.Duration
	own     time.Duration
}

func (st *stage) use() (u use) {
	for i, sv := range st.servers {
		u.servers[i] = sv.cpu()
	}
	u.own = ownCPU()
	return u
}

// measured runs do when the machine is idle, and adds what it took of the
// processors.
func (st *stage) measured(ctx context.Context, o options, w *work, do func() error) error {
	w.Idle = waitIdle(ctx, o.quiet)
	before := st.use()
	began := time.Now()
	if err := do(); err != nil {
		return err
	}
	if w.Seconds == 0 {
		w.Seconds = time.Since(began).Seconds()
	}
	after := st.use()
	for i := range w.CPU {
		w.CPU[i] = (after.servers[i] - before.servers[i]).Seconds()
	}
	w.Generator = (after.own - before.own).Seconds()
	w.PerSecond = float64(w.Messages) / w.Seconds
	return nil
}
