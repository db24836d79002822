package mls

import "io"

// mergePath checks the path of a received commit and applies its public part
// (RFC 9420 §12.4.2).
func (s *staged) mergePath(path *UpdatePath) error {
	if err := s.checkPathLeaf(&path.LeafNode); err != nil {
		return err
	}
	if err := s.base.leafSigned(s.extensions, &path.LeafNode, s.committer); err != nil {
		return err
	}
	for k := range path.Nodes {
		if err := s.base.Suite().checkHPKEPublicKey(path.Nodes[k].EncryptionKey); err != nil {
			return &ValidationError{Clause: pathClause, Reason: "encryption key of the path", Err: err}
		}
	}
	t, err := s.proposed.mergePath(s.committer, path, s.addedLeaves)
	if err != nil {
		return err
	}
	s.tree, s.path = t, path
	return nil
}

func (p *PublicGroup) leafSigned(x Extensions, l *LeafNode, i LeafIndex) error {
	rules, err := p.leafRules(x)
	if err != nil {
		return err
	}
	return rules.checkSigned(l, i)
}

// checkPathLeaf verifies the committer's new leaf against the one it replaces;
// an external joiner replaces the leaf that it removes, if any.
func (s *staged) checkPathLeaf(l *LeafNode) error {
	if l.Source != LeafNodeSourceCommit {
		return invalid(leafClause, "leaf of the path has another source")
	}
	if !s.external() {
		return s.base.checkReplacement(s.base.tree.leaf(s.committer), l)
	}
	return s.each(ProposalTypeRemove, func(r *ResolvedProposal) error {
		return s.base.checkReplacement(s.base.tree.leaf(r.Proposal.Remove.Removed), l)
	})
}

// createPath makes a path for the committer (RFC 9420 §12.4.1). leaf gives the
// fields of the new leaf; its keys, source, parent hash and signature are set
// here. The path secrets must still be encrypted, with the context that
// provisionalContext returns.
func (s *staged) createPath(leaf LeafNode, signer SignaturePrivateKey, random io.Reader) (*ownPath, error) {
	own, err := s.proposed.newPath(s.committer, leaf, leafSigner{signer, s.base.GroupID()}, s.addedLeaves, random)
	if err != nil {
		return nil, err
	}
	if err := s.checkPathLeaf(&own.path.LeafNode); err != nil {
		return nil, err
	}
	if err := s.base.leafSigned(s.extensions, &own.path.LeafNode, s.committer); err != nil {
		return nil, err
	}
	s.tree, s.path = own.tree, &own.path
	return own, nil
}

// check verifies the new epoch as a whole and completes its tree.
func (s *staged) check() error {
	switch {
	case s.path == nil && s.pathRequired:
		return invalid("RFC 9420 §12.4", "commit without the path it needs")
	case s.tree.encryption.duplicates > 0:
		return invalid(leafClause, "encryption key is not unique")
	case s.tree.signature.duplicates > 0:
		return invalid(leafClause, "signature key is not unique")
	}
	if err := s.tree.fill(); err != nil {
		return err
	}
	return s.base.checkContext(s.tree, s.extensions)
}

// provisionalContext is the context that path secrets are encrypted with: that
// of the new epoch but with the old confirmed transcript hash
// (RFC 9420 §12.4.1).
func (s *staged) provisionalContext() (*GroupContext, error) {
	hash, err := s.tree.hash()
	if err != nil {
		return nil, err
	}
	c := *s.base.context
	c.Epoch++
	c.TreeHash = hash
	c.Extensions = s.extensions
	return &c, nil
}

// context is the GroupContext of the new epoch, which the signed commit
// completes.
func (s *staged) context(commit *AuthenticatedContent) (*GroupContext, error) {
	c, err := s.provisionalContext()
	if err != nil {
		return nil, err
	}
	c.ConfirmedTranscriptHash, err = confirmedTranscriptHash(s.base.Suite(), s.base.interim, commit)
	return c, err
}

// next is the public state of the new epoch. context is what context returned;
// tag is the commit's confirmation tag.
func (s *staged) next(context *GroupContext, tag []byte) (*PublicGroup, error) {
	p := &PublicGroup{config: s.base.config, context: context, tree: s.tree, reInit: s.reInit}
	return p.withTag(tag)
}
