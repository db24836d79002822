package moderation

import (
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"hubbub/internal/store"
	"hubbub/mimi"
	"hubbub/mimi/content"
)

// Limits of one report.
const (
	MaxMessages  = 100
	MaxNoteBytes = 4096
)

// Rooms is what is asked of the rooms we host, see hub.MayReport.
type Rooms interface {
	MayReport(ctx context.Context, peer mimi.Domain, uri mimi.RoomURI, reporter mimi.UserURI, times []uint64) (agents [][]byte, err error)
}

// Remote tells the hub of a room that we do not host.
type Remote interface {
	ReportAbuse(ctx context.Context, to mimi.Domain, uri mimi.RoomURI, body []byte) error
}

// Config is what a Service needs.
type Config struct {
	Domain  mimi.Domain // ours
	Store   store.Store
	Rooms   Rooms
	Remote  Remote
	Franker *Franker
	// Limit counts the reports of one user, ours or another provider's; LimitPeer those
	// that one peer passes on. nil = no limit.
	Limit     func(mimi.UserURI) error
	LimitPeer func(mimi.Domain) error
	Now       func() time.Time // nil = time.Now
	Log       *slog.Logger     // nil = discard
}

// Service takes reports. Safe for concurrent use.
type Service struct{ cfg Config }

// New makes a Service.
func New(cfg Config) *Service {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Limit == nil {
		cfg.Limit = func(mimi.UserURI) error { return nil }
	}
	if cfg.LimitPeer == nil {
		cfg.LimitPeer = func(mimi.Domain) error { return nil }
	}
	return &Service{cfg}
}

// Take takes a report that a peer passes on, about a room we host. Nil says that it was
// taken and nothing about what it proves (ABU-3). Refusals are *mimi.Problem.
func (s *Service) Take(ctx context.Context, peer mimi.Domain, uri mimi.RoomURI, body []byte) error {
	report, err := parse(body)
	if err != nil {
		return err
	}
	return s.take(ctx, peer, uri, report, body, func() error {
		if err := s.cfg.LimitPeer(peer); err != nil || report.Reporter == "" {
			return err
		}
		return s.cfg.Limit(report.Reporter)
	})
}

// Send takes a report of a user of ours to the room's hub, which may be us. The report
// names that user as reporter, or nobody. Refusals are *mimi.Problem.
func (s *Service) Send(ctx context.Context, user mimi.UserURI, uri mimi.RoomURI, body []byte) error {
	report, err := parse(body)
	if err != nil {
		return err
	}
	if report.Reporter != "" && report.Reporter != user {
		return mimi.NewProblem(http.StatusForbidden, mimi.CodeForbidden, "a report is made in the own name, or in none")
	}
	if err := s.takesPart(ctx, user, uri); err != nil {
		return err
	}
	limit := func() error { return s.cfg.Limit(user) }
	if uri.Domain() == s.cfg.Domain {
		return s.take(ctx, s.cfg.Domain, uri, report, body, limit)
	}
	if err := limit(); err != nil {
		return err
	}
	return s.cfg.Remote.ReportAbuse(ctx, uri.Domain(), uri, body)
}

// takesPart refuses users that have never been in a room: also for anonymous reports we
// answer for who makes them.
func (s *Service) takesPart(ctx context.Context, user mimi.UserURI, uri mimi.RoomURI) error {
	return s.cfg.Store.View(ctx, func(tx store.ReadTx) error {
		history, err := tx.History(uri, 0)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		for _, c := range history {
			if c.User == user {
				return nil
			}
		}
		return mimi.NewProblem(http.StatusNotFound, mimi.CodeNoSuchRoom, "no such room")
	})
}

func parse(body []byte) (*mimi.AbuseReport, error) {
	bad := func(format string, args ...any) error {
		return mimi.NewProblem(http.StatusBadRequest, mimi.CodeMalformed, format, args...)
	}
	report, err := mimi.ParseAbuseReport(body)
	switch {
	case err != nil:
		return nil, bad("the report does not decode")
	case len(report.Messages) > MaxMessages:
		return nil, bad("a report has at most %d messages", MaxMessages)
	case len(report.Note) > MaxNoteBytes:
		return nil, bad("a note has at most %d octets", MaxNoteBytes)
	}
	return report, nil
}

// take checks and keeps a report. One that we have is answered like the first time,
// whatever the limits (ABU-8).
func (s *Service) take(ctx context.Context, peer mimi.Domain, uri mimi.RoomURI, report *mimi.AbuseReport, body []byte, limit func() error) error {
	var times []uint64
	for _, m := range report.Messages {
		times = append(times, m.Timestamp)
	}
	agents, err := s.cfg.Rooms.MayReport(ctx, peer, uri, report.Reporter, times)
	if err != nil {
		return err
	}
	r := store.Report{Hash: hashOf(uri, body), Room: uri, Peer: peer, At: uint64(s.cfg.Now().UnixMilli()), Body: body}
	known := false
	err = s.cfg.Store.View(ctx, func(tx store.ReadTx) error {
		_, err := tx.ReportID(r.Hash)
		if known = err == nil; errors.Is(err, store.ErrNotFound) {
			return nil
		}
		return err
	})
	if known || err != nil {
		return err
	}
	if err := limit(); err != nil {
		return err
	}
	for i := range report.Messages {
		r.Verdicts = append(r.Verdicts, s.verdict(&report.Messages[i], report.Abuser, uri, agents))
	}
	err = s.cfg.Store.Update(context.WithoutCancel(ctx), func(tx store.Tx) (err error) {
		r.ID, err = tx.AddReport(r)
		return err
	})
	if errors.Is(err, store.ErrExists) {
		return nil
	}
	if err == nil {
		s.cfg.Log.Warn("abuse was reported", "report", r.ID, "peer", peer, "messages", len(r.Verdicts))
	}
	return err
}

// hashOf is the same for the same report about the same room.
func hashOf(uri mimi.RoomURI, body []byte) [32]byte {
	h := sha256.New()
	h.Write([]byte(uri)) // no URI has an octet 0
	h.Write([]byte{0})
	h.Write(body)
	return [32]byte(h.Sum(nil))
}

// verdict says why a message proves nothing, "" if it does: then the accused had
// committed to this content in a message that the hub accepted at that time (ABU-4,
// ABU-5).
func (s *Service) verdict(m *mimi.AbusiveMessage, abuser mimi.UserURI, uri mimi.RoomURI, agents [][]byte) string {
	found, err := content.Reported(m.Content)
	if err != nil {
		return "the content is not a message"
	}
	if len(agents) == 0 {
		return "the room has no franking"
	}
	err = s.cfg.Franker.Keys().VerifyEvidence(m, found, abuser, uri, agents...)
	switch {
	case err == nil:
		return ""
	case errors.Is(err, mimi.ErrNoFrankKey):
		return "the hub's key of that time is gone"
	}
	return strings.TrimPrefix(err.Error(), mimi.ErrBadFrank.Error()+": ")
}
