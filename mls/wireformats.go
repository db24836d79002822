package mls

import (
	"slices"

	"hubbub/mls/wire"
)

// WireFormatSemiPrivateMessage is the SemiPrivateMessage of
// draft-mahy-mls-semiprivatemessage. No number is assigned yet; this one is
// from the private range. It may be used in groups that require it.
const WireFormatSemiPrivateMessage WireFormat = 0xF001

// IsDefault reports whether every RFC 9420 client supports the format, so that
// it needs no advertisement (RFC 9420 §6).
func (f WireFormat) IsDefault() bool {
	return f >= WireFormatPublicMessage && f <= WireFormatKeyPackage
}

// WireFormats is the content of extension supported_wire_formats of a leaf and
// of extension required_wire_formats of a GroupContext
// (draft-ietf-mls-extensions §5).
type WireFormats []WireFormat

// Encode appends the extension content.
func (f WireFormats) Encode(w *wire.Writer) { encodeVector16(w, f) }

// Decode reads the extension content.
func (f *WireFormats) Decode(r *wire.Reader) { *f = decodeUint16s[WireFormat](r) }

// encodeVector16 is encodeUint16s for named list types.
func encodeVector16[L ~[]T, T ~uint16](w *wire.Writer, list L) { encodeUint16s(w, []T(list)) }

// SupportedWireFormats returns a leaf extension that advertises formats besides
// those of RFC 9420. A leaf that carries it must list
// ExtensionTypeSupportedWireFormats in its capabilities, and
// ExtensionTypeRequiredWireFormats to be in groups that require any
// (draft-ietf-mls-extensions §5).
func SupportedWireFormats(formats ...WireFormat) Extension {
	return Extension{Type: ExtensionTypeSupportedWireFormats, Data: encoded(WireFormats(formats))}
}

// RequiredWireFormats returns a GroupContext extension that allows the given
// formats in the group and requires all members to support them
// (draft-ietf-mls-extensions §5).
func RequiredWireFormats(formats ...WireFormat) Extension {
	return Extension{Type: ExtensionTypeRequiredWireFormats, Data: encoded(WireFormats(formats))}
}

// WireFormats returns the decoded extension t, which is
// ExtensionTypeSupportedWireFormats or ExtensionTypeRequiredWireFormats; nil if
// the list has none.
func (x Extensions) WireFormats(t ExtensionType) (WireFormats, error) {
	data, ok := x.Find(t)
	if !ok {
		return nil, nil
	}
	var f WireFormats
	return f, wire.Unmarshal(data, &f)
}

const wireFormatClause = "draft-ietf-mls-extensions §5"

// AllowsWireFormat reports whether messages of the format may be sent to the
// group: those of RFC 9420 always, others if required_wire_formats lists them
// (draft-ietf-mls-extensions §5).
func (c *GroupContext) AllowsWireFormat(f WireFormat) bool {
	if f.IsDefault() {
		return true
	}
	required, err := c.Extensions.WireFormats(ExtensionTypeRequiredWireFormats)
	return err == nil && slices.Contains(required, f)
}

// missingFormat finds a format that is neither default nor supported.
func missingFormat(required WireFormats, supported []WireFormat) (WireFormat, bool) {
	listed := newSet(supported)
	for _, f := range required {
		if !f.IsDefault() && !listed.has(f) {
			return f, true
		}
	}
	return 0, false
}

// checkFormats verifies that a leaf supports the wire formats of the group.
func (r *leafRules) checkFormats(l *LeafNode) error {
	supported, err := l.Extensions.WireFormats(ExtensionTypeSupportedWireFormats)
	if err != nil {
		return malformed(ExtensionTypeSupportedWireFormats, err)
	}
	if f, missing := missingFormat(r.formats, supported); missing {
		return invalid(wireFormatClause, "leaf does not support required wire format %v", f)
	}
	return nil
}
