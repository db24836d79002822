package mls

import "hubbub/mls/wire"

// Proposal is a change to the group (RFC 9420 §12.1 and
// draft-ietf-mls-extensions). Type selects the one field that is set.
type Proposal struct {
	Type                   ProposalType
	Add                    *Add
	Update                 *Update
	Remove                 *Remove
	PSK                    *PreSharedKeyID
	ReInit                 *ReInit
	ExternalInit           *ExternalInit
	GroupContextExtensions *GroupContextExtensions
	AppDataUpdate          *AppDataUpdate
	AppEphemeral           *AppEphemeral
	SelfRemove             *SelfRemove
	Raw                    []byte // unknown type: content of the one vector that follows the type
}

// Add proposes to add a client (RFC 9420 §12.1.1).
type Add struct{ KeyPackage KeyPackage }

// Update proposes to replace the sender's leaf (RFC 9420 §12.1.2).
type Update struct{ LeafNode LeafNode }

// Remove proposes to remove a member (RFC 9420 §12.1.3).
type Remove struct{ Removed LeafIndex }

// ReInit proposes to continue in a new group (RFC 9420 §12.1.5).
type ReInit struct {
	GroupID     []byte
	Version     ProtocolVersion
	CipherSuite CipherSuite
	Extensions  Extensions
}

// ExternalInit carries the KEM output of an external joiner (RFC 9420 §12.1.6).
type ExternalInit struct{ KEMOutput []byte }

// GroupContextExtensions proposes to replace the extensions of the
// GroupContext (RFC 9420 §12.1.7).
type GroupContextExtensions struct{ Extensions Extensions }

// AppDataUpdateOp says what an AppDataUpdate does to its component.
type AppDataUpdateOp uint8

// Operations of AppDataUpdate (draft-ietf-mls-extensions §4.7).
const (
	AppDataUpdateOpUpdate AppDataUpdateOp = 1
	AppDataUpdateOpRemove AppDataUpdateOp = 2
)

// AppDataUpdate proposes to change or remove the data of a component
// (draft-ietf-mls-extensions §4.7).
type AppDataUpdate struct {
	Component ComponentID
	Op        AppDataUpdateOp
	Data      []byte // for op update: what the component's logic is given
}

// AppEphemeral carries data for a component that leaves no trace in the
// GroupContext (draft-ietf-mls-extensions §4.8).
type AppEphemeral struct {
	Component ComponentID
	Data      []byte
}

// SelfRemove proposes to remove its sender (draft-ietf-mls-extensions §6.3).
type SelfRemove struct{}

// Encode appends the proposal. The field Type selects must be set.
func (p *Proposal) Encode(w *wire.Writer) {
	w.Uint16(uint16(p.Type))
	body := p.body()
	if body == nil {
		w.Fail(wire.ErrBadValue)
		return
	}
	body.Encode(w)
}

// Decode reads a proposal. An unknown type must consist of one vector, as
// deployed extensions do; else its end could not be found.
func (p *Proposal) Decode(r *wire.Reader) {
	*p = Proposal{Type: ProposalType(r.Uint16())}
	switch p.Type {
	case ProposalTypeAdd:
		p.Add = new(Add)
	case ProposalTypeUpdate:
		p.Update = new(Update)
	case ProposalTypeRemove:
		p.Remove = new(Remove)
	case ProposalTypePSK:
		p.PSK = new(PreSharedKeyID)
	case ProposalTypeReInit:
		p.ReInit = new(ReInit)
	case ProposalTypeExternalInit:
		p.ExternalInit = new(ExternalInit)
	case ProposalTypeGroupContextExtensions:
		p.GroupContextExtensions = new(GroupContextExtensions)
	case ProposalTypeAppDataUpdate:
		p.AppDataUpdate = new(AppDataUpdate)
	case ProposalTypeAppEphemeral:
		p.AppEphemeral = new(AppEphemeral)
	case ProposalTypeSelfRemove:
		p.SelfRemove = new(SelfRemove)
	}
	p.body().Decode(r)
}

// proposalBody is what each kind of proposal can do.
type proposalBody interface {
	wire.Encoder
	wire.Decoder
}

