package bench

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"

	"hubbub/cmd/hubbub/internal/devenv"
)

// wire forwards TCP connections to an address and counts the octets each way,
// TLS and all.
type wire struct {
	listener net.Listener
	to       string
	sent     atomic.Int64 // towards the address
	back     atomic.Int64
	wg       sync.WaitGroup
	mu       sync.Mutex
	open     map[net.Conn]struct{} // nil once closed
}

func newWire(to string) (*wire, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	w := &wire{listener: l, to: to, open: map[net.Conn]struct{}{}}
	w.wg.Go(w.accept)
	return w, nil
}

// tap has everything that provider from sends to provider to pass through a
// wire. The providers must not run yet.
func tap(env *devenv.Env, from, to int) (*wire, error) {
	w, err := newWire(env.Providers[to].Federation)
	if err != nil {
		return nil, err
	}
	file := env.Providers[from].Config
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	old, now := []byte(env.Providers[to].Federation), []byte(w.listener.Addr().String())
	if bytes.Count(text, old) != 1 {
		return nil, fmt.Errorf("%s does not name %s once", file, old)
	}
	return w, os.WriteFile(file, bytes.Replace(text, old, now, 1), 0o600)
}

func (w *wire) accept() {
	for {
		in, err := w.listener.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", w.to)
		if err != nil {
			in.Close()
			continue
		}
		if !w.hold(in, out) {
			return
		}
		w.wg.Go(func() { w.pass(out, in, &w.sent) })
		w.wg.Go(func() { w.pass(in, out, &w.back) })
	}
}

func (w *wire) hold(conns ...net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range conns {
		if w.open == nil {
			c.Close()
			continue
		}
		w.open[c] = struct{}{}
	}
	return w.open != nil
}

// pass copies one direction; its end ends the connection.
func (w *wire) pass(to, from net.Conn, count *atomic.Int64) {
	io.Copy(io.MultiWriter(counter{count}, to), from)
	to.Close()
	from.Close()
	w.mu.Lock()
	delete(w.open, to)
	delete(w.open, from)
	w.mu.Unlock()
}

type counter struct{ n *atomic.Int64 }

func (c counter) Write(b []byte) (int, error) {
	c.n.Add(int64(len(b)))
	return len(b), nil
}

func (w *wire) close() {
	w.listener.Close()
	w.mu.Lock()
	for c := range w.open {
		c.Close()
	}
	w.open = nil
	w.mu.Unlock()
	w.wg.Wait()
}
