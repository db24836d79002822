package killtest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"hubbub/internal/identity"
	"hubbub/internal/loopback"
	"hubbub/internal/provider"
	"hubbub/mimi"
)

// failpointVariable arms a place in a process; see package failpoint.
const failpointVariable = "HUBBUB_FAILPOINT"

// startPatience is how long a provider may take to be ready, or to reach the
// place where it is to die, on a busy machine.
const startPatience = 30 * time.Second

// buildBinary makes the command with failpoints in it.
func buildBinary(t *testing.T) string {
	t.Helper()
	exe := filepath.Join(t.TempDir(), "hubbub")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-tags", "failpoints", "-o", exe, "hubbub/cmd/hubbub")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building the victim: %v\n%s", err, out)
	}
	return exe
}

// federation is providers under one throw-away CA, each a process of its own.
type federation struct {
	t         *testing.T
	exe       string
	ca        *identity.CA
	providers map[mimi.Domain]*process
}

// process is one provider. One goroutine at a time uses it.
type process struct {
	t      *testing.T
	exe    string
	domain mimi.Domain
	cfg    provider.Config
	file   string // configuration
	log    string

	cmd  *exec.Cmd // nil: never started
	done chan struct{}
}

func newFederation(t *testing.T, domains ...mimi.Domain) *federation {
	t.Helper()
	f := &federation{t: t, exe: buildBinary(t), providers: map[mimi.Domain]*process{}}
	var err error
	f.ca, err = identity.NewCA("kill test")
	ok(t, err)
	dir := t.TempDir()
	roots := filepath.Join(dir, "ca.pem")
	ok(t, f.ca.WriteCert(roots))
	peers := map[string]provider.PeerConfig{}
	for _, d := range domains {
		p := &process{t: t, exe: f.exe, domain: d, cfg: f.config(filepath.Join(dir, string(d)), d, roots)}
		p.file, p.log = filepath.Join(dir, string(d), "hubbub.toml"), filepath.Join(dir, string(d), "serve.log")
		peers[string(d)] = provider.PeerConfig{Address: p.cfg.Federation.Listen}
		f.providers[d] = p
	}
	for _, p := range f.providers {
		p.cfg.Federation.Peers = peers
		text, err := p.cfg.Encode()
		ok(t, err)
		ok(t, os.WriteFile(p.file, text, 0o600))
	}
	t.Cleanup(func() {
		for _, p := range f.providers {
			p.kill()
			if t.Failed() {
				t.Logf("%s said at last:\n%s", p.domain, p.tail(15))
			}
		}
	})
	return f
}

func (f *federation) config(dir string, d mimi.Domain, roots string) provider.Config {
	f.t.Helper()
	file := func(name string) string { return filepath.Join(dir, name) }
	pair, err := f.ca.IssueTLS(d)
	ok(f.t, err)
	ok(f.t, pair.WriteFiles(file("tls.pem"), file("tls.key")))
	issuer, err := f.ca.IssueIdentityCA(d)
	ok(f.t, err)
	ok(f.t, issuer.WriteFiles(file("id.pem"), file("id.key")))
	sockets, err := os.MkdirTemp("", "hubbub-kill-") // the path of a Unix socket must be short
	ok(f.t, err)
	f.t.Cleanup(func() { os.RemoveAll(sockets) })
	return provider.Config{
		Identity: string(d), DataDir: file("data"), AdminSocket: filepath.Join(sockets, "admin.sock"), Consent: "open",
		Federation: provider.FederationConfig{Listen: freeAddr(f.t), CertFile: file("tls.pem"), KeyFile: file("tls.key"), CAFile: roots},
		API:        provider.APIConfig{Listen: freeAddr(f.t), CertFile: file("tls.pem"), KeyFile: file("tls.key")},
		IdentityCA: provider.IdentityCAConfig{CertFile: file("id.pem"), KeyFile: file("id.key"), RootsFile: roots},
		Limits:     provider.NoLimits(),
		Log:        provider.LogConfig{Level: "info", Format: "text"},
	}
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// freeAddr picks an address that stays the same when a provider starts again.
func freeAddr(t *testing.T) string {
	t.Helper()
	addr, err := loopback.Free()
	ok(t, err)
	return addr
}

// start runs the provider, armed to die at a place, or not if it is "". It does
// not wait.
func (p *process) start(place string) error {
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	fmt.Fprintf(log, "--- started, to die at %q\n", place)
	os.Remove(p.readyFile()) // of a life that was cut short
	p.cmd = exec.Command(p.exe, "serve", "--config", p.file)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.Env = append(os.Environ(), failpointVariable+"="+place)
	if err := p.cmd.Start(); err != nil {
		return err
	}
	cmd, done := p.cmd, make(chan struct{})
	p.done = done
	go func() {
		cmd.Wait()
		close(done)
	}()
	return nil
}

func (p *process) readyFile() string { return filepath.Join(p.cfg.DataDir, "ready") }

// ready waits until the provider serves. An error if it ends before.
func (p *process) ready(ctx context.Context) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	timeout := time.NewTimer(startPatience)
	defer timeout.Stop()
	for {
		if _, err := os.Stat(p.readyFile()); err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-p.done:
			return fmt.Errorf("%s ended: %s", p.domain, p.cmd.ProcessState)
		case <-timeout.C:
			return fmt.Errorf("%s is not ready after %s", p.domain, startPatience)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// died waits for the death that start ordered. An error if it does not come, or
// if the process ends in another way.
func (p *process) died(ctx context.Context) error {
	timeout := time.NewTimer(startPatience)
	defer timeout.Stop()
	select {
	case <-p.done:
	case <-timeout.C:
		p.kill()
		return fmt.Errorf("%s did not come to the place in %s", p.domain, startPatience)
	case <-ctx.Done():
		p.kill()
		return ctx.Err()
	}
	status, isUnix := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if isUnix && (!status.Signaled() || status.Signal() != syscall.SIGKILL) {
		return fmt.Errorf("%s ended by itself: %s", p.domain, p.cmd.ProcessState)
	}
	return nil
}

// kill ends the process if it runs.
func (p *process) kill() {
	if p.cmd == nil || p.cmd.Process == nil {
		return
	}
	p.cmd.Process.Kill()
	<-p.done
}

// stop ends the process in good order.
func (p *process) stop() {
	p.t.Helper()
	ok(p.t, p.cmd.Process.Signal(syscall.SIGTERM))
	select {
	case <-p.done:
	case <-time.After(startPatience):
		p.t.Errorf("%s does not end when asked to", p.domain)
		p.kill()
	}
	if !p.cmd.ProcessState.Success() {
		p.t.Errorf("%s stopped with %s", p.domain, p.cmd.ProcessState)
	}
}

// tail is the end of the provider's log.
func (p *process) tail(lines int) string {
	text, _ := os.ReadFile(p.log)
	all := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	return string(bytes.Join(all[max(0, len(all)-lines):], []byte("\n")))
}

// places is how the log of a place's name reads in failures.
func label(place string) string { return strings.ReplaceAll(place, "|", " or ") }
