package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"hubbub/client"
	"hubbub/client/clientpb"
	"hubbub/cmd/hubbub/internal/devenv"
	"hubbub/cmd/hubbub/internal/term"
)

// messageReportCmd reports abuse.
func (c *cli) messageReportCmd() *cobra.Command {
	w := &whoami{}
	var about client.Complaint
	cmd := &cobra.Command{Use: "report CHAT ID|SEQ", Short: "report a message to whoever operates the chat's hub",
		Long: "The operator reads the message, in all its versions, and your note; nothing else of the chat.\n" +
			"In a chat made with --franking the report proves who wrote it. Elsewhere it names the\n" +
			"sender, without the message, and is your word.", Args: cobra.ExactArgs(2)}
	w.flags(cmd, false)
	cmd.Flags().StringVar(&about.Note, "note", "", "what the operator should know")
	cmd.Flags().Uint8Var(&about.Reason, "reason", 0, "a code, once there are any")
	cmd.Flags().BoolVar(&about.Anonymous, "anonymous", false, "keep your name from the hub; your own provider knows it")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return c.withDevice(cmd, w, func(ctx context.Context, cl *session) error {
			r, m, err := c.pickMessage(ctx, cl, args[0], args[1])
			if err != nil {
				return err
			}
			proved, err := cl.Report(ctx, r.Room, m.ID, about)
			if err != nil {
				return err
			}
			what := "with the message and the proof that it is theirs"
			if !proved {
				what = "without the message: nothing proves it"
			}
			return c.tell(map[string]any{"room": r.Room, "message": m.ID, "accused": m.Sender, "hub": r.Hub, "proved": proved},
				"reported %s to the operator of %s, %s", m.Sender.Handle(), r.Hub, what)
		})
	}
	return cmd
}

func (c *cli) reportCmd() *cobra.Command {
	o := &operator{}
	cmd := &cobra.Command{Use: "report", Short: "reports of abuse in the rooms of this hub (for the operator)"}
	o.flags(cmd)
	var all bool
	list := &cobra.Command{Use: "list", Short: "list the open reports", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.listReports(cmd.Context(), o, all) }}
	list.Flags().BoolVar(&all, "all", false, "resolved ones too")
	var note string
	resolve := c.reportVerb(o, "resolve", "close a report", func(ctx context.Context, a *devenv.Admin, id uint64) error {
		if err := a.ResolveReport(ctx, id, note); err != nil {
			return err
		}
		return c.tell(map[string]any{"id": id, "resolved": true}, "report %d is resolved", id)
	})
	resolve.Flags().StringVar(&note, "note", "", "what was done, for the next operator")
	cmd.AddCommand(list, resolve, c.reportVerb(o, "show", "show one report, with the messages that its reporter gave", c.showReport),
		c.rotateCmd(o))
	return cmd
}

// reportVerb makes a verb about one report.
func (c *cli) reportVerb(o *operator, name, short string, do func(context.Context, *devenv.Admin, uint64) error) *cobra.Command {
	return &cobra.Command{Use: name + " ID", Short: short, Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		ctx, cancel := withTimeout(cmd.Context())
		defer cancel()
		id, err := strconv.ParseUint(args[0], 10, 64)
		if err != nil {
			return fail(exitUsage, "hubbub report list", "%q is not the number of a report", args[0])
		}
		a, err := c.connect(o)
		if err != nil {
			return err
		}
		return do(ctx, a, id)
	}}
}

// listReports shows the queue, page by page.
func (c *cli) listReports(ctx context.Context, o *operator, all bool) error {
	ctx, cancel := withTimeout(ctx)
	defer cancel()
	a, err := c.connect(o)
	if err != nil {
		return err
	}
	out := &clientpb.ListReportsResponse{}
	for after := uint64(0); ; {
		page, err := a.Reports(ctx, after, all)
		if err != nil {
			return err
		}
		n := len(page.GetReports())
		if n == 0 {
			break
		}
		out.Reports = append(out.Reports, page.GetReports()...)
		after = page.GetReports()[n-1].GetId()
	}
	if c.wantJSON() {
		return c.tellProto(out)
	}
	var rows [][]string
	for _, r := range out.GetReports() {
		state := "open"
		if r.GetResolved() != 0 {
			state = "resolved"
		}
		rows = append(rows, []string{fmt.Sprint(r.GetId()), age(time.Now(), r.GetAt()), r.GetAccused(), reporterOf(r), provedOf(r), state, term.Printable(r.GetNote())})
	}
	return term.Table(c.out, "", []string{"ID", "CAME", "ACCUSED", "BY", "PROVED", "STATE", "NOTE"}, rows)
}

func reporterOf(r *clientpb.AbuseCase) string {
	if r.GetReporter() == "" {
		return "somebody of " + r.GetPeer()
	}
	return r.GetReporter()
}

func provedOf(r *clientpb.AbuseCase) string {
	return fmt.Sprintf("%d/%d", r.GetProved(), r.GetMessages())
}

func (c *cli) showReport(ctx context.Context, a *devenv.Admin, id uint64) error {
	got, err := a.Report(ctx, id)
	if err != nil {
		return err
	}
	if c.wantJSON() {
		return c.tellProto(got)
	}
	r := got.GetReport()
	line := func(format string, args ...any) { fmt.Fprintf(c.out, format+"\n", args...) }
	line("report %d, %s, passed on by %s", r.GetId(), age(time.Now(), r.GetAt()), r.GetPeer())
	line("  accused: %s", r.GetAccused())
	line("  by:      %s", reporterOf(r))
	line("  room:    %s", r.GetRoom())
	if r.GetReason() != 0 {
		line("  reason:  %d", r.GetReason())
	}
	if r.GetNote() != "" {
		line("  note:    %s", term.Printable(r.GetNote()))
	}
	if r.GetResolved() != 0 {
		line("  resolved %s: %s", age(time.Now(), r.GetResolved()), term.Printable(r.GetResolution()))
	}
	if len(r.GetEvidence()) == 0 {
		line("  no messages: it is the reporter's word")
		return nil
	}
	line("  messages, as the reporter gave them; the hub can read no others:")
	for _, m := range r.GetEvidence() {
		verdict := "PROVED: the accused committed to it, and the hub accepted it then"
		if !m.GetProved() {
			verdict = "not proved: " + term.Printable(m.GetWhy())
		}
		text := term.Printable(m.GetText())
		if text == "" {
			text = "(nothing that can be shown as text)"
		}
		line("  - %s, %s", time.UnixMilli(int64(m.GetAccepted())).UTC().Format(time.RFC3339), verdict)
		line("    %s", text)
	}
	return nil
}

func (c *cli) rotateCmd(o *operator) *cobra.Command {
	return &cobra.Command{Use: "rotate-key", Short: "prove messages with a new key from now on; old keys are kept for old messages", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := withTimeout(cmd.Context())
			defer cancel()
			a, err := c.connect(o)
			if err != nil {
				return err
			}
			r, err := a.RotateFrankingKey(ctx)
			if err != nil {
				return err
			}
			if c.wantJSON() {
				return c.tellProto(r)
			}
			_, err = fmt.Fprintf(c.out, "key %d is used in %s; there are %d\n", r.GetId(), until(time.Now(), r.GetSince()), r.GetKeys())
			return err
		}}
}
