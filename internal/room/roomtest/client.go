// Package roomtest plays the clients of a room in tests: real MLS groups that
// make the bodies a hub is sent and follow the log it announces.
package roomtest

import (
	"bytes"
	"fmt"
	"io"
	"time"

	"hubbub/internal/room"
	"hubbub/mimi"
	"hubbub/mimi/policy"
	"hubbub/mls"
	"hubbub/mls/wire"
)

// TB is the part of testing.TB this package needs.
type TB interface {
	Helper()
	Fatalf(format string, args ...any)
}

// Suite is the cipher suite of everything made here.
const Suite = mls.SuiteX25519AES128SHA256Ed25519

// Env is the environment of a test's rooms: basic credentials are believed.
func Env() *room.Env {
	return &room.Env{Verifier: &mimi.Verifier{AllowBasic: true}}
}

// A World makes clients that share a clock and a source of randomness.
type World struct {
	T    TB
	Now  func() time.Time
	Rand io.Reader // nil = crypto/rand
}

// NewKey makes a signature key, for a client or for a hub.
func (w *World) NewKey() *mls.SignatureKey {
	w.T.Helper()
	key, err := mls.NewSignatureKey(Suite, w.Rand)
	w.check(err)
	return key
}

func (w *World) check(err error) {
	if err != nil {
		w.T.Helper()
		w.T.Fatalf("roomtest: %v", err)
	}
}

// A Client is one client of a user, in at most one room.
type Client struct {
	*World
	User  mimi.UserURI
	URI   mimi.ClientURI
	Group *mls.Group

	key     *mls.SignatureKey
	pending *mls.PendingCommit
	kps     []*mls.KeyPackageSecret
	Texts   []string // application messages decrypted so far
	Franked bool     // the rooms it creates have the hub as franking agent

	// Vouched, if not nil, stands in place of the basic credential.
	Vouched *mls.Credential
}

// Client makes a client of a user written as bob@b.localhost.
func (w *World) Client(handle, device string) *Client {
	w.T.Helper()
	user, err := mimi.ParseHandle(handle)
	w.check(err)
	uri, err := mimi.NewClient(user, device)
	w.check(err)
	return &Client{World: w, User: user, URI: uri, key: w.NewKey()}
}

// Key is the client's signature key.
func (c *Client) Key() *mls.SignatureKey { return c.key }

// Credential is what the client shows: its basic credential, unless Vouched.
func (c *Client) Credential() mls.Credential {
	if c.Vouched != nil {
		return *c.Vouched
	}
	return mls.BasicCredential([]byte(c.URI))
}

func (c *Client) config() *mls.Config {
	return &mls.Config{Components: policy.Components(), Now: c.Now, Rand: c.Rand, MaxLifetime: -1}
}

func (c *Client) times() (notBefore, notAfter time.Time) {
	return c.Now().Add(-time.Hour), c.Now().Add(30 * 24 * time.Hour)
}

// Create makes a group for a room and the input that registers it.
func (c *Client) Create(uri mimi.RoomURI, hub *mls.SignatureKey) room.Creation {
	c.T.Helper()
	return c.CreateWithAgent(uri, hub, hub.Public)
}

// CreateWithAgent is Create where the franking agent, if there is one, has another key.
func (c *Client) CreateWithAgent(uri mimi.RoomURI, hub *mls.SignatureKey, agent []byte) room.Creation {
	c.T.Helper()
	template, err := policy.Preset("default", uri.Domain())
	c.check(err)
	if c.Franked {
		template.Franking = &mimi.FrankingAgent{SignatureKey: agent, Credential: mimi.ProviderCredential(uri.Domain())}
	}
	return c.CreateAs(uri, hub, template, nil)
}

// CreateAs is Create for a room of any policy, with more components.
func (c *Client) CreateAs(uri mimi.RoomURI, hub *mls.SignatureKey, template *policy.Template, more map[mls.ComponentID]wire.Encoder) room.Creation {
	c.T.Helper()
	sender := mls.ExternalSender{SignatureKey: hub.Public, Credential: mimi.ProviderCredential(uri.Domain())}
	ext, err := template.Extensions(uri, "test", c.User, sender)
	c.check(err)
	d, err := ext.Dictionary()
	c.check(err)
	for id, data := range more {
		d.Set(id, c.marshal(data))
	}
	ext = ext.Set(mls.ExtensionTypeAppDataDictionary, c.marshal(d))
	from, to := c.times()
	g, err := mls.NewGroup(mls.GroupOptions{
		GroupID: []byte("mimi://" + string(uri.Domain()) + "/g/" + lastSegment(string(uri))), Suite: Suite, Signer: c.key,
		Credential: c.Credential(), Extensions: ext, LeafExtensions: mls.Extensions{policy.LeafExtension()},
		NotBefore: from, NotAfter: to,
	}, c.config())
	c.check(err)
	c.Group = g
	gi, err := g.GroupInfo()
	c.check(err)
	return room.Creation{Room: uri, Creator: c.URI, GroupInfo: c.marshal(gi), Tree: c.marshal(g.Tree())}
}

