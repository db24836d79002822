package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"connectrpc.com/connect"

	"hubbub/client/clientpb"
	"hubbub/mimi"
	"hubbub/mimi/policy"
	"hubbub/mls"
)

// newcomer is a user to be added with what was claimed for it.
type newcomer struct {
	result   *AddResult
	packages []*mls.KeyPackage
	role     uint32 // in the room
	present  bool   // it is in the room: its further devices are what is added
}

// AddUsers brings users with all their devices into a room with one commit, and
// waits until the hub has accepted it. A user that cannot be added does not keep
// the others out: the results say, in the order of users, what became of each.
// The error is about the operation as a whole; with it no user was added.
//
// Errors: [ErrUnknownRoom], [ErrNotMember], [ErrRejected], [ErrBusy], ctx's;
// after ctx ended the change may still happen.
func (c *Client) AddUsers(ctx context.Context, uri mimi.RoomURI, users ...mimi.UserURI) ([]AddResult, error) {
	unlock, err := c.lockRoom(ctx, uri)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := c.settledRoom(ctx, uri); err != nil {
		return nil, err
	}
	results := make([]AddResult, len(users))
	newcomers := make([]*newcomer, len(users))
	for i, u := range users {
		results[i].User = u
		newcomers[i] = &newcomer{result: &results[i]}
		if slices.Contains(users[:i], u) {
			results[i].Err = fmt.Errorf("%w: named twice", ErrBadArgument)
			continue
		}
		newcomers[i].claim(ctx, c, uri)
	}
	var commitErr error
	err = c.change(ctx, uri, func(r *room) (*mls.PendingCommit, error) {
		commit, err := addition(r, c.user, newcomers)
		commitErr = err
		return commit, err
	})
	if err != nil {
		return results, errors.Join(commitErr, err)
	}
	for _, n := range newcomers {
		n.result.Added = n.result.Err == nil
	}
	return results, nil
}

// claim gets KeyPackages of a user's devices through the own provider and keeps
// those that are what they claim to be (KM-21).
func (n *newcomer) claim(ctx context.Context, c *Client, uri mimi.RoomURI) {
	user := n.result.User
	if _, err := mimi.ParseUser(string(user)); err != nil {
		n.result.Err = fmt.Errorf("%w: %w", ErrBadArgument, err)
		return
	}
	c.mu.Lock()
	r := c.rooms[uri]
	c.mu.Unlock()
	if s, err := r.policyOf(); err == nil { // before KeyPackages are used up in vain
		if n.admit(s, c.user); n.result.Err != nil {
			return
		}
	}
	answer, err := c.keyMaterial(ctx, r, user)
	if err != nil {
		n.result.Err = err
		return
	}
	inside := n.inside(r.group.Public())
	for _, m := range answer.Clients {
		if inside[m.Client] {
			continue
		}
		if m.Status == mimi.ClientKeyMaterialSuccess && c.checkKeyPackage(m, user) == nil {
			n.packages = append(n.packages, m.KeyPackage)
			n.result.Clients = append(n.result.Clients, m.Client)
		} else {
			n.result.Missing = append(n.result.Missing, m.Client)
		}
	}
	if len(n.packages) == 0 && !(n.present && len(answer.Clients) > 0) {
		n.result.Err = keyMaterialError(user, answer.Status)
	}
}

// admit picks the role the user gets, if this one may add it at all.
func (n *newcomer) admit(s *policy.State, self mimi.UserURI) {
	user := n.result.User
	if n.present {
		n.result.Err = mayBring(s, self, user)
		return
	}
	switch s.Participants.Role(user) {
	case policy.Outside:
	case policy.Banned:
		n.result.Err = &Error{Reason: "banned", Message: "the user is banned from the room", Remedy: "lift the ban first"}
		return
	default:
		n.result.Err = &Error{Reason: "exists", Message: "the user is in the room", Remedy: "further devices join by themselves, or are brought in by their user's"}
		return
	}
	role, ok := s.RoleFor(asUser(self), user)
	if !ok { // the engine says why; any role will do for that
		role = policy.Member
	}
	n.role, n.result.Err = role, denied(s, self, policy.AddParticipant{User: user, Role: role})
}

func (c *Client) keyMaterial(ctx context.Context, r *room, user mimi.UserURI) (*mimi.KeyMaterialResponse, error) {
	req := &mimi.KeyMaterialRequest{Protocol: mimi.ProtocolMLS10, RequestingUser: c.user, TargetUser: user, Room: r.uri,
		CipherSuites: []mls.CipherSuite{suite}, Credential: c.credential()}
	required, err := r.group.Context().Extensions.RequiredCapabilities()
	if err != nil {
		return nil, err
	}
	if required != nil {
		req.RequiredCapabilities = *required
	}
	if err := req.Sign(c.key); err != nil {
		return nil, err
	}
	body, err := req.Marshal()
	if err != nil {
		return nil, err
	}
	res, err := c.t.api.ClaimKeyMaterial(ctx, connect.NewRequest(&clientpb.ClaimKeyMaterialRequest{Target: string(user), Body: body}))
	if err != nil {
		return nil, err
	}
	answer, err := mimi.ParseKeyMaterialResponse(res.Msg.Body)
	if err == nil && answer.User != user {
		err = mimi.ErrMalformed
	}
	if err != nil {
		return nil, &Error{Reason: "malformed", Provider: user.Domain(), Message: "the answer about key material cannot be read", cause: err}
	}
	return answer, nil
}

