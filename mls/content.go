package mls

import (
	"strings"

	"hubbub/mls/wire"
)

// MediaTypeParameter is a parameter of a media type. Value is what a quoted
// string means, without quotation marks and escapes
// (draft-ietf-mls-extensions §6.2).
type MediaTypeParameter struct {
	Name  string
	Value string
}

// Encode appends the parameter.
func (p *MediaTypeParameter) Encode(w *wire.Writer) {
	w.Opaque([]byte(p.Name))
	w.Opaque([]byte(p.Value))
}

// Decode reads a parameter.
func (p *MediaTypeParameter) Decode(r *wire.Reader) {
	p.Name = string(r.Opaque())
	p.Value = string(r.Opaque())
}

// MediaType is a media type with its parameters (draft-ietf-mls-extensions
// §6.2). Type is a top-level type, a slash and a subtype; empty stands for the
// first type of the group's list where framing allows it.
type MediaType struct {
	Type       string
	Parameters []MediaTypeParameter
}

// Encode appends the media type.
func (m *MediaType) Encode(w *wire.Writer) {
	w.Opaque([]byte(m.Type))
	encodeVector(w, m.Parameters)
}

// Decode reads a media type; a Type that is neither empty nor of the form
// top/sub is wire.ErrBadValue.
func (m *MediaType) Decode(r *wire.Reader) {
	m.Type = string(r.Opaque())
	m.Parameters = decodeVector[MediaTypeParameter](r)
	if top, sub, ok := strings.Cut(m.Type, "/"); m.Type != "" && (!ok || top == "" || sub == "" || strings.Contains(sub, "/")) {
		r.FailValue()
	}
}

// MediaTypeList is the data of component content_media_types: what a leaf can
// receive, or what every member of a group must be able to receive
// (draft-ietf-mls-extensions §6.2). It is never empty.
type MediaTypeList []MediaType

// Encode appends the list; an empty one is wire.ErrBadValue.
func (l MediaTypeList) Encode(w *wire.Writer) {
	if len(l) == 0 {
		w.Fail(wire.ErrBadValue)
	}
	encodeVector(w, l)
}

// Decode reads a list; an empty one, or one with an empty type, is
// wire.ErrBadValue.
func (l *MediaTypeList) Decode(r *wire.Reader) {
	*l = nil
	for v := r.Vector(); !v.Empty(); {
		var m MediaType
		if m.Decode(v); m.Type == "" {
			v.FailValue()
		}
		*l = append(room(*l), m)
	}
	if len(*l) == 0 {
		r.FailValue()
	}
}

// ApplicationFraming is the application data of a group whose GroupContext has
// component content_media_types (draft-ietf-mls-extensions §6.2).
type ApplicationFraming struct {
	MediaType MediaType // Type empty: the first of the group's list
	Content   []byte
}

// Encode appends the framing.
func (f *ApplicationFraming) Encode(w *wire.Writer) {
	f.MediaType.Encode(w)
	w.Opaque(f.Content)
}

// Decode reads a framing. Content aliases the input.
func (f *ApplicationFraming) Decode(r *wire.Reader) {
	f.MediaType.Decode(r)
	f.Content = r.Opaque()
}

// MediaTypes returns the content of component content_media_types of the
// GroupContext, nil if it has none: then application data is not framed
// (draft-ietf-mls-extensions §6.2).
func (c *GroupContext) MediaTypes() (MediaTypeList, error) {
	d, err := c.Extensions.Dictionary()
	if err != nil {
		return nil, err
	}
	data, ok := d.Get(ComponentContentMediaTypes)
	if !ok {
		return nil, nil
	}
	var l MediaTypeList
	return l, wire.Unmarshal(data, &l)
}

const contentClause = "draft-ietf-mls-extensions §6.2"

// FrameContent makes the application data of a message from its content: framed
// in a group with component content_media_types, else the content as it is. t
// is nil for the group's first type. A type in a group that has no framing
// would be lost and is a *ValidationError.
func (c *GroupContext) FrameContent(t *MediaType, content []byte) ([]byte, error) {
	list, err := c.MediaTypes()
	switch {
	case err != nil:
		return nil, malformed(ExtensionTypeAppDataDictionary, err)
	case list == nil && t != nil:
		return nil, invalid(contentClause, "media type in a group without content_media_types")
	case list == nil:
		return content, nil
	case t == nil:
		t = &MediaType{}
	}
	return wire.Marshal(&ApplicationFraming{MediaType: *t, Content: content})
}

// UnframeContent is the inverse of FrameContent. The media type is nil in a
// group without framing; an empty one is replaced by the group's first. It
// returns an error of package wire for data without proper framing. The context
// must be that of the message's epoch. Content aliases data.
func (c *GroupContext) UnframeContent(data []byte) (t *MediaType, content []byte, err error) {
	list, err := c.MediaTypes()
	if err != nil {
		return nil, nil, malformed(ExtensionTypeAppDataDictionary, err)
	}
	if list == nil {
		return nil, data, nil
	}
	var f ApplicationFraming
	if err := wire.Unmarshal(data, &f); err != nil {
		return nil, nil, err
	}
	if f.MediaType.Type == "" {
		return &list[0], f.Content, nil
	}
	return &f.MediaType, f.Content, nil
}
