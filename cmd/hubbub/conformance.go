package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"hubbub/client"
	"hubbub/cmd/hubbub/internal/devenv"
	"hubbub/internal/conformance"
	"hubbub/internal/identity"
	"hubbub/mimi"
)

// conformanceFlags are the flags of hubbub conformance.
type conformanceFlags struct {
	target, address, as, listen  string
	cert, key, ca, idCert, idKey string
	user, room, format, output   string
	third                        thirdFlags
	only                         []string
	dev                          bool
	invitation                   time.Duration
}

// thirdFlags say who the third provider is.
type thirdFlags struct{ as, listen, cert, key, idCert, idKey string }

func (c *cli) conformanceCmd() *cobra.Command {
	f := &conformanceFlags{}
	cmd := &cobra.Command{
		Use:   "conformance",
		Short: "ask any MIMI provider, requirement by requirement, whether it keeps to the protocol",
		Long: "Plays a provider, asks the target, and prints a line for each requirement: pass, fail with\n" +
			"what was expected and what came, skipped because something was missing, not applicable and why.\n" +
			"Exit status 1 if anything fails. With --dev it starts a provider of its own and asks that one.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.conformance(cmd.Context(), f) },
	}
	s := cmd.Flags()
	s.StringVar(&f.target, "target", "", "whom to ask: https://HOST[:PORT], HOST being the provider's domain")
	s.StringVar(&f.address, "address", "", "host:port to dial in place of what --target says")
	s.StringVar(&f.as, "as", "", "the domain to play; the certificate is for it")
	s.StringVar(&f.cert, "cert", "", "certificate to show, for both ends of TLS")
	s.StringVar(&f.key, "key", "", "its private key")
	s.StringVar(&f.ca, "ca", "", "roots to believe the target by")
	s.StringVar(&f.listen, "listen", "127.0.0.1:0", "where the target reaches the provider played")
	s.StringVar(&f.idCert, "identity-cert", "", "CA certificate that vouches for users of the provider played; without one they show basic credentials")
	s.StringVar(&f.idKey, "identity-key", "", "its private key")
	s.StringVar(&f.third.as, "third-as", "", "the domain of a second provider to play, for what takes three; with the flags below as for the first")
	s.StringVar(&f.third.cert, "third-cert", "", "its certificate")
	s.StringVar(&f.third.key, "third-key", "", "its private key")
	s.StringVar(&f.third.listen, "third-listen", "127.0.0.1:0", "where the target reaches it")
	s.StringVar(&f.third.idCert, "third-identity-cert", "", "CA certificate that vouches for its users")
	s.StringVar(&f.third.idKey, "third-identity-key", "", "its private key")
	s.StringVar(&f.user, "user", "", "a test user of the target, who lets conformance@AS add it to rooms")
	s.StringVar(&f.room, "room", "", "a room of the target")
	s.StringVar(&f.format, "format", "text", "text, json or junit")
	s.StringVar(&f.output, "output", "", "file to write to in place of standard output")
	s.StringSliceVar(&f.only, "only", nil, "only these ids or sections, such as TRN,DIR,KM-12")
	s.DurationVar(&f.invitation, "wait", 0, "how long to wait for somebody at the target to invite the user named on standard error; 0 = skip what needs that")
	s.BoolVar(&f.dev, "dev", false, "start a provider, ask it, and end it")
	return cmd
}

// errNonconforming says that something failed; the report has told what.
var errNonconforming = errors.New("the target does not meet every requirement")

func (c *cli) conformance(ctx context.Context, f *conformanceFlags) error {
	if f.format != "text" && f.format != "json" && f.format != "junit" {
		return fail(exitUsage, "--format takes text, json or junit", "unknown format %q", f.format)
	}
	var results []conformance.Result
	var err error
	if f.dev {
		results, err = c.conformanceDev(ctx, f)
	} else {
		results, err = c.conformanceOf(ctx, f)
	}
	if err != nil {
		return err
	}
	if err := c.writeConformance(f, results); err != nil {
		return err
	}
	if conformance.Failed(results) {
		return errNonconforming
	}
	return nil
}

func (c *cli) writeConformance(f *conformanceFlags, results []conformance.Result) (err error) {
	out := c.out
	if f.output != "" {
		file, err := os.Create(f.output)
		if err != nil {
			return err
		}
		b := bufio.NewWriter(file)
		out = b
		defer func() { err = errors.Join(err, b.Flush(), file.Close()) }()
		if err := writeResults(out, f, results); err != nil {
			return err
		}
		return nil
	}
	return writeResults(out, f, results)
}

func writeResults(w io.Writer, f *conformanceFlags, results []conformance.Result) error {
	switch f.format {
	case "json":
		return conformance.WriteJSON(w, f.target, results)
	case "junit":
		return conformance.WriteJUnit(w, f.target, results)
	}
	return conformance.WriteText(w, results)
}

