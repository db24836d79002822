package provider

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"strings"

	"hubbub/mimi"
)

// ErrConfig is wrapped by every error about the configuration.
var ErrConfig = errors.New("configuration")

// Config is everything that can be set about a provider. A file in TOML sets it;
// an environment variable HUBBUB_SECTION__KEY overrides a single value of it.
// Relative file names are relative to the configuration file.
type Config struct {
	// Identity is the domain that this provider speaks for; it stands in every
	// identifier it gives out and cannot change. Required.
	Identity string `toml:"identity"`
	// DataDir holds the database, the keys made here and the lock. Default: data
	DataDir string `toml:"data_dir"`
	// HeadsFile keeps the head of every log outside the database, so that one that
	// lost something is found out. On another disk it says more. Default: heads in
	// the data directory.
	HeadsFile string `toml:"heads_file"`
	// AdminSocket is the Unix socket on which the operator's commands are served,
	// to whoever may open it. Default: admin.sock in the data directory.
	AdminSocket string `toml:"admin_socket"`
	// Consent says whom users' KeyPackages are given to where the users have not
	// decided. "ask": users of other providers must ask first. "open": to everybody.
	// Default: ask
	Consent string `toml:"consent"`
	// HideUsers is "yes" or "no": whether other providers get the same answers about
	// users that do not exist as about users that do not consent. Default: yes
	HideUsers string `toml:"hide_users"`
	// Search says by what users may be found at most, each of whom has to allow it:
	// "off", "exact" (whole values) or "partial" (also parts). Default: partial
	Search string `toml:"search"`

	Federation FederationConfig `toml:"federation"`
	API        APIConfig        `toml:"api"`
	IdentityCA IdentityCAConfig `toml:"identity_ca"`
	Assets     AssetsConfig     `toml:"assets"`
	Rooms      RoomsConfig      `toml:"rooms"`
	Limits     LimitsConfig     `toml:"limits"`
	Log        LogConfig        `toml:"log"`
}

// FederationConfig is about other providers.
type FederationConfig struct {
	// Listen is the address for other providers. Default: ":443".
	Listen string `toml:"listen"`
	// CertFile is our TLS certificate chain in PEM. It must carry the DNS name in
	// identity and be good for both ends of a connection. Required.
	CertFile string `toml:"cert_file"`
	// KeyFile is its private key in PEM. Required.
	KeyFile string `toml:"key_file"`
	// CAFile holds, in PEM, the roots that vouch for other providers. Required.
	CAFile string `toml:"ca_file"`
	// Allow lists the providers we talk to. Empty: every one that CAFile vouches for.
	Allow []string `toml:"allow,omitempty"`
	// Peers sets what is special about single providers, by domain.
	Peers map[string]PeerConfig `toml:"peers,omitempty"`
}

// PeerConfig is about one other provider.
type PeerConfig struct {
	// Address is the host:port to connect to, in place of what DNS says. Only such
	// peers may have an address that is not public. Required.
	Address string `toml:"address"`
	// AssetHosts are the hosts, besides its domain, on which the peer keeps files.
	// They must have public addresses.
	AssetHosts []string `toml:"asset_hosts,omitempty"`
}

// AssetsConfig is about attachments, which lie in assets in the data directory.
type AssetsConfig struct {
	// Host stands in the addresses of our users' attachments. Port 443 of it has to
	// lead to the federation listener, or to the one for clients if strangers' clients
	// are to fetch from us directly. Default: identity.
	Host string `toml:"host"`
}

// APIConfig is about our users' clients.
type APIConfig struct {
	// Listen is the address for clients. Default: ":8443".
	Listen string `toml:"listen"`
	// CertFile is the TLS certificate chain shown to clients, in PEM. Default: that
	// of the federation.
	CertFile string `toml:"cert_file"`
	// KeyFile is its private key in PEM. Default: that of the federation.
	KeyFile string `toml:"key_file"`
}

// IdentityCAConfig is about the certificates by which users are known.
type IdentityCAConfig struct {
	// CertFile is the CA certificate, in PEM, under which we vouch for our clients.
	// It must carry the DNS name in identity. Required.
	CertFile string `toml:"cert_file"`
	// KeyFile is its private key in PEM. Required.
	KeyFile string `toml:"key_file"`
	// RootsFile holds, in PEM, the roots that vouch for such CAs, ours and those of
	// other providers. Required.
	RootsFile string `toml:"roots_file"`
}

// LogConfig is about the log, which goes to standard error.
type LogConfig struct {
	// Level is the least level shown: debug, info, warn or error. Default: info.
	Level string `toml:"level"`
	// Format is text or json. Default: text.
	Format string `toml:"format"`
}

