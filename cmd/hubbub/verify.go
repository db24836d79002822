package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"hubbub/client"
	"hubbub/cmd/hubbub/internal/term"
	"hubbub/mimi"
)

// verifyJSON is the outcome of room verify in the JSON output.
type verifyJSON struct {
	Room     mimi.RoomURI `json:"room"`
	OK       bool         `json:"ok"`
	Device   placeJSON    `json:"device"`   // processed by this device
	Provider placeJSON    `json:"provider"` // the own provider's copy
	// First and last entry of that copy whose hash chain was recomputed.
	First    uint64        `json:"first"`
	Last     uint64        `json:"last"`
	Signed   *placeJSON    `json:"signed,omitempty"` // newest checkpoint that verifies
	Note     string        `json:"note,omitempty"`   // the checkpoint itself
	Copies   []replicaJSON `json:"copies"`
	NoProof  bool          `json:"no_proof,omitempty"` // the hub offers none
	Frozen   string        `json:"frozen,omitempty"`
	Evidence string        `json:"evidence,omitempty"`
	Former   []formerJSON  `json:"former,omitempty"` // copies that were replaced by the hub's
	Problems []string      `json:"problems"`
}

type placeJSON struct {
	Seq  uint64 `json:"seq"`
	Hash string `json:"hash"`
}

type replicaJSON struct {
	Provider  mimi.Domain `json:"provider"`
	Place     *placeJSON  `json:"place,omitempty"`
	SignedSeq uint64      `json:"signed_seq,omitempty"`
	Error     string      `json:"error,omitempty"`
}

// formerJSON is a copy that was set aside.
type formerJSON struct {
	Room       mimi.RoomURI `json:"room"`
	End        placeJSON    `json:"end"`
	Agreed     uint64       `json:"agreed"` // last entry that the hub's log has as well
	ReplacedAt time.Time    `json:"replaced_at"`
	Reason     string       `json:"reason"`
	Evidence   string       `json:"evidence,omitempty"`
}

func place(p client.Pos) placeJSON { return placeJSON{p.Seq, fmt.Sprintf("%x", p.Hash)} }

func (c *cli) roomVerifyCmd() *cobra.Command {
	w := &whoami{}
	cmd := &cobra.Command{
		Use:   "verify [CHAT]",
		Short: "check that all providers of a chat hold one history, and that its hub has signed it",
		Long: "Reads the log at the user's own provider, recomputes its hash chain, holds it against what this device\n" +
			"processed, verifies what the hub has signed, and asks every provider of the chat how far its copy reaches.\n" +
			"Exit code 0: nothing contradicts; 1: something does. A provider that does not answer contradicts nothing.",
		Args: cobra.MaximumNArgs(1),
	}
	w.flags(cmd, true)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 1 {
			w.room = args[0]
		}
		return c.withDevice(cmd, w, func(ctx context.Context, cl *session) error {
			r, err := c.pickRoom(ctx, cl, w.room)
			if err != nil {
				return err
			}
			return c.verify(ctx, cl, r)
		})
	}
	return cmd
}

func (c *cli) verify(ctx context.Context, cl *session, r client.RoomInfo) error {
	v, err := cl.Verify(ctx, r.Room)
	if err != nil {
		return err
	}
	if c.wantJSON() {
		err = term.JSON(c.out, verificationJSON(v))
	} else {
		err = c.printVerification(v, r)
	}
	if err != nil || len(v.Problems) == 0 {
		return err
	}
	return fail(exitFailed, "show this to the operators of the providers; the signed notes in --json are proof",
		"%d contradictions in the log of %s", len(v.Problems), r.Room)
}

func verificationJSON(v *client.Verification) verifyJSON {
	out := verifyJSON{Room: v.Room, OK: len(v.Problems) == 0, Device: place(v.Own), Provider: place(v.Pos), First: v.First, Last: v.Last,
		Copies: []replicaJSON{}, NoProof: v.NoProof, Frozen: v.Frozen, Evidence: string(v.Evidence), Problems: append([]string{}, v.Problems...)}
	if v.Signed != nil {
		p := place(v.Signed.Pos)
		out.Signed, out.Note = &p, string(v.Signed.Note)
	}
	for _, r := range v.Reports {
		row := replicaJSON{Provider: r.Provider, Error: r.Err}
		if r.Err == "" {
			p := place(r.Pos)
			row.Place = &p
		}
		if r.Signed != nil {
			row.SignedSeq = r.Signed.Pos.Seq
		}
		out.Copies = append(out.Copies, row)
	}
	for _, f := range v.Former {
		out.Former = append(out.Former, formerJSON{f.Room, place(f.Pos), f.Agreed, f.At, f.Reason, string(f.Evidence)})
	}
	return out
}

// noProof says what it means that a hub gives its log no places.
func noProof(room mimi.RoomURI) string {
	return fmt.Sprintf("the hub, %s, offers no proof: it numbers and signs nothing, so that the copies of other providers cannot be compared,\n"+
		"  and what is missing cannot be fetched; the numbers here are those of arrival at the own provider", room.Domain())
}

func (c *cli) printVerification(v *client.Verification, r client.RoomInfo) error {
	fmt.Fprintf(c.out, "%s\n  %s\n", term.Printable(roomName(r)), v.Room)
	fmt.Fprintf(c.out, "  this device processed the log up to %s\n", v.Own)
	if v.Last > 0 {
		fmt.Fprintf(c.out, "  its provider's copy stands at %s; the hash chain was recomputed from entry %d to %d\n", v.Pos, v.First, v.Last)
	}
	switch {
	case v.Signed != nil:
		fmt.Fprintf(c.out, "  the hub has signed %s\n", v.Signed.Pos)
	case v.NoProof:
		fmt.Fprintf(c.out, "  %s\n", noProof(v.Room))
	default:
		fmt.Fprintln(c.out, "  nobody holds a checkpoint signed by the hub")
	}
	var rows [][]string
	for _, s := range v.Reports {
		signed := "-"
		if s.Signed != nil && s.Signed.Err == nil {
			signed = s.Signed.Pos.String()
		}
		if s.Err != "" {
			rows = append(rows, []string{string(s.Provider), "-", "-", term.Printable(s.Err)})
			continue
		}
		rows = append(rows, []string{string(s.Provider), s.Pos.String(), signed, "ok"})
	}
	if err := term.Table(c.out, "  ", []string{"PROVIDER", "COPY", "SIGNED", "ANSWER"}, rows); err != nil {
		return err
	}
	if v.Frozen != "" {
		fmt.Fprintf(c.out, "  the provider has frozen the chat: %s\n", term.Printable(v.Frozen))
	}
	if len(v.Evidence) > 0 {
		fmt.Fprintf(c.out, "  both versions that the hub signed:\n%s\n", term.Printable(string(v.Evidence)))
	}
	for _, f := range v.Former {
		fmt.Fprintf(c.out, "  an earlier copy that ended at %s was replaced by the hub's on %s: %s\n"+
			"    both have the entries up to %d; it is kept as %s\n", f.Pos, f.At.Format(time.DateTime), term.Printable(f.Reason), f.Agreed, f.Room)
	}
	for _, p := range v.Problems {
		fmt.Fprintf(c.out, "  CONTRADICTION: %s\n", term.Printable(p))
	}
	if len(v.Problems) == 0 {
		fmt.Fprintln(c.out, "  nothing contradicts")
	}
	return nil
}