func lastSegment(s string) string { return s[bytes.LastIndexByte([]byte(s), '/')+1:] }

func (c *Client) marshal(e wire.Encoder) []byte {
	c.T.Helper()
	b, err := wire.Marshal(e)
	c.check(err)
	return b
}

// KeyPackage makes a KeyPackage and keeps its secrets.
func (c *Client) KeyPackage() *mls.KeyPackage {
	c.T.Helper()
	from, to := c.times()
	kp, err := mls.NewKeyPackage(mls.KeyPackageOptions{
		Suite: Suite, Signer: c.key, Credential: c.Credential(), NotBefore: from, NotAfter: to,
		LeafExtensions: mls.Extensions{policy.LeafExtension()}, Rand: c.Rand, Now: c.Now,
	})
	c.check(err)
	c.kps = append(c.kps, kp)
	return kp.KeyPackage
}

// Add makes the body of an update that adds users with these KeyPackages.
func (c *Client) Add(packages ...*mls.KeyPackage) []byte {
	c.T.Helper()
	update := &mimi.ParticipantListUpdate{}
	list := c.Participants()
	var proposals []mls.Proposal
	for _, kp := range packages {
		id, err := mimi.ClaimedIdentity(&kp.LeafNode.Credential)
		c.check(err)
		if list.Index(id.User) < 0 {
			list.Participants = append(list.Participants, mimi.Participant{User: id.User, Role: policy.Member})
			update.Added = append(update.Added, mimi.Participant{User: id.User, Role: policy.Member})
		}
		proposals = append(proposals, mls.Proposal{Type: mls.ProposalTypeAdd, Add: &mls.Add{KeyPackage: *kp}})
	}
	if len(update.Added) > 0 {
		proposals = append(proposals, ListUpdate(c.T, update))
	}
	return c.Commit(proposals...)
}

// ListUpdate is a proposal to change the participant list.
func ListUpdate(t TB, u *mimi.ParticipantListUpdate) mls.Proposal {
	t.Helper()
	b, err := u.Marshal()
	if err != nil {
		t.Fatalf("roomtest: %v", err)
	}
	return mls.Proposal{Type: mls.ProposalTypeAppDataUpdate, AppDataUpdate: &mls.AppDataUpdate{
		Component: mimi.ComponentParticipantList, Op: mls.AppDataUpdateOpUpdate, Data: b,
	}}
}

// Participants is the participant list of the client's group.
func (c *Client) Participants() *mimi.ParticipantListData {
	c.T.Helper()
	data, _ := c.Group.Public().Dictionary().Get(mimi.ComponentParticipantList)
	list, err := mimi.ParseParticipantList(data)
	c.check(err)
	return list
}

// Removal are the proposals that take a user and its clients out of the room.
func (c *Client) Removal(users ...mimi.UserURI) []mls.Proposal {
	c.T.Helper()
	update := &mimi.ParticipantListUpdate{}
	var proposals []mls.Proposal
	for _, u := range users {
		update.Removed = append(update.Removed, uint32(c.Participants().Index(u)))
		for _, leaf := range c.Leaves(u) {
			proposals = append(proposals, mls.Proposal{Type: mls.ProposalTypeRemove, Remove: &mls.Remove{Removed: leaf}})
		}
	}
	return append(proposals, ListUpdate(c.T, update))
}

// Leaves are the leaves of a user's clients.
func (c *Client) Leaves(u mimi.UserURI) (leaves []mls.LeafIndex) {
	c.T.Helper()
	for _, m := range c.Group.Members() {
		id, err := mimi.ClaimedIdentity(&m.Leaf.Credential)
		c.check(err)
		if id.User == u {
			leaves = append(leaves, m.Index)
		}
	}
	return leaves
}

// Commit makes the body of an update with a commit of the proposals and of all
// that is pending. The commit takes effect when Follow meets it in the log.
func (c *Client) Commit(proposals ...mls.Proposal) []byte {
	c.T.Helper()
	p, err := c.Group.Commit(mls.CommitOptions{Proposals: proposals})
	c.check(err)
	return c.Bundle(p)
}

// Bundle wraps a commit for the hub and remembers it as the one to merge.
func (c *Client) Bundle(p *mls.PendingCommit) []byte {
	c.T.Helper()
	c.pending = p
	m, err := mls.ParseMessage(p.Message())
	c.check(err)
	return c.marshal(&mimi.HandshakeBundle{
		Message: *m, Welcome: p.Welcome(), GroupInfo: mimi.GroupInfoOption{Full: p.GroupInfo()},
		RatchetTree: mimi.RatchetTreeOption{Representation: mimi.TreeDistributionService},
	})
}

// Propose makes the body of an update with stand-alone proposals.
func (c *Client) Propose(proposals ...mls.Proposal) []byte {
	c.T.Helper()
	var bundle mimi.HandshakeBundle
	g := c.Group
	for i, p := range proposals {
		next, b, err := g.Propose(p, mls.ProposeOptions{})
		c.check(err)
		g = next
		m, err := mls.ParseMessage(b)
		c.check(err)
		if i == 0 {
			bundle.Message = *m
		} else {
			bundle.MoreProposals = append(bundle.MoreProposals, *m)
		}
	}
	return c.marshal(&bundle)
}

