package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"

	"google.golang.org/protobuf/proto"

	"hubbub/client/clientpb"
	"hubbub/cmd/hubbub/internal/devenv"
	"hubbub/cmd/hubbub/internal/term"
	"hubbub/mimi"
)

func (c *cli) peerCmd() *cobra.Command {
	o := &operator{}
	cmd := &cobra.Command{Use: "peer", Short: "other providers: how the way to and from them is (for the operator)"}
	o.flags(cmd)
	var reason string
	hold := c.peerVerb(o, "hold", "stop sending to a peer, also across restarts; what waits is kept",
		func(ctx context.Context, a *devenv.Admin, peer mimi.Domain) error {
			if err := a.HoldPeer(ctx, peer, reason); err != nil {
				return err
			}
			return c.tell(map[string]any{"peer": peer, "held": true}, "nothing is sent to %s until: hubbub peer resume %s", peer, peer)
		})
	hold.Flags().StringVar(&reason, "reason", "", "a word for the next operator")
	cmd.AddCommand(c.peerListCmd(o), c.peerShowCmd(o), c.peerTestCmd(o), hold, c.peerResumeCmd(o),
		c.peerVerb(o, "retry", "try now what waits for its next attempt", func(ctx context.Context, a *devenv.Admin, peer mimi.Domain) error {
			if err := a.RetryPeer(ctx, peer); err != nil {
				return err
			}
			return c.tell(map[string]any{"peer": peer, "retried": true}, "trying %s now; hubbub peer show %s tells how it went", peer, peer)
		}))
	return cmd
}

// peerVerb makes a verb about one peer.
func (c *cli) peerVerb(o *operator, name, short string, do func(context.Context, *devenv.Admin, mimi.Domain) error) *cobra.Command {
	return &cobra.Command{Use: name + " PEER", Short: short, Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		ctx, cancel := withTimeout(cmd.Context())
		defer cancel()
		peer, err := mimi.ParseDomain(args[0])
		if err != nil {
			return err
		}
		a, err := c.connect(o)
		if err != nil {
			return err
		}
		return do(ctx, a, peer)
	}}
}

// tell answers a verb that has nothing to show: JSON, or a line.
func (c *cli) tell(doc map[string]any, format string, args ...any) error {
	if c.wantJSON() {
		return term.JSON(c.out, doc)
	}
	_, err := fmt.Fprintf(c.out, format+"\n", args...)
	return err
}

// tellProto prints a message of the API as JSON.
func (c *cli) tellProto(m proto.Message) error {
	b, err := protojson.MarshalOptions{Multiline: true, Indent: "  ", UseProtoNames: true, EmitUnpopulated: true}.Marshal(m)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(c.out, string(b))
	return err
}

func (c *cli) peerListCmd(o *operator) *cobra.Command {
	return &cobra.Command{Use: "list", Short: "list the peers: state, lag, oldest that waits, certificate", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := withTimeout(cmd.Context())
			defer cancel()
			a, err := c.connect(o)
			if err != nil {
				return err
			}
			list, err := a.Peers(ctx, "")
			if err != nil {
				return err
			}
			if c.wantJSON() {
				return c.tellProto(list)
			}
			now := time.UnixMilli(int64(list.GetNow()))
			var rows [][]string
			for _, p := range list.GetPeers() {
				s := summarise(p)
				rows = append(rows, []string{p.GetPeer(), s.state, age(now, p.GetOut().GetLastSuccess()), age(now, p.GetIn().GetLastSuccess()),
					fmt.Sprint(s.lag), fmt.Sprint(p.GetOutbox().GetWaiting()), age(now, s.oldest), until(now, p.GetCertificateExpires())})
			}
			return term.Table(c.out, "", []string{"PEER", "STATE", "LAST OUT", "LAST IN", "LAG", "OUTBOX", "OLDEST", "CERTIFICATE"}, rows)
		}}
}

// summary is a peer in one line.
type summary struct {
	state  string
	lag    uint64 // entries over all rooms
	oldest uint64 // that waits, entry or write; Unix ms, 0 = nothing waits
}

func summarise(p *clientpb.Peer) summary {
	var s summary
	older := func(at uint64) {
		if at != 0 && (s.oldest == 0 || at < s.oldest) {
			s.oldest = at
		}
	}
	parked, failing := 0, p.GetOutbox().GetFailures() > 0
	for _, q := range p.GetQueues() {
		s.lag += q.GetLag()
		older(q.GetOldest())
		failing = failing || q.GetFailures() > 0
		if q.GetParked() != "" {
			parked++
		}
	}
	older(p.GetOutbox().GetOldest())
	switch {
	case p.GetHeldSince() != 0:
		s.state = "on hold"
	case parked > 0:
		s.state = fmt.Sprintf("%d parked", parked)
	case failing:
		s.state = "failing"
	case p.GetOut().GetLastSuccess() == 0 && p.GetIn().GetLastSuccess() == 0:
		s.state = "not heard of"
	case s.lag > 0 || p.GetOutbox().GetWaiting() > 0:
		s.state = "catching up"
	default:
		s.state = "ok"
	}
	return s
}

// age says how long ago something was.
func age(now time.Time, at uint64) string {
	if at == 0 {
		return "-"
	}
	return term.Duration(max(0, now.Sub(time.UnixMilli(int64(at))))) + " ago"
}

// until says how far away something is.
func until(now time.Time, at uint64) string {
	if at == 0 {
		return "-"
	}
	d := time.UnixMilli(int64(at)).Sub(now)
	switch {
	case d < 0:
		return "EXPIRED"
	case d > 48*time.Hour:
		return fmt.Sprintf("%d days", int(d.Hours()/24))
	}
	return term.Duration(d)
}

