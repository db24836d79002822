package devenv

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"hubbub/internal/identity"
	"hubbub/internal/loopback"
	"hubbub/mimi"
)

// MaxProviders is the most providers an environment can have, MinProviders the
// fewest.
const (
	MinProviders = 2
	MaxProviders = 5
)

// maxSocketPath keeps Unix socket paths below the kernel's limit of 108 octets
// (104 on some systems), with room for a name.
const maxSocketPath = 100

// domainOf is the domain of the i-th provider: a.localhost, b.localhost, …
func domainOf(i int) mimi.Domain { return mimi.Domain(nameOf(i) + ".localhost") }

func nameOf(i int) string { return string(rune('a' + i)) }

// plan decides where everything of n providers lies. Ports are chosen once, so
// that a provider that is started again is found where it was.
func plan(dir, sockets string, n int) ([]Provider, error) {
	ports, err := loopback.Ports(2 * n)
	if err != nil {
		return nil, err
	}
	var out []Provider
	for i := range n {
		base := filepath.Join(dir, "providers", string(domainOf(i)))
		out = append(out, Provider{
			Name: nameOf(i), Domain: domainOf(i), Dir: base,
			Config:      filepath.Join(base, "hubbub.toml"),
			Data:        filepath.Join(base, "data"),
			Log:         filepath.Join(base, "serve.log"),
			AdminSocket: filepath.Join(sockets, nameOf(i)+".sock"),
			API:         fmt.Sprintf("https://127.0.0.1:%d", ports[2*i]),
			Federation:  fmt.Sprintf("127.0.0.1:%d", ports[2*i+1]),
		})
	}
	return out, nil
}

// socketDir is where the Unix sockets lie: in dir if the path is short enough
// for the kernel, else in a new directory, which own reports.
func socketDir(dir string) (path string, own bool, err error) {
	if len(dir)+len("/run/control.sock") < maxSocketPath {
		path = filepath.Join(dir, "run")
		return path, false, os.MkdirAll(path, 0o700)
	}
	path, err = os.MkdirTemp("", "hubbub-")
	return path, true, err
}

// writeProvider makes keys, certificates and the configuration of one provider.
func writeProvider(ca *identity.CA, caFile string, p Provider, all []Provider) error {
	if err := os.MkdirAll(p.Data, 0o700); err != nil {
		return err
	}
	tls, err := ca.IssueTLS(p.Domain, "localhost")
	if err != nil {
		return err
	}
	if err := tls.WriteFiles(p.file("tls.pem"), p.file("tls.key")); err != nil {
		return err
	}
	issuer, err := ca.IssueIdentityCA(p.Domain)
	if err != nil {
		return err
	}
	if err := issuer.WriteFiles(p.file("identity.pem"), p.file("identity.key")); err != nil {
		return err
	}
	return os.WriteFile(p.Config, []byte(configText(p, caFile, all)), 0o600)
}

func (p Provider) file(name string) string { return filepath.Join(p.Dir, name) }

// configText is the configuration an operator would write for this provider.
func configText(p Provider, caFile string, all []Provider) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("# Made by hubbub dev. Keys and certificates here are throw-away ones.")
	line("identity = %q", p.Domain)
	line("data_dir = %q", p.Data)
	line("admin_socket = %q", p.AdminSocket)
	line("consent = \"ask\"")
	line("hide_users = \"no\"")
	line("\n[api]")
	line("listen = %q", strings.TrimPrefix(p.API, "https://"))
	line("cert_file = %q", p.file("tls.pem"))
	line("key_file = %q", p.file("tls.key"))
	line("\n[federation]")
	line("listen = %q", p.Federation)
	line("cert_file = %q", p.file("tls.pem"))
	line("key_file = %q", p.file("tls.key"))
	line("ca_file = %q", caFile)
	line("\n[identity_ca]")
	line("cert_file = %q", p.file("identity.pem"))
	line("key_file = %q", p.file("identity.key"))
	line("roots_file = %q", caFile)
	line("\n# Measurements and stories are not what limits are for.")
	line("[limits]")
	for _, name := range []string{"posts_per_device", "rooms_per_user", "claims_per_target", "claims_per_user", "claims_per_peer",
		"requests_per_peer", "writes_per_peer", "enrolment_failures",
		"consents_per_user", "consents_per_peer", "searches_per_user", "searches_per_peer"} {
		line("%s = \"off\"", name)
	}
	line("clients_per_room = 10000")
	line("users_per_room = 10000")
	line("outbox_per_user = 1000000")
	line("\n[log]")
	line("level = \"info\"")
	line("format = \"text\"")
	for _, other := range all {
		if other.Domain != p.Domain {
			line("\n[federation.peers.%q]", other.Domain)
			line("address = %q", other.Federation)
		}
	}
	return b.String()
}