// checkKeyPackage is RFC 9420 §10.1 and the rule that the credential names the
// user and client it was supplied for.
func (c *Client) checkKeyPackage(m mimi.ClientKeyMaterial, user mimi.UserURI) error {
	kp := m.KeyPackage
	leaf := &kp.LeafNode
	if kp.CipherSuite != suite || leaf.Source != mls.LeafNodeSourceKeyPackage || bytes.Equal(kp.InitKey, leaf.EncryptionKey) {
		return mls.ErrBadKey
	}
	if err := kp.VerifySignature(); err != nil {
		return err
	}
	if err := leaf.VerifySignature(kp.CipherSuite, nil, 0); err != nil {
		return err
	}
	now := c.opts.Now()
	id, err := c.facts.Load().verifier.Identify(&leaf.Credential, leaf.SignatureKey, now)
	if err != nil {
		return err
	}
	if id.User != user || id.Client != m.Client {
		return mimi.ErrBadCredential
	}
	if s := uint64(now.Unix()); s < leaf.Lifetime.NotBefore || s > leaf.Lifetime.NotAfter {
		return mls.ErrTooOld
	}
	return nil
}

// keyMaterialReasons say why nobody could be added, by the provider's code.
var keyMaterialReasons = map[mimi.KeyMaterialUserCode][3]string{
	mimi.KeyMaterialSuccess:              {"no_compatible_client", "no device gave a valid key package", "the user must update its devices"},
	mimi.KeyMaterialPartialSuccess:       {"no_compatible_client", "no device gave a valid key package", "the user must update its devices"},
	mimi.KeyMaterialIncompatibleProtocol: {"no_compatible_client", "the user's provider speaks another protocol", ""},
	mimi.KeyMaterialNoCompatible:         {"no_key_packages", "no device of the user has a key package that fits", "try again when one of the user's devices has been online"},
	mimi.KeyMaterialUserUnknown:          {"not_found", "no such user", "check the name"},
	mimi.KeyMaterialUserDeleted:          {"not_found", "the user is gone", ""},
	mimi.KeyMaterialNoConsent:            {"consent_required", "the user has not consented", "ask for consent first"},
	mimi.KeyMaterialNoConsentForRoom:     {"consent_required", "the user has not consented to this room", "ask for consent first"},
}

func keyMaterialError(user mimi.UserURI, status mimi.KeyMaterialUserCode) error {
	why := keyMaterialReasons[status]
	return &Error{Reason: why[0], Provider: user.Domain(), Message: why[1], Remedy: why[2]}
}

// addition makes the commit that adds everybody who can be added. If the commit
// cannot be made with all, those who spoil it are found and left out.
func addition(r *room, self mimi.UserURI, newcomers []*newcomer) (*mls.PendingCommit, error) {
	s, err := r.policyOf()
	if err != nil {
		return nil, err
	}
	able := slices.DeleteFunc(slices.Clone(newcomers), func(n *newcomer) bool {
		if n.result.Err == nil { // the room may be another since the claim
			n.admit(s, self)
			n.without(n.inside(r.group.Public()))
		}
		return n.result.Err != nil || len(n.packages) == 0
	})
	if len(able) == 0 {
		return nil, nil
	}
	commit, err := addAll(r, able)
	if err == nil {
		return commit, nil
	}
	var good []*newcomer
	for _, n := range able {
		if _, err := addAll(r, []*newcomer{n}); err != nil {
			n.result.Err = &Error{Reason: "no_compatible_client", Provider: n.result.User.Domain(),
				Message: "the user's devices do not suit the room", cause: err}
		} else {
			good = append(good, n)
		}
	}
	if len(good) == len(able) {
		return nil, err
	}
	if len(good) == 0 {
		return nil, nil
	}
	return addAll(r, good)
}

func addAll(r *room, able []*newcomer) (*mls.PendingCommit, error) {
	update := &mimi.ParticipantListUpdate{}
	var adds []mls.Proposal
	for _, n := range able {
		if !n.present {
			update.Added = append(update.Added, mimi.Participant{User: n.result.User, Role: n.role})
		}
		for _, kp := range n.packages {
			adds = append(adds, mls.Proposal{Type: mls.ProposalTypeAdd, Add: &mls.Add{KeyPackage: *kp}})
		}
	}
	if len(update.Added) == 0 {
		return r.group.Commit(mls.CommitOptions{Proposals: adds})
	}
	p, err := listUpdate(update)
	if err != nil {
		return nil, err
	}
	return r.group.Commit(mls.CommitOptions{Proposals: append([]mls.Proposal{p}, adds...)})
}
