// Package api is what a provider offers to its own users' clients and to its
// operator: Connect calls, and the WebSocket stream that keeps clients in step.
//
// It decodes, authenticates, calls one method and encodes. Reads are answered
// from the store alone, so they work while a room's hub is away; writes go
// through Rooms, which knows where a room is hosted. Nothing here judges what a
// room's rules allow, and nothing that is refused leaves a trace in the store.
package api

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"connectrpc.com/connect"

	"hubbub/client/clientpb"
	"hubbub/internal/room"
	"hubbub/internal/store"
	"hubbub/internal/tail"
	"hubbub/mimi"
)

// Rooms is what the API asks of a room, wherever it is hosted. Errors are
// *mimi.Problem for refusals, anything else is our own failure.
type Rooms interface {
	// Submit makes one write durable, and posts it if the room is ours.
	// Repeats give the stored row.
	Submit(ctx context.Context, s store.Submission) (store.Submission, error)
	// GroupInfo answers a GroupInfoRequest with a GroupInfoResponse.
	GroupInfo(ctx context.Context, client mimi.ClientURI, room mimi.RoomURI, body []byte) ([]byte, error)
	// KeyMaterial answers a KeyMaterialRequest with a KeyMaterialResponse.
	KeyMaterial(ctx context.Context, client mimi.ClientURI, target mimi.UserURI, body []byte) ([]byte, error)
}

// Together is what Rooms may offer besides: SubmitAll makes several messages of
// one client to one room durable in one step, in order, and posts them if the
// room is ours. It takes all or none; after an error each may be tried alone.
type Together interface {
	SubmitAll(ctx context.Context, list []store.Submission) ([]store.Submission, error)
}

// Creator makes rooms that this provider hosts.
type Creator interface {
	// CreateRoom checks the signed GroupInfo of epoch 0 and its ratchet tree
	// (the content of the ratchet_tree extension) and stores the room;
	// it gives the place before its first entry. A repeat by the same client with the same octets succeeds.
	CreateRoom(ctx context.Context, client mimi.ClientURI, room mimi.RoomURI, groupInfo, tree []byte) (room.Pos, error)
}

// KeyPackages takes clients' KeyPackages into stock.
type KeyPackages interface {
	// Publish checks and stores all of them or none.
	Publish(ctx context.Context, client mimi.ClientURI, keyPackages [][]byte) error
}

// Issuer vouches for clients.
type Issuer interface {
	// IssueClient certifies a client's signature key: DER chain, leaf first.
	IssueClient(user mimi.UserURI, client mimi.ClientURI, signatureKey []byte, notAfter time.Time) ([][]byte, error)
}

// PeerStatus is how another provider is doing.
type PeerStatus struct {
	Reachable bool
	Since     time.Time // zero = unknown
	LastError string
}

// Config is everything a Server needs. All fields without "optional" are
// required.
type Config struct {
	Domain      mimi.Domain
	Store       store.Store
	Rooms       Rooms
	Creator     Creator
	KeyPackages KeyPackages
	Issuer      Issuer
	Proofs      Proofs     // optional: rooms without checkpoints
	People      People     // optional: neither consent nor profiles
	Moderation  Moderation // optional: no reports of abuse
	Replicas    Replicas   // optional: hubs have to offer snapshots
	// Assets answers requests about attachments, which may ask Caller; optional.
	Assets http.Handler
	// Peer says how another provider is doing; optional.
	Peer func(mimi.Domain) PeerStatus
	// Deliveries says how far other providers have stored a room; optional.
	Deliveries Deliveries
	// Resync brings the copy of a room that another provider hosts up to its
	// hub's log and says how far that is; optional.
	Resync func(ctx context.Context, uri mimi.RoomURI) (room.Pos, error)
	// Operations is what the operator may do besides; optional.
	Operations Operations
	// Backup copies everything stored into a directory; optional.
	Backup func(ctx context.Context, dir string) (*clientpb.BackupResponse, error)
	// Successions is how frozen copies are replaced; optional.
	Successions Successions
	// Limits bound what a user or a client may do; optional: none.
	Limits   Limits
	Notifier *Notifier
	// Tails holds what became durable just now, so that streams need not read it
	// from the store; optional. Store must be watched by it.
	Tails *tail.Tails
	// CredentialRoots are the DER certificates that clients' credentials
	// chain to.
	CredentialRoots [][]byte
	// HubSender is our ExternalSender as it must stand in rooms we host.
	HubSender []byte
	Software  string           // optional
	Now       func() time.Time // optional: time.Now
	Log       *slog.Logger     // optional: none
	// PingEvery is the time between pings on sync streams; optional: 20 s.
	PingEvery time.Duration
	// WriteTimeout is how long one frame may take to leave; optional: 10 s.
	WriteTimeout time.Duration
	// AckEvery is how long an ack may wait to be stored; optional: 1 s.
	AckEvery time.Duration
}

// Server is the client API of one provider. It is safe for concurrent use.
type Server struct {
	Config
	acks     *ledger
	stopping chan struct{} // closed when Run ends
	tokens   tokens
}

// New makes a server. It works once Run does.
func New(c Config) *Server {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Proofs == nil {
		c.Proofs = noProofs{}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Peer == nil {
		c.Peer = func(mimi.Domain) PeerStatus { return PeerStatus{} }
	}
	if c.PingEvery == 0 {
		c.PingEvery = 20 * time.Second
	}
	if c.WriteTimeout == 0 {
		c.WriteTimeout = 10 * time.Second
	}
	if c.AckEvery == 0 {
		c.AckEvery = time.Second
	}
	return &Server{Config: c, acks: newLedger(c.Store), stopping: make(chan struct{})}
}

// Handler serves ClientService and the sync stream.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	options := []connect.HandlerOption{connect.WithInterceptors(s.authenticate()),
		connect.WithCompressMinBytes(minCompressed),
		connect.WithReadMaxBytes(maxCallBytes),
		connect.WithRecover(s.recovered)}
	mux.Handle(clientpb.NewClientServiceHandler(clientService{s}, options...))
	s.handlePeople(mux, options...)
	s.handleAssets(mux)
	s.handleReports(mux, options...)
	s.handleReplicas(mux, options...)
	mux.HandleFunc("GET "+clientpb.SyncPath, s.serveSync)
	return securityHeaders(mux)
}

// AdminHandler serves AdminService. It asks for no token: whoever can open the
// socket it is served on is the operator.
func (s *Server) AdminHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+clientpb.ResyncPath, s.resync)
	options := []connect.HandlerOption{connect.WithReadMaxBytes(maxCallBytes), connect.WithRecover(s.recovered)}
	mux.Handle(clientpb.NewAdminServiceHandler(adminService{s}, options...))
	s.handleModeration(mux, options...)
	return mux
}

// recovered turns a panic in a handler into an error that tells the caller
// nothing and the log everything.
func (s *Server) recovered(ctx context.Context, spec connect.Spec, _ http.Header, p any) error {
	s.Log.ErrorContext(ctx, "panic in a call", "procedure", spec.Procedure, "panic", p)
	return refuse(connect.CodeInternal, clientpb.Reason_REASON_INTERNAL, "the provider made a mistake", "try again; tell the operator if it stays")
}

func securityHeaders(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		h.ServeHTTP(w, r)
	})
}
