package mlspeer

import (
	"encoding/json"
	"errors"
	"fmt"

	"hubbub/mls"
	"hubbub/mls/wire"
)

// Errors that a request itself causes.
var (
	errUnknownCommand = errors.New("unknown command")
	errUnknownClient  = errors.New("unknown client")
	errUnknownGroup   = errors.New("the client is not in this group")
	errInactive       = errors.New("the client was removed from this group")
	errMissing        = errors.New("missing field")
)

// request has the fields of all commands.
type request struct {
	ID  json.RawMessage `json:"id"`
	Cmd string          `json:"cmd"`

	Client string `json:"client"`
	Group  []byte `json:"group"`

	Suite         mls.CipherSuite     `json:"suite"`
	Identity      []byte              `json:"identity"`
	Credential    string              `json:"credential"`
	Certificates  [][]byte            `json:"certificates"`
	CapExtensions []mls.ExtensionType `json:"cap_extensions"`
	CapProposals  []mls.ProposalType  `json:"cap_proposals"`

	LifetimeS       *int64      `json:"lifetime_s"`
	Extensions      []extension `json:"extensions"`
	LeafExtensions  []extension `json:"leaf_extensions"`
	GroupExtensions []extension `json:"group_extensions"`
	LastResort      bool        `json:"last_resort"`

	KeyPackages   [][]byte    `json:"key_packages"`
	Wire          string      `json:"wire"`
	Path          bool        `json:"path"`
	TreeInWelcome *bool       `json:"tree_in_welcome"`
	Leaf          *uint32     `json:"leaf"`
	Proposal      *proposal   `json:"proposal"`
	Proposals     []*proposal `json:"proposals"`

	Message     []byte `json:"message"`
	Plaintext   []byte `json:"plaintext"`
	AAD         []byte `json:"aad"`
	Welcome     []byte `json:"welcome"`
	RatchetTree []byte `json:"ratchet_tree"`
	WithTree    *bool  `json:"with_tree"`
	GroupInfo   []byte `json:"group_info"`
	Resync      bool   `json:"resync"`

	Label   string `json:"label"`
	Context []byte `json:"context"`
	Length  int    `json:"length"`
	PSKID   []byte `json:"psk_id"`
	PSK     []byte `json:"psk"`
}

type extension struct {
	Type mls.ExtensionType `json:"type"`
	Data []byte            `json:"data"`
}

// proposal is {type: add|remove|update|psk|gce|self_remove|reinit|custom, ...}.
type proposal struct {
	Type         string           `json:"type"`
	KeyPackage   []byte           `json:"key_package"`
	Identity     []byte           `json:"identity"`
	Leaf         *uint32          `json:"leaf"`
	PSKID        []byte           `json:"psk_id"`
	Epoch        *uint64          `json:"epoch"` // psk: the resumption key of an epoch
	Extensions   []extension      `json:"extensions"`
	ProposalType mls.ProposalType `json:"proposal_type"` // custom
	Data         []byte           `json:"data"`          // custom
	Group        []byte           `json:"group"`         // reinit
	Suite        mls.CipherSuite  `json:"suite"`         // reinit
}

func extensions(list []extension) mls.Extensions {
	var out mls.Extensions
	for _, x := range list {
		out = append(out, mls.Extension{Type: x.Type, Data: x.Data})
	}
	return out
}

// private says whether handshake messages are to be encrypted.
func (r *request) private() (bool, error) {
	switch r.Wire {
	case "", "public":
		return false, nil
	case "private":
		return true, nil
	}
	return false, fmt.Errorf("wire is public or private, not %q", r.Wire)
}

// tree decodes a ratchet tree that travels apart, nil if there is none.
func (r *request) tree() (mls.RatchetTree, error) {
	if len(r.RatchetTree) == 0 {
		return nil, nil
	}
	var t mls.RatchetTree
	if err := wire.Unmarshal(r.RatchetTree, &t); err != nil {
		return nil, fmt.Errorf("ratchet_tree: %w", err)
	}
	return t, nil
}

// unwrap decodes an object that is wrapped in an MLSMessage, or bare.
func unwrap[T any, P interface {
	*T
	wire.Decoder
}](what string, b []byte, pick func(*mls.Message) P) (P, error) {
	if len(b) == 0 {
		return nil, fmt.Errorf("%w: %s", errMissing, what)
	}
	m, err := mls.ParseMessage(b)
	if err == nil {
		if p := pick(m); p != nil {
			return p, nil
		}
		return nil, fmt.Errorf("%s: message of another type", what)
	}
	p := P(new(T))
	if wire.Unmarshal(append([]byte{}, b...), p) == nil {
		return p, nil
	}
	return nil, fmt.Errorf("%s: %w", what, err)
}

func keyPackage(b []byte) (*mls.KeyPackage, error) {
	return unwrap("key_package", b, func(m *mls.Message) *mls.KeyPackage { return m.KeyPackage })
}

func welcome(b []byte) (*mls.Welcome, error) {
	return unwrap("welcome", b, func(m *mls.Message) *mls.Welcome { return m.Welcome })
}

func groupInfo(b []byte) (*mls.GroupInfo, error) {
	return unwrap("group_info", b, func(m *mls.Message) *mls.GroupInfo { return m.GroupInfo })
}
