package mls

import "hubbub/mls/wire"

// PSKType says where a pre-shared key comes from (RFC 9420 §8.4).
type PSKType uint8

// PSK types; application is from draft-ietf-mls-extensions §4.5.
const (
	PSKTypeExternal    PSKType = 1
	PSKTypeResumption  PSKType = 2
	PSKTypeApplication PSKType = 3
)

// ResumptionPSKUsage says what a resumption PSK is for (RFC 9420 §8.4).
type ResumptionPSKUsage uint8

// Resumption PSK usages.
const (
	ResumptionPSKUsageApplication ResumptionPSKUsage = 1
	ResumptionPSKUsageReInit      ResumptionPSKUsage = 2
	ResumptionPSKUsageBranch      ResumptionPSKUsage = 3
)

// PreSharedKeyID names a pre-shared key (RFC 9420 §8.4).
type PreSharedKeyID struct {
	Type      PSKType
	ID        []byte             // external and application
	Component ComponentID        // application
	Usage     ResumptionPSKUsage // resumption
	GroupID   []byte             // resumption
	Epoch     uint64             // resumption
	Nonce     []byte             // as long as the suite's hash
}

// Encode appends the id.
func (p *PreSharedKeyID) Encode(w *wire.Writer) {
	w.Uint8(uint8(p.Type))
	switch p.Type {
	case PSKTypeExternal:
		w.Opaque(p.ID)
	case PSKTypeResumption:
		w.Uint8(uint8(p.Usage))
		w.Opaque(p.GroupID)
		w.Uint64(p.Epoch)
	case PSKTypeApplication:
		w.Uint16(uint16(p.Component))
		w.Opaque(p.ID)
	default:
		w.Fail(wire.ErrBadValue)
	}
	w.Opaque(p.Nonce)
}

// Decode reads an id.
func (p *PreSharedKeyID) Decode(r *wire.Reader) {
	*p = PreSharedKeyID{Type: PSKType(r.Uint8())}
	switch p.Type {
	case PSKTypeExternal:
		p.ID = r.Opaque()
	case PSKTypeResumption:
		p.Usage = ResumptionPSKUsage(r.Uint8())
		if p.Usage < ResumptionPSKUsageApplication || p.Usage > ResumptionPSKUsageBranch {
			r.FailValue()
		}
		p.GroupID = r.Opaque()
		p.Epoch = r.Uint64()
	case PSKTypeApplication:
		p.Component = ComponentID(r.Uint16())
		p.ID = r.Opaque()
	default:
		r.FailValue()
	}
	p.Nonce = r.Opaque()
}
