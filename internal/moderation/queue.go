package moderation

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"hubbub/internal/store"
	"hubbub/mimi"
	"hubbub/mimi/content"
)

// A Case is a report as the operator reads it.
type Case struct {
	store.Report
	Claim    *mimi.AbuseReport
	Messages []Evidence
}

// Evidence is one message of a report. What it says is known from the reporter alone.
type Evidence struct {
	Timestamp uint64 // claimed time of acceptance, Unix ms
	Text      string // "" if it cannot be shown as text
	Unproved  string // why it proves nothing; "" = proved
}

// open reads what a report says.
func open(r store.Report) (Case, error) {
	claim, err := mimi.ParseAbuseReport(r.Body)
	if err != nil {
		return Case{}, fmt.Errorf("report %d: %w", r.ID, err)
	}
	c := Case{Report: r, Claim: claim}
	for i, m := range claim.Messages {
		e := Evidence{Timestamp: m.Timestamp, Unproved: "not checked"}
		if i < len(r.Verdicts) {
			e.Unproved = r.Verdicts[i]
		}
		if msg, err := content.DecodeReported(m.Content); err == nil {
			e.Text, _ = msg.Text()
		}
		c.Messages = append(c.Messages, e)
	}
	return c, nil
}

// Proved counts the messages that are.
func (c *Case) Proved() (n int) {
	for _, m := range c.Messages {
		if m.Unproved == "" {
			n++
		}
	}
	return n
}

// Cases lists reports after one, open ones or all, at most limit.
func (s *Service) Cases(ctx context.Context, after uint64, all bool, limit int) (cases []Case, err error) {
	err = s.cfg.Store.View(ctx, func(tx store.ReadTx) error {
		list, err := tx.Reports(after, all, limit)
		for _, r := range list {
			c, err := open(r)
			if err != nil {
				return err
			}
			cases = append(cases, c)
		}
		return err
	})
	return cases, err
}

// Case gives one. Refusals are *mimi.Problem.
func (s *Service) Case(ctx context.Context, id uint64) (c Case, err error) {
	err = s.cfg.Store.View(ctx, func(tx store.ReadTx) error {
		r, err := tx.Report(id)
		if err == nil {
			c, err = open(*r)
		}
		return err
	})
	return c, noReport(id, err)
}

// Resolve closes a report with a note of the operator. Refusals are *mimi.Problem.
func (s *Service) Resolve(ctx context.Context, id uint64, resolution string) error {
	now := s.cfg.Now()
	err := s.cfg.Store.Update(ctx, func(tx store.Tx) error {
		if err := tx.ResolveReport(id, uint64(now.UnixMilli()), resolution); err != nil {
			return err
		}
		return tx.Audit(now, "operator", "resolve-report", fmt.Sprint(id))
	})
	return noReport(id, err)
}

func noReport(id uint64, err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return mimi.NewProblem(http.StatusNotFound, mimi.CodeNotFound, "there is no report %d", id)
	}
	return err
}
