package mls

import (
	"errors"
	"io"
	"slices"

	"hubbub/mls/wire"
)

// AddedMember is a member that a commit adds.
type AddedMember struct {
	Index      LeafIndex
	KeyPackage *KeyPackage
	Ref        []byte // KeyPackageRef
}

// RemovedMember is a member that a commit removes, with its last leaf.
type RemovedMember struct {
	Index LeafIndex
	Leaf  *LeafNode
}

// staged is an epoch in the making: the effects of a commit's proposals, then
// of its path. Creating and processing commits share it.
//
// The order is stage, then mergePath or createPath if there is a path, then
// check, then next. A staged value belongs to one goroutine.
type staged struct {
	base      *PublicGroup
	sender    Sender
	committer LeafIndex // for an external commit, the leaf it will take
	proposals []ResolvedProposal

	proposed   *tree // after the proposals
	tree       *tree // after the path too
	extensions Extensions

	added       []AddedMember
	addedLeaves []LeafIndex // sorted: those a path is not encrypted to
	removed     []RemovedMember
	updated     []LeafIndex // leaves replaced by Update proposals

	psks         []PreSharedKeyID // in commit order
	externalInit []byte           // KEM output of an external commit
	reInit       *ReInit

	pathRequired bool
	path         *UpdatePath // nil if the commit has none
}

// external reports whether the committer joins by this commit.
func (s *staged) external() bool { return s.sender.Type == SenderTypeNewMemberCommit }

// resolve finds the proposals of a commit. Those it cannot find are reported
// together in an UnknownProposalError.
func (p *PublicGroup) resolve(list []ProposalOrRef, sender Sender) ([]ResolvedProposal, error) {
	cached := make(map[string]*CachedProposal, len(p.proposals))
	for _, c := range p.proposals {
		cached[string(c.Ref)] = c
	}
	out := make([]ResolvedProposal, 0, len(list))
	var unknown [][]byte
	for _, e := range list {
		if e.Proposal != nil {
			out = append(out, ResolvedProposal{Proposal: e.Proposal, Sender: sender, ByValue: true})
		} else if c := cached[string(e.Ref)]; c != nil {
			out = append(out, c.resolved())
		} else {
			unknown = append(unknown, e.Ref)
		}
	}
	if unknown != nil {
		return nil, &UnknownProposalError{Refs: unknown}
	}
	return out, nil
}

// stage validates a proposal list for a committer and applies it in the order
// of RFC 9420 §12.3: GroupContextExtensions, Update, SelfRemove, Remove, Add,
// then AppEphemeral and AppDataUpdate.
func (p *PublicGroup) stage(sender Sender, list []ResolvedProposal) (*staged, error) {
	s := &staged{base: p, sender: sender, committer: sender.LeafIndex, proposals: list, extensions: p.context.Extensions}
	if err := s.checkSender(); err != nil {
		return nil, err
	}
	for k := range list {
		if list[k].Proposal.body() == nil {
			return nil, refuse(&list[k], "proposal without content")
		}
	}
	if err := p.checkList(sender, list); err != nil {
		return nil, err
	}
	s.pathRequired = pathRequired(list)
	if err := s.setExtensions(); err != nil {
		return nil, err
	}
	if err := s.applyTree(); err != nil {
		return nil, err
	}
	if s.external() {
		s.proposed, s.committer = s.proposed.reserve()
	}
	s.tree = s.proposed
	return s, s.applyComponents()
}

func (s *staged) checkSender() error {
	switch s.sender.Type {
	case SenderTypeMember:
		if s.base.tree.leaf(s.sender.LeafIndex) == nil {
			return ErrNotMember
		}
		return nil
	case SenderTypeNewMemberCommit:
		return nil
	}
	return invalid("RFC 9420 §12.4", "commit from a sender of type %v", s.sender.Type)
}

// pathRequired reports whether a commit of the list needs a path
// (RFC 9420 §12.4; draft-ietf-mls-extensions, IANA considerations).
func pathRequired(list []ResolvedProposal) bool {
	return len(list) == 0 || slices.ContainsFunc(list, func(r ResolvedProposal) bool {
		switch r.Proposal.Type {
		case ProposalTypeUpdate, ProposalTypeRemove, ProposalTypeExternalInit,
			ProposalTypeGroupContextExtensions, ProposalTypeSelfRemove:
			return true
		}
		return false
	})
}

