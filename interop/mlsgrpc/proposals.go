package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"hubbub/interop/mlsgrpc/pb"
	"hubbub/mls"
	"hubbub/mls/wire"
)

func extensions(list []*pb.Extension) mls.Extensions {
	var out mls.Extensions
	for _, x := range list {
		out = append(out, mls.Extension{Type: mls.ExtensionType(x.ExtensionType), Data: x.ExtensionData})
	}
	return out
}

func externalPSK(id, secret []byte) mls.PSK {
	return mls.PSK{ID: mls.PreSharedKeyID{Type: mls.PSKTypeExternal, ID: id}, Secret: secret}
}

// pskProposal proposes a key under a fresh nonce.
func pskProposal(suite mls.CipherSuite, id mls.PreSharedKeyID) (mls.Proposal, error) {
	id.Nonce = make([]byte, suite.HashSize())
	_, err := rand.Read(id.Nonce)
	return mls.Proposal{Type: mls.ProposalTypePSK, PSK: &id}, err
}

func resumptionID(group []byte, epoch uint64) mls.PreSharedKeyID {
	return mls.PreSharedKeyID{Type: mls.PSKTypeResumption, Usage: mls.ResumptionPSKUsageApplication, GroupID: group, Epoch: epoch}
}

func addProposal(b []byte) (mls.Proposal, error) {
	m, err := mls.ParseMessage(b)
	if err != nil {
		return mls.Proposal{}, err
	}
	if m.KeyPackage == nil {
		return mls.Proposal{}, errors.New("message is not a KeyPackage")
	}
	return mls.Proposal{Type: mls.ProposalTypeAdd, Add: &mls.Add{KeyPackage: *m.KeyPackage}}, nil
}

func contextProposal(x mls.Extensions) mls.Proposal {
	return mls.Proposal{Type: mls.ProposalTypeGroupContextExtensions, GroupContextExtensions: &mls.GroupContextExtensions{Extensions: x}}
}

func reInitProposal(group []byte, suite uint32, x []*pb.Extension) mls.Proposal {
	return mls.Proposal{Type: mls.ProposalTypeReInit, ReInit: &mls.ReInit{GroupID: group, Version: mls.MLS10,
		CipherSuite: mls.CipherSuite(suite), Extensions: extensions(x)}}
}

// describe builds a proposal from a description, in a group that is named by
// its context; remove finds a member by identity.
func describe(d *pb.ProposalDescription, ctx *mls.GroupContext, remove func([]byte) (mls.Proposal, error)) (mls.Proposal, error) {
	switch kind := string(d.ProposalType); kind {
	case "add":
		return addProposal(d.KeyPackage)
	case "remove":
		return remove(d.RemovedId)
	case "externalPSK":
		return pskProposal(ctx.CipherSuite, externalPSK(d.PskId, nil).ID)
	case "resumptionPSK":
		return pskProposal(ctx.CipherSuite, resumptionID(ctx.GroupID, d.EpochId))
	case "groupContextExtensions":
		return contextProposal(extensions(d.Extensions)), nil
	case "reinit":
		return reInitProposal(d.GroupId, d.CipherSuite, d.Extensions), nil
	default:
		return mls.Proposal{}, fmt.Errorf("unknown proposal type %q", kind)
	}
}

func (st *state) described(d *pb.ProposalDescription) (mls.Proposal, error) {
	return describe(d, st.group.Context(), func(identity []byte) (mls.Proposal, error) {
		return removeProposal(st.group.Members(), identity)
	})
}

// propose sends a proposal that build makes from the state a request names.
func propose[Q any, P interface {
	*Q
	GetStateId() uint32
}](s *server, q P, build func(*state) (mls.Proposal, error)) (*pb.ProposalResponse, error) {
	return locked(s, (*Q)(q), func(*Q) (*pb.ProposalResponse, error) {
		st, err := s.state(q.GetStateId())
		if err != nil {
			return nil, err
		}
		p, err := build(st)
		if err != nil {
			return nil, err
		}
		next, msg, err := st.group.Propose(p, mls.ProposeOptions{Private: st.private})
		if err != nil {
			return nil, err
		}
		st.group = next
		st.seen[string(msg)] = true
		return &pb.ProposalResponse{Proposal: msg}, nil
	})
}

func (s *server) AddProposal(_ context.Context, q *pb.AddProposalRequest) (*pb.ProposalResponse, error) {
	return propose(s, q, func(*state) (mls.Proposal, error) { return addProposal(q.KeyPackage) })
}

func (s *server) UpdateProposal(_ context.Context, q *pb.UpdateProposalRequest) (*pb.ProposalResponse, error) {
	return propose(s, q, func(*state) (mls.Proposal, error) { return mls.Proposal{Type: mls.ProposalTypeUpdate}, nil })
}

func (s *server) RemoveProposal(_ context.Context, q *pb.RemoveProposalRequest) (*pb.ProposalResponse, error) {
	return propose(s, q, func(st *state) (mls.Proposal, error) {
		return removeProposal(st.group.Members(), q.RemovedId)
	})
}