func (c *cli) peerShowCmd(o *operator) *cobra.Command {
	return c.peerVerb(o, "show", "show one peer: each way, what waits, errors, next attempt", func(ctx context.Context, a *devenv.Admin, peer mimi.Domain) error {
		list, err := a.Peers(ctx, peer)
		if err != nil {
			return err
		}
		if len(list.GetPeers()) != 1 {
			return fail(exitFailed, "hubbub peer list", "nothing is known of %s", peer)
		}
		if c.wantJSON() {
			return c.tellProto(list)
		}
		return c.showPeer(list.GetPeers()[0], list)
	})
}

func (c *cli) showPeer(p *clientpb.Peer, list *clientpb.ListPeersResponse) error {
	now := time.UnixMilli(int64(list.GetNow()))
	line := func(format string, args ...any) { fmt.Fprintf(c.out, "  "+format+"\n", args...) }
	style := term.StyleFor(c.out)
	fmt.Fprintf(c.out, "%s  %s\n", style.Bold(p.GetPeer()), summarise(p).state)
	if p.GetHeldSince() != 0 {
		line("on hold since %s: %s", age(now, p.GetHeldSince()), term.Printable(p.GetHoldReason()))
	}
	for _, way := range []struct {
		name string
		t    *clientpb.PeerTraffic
	}{{"we to them", p.GetOut()}, {"they to us", p.GetIn()}} {
		line("%s: %d requests went well, the last %s; %d did not", way.name, way.t.GetSuccesses(), age(now, way.t.GetLastSuccess()), way.t.GetFailures())
		if way.t.GetLastError() != "" {
			line("  last error, %s: %s", age(now, way.t.GetLastFailure()), term.Printable(way.t.GetLastError()))
		}
	}
	line("certificate: theirs ends in %s, ours in %s", until(now, p.GetCertificateExpires()), until(now, list.GetCertificateExpires()))
	box := p.GetOutbox()
	line("outbox: %d writes wait for them, the oldest %s", box.GetWaiting(), age(now, box.GetOldest()))
	if box.GetFailures() > 0 {
		line("  %d attempts failed since %s, the next in %s: %s", box.GetFailures(), age(now, box.GetFailingSince()),
			until(now, box.GetNextAttempt()), term.Printable(box.GetLastError()))
	}
	line("follows %d rooms of ours; we follow %d of theirs", len(p.GetQueues()), p.GetRoomsFollowed())
	var rows [][]string
	for _, q := range p.GetQueues() {
		note := "ok"
		switch {
		case q.GetParked() != "":
			note = "PARKED: " + q.GetParked()
		case q.GetFailures() > 0:
			note = fmt.Sprintf("%d failed, next in %s: %s", q.GetFailures(), until(now, q.GetNextAttempt()), q.GetLastError())
		case q.GetLag() > 0:
			note = "on its way"
		}
		rows = append(rows, []string{q.GetRoom(), fmt.Sprintf("%d/%d", q.GetAcked(), q.GetHead()), fmt.Sprint(q.GetLag()), age(now, q.GetOldest()), term.Printable(note)})
	}
	if len(rows) == 0 {
		return nil
	}
	return term.Table(c.out, "  ", []string{"ROOM", "STORED", "LAG", "OLDEST", "STATE"}, rows)
}

func (c *cli) peerTestCmd(o *operator) *cobra.Command {
	return c.peerVerb(o, "test", "make a round trip to a peer now, past caches and holds", func(ctx context.Context, a *devenv.Admin, peer mimi.Domain) error {
		r, err := a.TestPeer(ctx, peer)
		if err != nil {
			return err
		}
		if c.wantJSON() {
			if err := c.tellProto(r); err != nil {
				return err
			}
		} else if r.GetError() == "" {
			c.showTrial(r)
		}
		switch {
		case r.GetError() == "":
			return nil
		case r.GetAnswered():
			return fail(exitDenied, "their operator's log names the cause: our certificate, our name, or a list of allowed peers",
				"%s answers, and refuses us: %s", peer, r.GetError())
		}
		return fail(exitUnreachable, "check address, port and certificate of the peer, and federation.peers in our configuration", "%s", r.GetError())
	})
}

func (c *cli) showTrial(r *clientpb.TestPeerResponse) {
	now := time.Now()
	line := func(format string, args ...any) { fmt.Fprintf(c.out, format+"\n", args...) }
	line("%s answers in %s", r.GetPeer(), term.Duration(time.Duration(r.GetRoundTripUs())*time.Microsecond))
	if seen := r.GetSeenAs(); seen != "" {
		line("  it takes us for %s", seen)
	} else {
		line("  it accepts us and does not say as whom")
	}
	line("  its certificate ends in %s, issued by %s", until(now, r.GetCertificateExpires()), term.Printable(r.GetCertificateIssuer()))
	line("  it offers %s", strings.Join(slices.Clone(r.GetEndpoints()), " "))
	line("  its last request to us: %s", age(now, r.GetLastInbound()))
}

func (c *cli) peerResumeCmd(o *operator) *cobra.Command {
	return c.peerVerb(o, "resume", "end a hold and send again what was parked", func(ctx context.Context, a *devenv.Admin, peer mimi.Domain) error {
		r, err := a.ResumePeer(ctx, peer)
		if err != nil {
			return err
		}
		if c.wantJSON() {
			return c.tellProto(r)
		}
		if r.GetWasHeld() {
			fmt.Fprintf(c.out, "%s is no longer on hold\n", peer)
		}
		for _, room := range r.GetUnparked() {
			fmt.Fprintf(c.out, "going again: %s\n", room)
		}
		if !r.GetWasHeld() && len(r.GetUnparked()) == 0 {
			fmt.Fprintf(c.out, "%s was neither on hold nor parked\n", peer)
		}
		return nil
	})
}
