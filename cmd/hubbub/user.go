package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"hubbub/client"
	"hubbub/cmd/hubbub/internal/devenv"
	"hubbub/cmd/hubbub/internal/term"
	"hubbub/mimi"
)

func (c *cli) userCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "user", Short: "users and devices of a provider (for its operator)"}
	cmd.AddCommand(c.userAddCmd(), c.userListCmd(), c.userCodeCmd(), c.userEnrolCmd())
	return cmd
}

// admin finds the operator's connection to a user's provider: the socket named
// by the flag, or the one of the dev environment.
func (c *cli) admin(socket string, domain mimi.Domain) (*devenv.Admin, error) {
	if socket != "" {
		return devenv.NewAdmin(socket), nil
	}
	m, err := devenv.ReadManifest(c.devDir())
	if err != nil {
		return nil, err
	}
	p, ok := m.Find(string(domain))
	if !ok {
		return nil, fail(exitUsage, "its providers are "+m.Names(), "%s: no provider %s", c.devDir(), domain)
	}
	return devenv.NewAdmin(p.AdminSocket), nil
}

func socketFlag(cmd *cobra.Command, socket *string) {
	cmd.Flags().StringVar(socket, "socket", "", "the provider's admin_socket (default: that of the dev environment)")
}

func (c *cli) userAddCmd() *cobra.Command {
	var socket string
	cmd := &cobra.Command{Use: "add USER", Short: "make a user, such as dora@b.localhost", Args: cobra.ExactArgs(1)}
	socketFlag(cmd, &socket)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx, cancel := withTimeout(cmd.Context())
		defer cancel()
		user, err := mimi.ParseHandle(args[0])
		if err != nil {
			return err
		}
		a, err := c.admin(socket, user.Domain())
		if err != nil {
			return err
		}
		if err := a.AddUser(ctx, user); err != nil {
			return err
		}
		if c.wantJSON() {
			return term.JSON(c.out, map[string]any{"user": user})
		}
		_, err = fmt.Fprintln(c.out, user)
		return err
	}
	return cmd
}

func (c *cli) userListCmd() *cobra.Command {
	var socket string
	cmd := &cobra.Command{Use: "list PROVIDER", Short: "list users and their devices", Args: cobra.ExactArgs(1)}
	socketFlag(cmd, &socket)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx, cancel := withTimeout(cmd.Context())
		defer cancel()
		a, err := c.admin(socket, mimi.Domain(args[0]))
		if err != nil {
			return err
		}
		users, err := a.ListUsers(ctx)
		if err != nil {
			return err
		}
		if c.wantJSON() {
			return term.JSON(c.out, users)
		}
		var rows [][]string
		for _, u := range users {
			for _, d := range u.GetClients() {
				rows = append(rows, []string{mimi.UserURI(u.GetUser()).Handle(), mimi.ClientURI(d.GetClient()).Device(), fmt.Sprint(d.GetKeyPackages())})
			}
			if len(u.GetClients()) == 0 {
				rows = append(rows, []string{mimi.UserURI(u.GetUser()).Handle(), "-", "0"})
			}
		}
		return term.Table(c.out, "", []string{"USER", "DEVICE", "KEYPACKAGES"}, rows)
	}
	return cmd
}

func (c *cli) userCodeCmd() *cobra.Command {
	var socket string
	cmd := &cobra.Command{Use: "code USER", Short: "make a one-time code that lets its holder enrol one device", Args: cobra.ExactArgs(1)}
	socketFlag(cmd, &socket)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx, cancel := withTimeout(cmd.Context())
		defer cancel()
		user, err := mimi.ParseHandle(args[0])
		if err != nil {
			return err
		}
		a, err := c.admin(socket, user.Domain())
		if err != nil {
			return err
		}
		code, err := a.Code(ctx, user)
		if err != nil {
			return err
		}
		if c.wantJSON() {
			return term.JSON(c.out, map[string]any{"code": code.GetCode(), "expires_at_ms": code.GetExpiresAt()})
		}
		_, err = fmt.Fprintln(c.out, code.GetCode())
		return err
	}
	return cmd
}

func (c *cli) userEnrolCmd() *cobra.Command {
	var o client.EnrolOptions
	var caFile, codeFile string
	cmd := &cobra.Command{
		Use:   "enrol USER",
		Short: "make a device of a user",
		Long: "Makes a device of a user. In a dev environment nothing but --device is needed. Elsewhere the\n" +
			"one-time code of the operator is read from --code-file (- is standard input).",
		Args: cobra.ExactArgs(1),
	}
	cmd.Flags().StringVar(&o.Device, "device", firstDevice, "name of the new device")
	cmd.Flags().StringVar(&o.Dir, "state", "", "directory for the device")
	cmd.Flags().StringVar(&o.Server, "server", "", "base URL of the provider's client API")
	cmd.Flags().StringVar(&o.ServerName, "server-name", "", "name in the server's certificate, if not the URL's host")
	cmd.Flags().StringVar(&caFile, "ca", "", "PEM file with the roots to trust for the server (default: the system's)")
	cmd.Flags().StringVar(&codeFile, "code-file", "", "file with the one-time code, - for standard input")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx, cancel := withTimeout(cmd.Context())
		defer cancel()
		user, err := mimi.ParseHandle(args[0])
		if err != nil {
			return err
		}
		o.User = user
		if o.Server == "" {
			m, err := devenv.ReadManifest(c.devDir())
			if err != nil {
				return err
			}
			if o.Dir, err = devenv.Enrol(ctx, c.devDir(), m, user, o.Device); err != nil {
				return err
			}
			_, err = fmt.Fprintln(c.out, o.Dir)
			return err
		}
		if o.Dir == "" {
			return fail(exitUsage, "name the new directory with --state", "where should the device live?")
		}
		if caFile != "" {
			if o.CA, err = os.ReadFile(caFile); err != nil {
				return err
			}
		}
		if o.Code, err = c.readSecret(codeFile); err != nil {
			return err
		}
		return client.Enrol(ctx, o)
	}
	return cmd
}
