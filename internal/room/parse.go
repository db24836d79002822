package room

import (
	"bytes"
	"crypto/sha256"
	"errors"

	"hubbub/mimi"
	"hubbub/mimi/policy"
	"hubbub/mls"
)

// Submission is an application message submitted to a hub.
type Submission struct {
	Peer   mimi.Domain // who submits it, authenticated
	Sender mimi.UserURI

	message *mls.Message
	hash    [32]byte
}

func (*Submission) input() {}

// MessageHash is the SHA-256 of the MLSMessage octets, the key for repeats.
func (s *Submission) MessageHash() [32]byte { return s.hash }

// Epoch is the epoch the message was encrypted in.
func (s *Submission) Epoch() uint64 { return s.message.Private.Epoch }

// ParseSubmission decodes the body of submitMessage, which must not be changed
// while the result is in use. Errors are *mimi.Problem.
func ParseSubmission(peer mimi.Domain, body []byte) (*Submission, error) {
	req, err := mimi.ParseSubmitMessageRequest(body)
	if err != nil {
		return nil, malformed(err)
	}
	return &Submission{Peer: peer, Sender: req.Sender, message: &req.Message, hash: hashOf(&req.Message)}, nil
}

// Handshake is a commit or a bundle of proposals submitted to a hub.
type Handshake struct {
	Peer mimi.Domain // who submits it, authenticated
	Code bool        // its sender has shown a join code that the room admits

	bundle *mimi.HandshakeBundle
	hash   [32]byte
}

func (*Handshake) input() {}

// MessageHash is the SHA-256 of the octets of the commit or of the first
// proposal, the key for repeats.
func (h *Handshake) MessageHash() [32]byte { return h.hash }

// IsCommit says whether it is a commit, not proposals.
func (h *Handshake) IsCommit() bool { return h.bundle.IsCommit() }

// Joins says whether it is the commit by which a client lets itself into the group.
func (h *Handshake) Joins() bool {
	return h.IsCommit() && h.bundle.Message.Public.Content.Sender.Type == mls.SenderTypeNewMemberCommit
}

// Epoch is the epoch the handshake belongs to.
func (h *Handshake) Epoch() uint64 { return h.bundle.Message.Public.Content.Epoch }

// Newcomer is who says to join by a commit of their own, and by what kind of credential;
// false for every other handshake. Whether they are who they say is for Step to find out.
func (h *Handshake) Newcomer() (policy.Actor, bool) {
	m := h.bundle.Message.Public
	if m == nil || m.Content.Sender.Type != mls.SenderTypeNewMemberCommit || m.Content.Commit == nil || m.Content.Commit.Path == nil {
		return policy.Actor{}, false
	}
	credential := &m.Content.Commit.Path.LeafNode.Credential
	id, err := mimi.ClaimedIdentity(credential)
	return policy.Actor{User: id.User, Credential: credential.Type}, err == nil
}

// Repeats says whether an entry of the log holds the same handshake: the same
// commit, or the same proposals in the same order.
func (h *Handshake) Repeats(entry []byte) bool {
	f, err := mimi.ParseFanoutMessage(entry)
	if err != nil || !bytes.Equal(f.Message.Raw, h.bundle.Message.Raw) || len(f.MoreProposals) != len(h.bundle.MoreProposals) {
		return false
	}
	for i := range f.MoreProposals {
		if !bytes.Equal(f.MoreProposals[i].Raw, h.bundle.MoreProposals[i].Raw) {
			return false
		}
	}
	return true
}

// ParseHandshake decodes the body of update. Errors are *mimi.Problem.
func ParseHandshake(peer mimi.Domain, body []byte) (*Handshake, error) {
	bundle, err := mimi.ParseHandshakeBundle(bytes.Clone(body))
	if err != nil {
		return nil, malformed(err)
	}
	return &Handshake{Peer: peer, bundle: bundle, hash: hashOf(&bundle.Message)}, nil
}

// Announcement is one FanoutMessage of a hub.
type Announcement struct {
	message mimi.FanoutMessage
	hash    [32]byte
}

func (*Announcement) input() {}

// MessageHash is the SHA-256 of the (first) MLSMessage.
func (a *Announcement) MessageHash() [32]byte { return a.hash }

// Raw is the exact octets of the FanoutMessage.
func (a *Announcement) Raw() []byte { return a.message.Raw }

// IsWelcome says whether it is a Welcome, which is not an entry of the log.
func (a *Announcement) IsWelcome() bool { return a.message.Kind() == mimi.FanoutWelcome }

// Timestamp is the AcceptedTimestamp it carries, Unix ms.
func (a *Announcement) Timestamp() uint64 { return a.message.Timestamp }

// WelcomeRefs are the KeyPackageRefs a Welcome names.
func (a *Announcement) WelcomeRefs() [][]byte {
	if a.message.Message.Welcome == nil {
		return nil
	}
	var refs [][]byte
	for _, s := range a.message.Message.Welcome.Secrets {
		refs = append(refs, s.NewMember)
	}
	return refs
}

// ParseAnnouncements decodes the body of notify, all of it or nothing. Errors
// are *mimi.Problem.
func ParseAnnouncements(body []byte) ([]*Announcement, error) {
	list, err := mimi.ParseFanout(bytes.Clone(body))
	if err != nil {
		return nil, malformed(err)
	}
	out := make([]*Announcement, len(list))
	for i := range list {
		out[i] = &Announcement{message: list[i], hash: hashOf(&list[i].Message)}
	}
	return out, nil
}

// badRequest is the HTTP status of a body that does not decode.
const badRequest = 400

func hashOf(m *mls.Message) [32]byte { return sha256.Sum256(m.Raw) }

func malformed(err error) error {
	code, say := mimi.CodeMalformed, "the body does not decode"
	switch {
	case errors.Is(err, mimi.ErrUnsupportedProtocol):
		code = mimi.CodeUnsupported
	case errors.Is(err, mimi.ErrWrongWireFormat):
		code = mimi.CodeWrongWireFormat
		say = "messages are PrivateMessages, handshakes PublicMessages: private and semi-private handshakes are not taken"
	case errors.Is(err, mimi.ErrBadURI):
		code = mimi.CodeBadURI
	}
	return mimi.NewProblem(badRequest, code, "%s", say)
}
