package main

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"text/template"
	"time"
)

//go:embed config
var configs embed.FS

// server is one running XMPP server.
type server struct {
	cmd  *exec.Cmd
	dir  string
	gone chan struct{} // closed when the process has ended
}

// settings are what the configuration templates are filled in with.
type settings struct {
	Host, IP, Store, Dir, Log, Cert, Key, CA string
	ClientPort, ServerPort                   int
	DNS, DNSTuple                            string
	DNSPort                                  int
}

// commands makes the command of a server from its settings.
var commands = map[string]func(settings) (*exec.Cmd, error){"prosody": prosody, "ejabberd": ejabberd}

// startServer starts the server of host i, and does not wait until it serves.
func startServer(s setting, i int, ca *authority, names *names) (*server, error) {
	dir := filepath.Join(s.dir, hosts[i])
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	set := settings{
		Host: hosts[i], IP: hostIP(i).String(), Store: s.store, Dir: dir, Log: filepath.Join(dir, "server.log"),
		Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem"), CA: filepath.Join(dir, "ca.pem"),
		ClientPort: clientPort, ServerPort: serverPort,
		DNS: dnsIP, DNSTuple: strings.ReplaceAll(dnsIP, ".", ","), DNSPort: names.port,
	}
	if err := errors.Join(ca.issue(set.Cert, set.Key, set.Host, "muc."+set.Host), ca.write(set.CA)); err != nil {
		return nil, err
	}
	cmd, err := commands[s.server](set)
	if err != nil {
		return nil, err
	}
	out, err := os.Create(filepath.Join(dir, "output.log"))
	if err != nil {
		return nil, err
	}
	defer out.Close()
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, out, out
	// A server must not outlive this program, whatever ends it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	sv := &server{cmd: cmd, dir: dir, gone: make(chan struct{})}
	go func() {
		cmd.Wait()
		close(sv.gone)
	}()
	return sv, nil
}

// versions are the packages of servers, as far as the system knows.
func versions(servers []string) []string {
	var out []string
	for _, name := range servers {
		v, _ := exec.Command("dpkg-query", "-W", "-f", "${Package} ${Version}", name).Output()
		if len(v) == 0 {
			v = []byte(name)
		}
		out = append(out, string(v))
	}
	return out
}

// raiseFiles lets this process and the servers have as many connections as the
// system allows. Set by hand the limit goes to the servers too.
func raiseFiles() error {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return err
	}
	l.Cur = l.Max
	return syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l)
}

// config fills in a template and writes it beside the server's data.
func (s settings) config(name string) (string, error) {
	t, err := template.ParseFS(configs, "config/"+name)
	if err != nil {
		return "", err
	}
	file := filepath.Join(s.Dir, name)
	f, err := os.Create(file)
	if err != nil {
		return "", err
	}
	return file, errors.Join(t.Execute(f, s), f.Close())
}

func prosody(s settings) (*exec.Cmd, error) {
	file, err := s.config("prosody.cfg.lua")
	return exec.Command("prosody", "-F", "--config", file), err
}

// ejabberd is started with the flags of Debian's ejabberdctl but without a node
// name, so that no other daemon is needed and none finds it.
func ejabberd(s settings) (*exec.Cmd, error) {
	libs, err := filepath.Glob("/usr/lib/*/ejabberd-*/ebin")
	if err != nil || len(libs) == 0 {
		return nil, errors.Join(err, errors.New("no ejabberd below /usr/lib: install the package"))
	}
	file, err := s.config("ejabberd.yml")
	if err != nil {
		return nil, err
	}
	inetrc, err := s.config("inetrc")
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("erl", "+K", "true", "+P", "250000", "-noinput",
		"-mnesia", "dir", strconv.Quote(filepath.Join(s.Dir, "mnesia")), "-s", "ejabberd")
	cmd.Env = append(os.Environ(),
		"HOME="+s.Dir, "EJABBERD_CONFIG_PATH="+file, "EJABBERD_LOG_PATH="+s.Log, "ERL_INETRC="+inetrc,
		"ERL_LIBS="+filepath.Dir(filepath.Dir(libs[0])), "ERL_MAX_PORTS=32000", "ERL_MAX_ETS_TABLES=1400",
		"ERL_CRASH_DUMP_BYTES=0")
	return cmd, nil
}

// ready waits until the ports of host i answer.
func (sv *server) ready(ctx context.Context, i int) error {
	for _, port := range []int{clientPort, serverPort} {
		addr := net.JoinHostPort(hostIP(i).String(), strconv.Itoa(port))
		for {
			conn, err := net.DialTimeout("tcp", addr, time.Second)
			if err == nil {
				conn.Close()
				break
			}
			select {
			case <-sv.gone:
				return fmt.Errorf("%s has ended: %v", hosts[i], sv.cmd.ProcessState)
			case <-ctx.Done():
				return fmt.Errorf("%s does not answer: %w", hosts[i], err)
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
	return nil
}

// stop ends the server and everything it started.
func (sv *server) stop() {
	sv.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-sv.gone:
	case <-time.After(5 * time.Second):
	}
	syscall.Kill(-sv.cmd.Process.Pid, syscall.SIGKILL)
	<-sv.gone
}

// cpu is the processor time that the server has taken, user and system.
func (sv *server) cpu() time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", sv.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	// The name in brackets may hold spaces; the third field is behind it.
	_, rest, _ := strings.Cut(string(text), ") ")
	f := strings.Fields(rest)
	if len(f) < 13 {
		return 0
	}
	user, _ := strconv.Atoi(f[11])
	system, _ := strconv.Atoi(f[12])
	const tick = 10 * time.Millisecond // USER_HZ is 100 on every Linux of today
	return time.Duration(user+system) * tick
}

// tail is the end of what the server wrote to its log, or else to its output.
func (sv *server) tail() string {
	for _, name := range []string{"server.log", "output.log"} {
		text, _ := os.ReadFile(filepath.Join(sv.dir, name))
		if text := strings.TrimSpace(string(text)); text != "" {
			lines := strings.Split(text, "\n")
			head := "\n  " + filepath.Base(sv.dir) + ": "
			return head + strings.Join(lines[max(0, len(lines)-8):], head)
		}
	}
	return ""
}
