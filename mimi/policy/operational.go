package policy

import (
	"fmt"
	"slices"

	"hubbub/mls"
	"hubbub/mls/wire"
)

// ExtendedCapabilities lists what clients of a room can, may or must not understand
// (mimi-room-policy-03, Operational policy).
type ExtendedCapabilities struct {
	Versions     []uint16
	CipherSuites []mls.CipherSuite
	Extensions   []mls.ExtensionType
	Proposals    []mls.ProposalType
	Credentials  []mls.CredentialType
	WireFormats  []mls.WireFormat
	Components   []mls.ComponentID
	SafeAAD      []mls.ComponentID
	MediaTypes   []mls.MediaType
	ContentTypes []mls.ContentType
}

func encode16s[T ~uint16](w *wire.Writer, list []T) {
	w.Vector(func(w *wire.Writer) {
		for _, v := range list {
			w.Uint16(uint16(v))
		}
	})
}

func decode16s[T ~uint16](r *wire.Reader) []T {
	var list []T
	for v := r.Vector(); !v.Empty(); {
		if list = append(list, T(v.Uint16())); len(list) > maxListed {
			v.FailValue()
		}
	}
	return list
}

// Encode writes the capabilities to w.
func (c *ExtendedCapabilities) Encode(w *wire.Writer) {
	encode16s(w, c.Versions)
	encode16s(w, c.CipherSuites)
	encode16s(w, c.Extensions)
	encode16s(w, c.Proposals)
	encode16s(w, c.Credentials)
	encode16s(w, c.WireFormats)
	encode16s(w, c.Components)
	encode16s(w, c.SafeAAD)
	encodeTypes(w, c.MediaTypes)
	w.Vector(func(w *wire.Writer) {
		for _, t := range c.ContentTypes {
			w.Uint8(uint8(t))
		}
	})
}

// Decode reads the capabilities from r.
func (c *ExtendedCapabilities) Decode(r *wire.Reader) {
	*c = ExtendedCapabilities{
		Versions: decode16s[uint16](r), CipherSuites: decode16s[mls.CipherSuite](r), Extensions: decode16s[mls.ExtensionType](r),
		Proposals: decode16s[mls.ProposalType](r), Credentials: decode16s[mls.CredentialType](r), WireFormats: decode16s[mls.WireFormat](r),
		Components: decode16s[mls.ComponentID](r), SafeAAD: decode16s[mls.ComponentID](r), MediaTypes: decodeTypes(r),
	}
	for v := r.Vector(); !v.Empty(); {
		if c.ContentTypes = append(c.ContentTypes, mls.ContentType(v.Uint8())); len(c.ContentTypes) > maxListed {
			v.FailValue()
		}
	}
}

// A PendingStrategy says when members commit what is pending.
type PendingStrategy uint8

// The strategies that can be written (D-63).
const (
	PendingUnspecified PendingStrategy = iota
	PendingImmediate
	PendingRandomDelay
)

// A Span is a minimum, a default and a maximum, of a unit the field names.
type Span struct{ Min, Default, Max uint64 }

func (s *Span) encode(w *wire.Writer) {
	for _, v := range []uint64{s.Min, s.Default, s.Max} {
		w.Uint64(v)
	}
}

func decodeSpan(r *wire.Reader) Span {
	s := Span{r.Uint64(), r.Uint64(), r.Uint64()}
	if s.Min > s.Default || s.Default > s.Max {
		r.FailValue()
	}
	return s
}

// OperationalParameters is the content of component 0x0024 and equally an update of it.
// Times are in seconds unless their name says otherwise.
type OperationalParameters struct {
	Mandatory, Default, Forbidden ExtendedCapabilities

	HandshakeFormats        []mls.WireFormat
	ExternalProposalAllowed bool
	ExternalCommitAllowed   bool

	Pending                    PendingStrategy
	MinDelayMS, MaxDelayMS     uint64 // of PendingRandomDelay
	LeafNodeUpdate             Span
	EpochTolerance             uint8 // how many epochs back a message may be of (D-70)
	PadToSize                  uint16
	MaxGenerationsSkipahead    uint32
	MaxKeyPackageLifetime      uint64
	MaxCredentialLifetime      uint64
	ResumptionPSKLifetime      uint64
	SenderNonceKeypairLifetime Span
	MaxKeypairs                uint32
	BufferIncomingTime         Span
	MaxBufferedMessages        uint32
}

