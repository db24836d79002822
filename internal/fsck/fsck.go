// Package fsck checks what a provider stores against itself: every log against
// its hash chain, and everything that follows from a log against the log, by
// going through it again with the same rules by which it was accepted.
//
// It only reads. What it cannot check it says: rows that follow from nothing,
// such as how far a follower has acknowledged, are held to their bounds; tokens
// and unclaimed KeyPackages only to what the engine itself checks.
package fsck

import (
	"context"
	"fmt"

	"hubbub/internal/room"
	"hubbub/internal/store"
	"hubbub/mimi"
)

// Config is what to check, and with what.
type Config struct {
	Domain mimi.Domain // ours
	Store  store.Store
	// Env holds the roots under which credentials were accepted; nil: logs are
	// not gone through by the room's rules.
	Env *room.Env
	// Heads are the positions kept outside the database; nil: not compared.
	Heads map[mimi.RoomURI]room.Pos
	// Files is the directory of attachments; "": not compared.
	Files string
}

// Finding is one thing that is wrong. Where several follow from one cause it is
// the first of them in the log.
type Finding struct {
	Room  mimi.RoomURI `json:"room,omitempty"` // empty: it is not about a room
	Seq   uint64       `json:"seq,omitempty"`  // entry, 0 if it is about none
	What  string       `json:"what"`           // the kind of row: entry, head, history …
	Wrong string       `json:"wrong"`
}

// String is one line.
func (f Finding) String() string {
	switch {
	case f.Room == "":
		return fmt.Sprintf("%s: %s", f.What, f.Wrong)
	case f.Seq == 0:
		return fmt.Sprintf("%s: %s: %s", f.Room, f.What, f.Wrong)
	}
	return fmt.Sprintf("%s: %s %d: %s", f.Room, f.What, f.Seq, f.Wrong)
}

// Report is the outcome of Run.
type Report struct {
	Rooms    int       `json:"rooms"`
	Entries  int       `json:"entries"`
	Findings []Finding `json:"findings"`
	// Skipped are checks that could not be made, with the reason.
	Skipped []string `json:"skipped,omitempty"`
}

// Run checks everything. An error is what kept it from looking, not what it found.
func Run(ctx context.Context, cfg Config) (*Report, error) {
	c := &check{cfg: cfg, report: &Report{Findings: []Finding{}}, aside: map[mimi.RoomURI][]mimi.RoomURI{}}
	if e, ok := cfg.Store.(interface {
		Integrity(context.Context) ([]string, error)
	}); ok {
		wrong, err := e.Integrity(ctx)
		if err != nil {
			c.found(Finding{What: "database", Wrong: err.Error()})
		}
		for _, w := range wrong {
			c.found(Finding{What: "database", Wrong: w})
		}
	}
	var uris []mimi.RoomURI
	err := cfg.Store.View(ctx, func(tx store.ReadTx) error {
		rooms, err := tx.Rooms()
		for _, r := range rooms {
			uris = append(uris, r.URI)
			if r.Former != "" {
				c.aside[r.Former] = append(c.aside[r.Former], r.URI)
			}
		}
		return err
	})
	if err != nil {
		c.found(Finding{What: "rooms", Wrong: err.Error()})
	}
	if cfg.Env == nil && len(uris) > 0 {
		c.skip("the logs were not gone through by the room's rules: that takes the roots of credentials, which --config names")
	}
	for _, uri := range uris {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		c.room(ctx, uri)
	}
	c.heads(uris)
	c.clients(ctx)
	c.files(ctx)
	return c.report, ctx.Err()
}

// check is one run.
type check struct {
	cfg    Config
	report *Report
	aside  map[mimi.RoomURI][]mimi.RoomURI // copies set aside, by the name they had
}

func (c *check) found(f Finding)  { c.report.Findings = append(c.report.Findings, f) }
func (c *check) skip(what string) { c.report.Skipped = append(c.report.Skipped, what) }

// heads finds rooms that are known outside the database only.
func (c *check) heads(uris []mimi.RoomURI) {
	stored := map[mimi.RoomURI]bool{}
	for _, uri := range uris {
		stored[uri] = true
	}
	for uri, pos := range c.cfg.Heads {
		if !stored[uri] {
			c.found(Finding{Room: uri, What: "head", Wrong: fmt.Sprintf("the database does not know the room, but its log stood at %s", pos)})
		}
	}
}

// room checks one room.
func (c *check) room(ctx context.Context, uri mimi.RoomURI) {
	c.report.Rooms++
	w := &walk{check: c, uri: uri, marks: map[uint64][]mark{}}
	err := c.cfg.Store.View(ctx, func(tx store.ReadTx) error {
		w.tx = tx
		return w.run(ctx)
	})
	if err != nil && ctx.Err() == nil {
		w.wrong("room", 0, "cannot be read: %v", err)
	}
}
