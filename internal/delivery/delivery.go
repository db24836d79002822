// Package delivery knows how far the providers of a room have stored its log.
//
// The hub knows it of every follower: an acknowledged notification is stored.
// Everybody else asks the hub, and only when a client wants to know; nothing is
// added to what travels per message, and the answer has the size of the list of
// providers, whatever the length of the log.
//
// A mark is never shown that was not earned. What a provider says of itself and
// what it saw acknowledged is a fact; what another provider said is kept with the
// time at which it said so, in memory only: after a restart nothing is known
// until the hub is asked again.
package delivery

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"time"

	"hubbub/internal/room"
	"hubbub/internal/store"
	"hubbub/mimi"
)

// Asker reaches a hub.
type Asker interface {
	// Delivery asks for the mimi.DeliveryReport of a room.
	Delivery(ctx context.Context, hub mimi.Domain, uri mimi.RoomURI) ([]byte, error)
}

// Config is what a Service needs. Zero values of the optional fields mean the
// default in brackets.
type Config struct {
	Domain mimi.Domain // ours
	Store  store.Store
	Remote Asker
	Now    func() time.Time // [time.Now]

	MinInterval time.Duration // between two questions about one room [1 s]
	Timeout     time.Duration // of one question [2 s]
}

// Provider is how much of a room's log one provider has on stable storage.
type Provider struct {
	Domain  mimi.Domain
	Stored  uint64    // everything with Start < Seq <= Stored
	Start   uint64    // its copy begins after this Seq
	Until   uint64    // the last entry it gets; 0 = it is in the room
	KnownAt time.Time // when Stored was true; zero = nothing is known
	Hub     bool
}

// Has says whether the provider is known to have the entry at seq.
func (p Provider) Has(seq uint64) bool {
	return !p.KnownAt.IsZero() && seq > p.Start && seq <= p.Stored
}

// Gets says whether the entry at seq is for the provider at all.
func (p Provider) Gets(seq uint64) bool {
	return seq > p.Start && (p.Until == 0 || seq <= p.Until)
}

// Service answers and asks. Safe for concurrent use.
type Service struct {
	cfg Config

	mu    sync.Mutex
	rooms map[mimi.RoomURI]*heard // rooms of other hubs
}

// heard is what a hub said of one room.
type heard struct {
	asking chan struct{} // holds one token while a question is under way

	// Guarded by Service.mu.
	asked  time.Time
	at     time.Time
	report *mimi.DeliveryReport
}

// New makes a Service.
func New(cfg Config) *Service {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.MinInterval == 0 {
		cfg.MinInterval = time.Second
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 2 * time.Second
	}
	return &Service{cfg: cfg, rooms: map[mimi.RoomURI]*heard{}}
}

// Report answers a follower of a room we host. Rooms that do not exist and rooms
// in which the peer takes no part give the same refusal.
func (s *Service) Report(ctx context.Context, peer mimi.Domain, uri mimi.RoomURI) ([]byte, error) {
	report := &mimi.DeliveryReport{Room: uri}
	err := s.cfg.Store.View(ctx, func(tx store.ReadTx) error {
		if uri.Domain() != s.cfg.Domain {
			return store.ErrNotFound
		}
		rec, err := tx.RoomHead(uri)
		if err != nil {
			return err
		}
		if f, err := tx.Fanout(uri, peer); err != nil {
			return err
		} else if f.Until != 0 {
			return store.ErrNotFound
		}
		report.Head = rec.Head.Seq
		places, err := placesOf(tx, uri)
		if err != nil {
			return err
		}
		for _, p := range places {
			f, err := acknowledged(tx, uri, p.Domain)
			if errors.Is(err, store.ErrNotFound) {
				continue
			}
			if err != nil {
				return err
			}
			report.Followers = append(report.Followers, f)
		}
		return nil
	})
	if errors.Is(err, store.ErrNotFound) {
		return nil, mimi.NewProblem(http.StatusNotFound, mimi.CodeNoSuchRoom, "no such room")
	}
	if err != nil {
		return nil, err
	}
	return report.Marshal()
}

// acknowledged is what the hub has of one follower. A follower whose replica is
// still to be started has nothing, wherever its queue begins.
func acknowledged(tx store.ReadTx, uri mimi.RoomURI, peer mimi.Domain) (mimi.FollowerDelivery, error) {
	f, err := tx.Fanout(uri, peer)
	if err != nil {
		return mimi.FollowerDelivery{}, err
	}
	out := mimi.FollowerDelivery{Provider: peer, Stored: f.Acked, Until: f.Until}
	welcomes, err := tx.OutWelcomes(uri, peer, 0)
	for _, w := range welcomes {
		if w.Snapshot != nil {
			out.Stored = 0
		}
	}
	return out, err
}

