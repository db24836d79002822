package mls

import (
	"bytes"
	"slices"

	"hubbub/mls/wire"
)

// JoinOptions holds what a Welcome may leave out.
type JoinOptions struct {
	// Tree is the ratchet tree, needed if the Welcome does not contain it.
	Tree RatchetTree
	// PSKs are pre-shared keys the Welcome may ask for. Names match without
	// regard to nonce and usage.
	PSKs []PSK
	// Previous is the group that a Welcome after a ReInit or a branch refers
	// to. If given, the new group is checked against it and its resumption key
	// is used. Identities are compared by whole credential.
	Previous *Group
}

// JoinWelcome joins a group that the owner of kp has been added to
// (RFC 9420 §12.4.3.1). That the group's id is not in use already is left to
// the caller. Init and encryption keys must not be used for another join,
// unless the KeyPackage is one of last resort.
//
// It returns ErrNoMatchingKeyPackage, ErrMissingTree, ErrMissingPSK,
// ErrDecrypt, ErrBadMAC, or an error of NewPublicGroup.
func JoinWelcome(w *Welcome, kp *KeyPackageSecret, o JoinOptions, cfg *Config) (*Group, error) {
	secrets, err := openGroupSecrets(w, kp.KeyPackage, kp.InitPrivate)
	if err != nil {
		return nil, err
	}
	psk, err := welcomePSK(w.CipherSuite, secrets.PSKs, o)
	if err != nil {
		return nil, err
	}
	gi, err := openGroupInfo(w, secrets.JoinerSecret, psk)
	if err != nil {
		return nil, err
	}
	if err := checkResumption(gi, secrets.PSKs); err != nil {
		return nil, err
	}
	p, err := NewPublicGroup(gi, o.Tree, cfg)
	if err != nil {
		return nil, err
	}
	if err := o.checkPrevious(p, secrets.PSKs); err != nil {
		return nil, err
	}
	return joinEpoch(p, gi, kp, secrets, psk)
}

// joinEpoch computes the joiner's private state.
func joinEpoch(p *PublicGroup, gi *GroupInfo, kp *KeyPackageSecret, s *GroupSecrets, psk []byte) (*Group, error) {
	own, err := findOwnLeaf(p, kp)
	if err != nil {
		return nil, err
	}
	private, err := newTreePrivate(p.tree, own, kp.EncryptionPrivate)
	if err != nil {
		return nil, err
	}
	if s.PathSecret != nil {
		if private, err = private.withPathSecret(p.tree, gi.Signer, s.PathSecret); err != nil {
			return nil, invalid(joinClause, "path secret does not fit the tree")
		}
	}
	g := &Group{public: p, own: own, signer: kp.Signer, private: private}
	if err := g.setEpoch(s.JoinerSecret, psk); err != nil {
		return nil, err
	}
	return g, g.checkConfirmation(gi.ConfirmationTag)
}

// setEpoch derives the secrets of the epoch g.public describes.
func (g *Group) setEpoch(joiner, psk []byte) error {
	context, err := g.public.encodedContext()
	if err != nil {
		return err
	}
	secrets, roots, err := deriveEpoch(g.Suite(), joiner, psk, context)
	if err != nil {
		return err
	}
	g.plant(secrets, roots)
	return nil
}

// plant sets the secrets of an epoch.
func (g *Group) plant(secrets *epochSecrets, roots *treeRoots) {
	g.secrets = secrets
	g.keys = newSecretTree(g.Suite(), roots.encryption, g.public.tree.width())
	g.exports = &exportNode{secret: roots.export}
}

// checkConfirmation verifies that all arrived at the same state
// (RFC 9420 §6.1). It returns ErrBadMAC.
func (g *Group) checkConfirmation(tag []byte) error {
	ok, err := g.Suite().verifyMAC(g.secrets.confirmation, g.Context().ConfirmedTranscriptHash, tag)
	if err == nil && !ok {
		err = ErrBadMAC
	}
	return err
}