// conformanceOf asks the provider that the flags name.
func (c *cli) conformanceOf(ctx context.Context, f *conformanceFlags) ([]conformance.Result, error) {
	if f.target == "" || f.as == "" || f.cert == "" || f.key == "" || f.ca == "" {
		return nil, fail(exitUsage, "or --dev, which needs none of them", "--target, --as, --cert, --key and --ca are needed")
	}
	cfg, err := f.config()
	if err != nil {
		return nil, fail(exitUsage, "", "%w", err)
	}
	if f.invitation > 0 {
		cfg.Wait = f.invitation
		cfg.Invite = func(_ context.Context, guest mimi.UserURI, _ string) error {
			c.progress("At %s, now have a user create a room, add %s to it, and post a message. Waiting %s.", f.target, guest, f.invitation)
			return nil
		}
	}
	return conformance.Run(ctx, cfg)
}

func (f *conformanceFlags) config() (cfg conformance.Config, err error) {
	cfg = conformance.Config{Target: f.target, Address: f.address, Listen: f.listen, Only: f.only}
	if cfg.As, err = mimi.ParseDomain(f.as); err != nil {
		return cfg, err
	}
	if cfg.Certificate, err = tls.LoadX509KeyPair(f.cert, f.key); err != nil {
		return cfg, err
	}
	if cfg.Roots, _, err = identity.LoadRoots(f.ca); err != nil {
		return cfg, err
	}
	if f.idCert != "" {
		if cfg.Issuer, err = identity.LoadIssuer(cfg.As, f.idCert, f.idKey); err != nil {
			return cfg, err
		}
	}
	if f.third.as != "" {
		if cfg.Third, err = f.third.config(); err != nil {
			return cfg, err
		}
	}
	if f.user != "" {
		if cfg.User, err = mimi.ParseUser(f.user); err != nil {
			return cfg, err
		}
	}
	if f.room != "" {
		if cfg.Room, err = mimi.ParseRoom(f.room); err != nil {
			return cfg, err
		}
	}
	return cfg, nil
}

func (f *thirdFlags) config() (t *conformance.Third, err error) {
	t = &conformance.Third{Listen: f.listen}
	if t.As, err = mimi.ParseDomain(f.as); err != nil {
		return nil, err
	}
	if t.Certificate, err = tls.LoadX509KeyPair(f.cert, f.key); err != nil {
		return nil, err
	}
	if f.idCert != "" {
		t.Issuer, err = identity.LoadIssuer(t.As, f.idCert, f.idKey)
	}
	return t, err
}

// conformanceDev starts a provider, plays the two others of a dev environment, and
// has a user of the first do what an operator would be asked to do.
func (c *cli) conformanceDev(ctx context.Context, f *conformanceFlags) (results []conformance.Result, err error) {
	dir, err := os.MkdirTemp("", "hubbub-conformance-")
	if err != nil {
		return nil, err
	}
	env, err := devenv.New(devenv.Options{Dir: dir, Providers: 3})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, env.Close(), os.RemoveAll(dir)) }()
	asked, played, third := env.Providers[0], env.Providers[1], env.Providers[2]
	if err := env.Start(ctx, asked.Name); err != nil {
		return nil, err
	}
	user := mimi.UserURI(string(asked.Domain.ProviderURI()) + "/u/alice")
	alice, err := c.conformanceUser(ctx, env, user)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, alice.Close()) }()
	file := func(of devenv.Provider, name string) string { return filepath.Join(of.Dir, name) }
	f.target, f.address, f.as, f.listen = "https://"+string(asked.Domain), asked.Federation, string(played.Domain), played.Federation
	f.cert, f.key, f.ca = file(played, "tls.pem"), file(played, "tls.key"), filepath.Join(env.Dir, "ca.pem")
	f.idCert, f.idKey = file(played, "identity.pem"), file(played, "identity.key")
	f.third = thirdFlags{string(third.Domain), third.Federation, file(third, "tls.pem"), file(third, "tls.key"),
		file(third, "identity.pem"), file(third, "identity.key")}
	cfg, err := f.config()
	if err != nil {
		return nil, err
	}
	cfg.Use(alice)
	return conformance.Run(ctx, cfg)
}

// conformanceUser makes a user whose device has published its KeyPackages.
func (c *cli) conformanceUser(ctx context.Context, env *devenv.Env, user mimi.UserURI) (*client.Client, error) {
	if err := env.AddUser(ctx, user); err != nil {
		return nil, err
	}
	dir, err := env.Enrol(ctx, user, "phone")
	if err != nil {
		return nil, err
	}
	dev, err := client.Open(ctx, dir, nil)
	if err != nil {
		return nil, err
	}
	admin, err := env.Admin(user.Domain())
	if err != nil {
		return nil, errors.Join(err, dev.Close())
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	for {
		users, err := admin.ListUsers(ctx)
		if err != nil {
			return nil, errors.Join(err, dev.Close())
		}
		if list := users[0].GetClients(); len(list) > 0 && list[0].GetKeyPackages() > 0 {
			return dev, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), dev.Close())
		}
	}
}
