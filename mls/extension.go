package mls

import (
	"slices"

	"hubbub/mls/wire"
)

// Extension is one entry of an extension list (RFC 9420 §13.4).
type Extension struct {
	Type ExtensionType
	Data []byte // the encoded content, whose layout Type defines
}

// Encode appends the extension.
func (e *Extension) Encode(w *wire.Writer) {
	w.Uint16(uint16(e.Type))
	w.Opaque(e.Data)
}

// Decode reads an extension; any type is accepted.
func (e *Extension) Decode(r *wire.Reader) {
	e.Type = ExtensionType(r.Uint16())
	e.Data = r.Opaque()
}

// Extensions is an extension list in wire order. That a type occurs at most
// once is checked by validation, not by Decode.
type Extensions []Extension

// Encode appends the list as a vector.
func (x Extensions) Encode(w *wire.Writer) { encodeVector(w, x) }

// Decode reads a vector of extensions.
func (x *Extensions) Decode(r *wire.Reader) { *x = decodeVector[Extension](r) }

// Find returns the data of the first extension of type t.
func (x Extensions) Find(t ExtensionType) (data []byte, ok bool) {
	for i := range x {
		if x[i].Type == t {
			return x[i].Data, true
		}
	}
	return nil, false
}

// Set returns a copy of the list in which type t has the given data: in its
// place if it is present, else appended.
func (x Extensions) Set(t ExtensionType, data []byte) Extensions {
	out := append(make(Extensions, 0, len(x)+1), x...)
	for i := range out {
		if out[i].Type == t {
			out[i].Data = data
			return out
		}
	}
	return append(out, Extension{Type: t, Data: data})
}

// Without returns a copy of the list without extensions of type t.
func (x Extensions) Without(t ExtensionType) Extensions {
	return slices.DeleteFunc(slices.Clone(x), func(e Extension) bool { return e.Type == t })
}

// RequiredCapabilities lists what every member of a group must support
// (RFC 9420 §11.1). It is the content of extension required_capabilities.
type RequiredCapabilities struct {
	Extensions  []ExtensionType
	Proposals   []ProposalType
	Credentials []CredentialType
}

// Encode appends the extension content.
func (c *RequiredCapabilities) Encode(w *wire.Writer) {
	encodeUint16s(w, c.Extensions)
	encodeUint16s(w, c.Proposals)
	encodeUint16s(w, c.Credentials)
}

// Decode reads the extension content.
func (c *RequiredCapabilities) Decode(r *wire.Reader) {
	c.Extensions = decodeUint16s[ExtensionType](r)
	c.Proposals = decodeUint16s[ProposalType](r)
	c.Credentials = decodeUint16s[CredentialType](r)
}

// ExternalSender is a party outside the group that may propose
// (RFC 9420 §12.1.8.1).
type ExternalSender struct {
	SignatureKey []byte
	Credential   Credential
}

// Encode appends the sender.
func (s *ExternalSender) Encode(w *wire.Writer) {
	w.Opaque(s.SignatureKey)
	s.Credential.Encode(w)
}

// Decode reads a sender.
func (s *ExternalSender) Decode(r *wire.Reader) {
	s.SignatureKey = r.Opaque()
	s.Credential.Decode(r)
}

// ExternalSenders is the content of extension external_senders; a Sender's
// SenderIndex counts into it (RFC 9420 §12.1.8.1).
type ExternalSenders []ExternalSender

// Encode appends the extension content.
func (s ExternalSenders) Encode(w *wire.Writer) { encodeVector(w, s) }

// Decode reads the extension content.
func (s *ExternalSenders) Decode(r *wire.Reader) { *s = decodeVector[ExternalSender](r) }

// ExternalPub is the content of extension external_pub: the HPKE public key an
// external joiner encapsulates to (RFC 9420 §12.4.3.2).
type ExternalPub struct{ Key []byte }

// Encode appends the extension content.
func (p *ExternalPub) Encode(w *wire.Writer) { w.Opaque(p.Key) }

// Decode reads the extension content.
func (p *ExternalPub) Decode(r *wire.Reader) { p.Key = r.Opaque() }

// RequiredCapabilities returns the decoded required_capabilities extension, or
// nil if the list has none.
func (x Extensions) RequiredCapabilities() (*RequiredCapabilities, error) {
	data, ok := x.Find(ExtensionTypeRequiredCapabilities)
	if !ok {
		return nil, nil
	}
	c := new(RequiredCapabilities)
	return c, wire.Unmarshal(data, c)
}

// ExternalSenders returns the decoded external_senders extension, nil if the
// list has none.
func (x Extensions) ExternalSenders() (ExternalSenders, error) {
	data, ok := x.Find(ExtensionTypeExternalSenders)
	if !ok {
		return nil, nil
	}
	var s ExternalSenders
	return s, wire.Unmarshal(data, &s)
}

// Dictionary returns the decoded app_data_dictionary extension; an absent
// extension gives an empty dictionary.
func (x Extensions) Dictionary() (*AppDataDictionary, error) {
	d := new(AppDataDictionary)
	data, ok := x.Find(ExtensionTypeAppDataDictionary)
	if !ok {
		return d, nil
	}
	return d, wire.Unmarshal(data, d)
}
