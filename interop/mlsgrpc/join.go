package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"hubbub/interop/mlsgrpc/pb"
	"hubbub/mls"
	"hubbub/mls/wire"
)

// newKeyPackage makes a client with a fresh signature key.
func newKeyPackage(suite mls.CipherSuite, identity []byte) (*mls.KeyPackageSecret, error) {
	signer, err := mls.NewSignatureKey(suite, nil)
	if err != nil {
		return nil, err
	}
	return mls.NewKeyPackage(mls.KeyPackageOptions{Suite: suite, Signer: signer, Credential: mls.BasicCredential(identity)})
}

func (s *server) CreateGroup(_ context.Context, q *pb.CreateGroupRequest) (*pb.CreateGroupResponse, error) {
	return locked(s, q, func(q *pb.CreateGroupRequest) (*pb.CreateGroupResponse, error) {
		suite := mls.CipherSuite(q.CipherSuite)
		signer, err := mls.NewSignatureKey(suite, nil)
		if err != nil {
			return nil, err
		}
		g, err := mls.NewGroup(mls.GroupOptions{GroupID: q.GroupId, Suite: suite, Signer: signer,
			Credential: mls.BasicCredential(q.Identity)}, s.settings)
		if err != nil {
			return nil, err
		}
		id, _ := s.enter(g, q.EncryptHandshake, nil)
		return &pb.CreateGroupResponse{StateId: id}, nil
	})
}

func (s *server) CreateKeyPackage(_ context.Context, q *pb.CreateKeyPackageRequest) (*pb.CreateKeyPackageResponse, error) {
	return locked(s, q, func(q *pb.CreateKeyPackageRequest) (*pb.CreateKeyPackageResponse, error) {
		k, err := newKeyPackage(mls.CipherSuite(q.CipherSuite), q.Identity)
		if err != nil {
			return nil, err
		}
		b, err := mls.NewMessage(k.KeyPackage).Marshal()
		if err != nil {
			return nil, err
		}
		id := s.id()
		s.joiners[id] = &joiner{key: k}
		return &pb.CreateKeyPackageResponse{TransactionId: id, KeyPackage: b,
			InitPriv: k.InitPrivate, EncryptionPriv: k.EncryptionPrivate, SignaturePriv: k.Signer.Private}, nil
	})
}

func (s *server) JoinGroup(_ context.Context, q *pb.JoinGroupRequest) (*pb.JoinGroupResponse, error) {
	return locked(s, q, func(q *pb.JoinGroupRequest) (*pb.JoinGroupResponse, error) {
		id, st, err := s.join(q.TransactionId, q.Welcome, q.RatchetTree, q.EncryptHandshake, nil)
		if err != nil {
			return nil, err
		}
		return &pb.JoinGroupResponse{StateId: id, EpochAuthenticator: st.group.EpochAuthenticator()}, nil
	})
}

// join opens a Welcome for a joiner, who is no longer waiting then. previous is
// the group that the new one follows, or nil.
func (s *server) join(transaction uint32, welcome, tree []byte, private bool, previous *mls.Group) (uint32, *state, error) {
	j := s.joiners[transaction]
	if j == nil {
		return 0, nil, fmt.Errorf("%w: transaction %d", errUnknownID, transaction)
	}
	m, err := mls.ParseMessage(welcome)
	if err != nil {
		return 0, nil, err
	}
	if m.Welcome == nil {
		return 0, nil, errors.New("message is not a Welcome")
	}
	o := mls.JoinOptions{PSKs: j.psks, Previous: previous}
	if o.Tree, err = decodeTree(tree); err != nil {
		return 0, nil, err
	}
	g, err := mls.JoinWelcome(m.Welcome, j.key, o, s.settings)
	if err != nil {
		return 0, nil, err
	}
	delete(s.joiners, transaction)
	id, st := s.enter(g, private, j.psks)
	return id, st, nil
}

func (s *server) ExternalJoin(_ context.Context, q *pb.ExternalJoinRequest) (*pb.ExternalJoinResponse, error) {
	return locked(s, q, func(q *pb.ExternalJoinRequest) (*pb.ExternalJoinResponse, error) {
		gi, tree, err := s.outside(q.GroupInfo, q.RatchetTree)
		if err != nil {
			return nil, err
		}
		suite := gi.GroupContext.CipherSuite
		o := mls.ExternalJoinOptions{Tree: tree, Credential: mls.BasicCredential(q.Identity)}
		if o.Signer, err = mls.NewSignatureKey(suite, nil); err != nil {
			return nil, err
		}
		if q.RemovePrior {
			p, err := removeByIdentity(gi, tree, q.Identity, s.settings)
			if err != nil {
				return nil, err
			}
			o.ByValue = append(o.ByValue, p)
		}
		for _, k := range q.Psks {
			psk := externalPSK(k.PskId, k.PskSecret)
			o.PSKs = append(o.PSKs, psk)
			p, err := pskProposal(suite, psk.ID)
			if err != nil {
				return nil, err
			}
			o.ByValue = append(o.ByValue, p)
		}
		pending, err := mls.JoinExternal(gi, o, s.settings)
		if err != nil {
			return nil, err
		}
		id, st := s.enter(pending.Merge(), q.EncryptHandshake, o.PSKs)
		return &pb.ExternalJoinResponse{StateId: id, Commit: pending.Message(), EpochAuthenticator: st.group.EpochAuthenticator()}, nil
	})
}

// outside reads what somebody who is no member knows of a group.
func (s *server) outside(info, tree []byte) (*mls.GroupInfo, mls.RatchetTree, error) {
	m, err := mls.ParseMessage(info)
	if err != nil {
		return nil, nil, err
	}
	if m.GroupInfo == nil {
		return nil, nil, errors.New("message is not a GroupInfo")
	}
	t, err := decodeTree(tree)
	return m.GroupInfo, t, err
}

// decodeTree reads a tree that travelled apart, nil if there is none.
func decodeTree(b []byte) (mls.RatchetTree, error) {
	if len(b) == 0 {
		return nil, nil
	}
	var t mls.RatchetTree
	return t, wire.Unmarshal(bytes.Clone(b), &t)
}

// removeByIdentity proposes to remove the member with an identity from a group
// seen from outside.
func removeByIdentity(gi *mls.GroupInfo, tree mls.RatchetTree, identity []byte, cfg *mls.Config) (mls.Proposal, error) {
	p, err := mls.NewPublicGroup(gi, tree, cfg)
	if err != nil {
		return mls.Proposal{}, err
	}
	return removeProposal(p.Members(), identity)
}
