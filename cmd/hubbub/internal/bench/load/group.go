package load

import (
	"context"
	"errors"
	"fmt"

	"hubbub/client/clientpb"
	"hubbub/mimi"
	"hubbub/mimi/policy"
	"hubbub/mls"
	"hubbub/mls/wire"
)

// CreateRoom makes a room hosted by the device's provider.
func (d *Device) CreateRoom(ctx context.Context) (mimi.RoomURI, error) {
	id := newID()
	room, err := mimi.NewRoom(d.place.domain, id)
	if err != nil {
		return "", err
	}
	g, err := d.newGroup(room, id)
	if err != nil {
		return "", err
	}
	gi, err := g.GroupInfo()
	if err != nil {
		return "", err
	}
	info, err := wire.Marshal(gi)
	if err != nil {
		return "", err
	}
	tree, err := wire.Marshal(g.Tree())
	if err != nil {
		return "", err
	}
	if _, err := d.place.setup.CreateRoom(ctx, request(d, &clientpb.CreateRoomRequest{Room: string(room), GroupInfo: info, RatchetTree: tree})); err != nil {
		return "", fmt.Errorf("creating a room: %w", err)
	}
	d.keep(room, g)
	return room, nil
}

func (d *Device) newGroup(room mimi.RoomURI, id string) (*mls.Group, error) {
	var hub mls.ExternalSender
	if err := wire.Unmarshal(d.place.hubSender, &hub); err != nil {
		return nil, err
	}
	extensions, err := policy.GroupExtensions(room, "bench", d.user, hub)
	if err != nil {
		return nil, err
	}
	gid, err := mimi.NewGroup(d.place.domain, id)
	if err != nil {
		return nil, err
	}
	return mls.NewGroup(mls.GroupOptions{GroupID: []byte(gid), Suite: suite, Signer: d.key, Credential: d.credential(),
		Extensions: extensions, LeafExtensions: mls.Extensions{policy.LeafExtension()}}, d.place.config)
}

func (d *Device) keep(room mimi.RoomURI, g *mls.Group) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.groups[room] = g
}

// group is the device's group of a room, nil if it is not in it.
func (d *Device) group(room mimi.RoomURI) *mls.Group {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.groups[room]
}

// Member says whether the device is in the group of a room.
func (d *Device) Member(room mimi.RoomURI) bool { return d.group(room) != nil }