// findOwnLeaf finds the leaf that came from the KeyPackage.
func findOwnLeaf(p *PublicGroup, kp *KeyPackageSecret) (own LeafIndex, err error) {
	want, err := wire.Marshal(&kp.KeyPackage.LeafNode)
	if err != nil {
		return 0, err
	}
	found := false
	p.tree.eachLeaf(func(i LeafIndex, l *LeafNode) bool {
		if !bytes.Equal(l.EncryptionKey, kp.KeyPackage.LeafNode.EncryptionKey) {
			return true
		}
		var b []byte
		b, err = wire.Marshal(l)
		own, found = i, bytes.Equal(b, want)
		return err == nil && !found
	})
	if err == nil && !found {
		err = invalid(joinClause, "own leaf is not in the tree")
	}
	return own, err
}

// welcomePSK computes the psk_secret of a Welcome.
func welcomePSK(suite CipherSuite, ids []PreSharedKeyID, o JoinOptions) ([]byte, error) {
	return gatherPSKs(suite, ids, func(id *PreSharedKeyID) ([]byte, error) {
		secret, err := findPSK(o.PSKs, id)
		if err != nil && o.Previous != nil {
			return o.Previous.psk(id)
		}
		return secret, err
	})
}

// successionOf returns the resumption PSK of usage reinit or branch, nil if
// there is none.
func successionOf(ids []PreSharedKeyID) *PreSharedKeyID {
	i := slices.IndexFunc(ids, func(id PreSharedKeyID) bool {
		return id.Type == PSKTypeResumption && id.Usage != ResumptionPSKUsageApplication
	})
	if i < 0 {
		return nil
	}
	return &ids[i]
}

// checkResumption verifies the rules for Welcomes into a successor group that
// need no knowledge of the previous one (RFC 9420 §12.4.3.1).
func checkResumption(gi *GroupInfo, ids []PreSharedKeyID) error {
	first := successionOf(ids)
	if first == nil {
		return nil
	}
	for i := range ids {
		if &ids[i] != first && ids[i].Type == PSKTypeResumption && ids[i].Usage != ResumptionPSKUsageApplication {
			return invalid(joinClause, "more than one resumption key of usage reinit or branch")
		}
	}
	if gi.GroupContext.Epoch != 1 {
		return invalid(joinClause, "successor group is not in epoch 1")
	}
	return nil
}

// checkPrevious compares a successor group with the previous one
// (RFC 9420 §11.2, §11.3).
func (o *JoinOptions) checkPrevious(p *PublicGroup, ids []PreSharedKeyID) error {
	id := successionOf(ids)
	if id == nil || o.Previous == nil {
		return nil
	}
	old := o.Previous.public
	if !equalKey(id.GroupID, old.GroupID()) || id.Epoch != old.Epoch() {
		return invalid(joinClause, "resumption key is not of the previous group")
	}
	if id.Usage == ResumptionPSKUsageBranch {
		if p.Suite() != old.Suite() {
			return invalid("RFC 9420 §11.3", "branch changes the cipher suite")
		}
		return membersWithin(p, old, "RFC 9420 §11.3")
	}
	r := old.ReInit()
	if r == nil {
		return invalid("RFC 9420 §11.2", "previous group was not reinitialized")
	}
	if !equalKey(r.GroupID, p.GroupID()) || r.CipherSuite != p.Suite() || r.Version != p.context.Version ||
		!bytes.Equal(encoded(r.Extensions), encoded(p.context.Extensions)) {
		return invalid("RFC 9420 §11.2", "new group does not match the reinit proposal")
	}
	return membersWithin(old, p, "RFC 9420 §11.2")
}

// membersWithin verifies that each member of sub has its credential in super.
func membersWithin(sub, super *PublicGroup, clause string) error {
	members := super.Members()
	for _, m := range sub.Members() {
		if !slices.ContainsFunc(members, func(o Member) bool { return o.Leaf.Credential.Equal(&m.Leaf.Credential) }) {
			return invalid(clause, "membership does not match the previous group")
		}
	}
	return nil
}