// body returns the field Type selects, nil if it is not set.
func (p *Proposal) body() proposalBody {
	switch p.Type {
	case ProposalTypeAdd:
		return set(p.Add)
	case ProposalTypeUpdate:
		return set(p.Update)
	case ProposalTypeRemove:
		return set(p.Remove)
	case ProposalTypePSK:
		return set(p.PSK)
	case ProposalTypeReInit:
		return set(p.ReInit)
	case ProposalTypeExternalInit:
		return set(p.ExternalInit)
	case ProposalTypeGroupContextExtensions:
		return set(p.GroupContextExtensions)
	case ProposalTypeAppDataUpdate:
		return set(p.AppDataUpdate)
	case ProposalTypeAppEphemeral:
		return set(p.AppEphemeral)
	case ProposalTypeSelfRemove:
		return set(p.SelfRemove)
	default:
		return (*rawProposal)(&p.Raw)
	}
}

// set turns a nil pointer into a nil interface.
func set[T any, P interface {
	*T
	proposalBody
}](p P) proposalBody {
	if p == nil {
		return nil
	}
	return p
}

type rawProposal []byte

func (p *rawProposal) Encode(w *wire.Writer) { w.Opaque(*p) }
func (p *rawProposal) Decode(r *wire.Reader) { *p = r.Opaque() }

// Encode appends the body.
func (a *Add) Encode(w *wire.Writer) { a.KeyPackage.Encode(w) }

// Decode reads the body.
func (a *Add) Decode(r *wire.Reader) { a.KeyPackage.Decode(r) }

// Encode appends the body.
func (u *Update) Encode(w *wire.Writer) { u.LeafNode.Encode(w) }

// Decode reads the body.
func (u *Update) Decode(r *wire.Reader) { u.LeafNode.Decode(r) }

// Encode appends the body.
func (m *Remove) Encode(w *wire.Writer) { w.Uint32(uint32(m.Removed)) }

// Decode reads the body.
func (m *Remove) Decode(r *wire.Reader) { m.Removed = LeafIndex(r.Uint32()) }

// Encode appends the body.
func (i *ReInit) Encode(w *wire.Writer) {
	w.Opaque(i.GroupID)
	w.Uint16(uint16(i.Version))
	w.Uint16(uint16(i.CipherSuite))
	i.Extensions.Encode(w)
}

// Decode reads the body.
func (i *ReInit) Decode(r *wire.Reader) {
	i.GroupID = r.Opaque()
	i.Version = ProtocolVersion(r.Uint16())
	i.CipherSuite = CipherSuite(r.Uint16())
	i.Extensions.Decode(r)
}

// Encode appends the body.
func (i *ExternalInit) Encode(w *wire.Writer) { w.Opaque(i.KEMOutput) }

// Decode reads the body.
func (i *ExternalInit) Decode(r *wire.Reader) { i.KEMOutput = r.Opaque() }

// Encode appends the body.
func (g *GroupContextExtensions) Encode(w *wire.Writer) { g.Extensions.Encode(w) }

// Decode reads the body.
func (g *GroupContextExtensions) Decode(r *wire.Reader) { g.Extensions.Decode(r) }

// Encode appends the body.
func (u *AppDataUpdate) Encode(w *wire.Writer) {
	w.Uint16(uint16(u.Component))
	w.Uint8(uint8(u.Op))
	switch u.Op {
	case AppDataUpdateOpUpdate:
		w.Opaque(u.Data)
	case AppDataUpdateOpRemove:
	default:
		w.Fail(wire.ErrBadValue)
	}
}

// Decode reads the body.
func (u *AppDataUpdate) Decode(r *wire.Reader) {
	*u = AppDataUpdate{Component: ComponentID(r.Uint16()), Op: AppDataUpdateOp(r.Uint8())}
	switch u.Op {
	case AppDataUpdateOpUpdate:
		u.Data = r.Opaque()
	case AppDataUpdateOpRemove:
	default:
		r.FailValue()
	}
}

// Encode appends the body.
func (e *AppEphemeral) Encode(w *wire.Writer) {
	w.Uint16(uint16(e.Component))
	w.Opaque(e.Data)
}

// Decode reads the body.
func (e *AppEphemeral) Decode(r *wire.Reader) {
	e.Component = ComponentID(r.Uint16())
	e.Data = r.Opaque()
}

// Encode appends the empty body.
func (*SelfRemove) Encode(*wire.Writer) {}

// Decode reads the empty body.
func (*SelfRemove) Decode(*wire.Reader) {}
