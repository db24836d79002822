package mls

import (
	"fmt"
	"time"

	"hubbub/mls/wire"
)

// ExternalJoinOptions describes the joiner. Signer and Credential are required.
type ExternalJoinOptions struct {
	// Tree is the ratchet tree, needed if the GroupInfo does not contain it.
	Tree           RatchetTree
	Signer         *SignatureKey
	Credential     Credential
	Capabilities   *Capabilities // nil: DefaultCapabilities with GREASE values
	LeafExtensions Extensions    // an app_data_dictionary is added if absent
	// Proposals are pending SelfRemove messages of the epoch; an external
	// joiner must commit them by reference (draft-ietf-mls-extensions §6.3).
	Proposals []*PublicMessage
	// ByValue are further proposals: PreSharedKey, AppDataUpdate, AppEphemeral,
	// and a Remove of the joiner's former leaf.
	ByValue []Proposal
	// PSKs are the keys that PreSharedKey proposals name.
	PSKs []PSK
	// AAD is authenticated and visible; see CommitOptions.
	AAD []byte
}

// JoinExternal makes an external commit by which the caller becomes a member
// (RFC 9420 §12.4.3.2). The GroupInfo must carry external_pub. Besides the
// errors of NewPublicGroup it returns ErrMissingPSK, or a *ValidationError if
// the joiner or its proposals do not suit the group.
func JoinExternal(gi *GroupInfo, o ExternalJoinOptions, cfg *Config) (*PendingCommit, error) {
	base, err := NewPublicGroup(gi, o.Tree, cfg)
	if err != nil {
		return nil, err
	}
	kemOutput, init, err := initExternal(gi)
	if err != nil {
		return nil, err
	}
	aad, err := base.context.completeAAD(o.AAD)
	if err != nil {
		return nil, err
	}
	list, err := externalList(base, kemOutput, o)
	if err != nil {
		return nil, err
	}
	s, err := base.stage(externalSender, list)
	if err != nil {
		return nil, err
	}
	psk, err := gatherPSKs(base.Suite(), s.psks, func(id *PreSharedKeyID) ([]byte, error) { return findPSK(o.PSKs, id) })
	if err != nil {
		return nil, err
	}
	b := &commitBuilder{staged: s, signer: o.Signer, leafSigner: o.Signer, init: init, psk: psk, aad: aad, format: WireFormatPublicMessage}
	if b.leaf, err = externalLeaf(base, o); err != nil {
		return nil, err
	}
	next, err := b.build()
	if err != nil {
		return nil, err
	}
	next.psks = o.PSKs
	m := &PublicMessage{Content: b.content.Content, Auth: b.content.Auth}
	message, err := wire.Marshal(NewMessage(m))
	if err != nil {
		return nil, err
	}
	return b.finish(nil, next, message)
}

var externalSender = Sender{Type: SenderTypeNewMemberCommit}

// initExternal reads external_pub and makes the init secret.
func initExternal(gi *GroupInfo) (kemOutput, init []byte, err error) {
	data, ok := gi.Extensions.Find(ExtensionTypeExternalPub)
	if !ok {
		return nil, nil, invalid("RFC 9420 §12.4.3.2", "group info without external_pub")
	}
	var pub ExternalPub
	if err := wire.Unmarshal(data, &pub); err != nil {
		return nil, nil, fmt.Errorf("mls: external_pub: %w", err)
	}
	return externalInitSend(gi.GroupContext.CipherSuite, pub.Key)
}

// externalList assembles the proposals of an external commit.
func externalList(base *PublicGroup, kemOutput []byte, o ExternalJoinOptions) ([]ResolvedProposal, error) {
	list := []ResolvedProposal{{Sender: externalSender, ByValue: true, Proposal: &Proposal{
		Type: ProposalTypeExternalInit, ExternalInit: &ExternalInit{KEMOutput: kemOutput}}}}
	for i := range o.ByValue {
		list = append(list, ResolvedProposal{Sender: externalSender, ByValue: true, Proposal: &o.ByValue[i]})
	}
	for _, m := range o.Proposals {
		c, err := base.Proposal(m)
		if err != nil {
			return nil, err
		}
		list = append(list, c.resolved())
	}
	return list, nil
}

// externalLeaf makes the joiner's leaf up to what createPath adds.
func externalLeaf(base *PublicGroup, o ExternalJoinOptions) (*LeafNode, error) {
	return newLeaf(leafOptions{
		suite: base.Suite(), signer: o.Signer, credential: o.Credential, capabilities: o.Capabilities,
		extensions: o.LeafExtensions, notBefore: time.Unix(0, 0), notAfter: time.Unix(1, 0),
	}, base.config)
}
