package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"hubbub/interop/mlsgrpc/pb"
	"hubbub/mls"
	"hubbub/mls/wire"
)

func (s *server) GroupInfo(_ context.Context, q *pb.GroupInfoRequest) (*pb.GroupInfoResponse, error) {
	return locked(s, q, func(q *pb.GroupInfoRequest) (*pb.GroupInfoResponse, error) {
		st, err := s.state(q.StateId)
		if err != nil {
			return nil, err
		}
		gi, err := st.group.GroupInfo()
		if err != nil {
			return nil, err
		}
		tree, err := wire.Marshal(st.group.Tree())
		if err != nil {
			return nil, err
		}
		a := &pb.GroupInfoResponse{}
		if q.ExternalTree {
			a.RatchetTree = tree
		} else {
			gi.Extensions = gi.Extensions.Set(mls.ExtensionTypeRatchetTree, tree)
			if err := gi.Sign(st.group.Signer().Private); err != nil {
				return nil, err
			}
		}
		a.GroupInfo, err = mls.NewMessage(gi).Marshal()
		return a, err
	})
}

func (s *server) StateAuth(_ context.Context, q *pb.StateAuthRequest) (*pb.StateAuthResponse, error) {
	return locked(s, q, func(q *pb.StateAuthRequest) (*pb.StateAuthResponse, error) {
		st, err := s.state(q.StateId)
		if err != nil {
			return nil, err
		}
		return &pb.StateAuthResponse{StateAuthSecret: st.group.EpochAuthenticator()}, nil
	})
}

func (s *server) Export(_ context.Context, q *pb.ExportRequest) (*pb.ExportResponse, error) {
	return locked(s, q, func(q *pb.ExportRequest) (*pb.ExportResponse, error) {
		st, err := s.state(q.StateId)
		if err != nil {
			return nil, err
		}
		secret, err := st.group.Export(q.Label, q.Context, int(q.KeyLength))
		return &pb.ExportResponse{ExportedSecret: secret}, err
	})
}

func (s *server) Protect(_ context.Context, q *pb.ProtectRequest) (*pb.ProtectResponse, error) {
	return locked(s, q, func(q *pb.ProtectRequest) (*pb.ProtectResponse, error) {
		st, err := s.state(q.StateId)
		if err != nil {
			return nil, err
		}
		next, msg, err := st.group.Encrypt(q.Plaintext, mls.EncryptOptions{AAD: q.AuthenticatedData})
		if err != nil {
			return nil, err
		}
		st.group = next
		return &pb.ProtectResponse{Ciphertext: msg}, nil
	})
}

func (s *server) Unprotect(_ context.Context, q *pb.UnprotectRequest) (*pb.UnprotectResponse, error) {
	return locked(s, q, func(q *pb.UnprotectRequest) (*pb.UnprotectResponse, error) {
		st, err := s.state(q.StateId)
		if err != nil {
			return nil, err
		}
		got, err := st.group.Process(q.Ciphertext)
		if err != nil {
			return nil, err
		}
		app, ok := got.(*mls.Application)
		if !ok {
			return nil, errors.New("message is not application data")
		}
		st.group = app.Next
		return &pb.UnprotectResponse{AuthenticatedData: app.AAD, Plaintext: app.Data}, nil
	})
}

func (s *server) StorePSK(_ context.Context, q *pb.StorePSKRequest) (*pb.StorePSKResponse, error) {
	return locked(s, q, func(q *pb.StorePSKRequest) (*pb.StorePSKResponse, error) {
		psk := externalPSK(q.PskId, q.PskSecret)
		if j := s.joiners[q.StateOrTransactionId]; j != nil {
			j.psks = append(j.psks, psk)
			return &pb.StorePSKResponse{}, nil
		}
		st, err := s.state(q.StateOrTransactionId)
		if err != nil {
			return nil, err
		}
		st.psks = append(st.psks, psk)
		st.group = st.group.WithPSKs(psk)
		return &pb.StorePSKResponse{}, nil
	})
}

func (s *server) Commit(_ context.Context, q *pb.CommitRequest) (*pb.CommitResponse, error) {
	return locked(s, q, s.commit)
}