// Leave makes the body by which the client's user leaves: a SelfRemove of this
// client, a Remove of each other, and the removal from the list.
func (c *Client) Leave() []byte {
	c.T.Helper()
	proposals := []mls.Proposal{{Type: mls.ProposalTypeSelfRemove, SelfRemove: &mls.SelfRemove{}}}
	for _, p := range c.Removal(c.User) {
		if p.Remove == nil || p.Remove.Removed != c.Group.OwnLeaf() {
			proposals = append(proposals, p)
		}
	}
	return c.Propose(proposals...)
}

// Post makes the body of a submission.
func (c *Client) Post(text string) []byte {
	c.T.Helper()
	return c.post([]byte(text), mls.EncryptOptions{})
}

// PostTagged makes the body of a submission whose sender commits to the data.
func (c *Client) PostTagged(salt [16]byte, data []byte) []byte {
	c.T.Helper()
	tag := mimi.NewFrankTag(salt, data)
	return c.post(data, mls.EncryptOptions{AAD: c.marshal(&mls.SafeAAD{Items: []mls.ComponentData{tag.Item()}})})
}

func (c *Client) post(data []byte, o mls.EncryptOptions) []byte {
	c.T.Helper()
	next, b, err := c.Group.Encrypt(data, o)
	c.check(err)
	c.Group = next
	m, err := mls.ParseMessage(b)
	c.check(err)
	return c.marshal(&mimi.SubmitMessageRequest{Message: *m, Sender: c.User})
}

// JoinExternal makes the body of an external commit from what the hub hands out.
func (c *Client) JoinExternal(gi *mls.GroupInfo, tree mls.RatchetTree, pending ...*mls.PublicMessage) []byte {
	c.T.Helper()
	return c.JoinAs(gi, tree, nil, pending...)
}

// JoinAs is JoinExternal with proposals of the joiner's own, such as to list its user.
func (c *Client) JoinAs(gi *mls.GroupInfo, tree mls.RatchetTree, own []mls.Proposal, pending ...*mls.PublicMessage) []byte {
	c.T.Helper()
	p, err := mls.JoinExternal(gi, mls.ExternalJoinOptions{
		Tree: tree, Signer: c.key, Credential: c.Credential(), Proposals: pending, ByValue: own,
		LeafExtensions: mls.Extensions{policy.LeafExtension()},
	}, c.config())
	c.check(err)
	return c.Bundle(p)
}

// Join takes the FanoutMessage of a Welcome.
func (c *Client) Join(welcome []byte) {
	c.T.Helper()
	f, err := mimi.ParseFanoutMessage(welcome)
	c.check(err)
	for _, kp := range c.kps {
		if g, err := mls.JoinWelcome(f.Message.Welcome, kp, mls.JoinOptions{Tree: f.RatchetTree.Tree}, c.config()); err == nil {
			c.Group = g
			return
		}
	}
	c.T.Fatalf("roomtest: %s cannot join", c.URI)
}

// Follow takes the next entry of the log. It returns false once the client has
// been removed.
func (c *Client) Follow(entry []byte) bool {
	c.T.Helper()
	f, err := mimi.ParseFanoutMessage(entry)
	c.check(err)
	messages := [][]byte{f.Message.Raw}
	for i := range f.MoreProposals {
		messages = append(messages, f.MoreProposals[i].Raw)
	}
	for i := range f.ExternalProposals {
		messages = append(messages, f.ExternalProposals[i].Raw)
	}
	for _, m := range messages {
		if c.pending != nil && bytes.Equal(m, c.pending.Message()) {
			c.Group, c.pending = c.pending.Merge(), nil
			continue
		}
		if c.Group == nil {
			continue // about to join by its own commit
		}
		if !c.process(m) {
			return false
		}
	}
	return true
}

func (c *Client) process(m []byte) bool {
	c.T.Helper()
	done, err := c.Group.Process(m)
	if err != nil {
		c.T.Fatalf("roomtest: %s in epoch %d: %v", c.URI, c.Group.Epoch(), err)
	}
	switch done := done.(type) {
	case *mls.Application:
		c.Group = done.Next
		c.Texts = append(c.Texts, string(done.Data))
	case *mls.ProposalReceived:
		c.Group = done.Next
	case *mls.CommitReceived:
		c.pending = nil
		if done.Removed {
			c.Group = nil
			return false
		}
		c.Group = done.Merge()
	case *mls.OwnMessage:
	default:
		c.T.Fatalf("roomtest: unexpected %T", done)
	}
	return true
}

// Drop forgets a commit that was refused.
func (c *Client) Drop() { c.pending = nil }

// String names the client as people do.
func (c *Client) String() string { return fmt.Sprintf("%s/%s", c.User.Handle(), c.URI.Device()) }

// Joining says whether the client waits for its own external commit.
func (c *Client) Joining() bool { return c.Group == nil && c.pending != nil }