// each calls fn for the proposals of one type, in commit order, and adds the
// reference to the error.
func (s *staged) each(t ProposalType, fn func(r *ResolvedProposal) error) error {
	for k := range s.proposals {
		r := &s.proposals[k]
		if r.Proposal.Type != t {
			continue
		}
		if err := fn(r); err != nil {
			return withRefs(err, r.refs())
		}
	}
	return nil
}

// withRefs names the proposals at fault in a ValidationError that has none.
func withRefs(err error, refs [][]byte) error {
	var v *ValidationError
	if !errors.As(err, &v) || v.ProposalRefs != nil {
		return err
	}
	c := *v
	c.ProposalRefs = refs
	return &c
}

// setExtensions applies a GroupContextExtensions proposal; all other proposals
// are judged by its result.
func (s *staged) setExtensions() error {
	return s.each(ProposalTypeGroupContextExtensions, func(r *ResolvedProposal) error {
		if err := s.base.checkNewExtensions(r.Proposal.GroupContextExtensions.Extensions); err != nil {
			return err
		}
		s.extensions = r.Proposal.GroupContextExtensions.Extensions
		return nil
	})
}

// applyTree checks every proposal on its own and applies those that change the
// tree.
func (s *staged) applyTree() error {
	rules, err := s.base.leafRules(s.extensions)
	if err != nil {
		return err
	}
	for k := range s.proposals {
		r := &s.proposals[k]
		if err := s.base.checkOne(r, rules); err != nil {
			return withRefs(err, r.refs())
		}
	}
	s.proposed = s.base.tree
	steps := []struct {
		t  ProposalType
		fn func(*ResolvedProposal) error
	}{
		{ProposalTypeUpdate, s.applyUpdate},
		{ProposalTypeSelfRemove, func(r *ResolvedProposal) error { return s.applyRemove(r.Sender.LeafIndex) }},
		{ProposalTypeRemove, func(r *ResolvedProposal) error { return s.applyRemove(r.Proposal.Remove.Removed) }},
	}
	for _, step := range steps {
		if err := s.each(step.t, step.fn); err != nil {
			return err
		}
	}
	s.proposed = s.proposed.truncate()
	if err := s.checkSupport(); err != nil {
		return err
	}
	if err := s.each(ProposalTypeAdd, s.applyAdd); err != nil {
		return err
	}
	return s.noteSecrets()
}

func (s *staged) applyUpdate(r *ResolvedProposal) error {
	i := r.Sender.LeafIndex
	s.proposed = s.proposed.update(i, cloneLeaf(&r.Proposal.Update.LeafNode))
	s.updated = append(s.updated, i)
	return nil
}

// applyRemove leaves truncation for when all removals are done, so that leaf
// indices stay in range.
func (s *staged) applyRemove(i LeafIndex) error {
	leaf := s.proposed.leaf(i)
	if leaf == nil {
		return invalid("RFC 9420 §12.1.3", "removal of a blank leaf")
	}
	s.removed = append(s.removed, RemovedMember{Index: i, Leaf: leaf})
	s.proposed = s.proposed.set(i, nil, blankAbove)
	return nil
}

// checkSupport verifies that the members who stay know every proposal type of
// the list (RFC 9420 §12.2).
func (s *staged) checkSupport() error {
	c := s.proposed.root.capabilities()
	if c == nil {
		return nil // an external joiner replaces the last member
	}
	for k := range s.proposals {
		r := &s.proposals[k]
		if t := r.Proposal.Type; !t.IsDefault() && !contains(c.proposals, t) {
			return refuse(r, "%v is not supported by all members", t)
		}
	}
	return nil
}

func (s *staged) applyAdd(r *ResolvedProposal) error {
	k := &r.Proposal.Add.KeyPackage
	switch {
	case s.proposed.signature.has(k.LeafNode.SignatureKey):
		return invalid(listClause, "added client is a member already")
	case s.proposed.encryption.has(k.LeafNode.EncryptionKey):
		return invalid(leafClause, "encryption key of the added client is in use")
	case s.proposed.root.leaves >= maxLeaves:
		return invalid(listClause, "the group is full")
	}
	ref, err := k.Ref()
	if err != nil {
		return err
	}
	t, i := s.proposed.add(cloneLeaf(&k.LeafNode))
	s.proposed = t
	s.added = append(s.added, AddedMember{Index: i, KeyPackage: k, Ref: ref})
	at, _ := slices.BinarySearch(s.addedLeaves, i)
	s.addedLeaves = slices.Insert(s.addedLeaves, at, i)
	return nil
}

