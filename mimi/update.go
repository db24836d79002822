package mimi

import (
	"fmt"

	"hubbub/mls"
	"hubbub/mls/wire"
)

// A HandshakeBundle is the request to change a room: a commit with what belongs to
// it, or proposals (mimi-protocol-06, Update Room State). It has no protocol octet (D-4). The
// messages keep the octets they were received in, in their Raw field.
type HandshakeBundle struct {
	Message mls.Message // a PublicMessage holding a commit or a proposal

	// Beside a commit:

	Welcome     *mls.Welcome // nil if nobody is added
	GroupInfo   GroupInfoOption
	RatchetTree RatchetTreeOption

	// Beside a proposal:

	MoreProposals []mls.Message // of the same sender, group and epoch (UPD-5)
}

// ParseHandshakeBundle reads an update request. The error wraps [ErrMalformed], and
// [ErrWrongWireFormat] if a message is of a kind not allowed (UPD-2).
func ParseHandshakeBundle(b []byte) (*HandshakeBundle, error) {
	h := new(HandshakeBundle)
	if err := parseBody(b, h); err != nil {
		return nil, err
	}
	return h, nil
}

// IsCommit says whether the bundle is one commit, not proposals.
func (h *HandshakeBundle) IsCommit() bool { return isHandshake(&h.Message, mls.ContentTypeCommit) }

// Proposals gives all proposals of the bundle in order, none if it is a commit.
func (h *HandshakeBundle) Proposals() []*mls.Message {
	if h.IsCommit() {
		return nil
	}
	list := []*mls.Message{&h.Message}
	for i := range h.MoreProposals {
		list = append(list, &h.MoreProposals[i])
	}
	return list
}

// Marshal gives the body.
func (h *HandshakeBundle) Marshal() ([]byte, error) { return wire.Marshal(h) }

// Encode writes the body to w.
func (h *HandshakeBundle) Encode(w *wire.Writer) {
	encodeMessage(w, &h.Message)
	switch {
	case h.IsCommit():
		w.Optional(h.Welcome != nil)
		if h.Welcome != nil {
			h.Welcome.Encode(w)
		}
		h.GroupInfo.Encode(w)
		h.RatchetTree.Encode(w)
	case isHandshake(&h.Message, mls.ContentTypeProposal):
		encodeList(w, h.MoreProposals, encodeMessage)
	default:
		w.Fail(ErrWrongWireFormat)
	}
}

// Decode reads the body from r.
func (h *HandshakeBundle) Decode(r *wire.Reader) {
	*h = HandshakeBundle{}
	h.Message.Decode(r)
	switch {
	case r.Err() != nil:
	case h.IsCommit():
		if r.Optional() {
			h.Welcome = new(mls.Welcome)
			h.Welcome.Decode(r)
		}
		h.GroupInfo.Decode(r)
		h.RatchetTree.Decode(r)
	case isHandshake(&h.Message, mls.ContentTypeProposal):
		h.MoreProposals = decodeProposals(r)
	default:
		r.Fail(ErrWrongWireFormat)
	}
}

// A GroupInfoOption carries the GroupInfo of the epoch a commit begins: exactly one
// field is set. It never holds a ratchet_tree extension (UPD-4).
type GroupInfoOption struct {
	Full    *mls.GroupInfo
	Partial *PartialGroupInfo
}

// A PartialGroupInfo leaves out what the hub knows: group context, confirmation tag
// and signer (RTO-6, D-41).
type PartialGroupInfo struct {
	Extensions mls.Extensions
	Signature  []byte
}

// Representations of a GroupInfo.
const (
	groupInfoFull    = 1
	groupInfoPartial = 2
)

// Encode writes the option to w.
func (g *GroupInfoOption) Encode(w *wire.Writer) {
	switch {
	case g.Full != nil && g.Partial == nil:
		w.Uint8(groupInfoFull)
		g.Full.Encode(w)
	case g.Partial != nil && g.Full == nil:
		w.Uint8(groupInfoPartial)
		w.Uint8(0) // ratchet_tree_presence: no_ratchet_tree
		g.Partial.Extensions.Encode(w)
		w.Opaque(g.Partial.Signature)
	default:
		w.Fail(fmt.Errorf("%w: no GroupInfo, or two", ErrMalformed))
	}
}

// Decode reads the option from r.
func (g *GroupInfoOption) Decode(r *wire.Reader) {
	*g = GroupInfoOption{}
	switch r.Uint8() {
	case groupInfoFull:
		g.Full = new(mls.GroupInfo)
		g.Full.Decode(r)
	case groupInfoPartial:
		if r.Uint8() != 0 {
			r.FailValue()
		}
		g.Partial = new(PartialGroupInfo)
		g.Partial.Extensions.Decode(r)
		g.Partial.Signature = r.Opaque()
	default:
		r.FailValue()
	}
}

