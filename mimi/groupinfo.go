package mimi

import (
	"bytes"
	"errors"
	"fmt"

	"hubbub/mls"
	"hubbub/mls/wire"
)

// ErrWrongHub means that a group info response is signed by a key that is not the
// hub's in the group it describes (GI-9).
var ErrWrongHub = errors.New("mimi: response is not from the room's hub")

const (
	groupInfoRequestLabel    = "GroupInfoRequestTBS"
	groupInfoResponseLabel   = "GroupInfoResponseTBS"
	groupInfoEncryptionLabel = "GroupInfo and ratchet_tree encryption"
)

// A GroupInfoRequest asks a hub for what a client needs to join by external commit
// (mimi-protocol-06, Claim group key information). The client signs it; the answer is encrypted to its
// PublicKey, so its own provider cannot read it.
type GroupInfoRequest struct {
	Suite        mls.CipherSuite // algorithms of request, response and encryption
	SignatureKey []byte          // the client's public key
	Credential   mls.Credential
	PublicKey    []byte // HPKE, made for this one request (GI-14)
	JoiningCode  []byte // empty for none
	Signature    []byte
}

// ParseGroupInfoRequest reads a request. The error wraps [ErrMalformed].
func ParseGroupInfoRequest(b []byte) (*GroupInfoRequest, error) {
	g := new(GroupInfoRequest)
	if err := parseBody(b, g); err != nil {
		return nil, err
	}
	return g, nil
}

// Marshal gives the body.
func (g *GroupInfoRequest) Marshal() ([]byte, error) { return wire.Marshal(g) }

// Encode writes the body to w.
func (g *GroupInfoRequest) Encode(w *wire.Writer) {
	g.encodeHead(w)
	w.Opaque(g.JoiningCode)
	w.Opaque(g.Signature)
}

// encodeTBS differs from the request in one place: there the joining code is a plain
// vector, here it is optional (D-3).
func (g *GroupInfoRequest) encodeTBS(w *wire.Writer) {
	g.encodeHead(w)
	w.Optional(len(g.JoiningCode) > 0)
	if len(g.JoiningCode) > 0 {
		w.Opaque(g.JoiningCode)
	}
}

func (g *GroupInfoRequest) encodeHead(w *wire.Writer) {
	w.Uint8(uint8(ProtocolMLS10))
	w.Uint16(uint16(g.Suite))
	w.Opaque(g.SignatureKey)
	g.Credential.Encode(w)
	w.Opaque(g.PublicKey)
}

// Decode reads the body from r.
func (g *GroupInfoRequest) Decode(r *wire.Reader) {
	decodeProtocol(r)
	*g = GroupInfoRequest{Suite: mls.CipherSuite(r.Uint16()), SignatureKey: r.Opaque()}
	g.Credential.Decode(r)
	g.PublicKey = r.Opaque()
	g.JoiningCode = r.Opaque()
	g.Signature = r.Opaque()
}

// Sign sets Suite, SignatureKey and Signature.
func (g *GroupInfoRequest) Sign(key *mls.SignatureKey) error {
	g.Suite, g.SignatureKey = key.Suite, key.Public
	tbs, err := encodeWith(g.encodeTBS)
	if err == nil {
		g.Signature, err = key.Suite.SignWithLabel(key.Private, groupInfoRequestLabel, tbs)
	}
	if err != nil {
		return fmt.Errorf("mimi: sign group info request: %w", err)
	}
	return nil
}

// Verify checks Signature under SignatureKey (GI-2). Whose key that is, is for
// [Verifier.Identify] to say. The error wraps [ErrBadSignature].
func (g *GroupInfoRequest) Verify() error {
	tbs, err := encodeWith(g.encodeTBS)
	if err == nil {
		err = g.Suite.VerifyWithLabel(g.SignatureKey, groupInfoRequestLabel, tbs, g.Signature)
	}
	if err != nil {
		return fmt.Errorf("%w: group info request: %w", ErrBadSignature, err)
	}
	return nil
}

// A GroupInfoCode is the outcome of a request for group info. Unlike the others it
// counts success as 1.
type GroupInfoCode uint8

// Outcomes of a request for group info.
const (
	GroupInfoSuccess       GroupInfoCode = 1
	GroupInfoNotAuthorized GroupInfoCode = 2 // may stand for the next (GI-5)
	GroupInfoNoSuchRoom    GroupInfoCode = 3
)

// A GroupInfoResponse answers a [GroupInfoRequest]. Unless Status is success it ends
// after Status and is not signed (D-38).
type GroupInfoResponse struct {
	Room      RoomURI
	Status    GroupInfoCode
	Suite     mls.CipherSuite
	HubSender mls.ExternalSender // must be one of the group's external senders
	Encrypted mls.HPKECiphertext // a GroupInfoRatchetTree
	Signature []byte
}

// A GroupInfoRatchetTree is what a joiner needs: the GroupInfo without the
// ratchet_tree extension, the tree, and the proposals pending in the epoch (GI-6).
type GroupInfoRatchetTree struct {
	GroupInfo        mls.GroupInfo
	RatchetTree      RatchetTreeOption
	PendingProposals []PendingProposal
}

// A PendingProposal is a proposal accepted in the current epoch and not committed.
type PendingProposal struct {
	Proposal  mls.Message // Raw holds its octets
	Timestamp uint64      // the hub's acceptance time in Unix ms
}

// ParseGroupInfoResponse reads an answer. The error wraps [ErrMalformed].
func ParseGroupInfoResponse(b []byte) (*GroupInfoResponse, error) {
	g := new(GroupInfoResponse)
	if err := parseBody(b, g); err != nil {
		return nil, err
	}
	return g, nil
}

