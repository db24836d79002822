package api

import (
	"context"
	"errors"

	"connectrpc.com/connect"

	"hubbub/client/clientpb"
	"hubbub/internal/store"
	"hubbub/mimi"
	"hubbub/mimi/checkpoint"
)

// Proofs is what the API asks about the signed side of logs.
type Proofs interface {
	// Checkpoint is the newest checkpoint of a room that this provider holds; nil
	// if there is none.
	Checkpoint(tx store.ReadTx, rec *store.RoomRecord) ([]byte, error)
	// Compare asks all providers of a room how far their copies reach.
	Compare(ctx context.Context, room mimi.RoomURI) (Comparison, error)
}

// Comparison is what the providers of a room say of their copies.
type Comparison struct {
	Reports  []ProviderReport // the hub first
	Evidence []byte           // both signed versions of a forked log; nil if there are none
}

// ProviderReport is one provider's word, or why there is none.
type ProviderReport struct {
	Provider mimi.Domain
	Report   *checkpoint.Report
	Err      error // a *mimi.Problem or a failure of our own
}

// CompareReplicas lets a client see for itself whether all providers of a room
// hold one history: it gets what they say, signatures included, and judges.
func (s clientService) CompareReplicas(ctx context.Context, req *connect.Request[clientpb.CompareReplicasRequest]) (*connect.Response[clientpb.CompareReplicasResponse], error) {
	out := &clientpb.CompareReplicasResponse{}
	var uri mimi.RoomURI
	err := s.withRoom(ctx, req.Msg.Room, func(_ store.ReadTx, a *access) error {
		if !a.in {
			return noSuchRoom()
		}
		uri = a.rec.URI
		return nil
	})
	if err != nil {
		return nil, err
	}
	c, err := s.Proofs.Compare(ctx, uri)
	if err != nil {
		return nil, s.fromRole(ctx, err, "")
	}
	out.Evidence = c.Evidence
	for _, r := range c.Reports {
		row := &clientpb.ReplicaReport{Provider: string(r.Provider)}
		switch {
		case r.Report != nil:
			row.Head = &clientpb.Position{Seq: r.Report.Seq, Hash: r.Report.Hash[:]}
			row.Checkpoint = r.Report.Signed
		case r.Err != nil:
			row.Error = s.whyNoReport(ctx, r)
		}
		out.Reports = append(out.Reports, row)
	}
	return connect.NewResponse(out), nil
}

// whyNoReport is what a client is told of a provider that did not answer.
func (s clientService) whyNoReport(ctx context.Context, r ProviderReport) string {
	var p *mimi.Problem
	if errors.As(r.Err, &p) {
		return p.Code
	}
	s.Log.WarnContext(ctx, "no report of a copy", "provider", r.Provider, "err", r.Err)
	return "failed"
}

// noProofs stands in where nothing is signed.
type noProofs struct{}

func (noProofs) Checkpoint(store.ReadTx, *store.RoomRecord) ([]byte, error) { return nil, nil }
func (noProofs) Compare(context.Context, mimi.RoomURI) (Comparison, error)  { return Comparison{}, nil }