// Claim fetches KeyPackages of a user for a room the device is in.
func (d *Device) Claim(ctx context.Context, room mimi.RoomURI, user mimi.UserURI) ([]*mls.KeyPackage, error) {
	g := d.group(room)
	if g == nil {
		return nil, fmt.Errorf("not in %s", room)
	}
	req := &mimi.KeyMaterialRequest{Protocol: mimi.ProtocolMLS10, RequestingUser: d.user, TargetUser: user, Room: room,
		CipherSuites: []mls.CipherSuite{suite}, Credential: d.credential()}
	if required, err := g.Context().Extensions.RequiredCapabilities(); err == nil && required != nil {
		req.RequiredCapabilities = *required
	}
	if err := req.Sign(d.key); err != nil {
		return nil, err
	}
	body, err := req.Marshal()
	if err != nil {
		return nil, err
	}
	res, err := d.place.setup.ClaimKeyMaterial(ctx, request(d, &clientpb.ClaimKeyMaterialRequest{Target: string(user), Body: body}))
	if err != nil {
		return nil, fmt.Errorf("claiming KeyPackages of %s: %w", user.Handle(), err)
	}
	answer, err := mimi.ParseKeyMaterialResponse(res.Msg.Body)
	if err != nil {
		return nil, err
	}
	var out []*mls.KeyPackage
	for _, c := range answer.Clients {
		if c.Status == mimi.ClientKeyMaterialSuccess {
			out = append(out, c.KeyPackage)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no KeyPackage of %s to be had", user.Handle())
	}
	return out, nil
}

// Newcomer is a user with the KeyPackages of its devices.
type Newcomer struct {
	User     mimi.UserURI
	Packages []*mls.KeyPackage
}

// Add brings users into a room with one commit and waits until the hub has it.
func (d *Device) Add(ctx context.Context, room mimi.RoomURI, users ...Newcomer) error {
	update := &mimi.ParticipantListUpdate{}
	var adds []mls.Proposal
	for _, n := range users {
		update.Added = append(update.Added, mimi.Participant{User: n.User, Role: policy.Member})
		for _, kp := range n.Packages {
			adds = append(adds, mls.Proposal{Type: mls.ProposalTypeAdd, Add: &mls.Add{KeyPackage: *kp}})
		}
	}
	return d.change(ctx, room, update, adds)
}

// Remove takes a user with its devices out of a room.
func (d *Device) Remove(ctx context.Context, room mimi.RoomURI, user mimi.UserURI) error {
	g := d.group(room)
	if g == nil {
		return fmt.Errorf("not in %s", room)
	}
	data, _ := g.Public().Dictionary().Get(mimi.ComponentParticipantList)
	list, err := mimi.ParseParticipantList(data)
	if err != nil {
		return err
	}
	i := list.Index(user)
	if i < 0 {
		return fmt.Errorf("%s is not in %s", user.Handle(), room)
	}
	var removes []mls.Proposal
	for _, m := range g.Members() {
		if id, err := mimi.ClaimedIdentity(&m.Leaf.Credential); err == nil && id.User == user {
			removes = append(removes, mls.Proposal{Type: mls.ProposalTypeRemove, Remove: &mls.Remove{Removed: m.Index}})
		}
	}
	return d.change(ctx, room, &mimi.ParticipantListUpdate{Removed: []uint32{uint32(i)}}, removes)
}

// change commits a change of the participant list with its proposals. The device
// must be the only one that commits in the room, and its provider the hub.
func (d *Device) change(ctx context.Context, room mimi.RoomURI, update *mimi.ParticipantListUpdate, proposals []mls.Proposal) error {
	g := d.group(room)
	if g == nil {
		return fmt.Errorf("not in %s", room)
	}
	data, err := wire.Marshal(update)
	if err != nil {
		return err
	}
	list := mls.Proposal{Type: mls.ProposalTypeAppDataUpdate, AppDataUpdate: &mls.AppDataUpdate{
		Component: mimi.ComponentParticipantList, Op: mls.AppDataUpdateOpUpdate, Data: data}}
	commit, err := g.Commit(mls.CommitOptions{Proposals: append([]mls.Proposal{list}, proposals...)})
	if err != nil {
		return err
	}
	m, err := mls.ParseMessage(commit.Message())
	if err != nil {
		return err
	}
	bundle := &mimi.HandshakeBundle{Message: *m, Welcome: commit.Welcome(),
		GroupInfo:   mimi.GroupInfoOption{Full: commit.GroupInfo()},
		RatchetTree: mimi.RatchetTreeOption{Representation: mimi.TreeDistributionService}}
	body, err := bundle.Marshal()
	if err != nil {
		return err
	}
	if err := d.submitChange(ctx, room, body); err != nil {
		return fmt.Errorf("changing %s: %w", room, err)
	}
	d.keep(room, commit.Merge())
	return nil
}

func (d *Device) submitChange(ctx context.Context, room mimi.RoomURI, body []byte) error {
	res, err := d.place.setup.Submit(ctx, request(d, &clientpb.SubmitRequest{Submissions: []*clientpb.NewSubmission{
		{Txn: newID(), Room: string(room), Kind: clientpb.SubmissionKind_SUBMISSION_KIND_UPDATE, Body: body}}}))
	if err != nil {
		return err
	}
	r := res.Msg.Results[0]
	if e := r.GetError(); e != nil {
		return errors.New(e.GetMessage())
	}
	if s := r.GetSubmission(); s.GetState() != clientpb.SubmissionState_SUBMISSION_STATE_POSTED {
		return fmt.Errorf("the hub answered %s %s %s", s.GetState(), s.GetReason(), s.GetDetail())
	}
	return nil
}

// join enters the group of a Welcome that one of the device's KeyPackages opens.
func (d *Device) join(f *clientpb.Welcome) error {
	m, err := mimi.ParseFanoutMessage(f.GetBody())
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range m.Message.Welcome.Secrets {
		kp := d.packages[string(s.NewMember)]
		if kp == nil {
			continue
		}
		g, err := mls.JoinWelcome(m.Message.Welcome, kp, mls.JoinOptions{Tree: m.RatchetTree.Tree}, d.place.config)
		if err != nil {
			return err
		}
		delete(d.packages, string(s.NewMember))
		d.groups[mimi.RoomURI(f.GetRoom())] = g
		return nil
	}
	return mls.ErrNoMatchingKeyPackage
}