// Marshal gives the body.
func (g *GroupInfoResponse) Marshal() ([]byte, error) { return wire.Marshal(g) }

// Encode writes the body to w.
func (g *GroupInfoResponse) Encode(w *wire.Writer) {
	g.encodeTBS(w)
	if g.Status == GroupInfoSuccess {
		w.Opaque(g.Signature)
	}
}

func (g *GroupInfoResponse) encodeTBS(w *wire.Writer) {
	w.Uint8(uint8(ProtocolMLS10))
	encodeString(w, g.Room)
	w.Uint8(uint8(g.Status))
	if g.Status != GroupInfoSuccess {
		return
	}
	w.Uint16(uint16(g.Suite))
	g.HubSender.Encode(w)
	g.Encrypted.Encode(w)
}

// Decode reads the body from r.
func (g *GroupInfoResponse) Decode(r *wire.Reader) {
	decodeProtocol(r)
	*g = GroupInfoResponse{Room: decodeURI(r, ParseRoom)}
	g.Status = inRange(r, GroupInfoCode(r.Uint8()), GroupInfoSuccess, GroupInfoNoSuchRoom)
	if g.Status != GroupInfoSuccess {
		return
	}
	g.Suite = mls.CipherSuite(r.Uint16())
	g.HubSender.Decode(r)
	g.Encrypted.Decode(r)
	g.Signature = r.Opaque()
}

// SealGroupInfo encrypts content to the requester and signs the answer with the hub's
// external sender key. The suite of key must be that of the request.
func SealGroupInfo(req *GroupInfoRequest, room RoomURI, content *GroupInfoRatchetTree, sender mls.ExternalSender, key *mls.SignatureKey) (*GroupInfoResponse, error) {
	if req.Suite != key.Suite {
		return nil, fmt.Errorf("mimi: seal group info: request is for suite %v, the hub signs with %v", req.Suite, key.Suite)
	}
	plain, err := wire.Marshal(content)
	if err != nil {
		return nil, fmt.Errorf("mimi: seal group info: %w", err)
	}
	g := &GroupInfoResponse{Room: room, Status: GroupInfoSuccess, Suite: req.Suite, HubSender: sender}
	// The context is the bare identifier (D-37).
	g.Encrypted, err = req.Suite.EncryptWithLabel(req.PublicKey, groupInfoEncryptionLabel, []byte(room), plain)
	if err != nil {
		return nil, fmt.Errorf("mimi: seal group info: %w", err)
	}
	tbs, err := encodeWith(g.encodeTBS)
	if err == nil {
		g.Signature, err = key.Suite.SignWithLabel(key.Private, groupInfoResponseLabel, tbs)
	}
	if err != nil {
		return nil, fmt.Errorf("mimi: seal group info: %w", err)
	}
	return g, nil
}

// Verify checks the signature of a successful answer under HubSender (GI-8). The
// error wraps [ErrBadSignature].
func (g *GroupInfoResponse) Verify() error {
	tbs, err := encodeWith(g.encodeTBS)
	if err == nil && g.Status == GroupInfoSuccess {
		err = g.Suite.VerifyWithLabel(g.HubSender.SignatureKey, groupInfoResponseLabel, tbs, g.Signature)
	} else if err == nil {
		err = errors.New("refusals are not signed")
	}
	if err != nil {
		return fmt.Errorf("%w: group info response: %w", ErrBadSignature, err)
	}
	return nil
}

// Open verifies the answer, decrypts it with the private key made for the request,
// and checks that HubSender is the room's hub and an external sender of the group
// (GI-8, GI-9). What is inside is not otherwise validated: that is for the join. The
// error wraps [ErrBadSignature], [ErrWrongHub], [ErrMalformed] or an error of mls.
func (g *GroupInfoResponse) Open(private []byte) (*GroupInfoRatchetTree, error) {
	if err := g.Verify(); err != nil {
		return nil, err
	}
	if d, err := ProviderIdentity(&g.HubSender.Credential); err != nil || d != g.Room.Domain() {
		return nil, fmt.Errorf("%w: signed by another provider", ErrWrongHub)
	}
	plain, err := g.Suite.DecryptWithLabel(private, groupInfoEncryptionLabel, []byte(g.Room), g.Encrypted)
	if err != nil {
		return nil, fmt.Errorf("mimi: open group info: %w", err)
	}
	content := new(GroupInfoRatchetTree)
	if err := parseBody(plain, content); err != nil {
		return nil, err
	}
	senders, err := content.GroupInfo.GroupContext.Extensions.ExternalSenders()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	for i := range senders {
		if bytes.Equal(senders[i].SignatureKey, g.HubSender.SignatureKey) && senders[i].Credential.Equal(&g.HubSender.Credential) {
			return content, nil
		}
	}
	return nil, fmt.Errorf("%w: not an external sender of the group", ErrWrongHub)
}

// Encode writes the plaintext to w.
func (c *GroupInfoRatchetTree) Encode(w *wire.Writer) {
	c.GroupInfo.Encode(w)
	c.RatchetTree.Encode(w)
	encodeList(w, c.PendingProposals, func(w *wire.Writer, p *PendingProposal) {
		encodeMessage(w, &p.Proposal)
		w.Uint64(p.Timestamp)
	})
}

// Decode reads the plaintext from r.
func (c *GroupInfoRatchetTree) Decode(r *wire.Reader) {
	c.GroupInfo.Decode(r)
	c.RatchetTree.Decode(r)
	c.PendingProposals = decodeList(r, func(r *wire.Reader, p *PendingProposal) {
		p.Proposal.Decode(r)
		p.Timestamp = r.Uint64()
		if r.Err() == nil && !isHandshake(&p.Proposal, mls.ContentTypeProposal) {
			r.Fail(ErrWrongWireFormat)
		}
	})
}