// placesOf reads from the history of a room which providers have had clients in
// its group, and from where to where.
func placesOf(tx store.ReadTx, uri mimi.RoomURI) ([]Provider, error) {
	history, err := tx.History(uri, 0)
	if err != nil {
		return nil, err
	}
	clients := map[mimi.Domain]int{}
	byDomain := map[mimi.Domain]*Provider{}
	for _, c := range history {
		d := c.User.Domain()
		switch c.Action {
		case room.ClientJoined:
			if byDomain[d] == nil {
				byDomain[d] = &Provider{Domain: d, Start: c.Seq}
			}
			byDomain[d].Until = 0
			clients[d]++
		case room.ClientLeft:
			if clients[d]--; clients[d] == 0 {
				byDomain[d].Until = c.Seq
			}
		}
	}
	hub := uri.Domain()
	if byDomain[hub] == nil {
		byDomain[hub] = &Provider{Domain: hub}
	}
	byDomain[hub].Hub, byDomain[hub].Start, byDomain[hub].Until = true, 0, 0
	out := make([]Provider, 0, len(byDomain))
	for _, p := range byDomain {
		out = append(out, *p)
	}
	slices.SortFunc(out, func(a, b Provider) int {
		switch {
		case a.Hub:
			return -1
		case b.Hub:
			return 1
		}
		return cmp.Compare(a.Domain, b.Domain)
	})
	return out, nil
}

// Known says what is known of a room without asking anybody: the hub first, the
// others by name.
func (s *Service) Known(tx store.ReadTx, rec *store.RoomRecord) ([]Provider, error) {
	places, err := placesOf(tx, rec.URI)
	if err != nil {
		return nil, err
	}
	now := s.cfg.Now()
	if rec.Hub == s.cfg.Domain {
		return s.knownHere(tx, rec, places, now)
	}
	at, report := s.heardOf(rec.URI)
	for i := range places {
		p := &places[i]
		switch {
		case p.Domain == s.cfg.Domain:
			p.Stored, p.Start, p.KnownAt = rec.Head.Seq, rec.Start.Seq, now
		case p.Hub:
			// What it shipped it had stored. When it said so last is known.
			if p.Stored, p.KnownAt = rec.Head.Seq, time.UnixMilli(int64(rec.LastTimestamp)); rec.LastTimestamp == 0 {
				p.KnownAt = time.Time{}
			}
			if report != nil && report.Head >= p.Stored {
				p.Stored, p.KnownAt = report.Head, at
			}
		case report != nil:
			if i := slices.IndexFunc(report.Followers, func(f mimi.FollowerDelivery) bool { return f.Provider == p.Domain }); i >= 0 {
				p.Stored, p.KnownAt = report.Followers[i].Stored, at
			}
		}
	}
	return places, nil
}

func (s *Service) knownHere(tx store.ReadTx, rec *store.RoomRecord, places []Provider, now time.Time) ([]Provider, error) {
	for i := range places {
		p := &places[i]
		if p.Hub {
			p.Stored, p.KnownAt = rec.Head.Seq, now
			continue
		}
		f, err := acknowledged(tx, rec.URI, p.Domain)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		p.Stored, p.KnownAt = f.Stored, now
	}
	return places, nil
}

func (s *Service) heardOf(uri mimi.RoomURI) (time.Time, *mimi.DeliveryReport) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h := s.rooms[uri]; h != nil {
		return h.at, h.report
	}
	return time.Time{}, nil
}

// maxRooms bounds how many rooms are remembered.
const maxRooms = 10_000

func (s *Service) room(uri mimi.RoomURI) *heard {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.rooms[uri]
	if h == nil {
		for old := range s.rooms {
			if len(s.rooms) < maxRooms {
				break
			}
			delete(s.rooms, old)
		}
		h = &heard{asking: make(chan struct{}, 1)}
		s.rooms[uri] = h
	}
	return h
}

// Refresh asks the hub of a room that another provider hosts, unless it was asked
// a moment ago. Many callers share one question. An error leaves what was known.
func (s *Service) Refresh(ctx context.Context, uri mimi.RoomURI) error {
	if uri.Domain() == s.cfg.Domain || s.cfg.Remote == nil {
		return nil
	}
	h := s.room(uri)
	select {
	case h.asking <- struct{}{}:
		defer func() { <-h.asking }()
	case <-ctx.Done():
		return ctx.Err()
	}
	s.mu.Lock()
	fresh := !h.asked.IsZero() && s.cfg.Now().Sub(h.asked) < s.cfg.MinInterval
	if !fresh {
		h.asked = s.cfg.Now()
	}
	s.mu.Unlock()
	if fresh {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	at := s.cfg.Now() // before the question: the answer is at least as new
	body, err := s.cfg.Remote.Delivery(ctx, uri.Domain(), uri)
	if err != nil {
		return err
	}
	report, err := mimi.ParseDeliveryReport(body)
	if err != nil {
		return err
	}
	if report.Room != uri {
		return mimi.NewProblem(http.StatusBadGateway, "bad-answer", "the hub answered for another room")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	h.at, h.report = at, report
	return nil
}
