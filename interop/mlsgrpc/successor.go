package main

import (
	"context"
	"errors"
	"fmt"

	"hubbub/interop/mlsgrpc/pb"
	"hubbub/mls"
)

func (s *server) ReInitCommit(_ context.Context, q *pb.CommitRequest) (*pb.CommitResponse, error) {
	return locked(s, q, s.commit)
}

func (s *server) HandlePendingReInitCommit(_ context.Context, q *pb.HandlePendingCommitRequest) (*pb.HandleReInitCommitResponse, error) {
	return locked(s, q, func(q *pb.HandlePendingCommitRequest) (*pb.HandleReInitCommitResponse, error) {
		st, err := s.handlePending(q)
		if err != nil {
			return nil, err
		}
		return s.closed(st)
	})
}

func (s *server) HandleReInitCommit(_ context.Context, q *pb.HandleCommitRequest) (*pb.HandleReInitCommitResponse, error) {
	return locked(s, q, func(q *pb.HandleCommitRequest) (*pb.HandleReInitCommitResponse, error) {
		st, err := s.handle(q)
		if err != nil {
			return nil, err
		}
		return s.closed(st)
	})
}

// closed makes a KeyPackage for the successor of a group.
func (s *server) closed(st *state) (*pb.HandleReInitCommitResponse, error) {
	r := st.group.Public().ReInit()
	if r == nil {
		return nil, errors.New("the commit does not close the group")
	}
	k, err := newKeyPackage(r.CipherSuite, st.identity())
	if err != nil {
		return nil, err
	}
	b, err := mls.NewMessage(k.KeyPackage).Marshal()
	if err != nil {
		return nil, err
	}
	id := s.id()
	s.joiners[id] = &joiner{key: k, psks: st.psks, old: st}
	return &pb.HandleReInitCommitResponse{ReinitId: id, KeyPackage: b, EpochAuthenticator: st.group.EpochAuthenticator()}, nil
}

// reinitialized finds a member that waits for the successor of its group.
func (s *server) reinitialized(id uint32) (*joiner, error) {
	if j := s.joiners[id]; j != nil && j.old != nil {
		return j, nil
	}
	return nil, fmt.Errorf("%w: reinitialization %d", errUnknownID, id)
}

func (s *server) ReInitWelcome(_ context.Context, q *pb.ReInitWelcomeRequest) (*pb.CreateSubgroupResponse, error) {
	return locked(s, q, func(q *pb.ReInitWelcomeRequest) (*pb.CreateSubgroupResponse, error) {
		j, err := s.reinitialized(q.ReinitId)
		if err != nil {
			return nil, err
		}
		members, err := keyPackages(q.KeyPackage)
		if err != nil {
			return nil, err
		}
		o := mls.GroupOptions{Signer: j.key.Signer, Credential: j.key.KeyPackage.LeafNode.Credential}
		pending, err := j.old.group.Reinitialize(o, members, mls.CommitOptions{ForcePath: q.ForcePath, TreeInWelcome: !q.ExternalTree})
		if err != nil {
			return nil, err
		}
		delete(s.joiners, q.ReinitId)
		return s.successor(pending, j.old, q.ExternalTree)
	})
}

// successor enters a group that follows the one of st.
func (s *server) successor(pending *mls.PendingCommit, st *state, external bool) (*pb.CreateSubgroupResponse, error) {
	a := &pb.CreateSubgroupResponse{}
	if err := welcomeInto(pending, external, &a.Welcome, &a.RatchetTree); err != nil {
		return nil, err
	}
	id, next := s.enter(pending.Merge(), st.private, st.psks)
	a.StateId, a.EpochAuthenticator = id, next.group.EpochAuthenticator()
	return a, nil
}

func (s *server) HandleReInitWelcome(_ context.Context, q *pb.HandleReInitWelcomeRequest) (*pb.JoinGroupResponse, error) {
	return locked(s, q, func(q *pb.HandleReInitWelcomeRequest) (*pb.JoinGroupResponse, error) {
		j, err := s.reinitialized(q.ReinitId)
		if err != nil {
			return nil, err
		}
		id, st, err := s.join(q.ReinitId, q.Welcome, q.RatchetTree, j.old.private, j.old.group)
		if err != nil {
			return nil, err
		}
		return &pb.JoinGroupResponse{StateId: id, EpochAuthenticator: st.group.EpochAuthenticator()}, nil
	})
}

func (s *server) CreateBranch(_ context.Context, q *pb.CreateBranchRequest) (*pb.CreateSubgroupResponse, error) {
	return locked(s, q, func(q *pb.CreateBranchRequest) (*pb.CreateSubgroupResponse, error) {
		st, err := s.state(q.StateId)
		if err != nil {
			return nil, err
		}
		members, err := keyPackages(q.KeyPackages)
		if err != nil {
			return nil, err
		}
		o := mls.GroupOptions{GroupID: q.GroupId, Signer: st.group.Signer(), Credential: mls.BasicCredential(st.identity()),
			Extensions: extensions(q.Extensions)}
		pending, err := st.group.Branch(o, members, mls.CommitOptions{ForcePath: q.ForcePath, TreeInWelcome: !q.ExternalTree})
		if err != nil {
			return nil, err
		}
		return s.successor(pending, st, q.ExternalTree)
	})
}

func (s *server) HandleBranch(_ context.Context, q *pb.HandleBranchRequest) (*pb.HandleBranchResponse, error) {
	return locked(s, q, func(q *pb.HandleBranchRequest) (*pb.HandleBranchResponse, error) {
		old, err := s.state(q.StateId)
		if err != nil {
			return nil, err
		}
		id, st, err := s.join(q.TransactionId, q.Welcome, q.RatchetTree, old.private, old.group)
		if err != nil {
			return nil, err
		}
		return &pb.HandleBranchResponse{StateId: id, EpochAuthenticator: st.group.EpochAuthenticator()}, nil
	})
}

func keyPackages(list [][]byte) ([]*mls.KeyPackage, error) {
	var out []*mls.KeyPackage
	for _, b := range list {
		p, err := addProposal(b)
		if err != nil {
			return nil, err
		}
		out = append(out, &p.Add.KeyPackage)
	}
	return out, nil
}