// noteSecrets collects what the key schedule will need.
func (s *staged) noteSecrets() error {
	for k := range s.proposals {
		switch q := s.proposals[k].Proposal; q.Type {
		case ProposalTypePSK:
			s.psks = append(s.psks, *q.PSK)
		case ProposalTypeExternalInit:
			s.externalInit = q.ExternalInit.KEMOutput
		case ProposalTypeReInit:
			s.reInit = q.ReInit
		}
	}
	return nil
}

// applyComponents hands AppEphemeral and then AppDataUpdate proposals to the
// application (draft-ietf-mls-extensions §4.7 and §4.8).
func (s *staged) applyComponents() error {
	if logic, ok := s.base.config.components().(ephemeralLogic); ok {
		err := s.each(ProposalTypeAppEphemeral, func(r *ResolvedProposal) error {
			if err := logic.Ephemeral(r.Proposal.AppEphemeral.Component, r.Proposal.AppEphemeral.Data); err != nil {
				return &ValidationError{Clause: "draft-ietf-mls-extensions §4.8", Reason: "application data refused", Err: err}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	var err error
	s.extensions, err = s.base.applyUpdates(s.extensions, s.proposals)
	return err
}

const appDataClause = "draft-ietf-mls-extensions §4.7"

// componentUpdates are the AppDataUpdate proposals for one component.
type componentUpdates struct {
	id      ComponentID
	updates [][]byte
	remove  bool
	refs    [][]byte
}

// applyUpdates applies the AppDataUpdate proposals of a list to the dictionary
// in a GroupContext's extensions, one component after the other in the order
// in which the list first names them.
func (p *PublicGroup) applyUpdates(x Extensions, list []ResolvedProposal) (Extensions, error) {
	groups, err := groupUpdates(list)
	if err != nil || len(groups) == 0 {
		return x, err
	}
	d, err := x.Dictionary()
	if err != nil {
		return nil, malformed(ExtensionTypeAppDataDictionary, err)
	}
	d = d.Clone()
	for _, g := range groups {
		if err := g.apply(p.config.components(), d); err != nil {
			return nil, &ValidationError{Clause: appDataClause, Reason: "update of component " + g.id.String() + " refused", ProposalRefs: g.refs, Err: err}
		}
	}
	data, err := wire.Marshal(d)
	if err != nil {
		return nil, err
	}
	x = x.Set(ExtensionTypeAppDataDictionary, data)
	if _, err := p.leafRules(x); err != nil {
		return nil, err
	}
	return x, nil
}

// groupUpdates sorts the list by component and checks that each has either one
// removal or only updates.
func groupUpdates(list []ResolvedProposal) ([]*componentUpdates, error) {
	var groups []*componentUpdates
	byID := map[ComponentID]*componentUpdates{}
	for k := range list {
		r := &list[k]
		u := r.Proposal.AppDataUpdate
		if r.Proposal.Type != ProposalTypeAppDataUpdate {
			continue
		}
		g := byID[u.Component]
		switch {
		case g == nil:
			g = &componentUpdates{id: u.Component}
			byID[u.Component] = g
			groups = append(groups, g)
		case g.remove || u.Op == AppDataUpdateOpRemove:
			return nil, &ValidationError{Clause: appDataClause, Reason: "removal beside another operation on component " + u.Component.String(), ProposalRefs: r.refs()}
		}
		g.refs = append(g.refs, r.refs()...)
		if g.remove = u.Op == AppDataUpdateOpRemove; !g.remove {
			g.updates = append(g.updates, u.Data)
		}
	}
	return groups, nil
}

var errNothingToRemove = errors.New("component has no data to remove")

func (g *componentUpdates) apply(logic ComponentLogic, d *AppDataDictionary) error {
	old, exists := d.Get(g.id)
	if g.remove {
		if !exists {
			return errNothingToRemove
		}
		if err := logic.Remove(g.id, old); err != nil {
			return err
		}
		d.Delete(g.id)
		return nil
	}
	data, err := logic.Update(g.id, old, exists, g.updates)
	if err != nil {
		return err
	}
	d.Set(g.id, data)
	return nil
}

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