// withDefaults fills in what was left empty.
func (c Config) withDefaults() Config {
	setDefault(&c.DataDir, "data")
	setDefault(&c.HeadsFile, filepath.Join(c.DataDir, headsFile))
	setDefault(&c.AdminSocket, filepath.Join(c.DataDir, "admin.sock"))
	setDefault(&c.Consent, consentAsk)
	setDefault(&c.HideUsers, hideYes)
	setDefault(&c.Search, "partial")
	setDefault(&c.Federation.Listen, ":443")
	setDefault(&c.API.Listen, ":8443")
	if c.API.CertFile == "" && c.API.KeyFile == "" {
		c.API.CertFile, c.API.KeyFile = c.Federation.CertFile, c.Federation.KeyFile
	}
	setDefault(&c.Assets.Host, c.Identity)
	c.Rooms = c.Rooms.withDefaults()
	c.Limits = c.Limits.withDefaults()
	setDefault(&c.Log.Level, "info")
	setDefault(&c.Log.Format, "text")
	return c
}

func setDefault(v *string, def string) {
	if *v == "" {
		*v = def
	}
}

// below makes relative file names relative to dir.
func (c Config) below(dir string) Config {
	for _, f := range []*string{
		&c.DataDir, &c.HeadsFile, &c.AdminSocket, &c.Federation.CertFile, &c.Federation.KeyFile, &c.Federation.CAFile,
		&c.API.CertFile, &c.API.KeyFile, &c.IdentityCA.CertFile, &c.IdentityCA.KeyFile, &c.IdentityCA.RootsFile,
	} {
		if *f != "" && !filepath.IsAbs(*f) {
			*f = filepath.Join(dir, *f)
		}
	}
	return c
}

// Validate says everything that is wrong with the values, without touching files
// or the network.
func (c Config) Validate() error {
	var errs []error
	bad := func(key, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%w: %s: %s", ErrConfig, key, fmt.Sprintf(format, args...)))
	}
	required := func(key, value string) {
		if value == "" {
			bad(key, "is required")
		}
	}
	if required("identity", c.Identity); c.Identity != "" {
		if _, err := mimi.ParseDomain(c.Identity); err != nil {
			bad("identity", "%v", err)
		}
	}
	if c.Consent != consentAsk && c.Consent != consentOpen {
		bad("consent", "must be %q or %q", consentAsk, consentOpen)
	}
	if c.HideUsers != hideYes && c.HideUsers != hideNo {
		bad("hide_users", "must be %q or %q", hideYes, hideNo)
	}
	if _, ok := searches[c.Search]; !ok {
		bad("search", "must be off, exact or partial")
	}
	required("federation.cert_file", c.Federation.CertFile)
	required("federation.key_file", c.Federation.KeyFile)
	required("federation.ca_file", c.Federation.CAFile)
	required("api.cert_file", c.API.CertFile)
	required("api.key_file", c.API.KeyFile)
	required("identity_ca.cert_file", c.IdentityCA.CertFile)
	required("identity_ca.key_file", c.IdentityCA.KeyFile)
	required("identity_ca.roots_file", c.IdentityCA.RootsFile)
	checkAddress(bad, "federation.listen", c.Federation.Listen)
	checkAddress(bad, "api.listen", c.API.Listen)
	for _, d := range c.Federation.Allow {
		if _, err := mimi.ParseDomain(d); err != nil {
			bad("federation.allow", "%v", err)
		}
	}
	for _, d := range slices.Sorted(maps.Keys(c.Federation.Peers)) {
		key := fmt.Sprintf("federation.peers.%q", d)
		if _, err := mimi.ParseDomain(d); err != nil {
			bad(key, "%v", err)
		}
		checkAddress(bad, key+".address", c.Federation.Peers[d].Address)
		for _, h := range c.Federation.Peers[d].AssetHosts {
			if _, err := mimi.ParseDomain(h); err != nil {
				bad(key+".asset_hosts", "%v", err)
			}
		}
	}
	if _, err := mimi.ParseDomain(c.Assets.Host); err != nil && c.Assets.Host != "" {
		bad("assets.host", "%v", err)
	}
	c.Rooms.validate(bad)
	c.Limits.validate(bad)
	if _, ok := logLevels[c.Log.Level]; !ok {
		bad("log.level", "must be debug, info, warn or error")
	}
	if c.Log.Format != "text" && c.Log.Format != "json" {
		bad("log.format", "must be text or json")
	}
	return errors.Join(errs...)
}

func checkAddress(bad func(key, format string, args ...any), key, value string) {
	if _, port, err := net.SplitHostPort(value); err != nil || port == "" || strings.ContainsAny(value, "/ ") {
		bad(key, "must be host:port")
	}
}

var logLevels = map[string]slog.Level{
	"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
}

// domain is Identity once it has been validated.
func (c Config) domain() mimi.Domain { return mimi.Domain(c.Identity) }

// addresses gives the configured address of each peer.
func (c Config) addresses() map[mimi.Domain]string {
	out := make(map[mimi.Domain]string, len(c.Federation.Peers))
	for d, p := range c.Federation.Peers {
		out[mimi.Domain(d)] = p.Address
	}
	return out
}

// allowed gives the test for peers, nil if all are allowed.
func (c Config) allowed() func(mimi.Domain) bool {
	if len(c.Federation.Allow) == 0 {
		return nil
	}
	return func(d mimi.Domain) bool { return slices.Contains(c.Federation.Allow, string(d)) }
}