// ParseOperationalParameters reads the component. The error wraps [ErrMalformed].
func ParseOperationalParameters(b []byte) (*OperationalParameters, error) {
	p := new(OperationalParameters)
	return checked(p, b, p.check)
}

func (p *OperationalParameters) check() error {
	if p.Pending == PendingRandomDelay && p.MinDelayMS > p.MaxDelayMS {
		return fmt.Errorf("%w: the least delay is above the greatest", ErrMalformed)
	}
	return nil
}

// Encode writes the parameters to w.
func (p *OperationalParameters) Encode(w *wire.Writer) {
	p.Mandatory.Encode(w)
	p.Default.Encode(w)
	p.Forbidden.Encode(w)
	encode16s(w, p.HandshakeFormats)
	encodeBool(w, p.ExternalProposalAllowed)
	encodeBool(w, p.ExternalCommitAllowed)
	if p.Pending > PendingRandomDelay {
		w.Fail(fmt.Errorf("%w: unknown strategy for pending proposals", ErrMalformed))
	}
	w.Uint8(uint8(p.Pending))
	if p.Pending == PendingRandomDelay {
		w.Uint64(p.MinDelayMS)
		w.Uint64(p.MaxDelayMS)
	}
	p.LeafNodeUpdate.encode(w)
	w.Uint8(p.EpochTolerance)
	w.Uint16(p.PadToSize)
	w.Uint32(p.MaxGenerationsSkipahead)
	w.Uint64(p.MaxKeyPackageLifetime)
	w.Uint64(p.MaxCredentialLifetime)
	w.Uint64(p.ResumptionPSKLifetime)
	p.SenderNonceKeypairLifetime.encode(w)
	w.Uint32(p.MaxKeypairs)
	p.BufferIncomingTime.encode(w)
	w.Uint32(p.MaxBufferedMessages)
}

// Decode reads the parameters from r.
func (p *OperationalParameters) Decode(r *wire.Reader) {
	*p = OperationalParameters{}
	p.Mandatory.Decode(r)
	p.Default.Decode(r)
	p.Forbidden.Decode(r)
	p.HandshakeFormats = decode16s[mls.WireFormat](r)
	p.ExternalProposalAllowed, p.ExternalCommitAllowed = decodeBool(r), decodeBool(r)
	if p.Pending = PendingStrategy(r.Uint8()); p.Pending > PendingRandomDelay {
		r.FailValue()
	}
	if p.Pending == PendingRandomDelay {
		p.MinDelayMS, p.MaxDelayMS = r.Uint64(), r.Uint64()
	}
	p.LeafNodeUpdate, p.EpochTolerance, p.PadToSize = decodeSpan(r), r.Uint8(), r.Uint16()
	p.MaxGenerationsSkipahead = r.Uint32()
	p.MaxKeyPackageLifetime, p.MaxCredentialLifetime, p.ResumptionPSKLifetime = r.Uint64(), r.Uint64(), r.Uint64()
	p.SenderNonceKeypairLifetime, p.MaxKeypairs = decodeSpan(r), r.Uint32()
	p.BufferIncomingTime, p.MaxBufferedMessages = decodeSpan(r), r.Uint32()
}

// AllowsHandshake says whether handshakes may have a wire format: all may if none is
// named (POL-31). Nil parameters allow everything, here and below.
func (p *OperationalParameters) AllowsHandshake(f mls.WireFormat) bool {
	return p == nil || len(p.HandshakeFormats) == 0 || slices.Contains(p.HandshakeFormats, f)
}

// AcceptsEpoch says whether an application message of an epoch may be accepted in the
// current one (D-70). Whoever calls it still has to see that the sender was not removed
// in between.
func (p *OperationalParameters) AcceptsEpoch(epoch, current uint64) bool {
	if p == nil {
		return epoch == current
	}
	return epoch <= current && current-epoch <= uint64(p.EpochTolerance)
}

// AcceptsLifetime says whether a KeyPackage may live so many seconds; 0 in the policy
// sets no limit, since it would keep everybody out.
func (p *OperationalParameters) AcceptsLifetime(seconds uint64) bool {
	return p == nil || p.MaxKeyPackageLifetime == 0 || seconds <= p.MaxKeyPackageLifetime
}