func (s *server) ExternalPSKProposal(_ context.Context, q *pb.ExternalPSKProposalRequest) (*pb.ProposalResponse, error) {
	return propose(s, q, func(st *state) (mls.Proposal, error) {
		return pskProposal(st.group.Suite(), externalPSK(q.PskId, nil).ID)
	})
}

func (s *server) ResumptionPSKProposal(_ context.Context, q *pb.ResumptionPSKProposalRequest) (*pb.ProposalResponse, error) {
	return propose(s, q, func(st *state) (mls.Proposal, error) {
		return pskProposal(st.group.Suite(), resumptionID(st.group.GroupID(), q.EpochId))
	})
}

func (s *server) GroupContextExtensionsProposal(_ context.Context, q *pb.GroupContextExtensionsProposalRequest) (*pb.ProposalResponse, error) {
	return propose(s, q, func(*state) (mls.Proposal, error) { return contextProposal(extensions(q.Extensions)), nil })
}

func (s *server) ReInitProposal(_ context.Context, q *pb.ReInitProposalRequest) (*pb.ProposalResponse, error) {
	return propose(s, q, func(*state) (mls.Proposal, error) {
		return reInitProposal(q.GroupId, q.CipherSuite, q.Extensions), nil
	})
}

func (s *server) AddExternalSigner(_ context.Context, q *pb.AddExternalSignerRequest) (*pb.ProposalResponse, error) {
	return propose(s, q, func(st *state) (mls.Proposal, error) {
		var sender mls.ExternalSender
		if err := wire.Unmarshal(bytes.Clone(q.ExternalSender), &sender); err != nil {
			return mls.Proposal{}, err
		}
		x := st.group.Context().Extensions
		senders, err := x.ExternalSenders()
		if err != nil {
			return mls.Proposal{}, err
		}
		b, err := wire.Marshal(append(senders, sender))
		if err != nil {
			return mls.Proposal{}, err
		}
		return contextProposal(x.Set(mls.ExtensionTypeExternalSenders, b)), nil
	})
}

func (s *server) NewMemberAddProposal(_ context.Context, q *pb.NewMemberAddProposalRequest) (*pb.NewMemberAddProposalResponse, error) {
	return locked(s, q, func(q *pb.NewMemberAddProposalRequest) (*pb.NewMemberAddProposalResponse, error) {
		gi, _, err := s.outside(q.GroupInfo, nil)
		if err != nil {
			return nil, err
		}
		k, err := newKeyPackage(gi.GroupContext.CipherSuite, q.Identity)
		if err != nil {
			return nil, err
		}
		msg, err := mls.NewMemberProposal(&gi.GroupContext, k)
		if err != nil {
			return nil, err
		}
		id := s.id()
		s.joiners[id] = &joiner{key: k}
		return &pb.NewMemberAddProposalResponse{TransactionId: id, Proposal: msg,
			InitPriv: k.InitPrivate, EncryptionPriv: k.EncryptionPrivate, SignaturePriv: k.Signer.Private}, nil
	})
}

func (s *server) CreateExternalSigner(_ context.Context, q *pb.CreateExternalSignerRequest) (*pb.CreateExternalSignerResponse, error) {
	return locked(s, q, func(q *pb.CreateExternalSignerRequest) (*pb.CreateExternalSignerResponse, error) {
		signer, err := mls.NewSignatureKey(mls.CipherSuite(q.CipherSuite), nil)
		if err != nil {
			return nil, err
		}
		b, err := wire.Marshal(&mls.ExternalSender{SignatureKey: signer.Public, Credential: mls.BasicCredential(q.Identity)})
		if err != nil {
			return nil, err
		}
		id := s.id()
		s.signers[id] = signer
		return &pb.CreateExternalSignerResponse{SignerId: id, ExternalSender: b}, nil
	})
}

func (s *server) ExternalSignerProposal(_ context.Context, q *pb.ExternalSignerProposalRequest) (*pb.ProposalResponse, error) {
	return locked(s, q, func(q *pb.ExternalSignerProposalRequest) (*pb.ProposalResponse, error) {
		signer := s.signers[q.SignerId]
		if signer == nil {
			return nil, fmt.Errorf("%w: signer %d", errUnknownID, q.SignerId)
		}
		if q.Description == nil {
			return nil, errors.New("no description")
		}
		gi, tree, err := s.outside(q.GroupInfo, q.RatchetTree)
		if err != nil {
			return nil, err
		}
		p, err := describe(q.Description, &gi.GroupContext, func(identity []byte) (mls.Proposal, error) {
			return removeByIdentity(gi, tree, identity, s.settings)
		})
		if err != nil {
			return nil, err
		}
		msg, err := mls.ExternalProposal(&gi.GroupContext, signerIndex(gi, signer, q.SignerIndex), signer, p)
		return &pb.ProposalResponse{Proposal: msg}, err
	})
}

// signerIndex finds a signer's place in the group, for the runner does not fill
// in the index.
func signerIndex(gi *mls.GroupInfo, signer *mls.SignatureKey, given uint32) uint32 {
	senders, err := gi.GroupContext.Extensions.ExternalSenders()
	if err != nil {
		return given
	}
	for i := range senders {
		if bytes.Equal(senders[i].SignatureKey, signer.Public) {
			return uint32(i)
		}
	}
	return given
}
