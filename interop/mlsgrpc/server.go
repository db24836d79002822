package main

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"hubbub/interop/mlsgrpc/pb"
	"hubbub/mls"
)

// pastEpochs is how many epochs back the scripts may refer to.
const pastEpochs = 1000

// server holds what the runner refers to by number. Numbers of different kinds
// do not overlap, for StorePSK takes either of two.
type server struct {
	pb.UnimplementedMLSClientServer

	mu       sync.Mutex // owns all below
	last     uint32
	states   map[uint32]*state
	joiners  map[uint32]*joiner // transactions and reinitializations
	signers  map[uint32]*mls.SignatureKey
	settings *mls.Config
}

func newServer() *server {
	return &server{
		states: map[uint32]*state{}, joiners: map[uint32]*joiner{}, signers: map[uint32]*mls.SignatureKey{},
		settings: &mls.Config{MaxLifetime: -1, MaxPastEpochs: pastEpochs},
	}
}

// state is a membership.
type state struct {
	group   *mls.Group
	private bool // encrypt handshake messages
	pending *mls.PendingCommit
	seen    map[string]bool // proposals processed in this epoch
	psks    []mls.PSK
}

// joiner is a client that waits for a Welcome.
type joiner struct {
	key  *mls.KeyPackageSecret
	psks []mls.PSK
	old  *state // the group that was reinitialized
}

var errUnknownID = errors.New("unknown id")

// locked runs a call under the lock and turns its error into a status.
func locked[Q, A any](s *server, q *Q, fn func(*Q) (*A, error)) (*A, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, err := fn(q)
	switch {
	case errors.Is(err, errUnknownID):
		return nil, status.Error(codes.NotFound, err.Error())
	case err != nil:
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	return a, nil
}

func (s *server) id() uint32 {
	s.last++
	return s.last
}

func (s *server) state(id uint32) (*state, error) {
	if st := s.states[id]; st != nil {
		return st, nil
	}
	return nil, fmt.Errorf("%w: state %d", errUnknownID, id)
}

// enter stores a new membership.
func (s *server) enter(g *mls.Group, private bool, psks []mls.PSK) (id uint32, st *state) {
	id = s.id()
	st = &state{group: g.WithPSKs(psks...), private: private, psks: psks, seen: map[string]bool{}}
	s.states[id] = st
	return id, st
}

func (s *server) Name(context.Context, *pb.NameRequest) (*pb.NameResponse, error) {
	return &pb.NameResponse{Name: "hubbub"}, nil
}

func (s *server) SupportedCiphersuites(context.Context, *pb.SupportedCiphersuitesRequest) (*pb.SupportedCiphersuitesResponse, error) {
	a := &pb.SupportedCiphersuitesResponse{}
	for _, suite := range mls.SupportedSuites() {
		if suite < 0x100 { // the registered ones, which others have too
			a.Ciphersuites = append(a.Ciphersuites, uint32(suite))
		}
	}
	return a, nil
}

func (s *server) Free(_ context.Context, q *pb.FreeRequest) (*pb.FreeResponse, error) {
	return locked(s, q, func(q *pb.FreeRequest) (*pb.FreeResponse, error) {
		if _, err := s.state(q.StateId); err != nil {
			return nil, err
		}
		delete(s.states, q.StateId)
		return &pb.FreeResponse{}, nil
	})
}
