// Package follower mirrors rooms that other providers host, and carries what
// our users write to their hubs.
//
// A replica changes by what its hub announces and by nothing else. Notify
// verifies an announcement with the same rules by which the hub accepted it,
// stores it, and only then says so. The outbox is the other direction: a write
// is durable here before its client hears "queued", goes to the hub with the
// same octets until the hub has answered, and becomes "posted" when it comes
// back in the hub's log.
//
// A replica begins at a snapshot that the hub has signed. A hub of another make has
// none, and its provider cannot open the Welcome that tells a client all it needs. Two
// ways were weighed: to take what arrives and pass it on without judging it, and to have
// a client tell its provider what it joined. Each alone falls short: the first never sees
// a hub that breaks its rules, the second has nothing durable, and nothing to read, until
// a device is there. So it is both, see arrival.go and bring.go: storing begins with the
// Welcome, judging with the first state that a client brings and that another member has
// signed. Where entries turn out to be missing, judging ends and storing goes on.
package follower

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"hubbub/internal/backoff"
	"hubbub/internal/room"
	"hubbub/internal/store"
	"hubbub/mimi"
)

// Remote reaches a hub. A refusal is a *mimi.Problem; any other error means
// that the outcome is unknown. Answers are the bodies that came with 200.
type Remote interface {
	SubmitMessage(ctx context.Context, hub mimi.Domain, uri mimi.RoomURI, body []byte) ([]byte, error)
	Update(ctx context.Context, hub mimi.Domain, uri mimi.RoomURI, body []byte) ([]byte, error)
	// Snapshot fetches the room as it stood at seq. An error for a hub that
	// does not offer snapshots.
	Snapshot(ctx context.Context, hub mimi.Domain, uri mimi.RoomURI, seq uint64) ([]byte, error)
}

// Batcher sends several writes to a hub in one request: a mimi.BatchRequest,
// answered by a mimi.BatchResponse. A *mimi.Problem of status 501 says that the
// hub does not offer it.
type Batcher interface {
	SubmitBatch(ctx context.Context, hub mimi.Domain, body []byte) ([]byte, error)
}

// Config is what a Follower needs. Zero values of the optional fields mean the
// default in brackets.
type Config struct {
	Domain mimi.Domain // ours
	Store  store.Store
	Env    *room.Env
	Remote Remote
	Batch  Batcher // nil = writes are sent one by one
	// Entries is how what is missing is fetched; nil = a gap waits for the hub.
	Entries LogSource

	Wake       func(mimi.RoomURI)   // a replica has grown; must not block
	WakeClient func(mimi.ClientURI) // a client's submission or Welcome changed; must not block
	Now        func() time.Time     // [time.Now]
	Log        *slog.Logger         // [discard]

	MaxRefusals int            // 4xx answers before a submission is given up [3]
	Retention   time.Duration  // how long an unanswered submission is repeated [30 days]
	Jitter      backoff.Jitter // [full jitter]
	Quota       Quota          // of writes that wait
}

// Follower is safe for concurrent use.
type Follower struct {
	cfg      Config
	gates    *gates
	outbox   *outbox
	catching *catchUps
	users    sync.Map // mimi.ClientURI -> mimi.UserURI: clients that have written

	mu    sync.Mutex
	rooms map[mimi.RoomURI]*replica
}

// New makes a Follower; Run sets its outbox going. Notify and Enqueue work
// without it.
func New(cfg Config) *Follower {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Wake == nil {
		cfg.Wake = func(mimi.RoomURI) {}
	}
	if cfg.WakeClient == nil {
		cfg.WakeClient = func(mimi.ClientURI) {}
	}
	if cfg.MaxRefusals == 0 {
		cfg.MaxRefusals = 3
	}
	if cfg.Retention == 0 {
		cfg.Retention = 30 * 24 * time.Hour
	}
	cfg.Quota = cfg.Quota.withDefaults()
	f := &Follower{
		cfg:      cfg,
		gates:    &gates{jitter: cfg.Jitter, byPeer: map[mimi.Domain]*gate{}},
		rooms:    map[mimi.RoomURI]*replica{},
		catching: newCatchUps(),
	}
	f.outbox = newOutbox(f)
	return f
}

// Run sends the outbox until ctx ends, then waits for its workers and returns
// nil. An error means that the store could not be read at the start.
func (f *Follower) Run(ctx context.Context) error { return f.outbox.run(ctx) }

// PeerAlive says that something was heard from a peer: what waits for it tries
// again now, unless the peer itself asked for a pause.
func (f *Follower) PeerAlive(peer mimi.Domain) {
	f.gates.of(peer).alive()
	select {
	case f.catching.heard <- struct{}{}:
	default:
	}
}

// PeerStatus says whether a hub answers.
func (f *Follower) PeerStatus(peer mimi.Domain) PeerStatus { return f.gates.of(peer).status() }

func (f *Follower) nowMS() uint64 { return uint64(f.cfg.Now().UnixMilli()) }