// commit makes a commit that waits to be handled.
func (s *server) commit(q *pb.CommitRequest) (*pb.CommitResponse, error) {
	st, err := s.state(q.StateId)
	if err != nil {
		return nil, err
	}
	if err := st.cache(q.ByReference); err != nil {
		return nil, err
	}
	o := mls.CommitOptions{ForcePath: q.ForcePath, TreeInWelcome: !q.ExternalTree, Private: st.private}
	for _, d := range q.ByValue {
		p, err := st.described(d)
		if err != nil {
			return nil, err
		}
		o.Proposals = append(o.Proposals, p)
	}
	pending, err := st.group.Commit(o)
	if err != nil {
		return nil, err
	}
	if want, got := len(q.ByReference)+len(q.ByValue), len(pending.Proposals()); want != got {
		return nil, fmt.Errorf("commit would hold %d proposals, not %d", got, want)
	}
	a := &pb.CommitResponse{Commit: pending.Message()}
	if err := welcomeInto(pending, q.ExternalTree, &a.Welcome, &a.RatchetTree); err != nil {
		return nil, err
	}
	st.pending, st.group = pending, pending.Base()
	return a, nil
}

// welcomeInto encodes the Welcome of a commit, and the tree if it is to travel
// apart.
func welcomeInto(p *mls.PendingCommit, external bool, welcome, tree *[]byte) (err error) {
	if w := p.Welcome(); w != nil {
		if *welcome, err = mls.NewMessage(w).Marshal(); err != nil {
			return err
		}
	}
	if external {
		*tree, err = wire.Marshal(p.Tree())
	}
	return err
}

// cache processes proposals that a commit is going to refer to. Those of this
// member are pending already.
func (st *state) cache(proposals [][]byte) error {
	for _, b := range proposals {
		if st.seen[string(b)] {
			continue
		}
		got, err := st.group.Process(b)
		if err != nil {
			return fmt.Errorf("proposal: %w", err)
		}
		switch got := got.(type) {
		case *mls.ProposalReceived:
			st.group = got.Next
		case *mls.OwnMessage:
		default:
			return errors.New("message is not a proposal")
		}
		st.seen[string(b)] = true
	}
	return nil
}

// advance goes on to the next epoch.
func (st *state) advance(next *mls.Group) {
	st.group, st.pending, st.seen = next, nil, map[string]bool{}
}

func (s *server) HandleCommit(_ context.Context, q *pb.HandleCommitRequest) (*pb.HandleCommitResponse, error) {
	return locked(s, q, func(q *pb.HandleCommitRequest) (*pb.HandleCommitResponse, error) {
		st, err := s.handle(q)
		if err != nil {
			return nil, err
		}
		return &pb.HandleCommitResponse{StateId: q.StateId, EpochAuthenticator: st.group.EpochAuthenticator()}, nil
	})
}

// handle processes another member's commit.
func (s *server) handle(q *pb.HandleCommitRequest) (*state, error) {
	st, err := s.state(q.StateId)
	if err != nil {
		return nil, err
	}
	if err := st.cache(q.Proposal); err != nil {
		return nil, err
	}
	got, err := st.group.Process(q.Commit)
	if err != nil {
		return nil, err
	}
	commit, ok := got.(*mls.CommitReceived)
	if !ok {
		return nil, errors.New("message is not a commit of another member")
	}
	next := commit.Merge()
	if next == nil {
		return nil, mls.ErrRemoved
	}
	st.advance(next)
	return st, nil
}

func (s *server) HandlePendingCommit(_ context.Context, q *pb.HandlePendingCommitRequest) (*pb.HandleCommitResponse, error) {
	return locked(s, q, func(q *pb.HandlePendingCommitRequest) (*pb.HandleCommitResponse, error) {
		st, err := s.handlePending(q)
		if err != nil {
			return nil, err
		}
		return &pb.HandleCommitResponse{StateId: q.StateId, EpochAuthenticator: st.group.EpochAuthenticator()}, nil
	})
}

// handlePending merges the member's own commit.
func (s *server) handlePending(q *pb.HandlePendingCommitRequest) (*state, error) {
	st, err := s.state(q.StateId)
	if err != nil {
		return nil, err
	}
	if st.pending == nil {
		return nil, errors.New("no commit is pending")
	}
	next, err := st.pending.MergeFrom(st.group)
	if err != nil {
		return nil, err
	}
	st.advance(next)
	return st, nil
}

// identity is the name of this member.
func (st *state) identity() []byte {
	return st.group.Public().Leaf(st.group.OwnLeaf()).Credential.Identity
}

// removeProposal proposes to remove the member with an identity.
func removeProposal(members []mls.Member, identity []byte) (mls.Proposal, error) {
	i := slices.IndexFunc(members, func(m mls.Member) bool { return bytes.Equal(m.Leaf.Credential.Identity, identity) })
	if i < 0 {
		return mls.Proposal{}, fmt.Errorf("%w: nobody has this identity", mls.ErrNotMember)
	}
	return mls.Proposal{Type: mls.ProposalTypeRemove, Remove: &mls.Remove{Removed: members[i].Index}}, nil
}
