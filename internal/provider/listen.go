package provider

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

type listeners struct {
	federation net.Listener
	api        net.Listener
	admin      net.Listener
}

// listen binds everything, or nothing.
func listen(cfg Config) (l listeners, err error) {
	if l.federation, err = net.Listen("tcp", cfg.Federation.Listen); err != nil {
		return l, fmt.Errorf("federation.listen: %w", err)
	}
	if l.api, err = net.Listen("tcp", cfg.API.Listen); err != nil {
		return l, fmt.Errorf("api.listen: %w", err)
	}
	if l.admin, err = listenUnix(cfg.AdminSocket); err != nil {
		return l, fmt.Errorf("admin_socket: %w", err)
	}
	return l, nil
}

func (l listeners) close() {
	for _, ln := range []net.Listener{l.federation, l.api, l.admin} {
		if ln != nil {
			ln.Close()
		}
	}
}

// listenUnix makes a socket that only we may open. What a killed process left
// there is replaced; what somebody answers on, or what is no socket, is not.
func listenUnix(path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	st, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	case st.Mode().Type() != fs.ModeSocket:
		return nil, fmt.Errorf("%s is in the way and is not a socket", path)
	default:
		if conn, err := net.DialTimeout("unix", path, time.Second); err == nil {
			conn.Close()
			return nil, fmt.Errorf("another process answers on %s", path)
		}
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	ln, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, ln.Close())
	}
	return ln, nil
}

// Limits of the API's connections (reliability §5). A sync stream takes over its
// connection and sets its own.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 30 * time.Second
	writeTimeout      = 60 * time.Second
	idleTimeout       = 120 * time.Second
	maxHeaderBytes    = 16 << 10
)

// servers are the listeners with what answers on them.
func (p *Provider) servers() []server {
	clients := p.httpServer("api", p.api.Handler())
	clients.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{p.apiTLS}}
	admin := p.httpServer("admin", p.api.AdminHandler())
	return []server{
		{"federation", func() error { return p.fed.Serve(p.listeners.federation) }, p.fed.Shutdown},
		{"api", func() error { return closed(clients.ServeTLS(p.listeners.api, "", "")) }, shutdown(clients)},
		{"admin", func() error { return closed(admin.Serve(p.listeners.admin)) }, shutdown(admin)},
	}
}

func (p *Provider) httpServer(name string, h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          log.New(lineLogger{p.log.With("part", name)}, "", 0),
	}
}

func closed(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

func shutdown(s *http.Server) func(context.Context) error {
	return func(ctx context.Context) error {
		if err := s.Shutdown(ctx); err != nil {
			return errors.Join(err, s.Close())
		}
		return nil
	}
}

// lineLogger takes what net/http has to say, mostly about strangers' connections.
type lineLogger struct{ log *slog.Logger }

func (l lineLogger) Write(b []byte) (int, error) {
	l.log.Debug("listener", "what", string(b))
	return len(b), nil
}

// ready is what the ready file holds while the provider serves.
type ready struct {
	PID         int    `json:"pid"`
	Federation  string `json:"federation"`
	API         string `json:"api"`
	AdminSocket string `json:"admin_socket"`
}

// announce says that we serve: in the data directory, to the service manager and
// in the log.
func (p *Provider) announce() error {
	r := ready{os.Getpid(), p.FederationAddr().String(), p.APIAddr().String(), p.cfg.AdminSocket}
	b, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("writing the ready file: %w", err)
	}
	if err := os.WriteFile(p.readyPath(), append(b, '\n'), 0o600); err != nil {
		return fmt.Errorf("writing the ready file: %w", err)
	}
	if err := notifyManager("READY=1"); err != nil {
		p.log.Warn("the service manager could not be told that we are ready", "err", err)
	}
	p.log.Info("ready", "identity", p.cfg.Identity, "federation", r.Federation, "api", r.API, "admin_socket", r.AdminSocket)
	return nil
}

// retract takes back the ready file.
func (p *Provider) retract() {
	if err := os.Remove(p.readyPath()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		p.log.Warn("removing the ready file", "err", err)
	}
}

// takeLeave says that we stop.
func (p *Provider) takeLeave() {
	p.retract()
	if err := notifyManager("STOPPING=1"); err != nil {
		p.log.Warn("the service manager could not be told that we stop", "err", err)
	}
}

func (p *Provider) readyPath() string { return filepath.Join(p.cfg.DataDir, readyFile) }

// notifyManager tells systemd how we are, if it asked to be told (sd_notify(3)).
func notifyManager(state string) error {
	socket := os.Getenv("NOTIFY_SOCKET")
	if socket == "" {
		return nil
	}
	conn, err := net.Dial("unixgram", socket)
	if err != nil {
		return err
	}
	_, err = conn.Write([]byte(state))
	return errors.Join(err, conn.Close())
}
