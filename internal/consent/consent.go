// Package consent keeps who may bring whom into rooms: what users ask of each
// other, what they decide, and what of it other providers have still to hear.
//
// A decision has a scope: a requester, a target and, perhaps, one room. Of all
// decisions that cover a question the latest counts (CON-13); where none does, the
// provider's policy answers. Consent calls go straight from one provider to the
// other; no hub takes part (CON-1). Each scope holds at most one request and one
// decision, so that repeats change nothing (CON-17) and what a peer has missed is
// never more than the newest word.
package consent

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"hubbub/internal/backoff"
	"hubbub/internal/room"
	"hubbub/internal/store"
	"hubbub/mimi"
)

const (
	// maxRows bounds the requests and decisions about one user that others have
	// made: what comes beyond that is answered as usual and not kept.
	maxRows = 1000
	// maxPackages bounds the KeyPackages kept of one grant.
	maxPackages = 64
	// maxAge is how long we try to tell another provider.
	maxAge = 30 * 24 * time.Hour
)

// Remote tells another provider, in its role as the target's or the requester's.
type Remote interface {
	RequestConsent(ctx context.Context, to mimi.Domain, body []byte) error
	UpdateConsent(ctx context.Context, to mimi.Domain, body []byte) error
}

// Config is what a Service needs.
type Config struct {
	Domain   mimi.Domain // ours
	Store    store.Store
	Verifier *mimi.Verifier
	Remote   Remote
	// Open: where nobody has decided, everybody may. Otherwise users of other
	// providers have to ask first.
	Open bool
	// HideUsers answers requests about unknown users as those about known ones.
	HideUsers bool
	// Limit counts what one user does, ours or another provider's; nil = no limit.
	Limit func(mimi.UserURI) error
	// LimitPeer counts what one peer tells us; nil = no limit.
	LimitPeer func(mimi.Domain) error
	// Fits says whether a KeyPackage is what a requester can use.
	Fits   func(req *mimi.KeyMaterialRequest, keyPackage []byte) bool
	Now    func() time.Time // nil = time.Now
	Jitter backoff.Jitter   // nil = backoff.Full
	Log    *slog.Logger     // nil = discard
}

// Service is safe for concurrent use.
type Service struct {
	cfg  Config
	bell chan struct{} // has a value if there may be something to send

	mu    sync.Mutex
	peers map[mimi.Domain]*pause // guarded by mu
}

// New makes a Service. Run delivers what it has to tell to others.
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
	return &Service{cfg: cfg, bell: make(chan struct{}, 1), peers: map[mimi.Domain]*pause{}}
}

// Verdict answers whether a requester may have a target's KeyPackages.
type Verdict uint8

// The verdicts.
const (
	Granted Verdict = iota
	Denied
	DeniedForThisRoom // consent exists, but for something else only (KM-15)
)

// Allowed decides for a room; the room is empty when the purpose is not an add.
//
// Where nobody has decided, consent is not needed from oneself, between users of
// this provider, and for further devices of somebody in a room that both are in.
// Being together in another room is no consent: rooms are large.
func (s *Service) Allowed(ctx context.Context, requester, target mimi.UserURI, room mimi.RoomURI) (Verdict, error) {
	if requester == target {
		return Granted, nil
	}
	verdict := Denied
	err := s.cfg.Store.View(ctx, func(tx store.ReadTx) error {
		list, err := tx.Consents(requester, target)
		if err != nil {
			return err
		}
		fallback := s.cfg.Open || requester.Domain() == s.cfg.Domain
		if !fallback {
			if fallback, err = together(tx, room, requester, target); err != nil {
				return err
			}
		}
		verdict = judge(list, room, fallback)
		return nil
	})
	return verdict, err
}

// together says whether both are in a room.
func together(tx store.ReadTx, uri mimi.RoomURI, a, b mimi.UserURI) (bool, error) {
	if uri == "" {
		return false, nil
	}
	list, err := tx.Participants(uri)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	isIn := func(u mimi.UserURI) bool {
		return slices.ContainsFunc(list, func(p room.Participant) bool { return p.User == u && p.Role > roleBanned })
	}
	return err == nil && isIn(a) && isIn(b), err
}

// roleBanned is the highest role index that gives no place in a room.
const roleBanned = 1

// judge answers from what is known of a pair, which is ordered by Serial; fallback
// is the answer where no decision covers the question.
func judge(list []store.Consent, room mimi.RoomURI, fallback bool) Verdict {
	if d := covering(list, room); d == nil && fallback || d != nil && d.State == store.ConsentGranted {
		return Granted
	}
	for _, c := range list {
		if c.State != store.ConsentGranted || c.Room == room {
			continue
		}
		if d := covering(list, c.Room); d.State == store.ConsentGranted {
			return DeniedForThisRoom
		}
	}
	return Denied
}

// covering is the latest decision that covers a room, or, for the empty one, all
// rooms (CON-9, CON-13); nil if there is none.
func covering(list []store.Consent, room mimi.RoomURI) *store.Consent {
	for i := len(list) - 1; i >= 0; i-- {
		if c := &list[i]; c.State.Decision() && (c.Room == "" || c.Room == room) {
			return c
		}
	}
	return nil
}

// find gives the request, or the decision, of one scope.
func find(list []store.Consent, room mimi.RoomURI, decision bool) *store.Consent {
	for i := range list {
		if list[i].Room == room && list[i].State.Decision() == decision {
			return &list[i]
		}
	}
	return nil
}

// serial is the next one of a pair.
func serial(list []store.Consent) uint64 {
	if len(list) == 0 {
		return 1
	}
	return list[len(list)-1].Serial + 1
}

func (s *Service) now() uint64 { return uint64(max(s.cfg.Now().UnixMilli(), 0)) }

// known says whether a user of ours exists.
func known(tx store.ReadTx, user mimi.UserURI) (bool, error) {
	_, err := tx.ClientsOfUser(user)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// full says whether others have said so much about a user that no more is kept.
func full(tx store.ReadTx, user mimi.UserURI) (bool, error) {
	list, err := tx.ConsentsOf(user)
	if err != nil {
		return false, err
	}
	n := 0
	for _, c := range list {
		if c.State.Decision() == (c.Requester == user) {
			n++
		}
	}
	return n >= maxRows, nil
}

// decide stores a decision, unless it repeats what holds already, and answers the
// requests that it grants.
func decide(tx store.Tx, list []store.Consent, d store.Consent) error {
	if old := find(list, d.Room, true); old != nil && old.State == d.State && covering(list, d.Room).Serial == old.Serial {
		return nil
	}
	d.Serial = serial(list)
	if err := tx.PutConsent(d); err != nil || d.State != store.ConsentGranted {
		return err // a refusal is not told: requests stay as they are
	}
	for _, c := range list {
		if c.State != store.ConsentAsked || d.Room != "" && c.Room != "" && c.Room != d.Room {
			continue
		}
		c.State = store.ConsentAnswered
		if err := tx.PutConsent(c); err != nil {
			return err
		}
	}
	return nil
}

func unknownUser() *mimi.Problem {
	return mimi.NewProblem(http.StatusNotFound, mimi.CodeNotFound, "no such user")
}