// A TreeRepresentation says how a ratchet tree travels.
type TreeRepresentation uint8

// Ways for a ratchet tree to travel (D-40).
const (
	TreeFull                TreeRepresentation = 1 // the tree itself
	TreeHTTPSURI            TreeRepresentation = 2 // an address; never fetched by a hub (H48)
	TreeOutOfBand           TreeRepresentation = 3
	TreeDistributionService TreeRepresentation = 4 // the hub rebuilds it
)

// A RatchetTreeOption says where the ratchet tree of an epoch is.
type RatchetTreeOption struct {
	Representation TreeRepresentation
	Tree           mls.RatchetTree // for TreeFull
	URL            string          // for TreeHTTPSURI
}

// ParseRatchetTreeOption reads a lone option. The error wraps [ErrMalformed].
func ParseRatchetTreeOption(b []byte) (*RatchetTreeOption, error) {
	t := new(RatchetTreeOption)
	if err := parseBody(b, t); err != nil {
		return nil, err
	}
	return t, nil
}

// Marshal gives the encoding.
func (t *RatchetTreeOption) Marshal() ([]byte, error) { return wire.Marshal(t) }

// Encode writes the option to w.
func (t *RatchetTreeOption) Encode(w *wire.Writer) {
	w.Uint8(uint8(t.Representation))
	switch t.Representation {
	case TreeFull:
		t.Tree.Encode(w)
	case TreeHTTPSURI:
		encodeText(w, t.URL)
	case TreeOutOfBand, TreeDistributionService:
	default:
		w.Fail(fmt.Errorf("%w: unknown tree representation", ErrMalformed))
	}
}

// Decode reads the option from r.
func (t *RatchetTreeOption) Decode(r *wire.Reader) {
	*t = RatchetTreeOption{Representation: inRange(r, TreeRepresentation(r.Uint8()), TreeFull, TreeDistributionService)}
	switch t.Representation {
	case TreeFull:
		t.Tree.Decode(r)
	case TreeHTTPSURI:
		t.URL = decodeText(r)
	}
}

// An UpdateCode is the outcome of an update.
type UpdateCode uint8

// Outcomes of an update (mimi-protocol-06, Update Room State).
const (
	UpdateSuccess         UpdateCode = iota // a promise to distribute it (UPD-15)
	UpdateWrongEpoch                        // CurrentEpoch says which is right
	UpdateNotAllowed                        // by policy
	UpdateInvalidProposal                   // InvalidProposals says which
)

// An UpdateRoomResponse answers a [HandshakeBundle].
type UpdateRoomResponse struct {
	Code             UpdateCode
	Description      string   // for people, may be empty
	Timestamp        uint64   // success: acceptance time in Unix ms
	CurrentEpoch     uint64   // wrongEpoch
	InvalidProposals [][]byte // invalidProposal: ProposalRefs of stand-alone proposals (D-28)
}

// ParseUpdateRoomResponse reads an answer. The error wraps [ErrMalformed].
func ParseUpdateRoomResponse(b []byte) (*UpdateRoomResponse, error) {
	u := new(UpdateRoomResponse)
	if err := parseBody(b, u); err != nil {
		return nil, err
	}
	return u, nil
}

// Marshal gives the body.
func (u *UpdateRoomResponse) Marshal() ([]byte, error) { return wire.Marshal(u) }

// Encode writes the body to w.
func (u *UpdateRoomResponse) Encode(w *wire.Writer) {
	w.Uint8(uint8(u.Code))
	encodeText(w, u.Description)
	switch u.Code {
	case UpdateSuccess:
		w.Uint64(u.Timestamp)
	case UpdateWrongEpoch:
		w.Uint64(u.CurrentEpoch)
	case UpdateNotAllowed:
	case UpdateInvalidProposal:
		encodeList(w, u.InvalidProposals, func(w *wire.Writer, ref *[]byte) { w.Opaque(*ref) })
	default:
		w.Fail(fmt.Errorf("%w: unknown update code", ErrMalformed))
	}
}

// Decode reads the body from r.
func (u *UpdateRoomResponse) Decode(r *wire.Reader) {
	*u = UpdateRoomResponse{Code: inRange(r, UpdateCode(r.Uint8()), 0, UpdateInvalidProposal), Description: decodeText(r)}
	switch u.Code {
	case UpdateSuccess:
		u.Timestamp = r.Uint64()
	case UpdateWrongEpoch:
		u.CurrentEpoch = r.Uint64()
	case UpdateInvalidProposal:
		u.InvalidProposals = decodeList(r, func(r *wire.Reader, ref *[]byte) { *ref = r.Opaque() })
	}
}
