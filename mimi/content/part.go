package content

import (
	"fmt"

	"github.com/fxamacker/cbor/v2"
)

// A Disposition says what a part is for (CNT-19).
type Disposition uint8

// Dispositions of mimi-content-08. Others are kept, and treated as [Render].
const (
	Unspecified Disposition = iota
	Render
	Reaction
	Profile
	Inline
	Icon
	Attachment
	Session
	Preview
)

// Effective is d, or Render when d is not one a client knows.
func (d Disposition) Effective() Disposition {
	if d == Unspecified || d > Preview {
		return Render
	}
	return d
}

var dispositionNames = [...]string{"unspecified", "render", "reaction", "profile", "inline", "icon", "attachment", "session", "preview"}

func (d Disposition) String() string {
	if int(d) < len(dispositionNames) {
		return dispositionNames[d]
	}
	return fmt.Sprintf("disposition %d", uint8(d))
}

// A Semantics says how the parts of a [MultiPart] belong together.
type Semantics uint8

// The three ways of mimi-content-08 (CNT-50).
const (
	ChooseOne  Semantics = iota // the receiver shows the one it likes best
	SingleUnit                  // all or nothing
	ProcessAll                  // as many as possible
)

func (s Semantics) String() string {
	switch s {
	case ChooseOne:
		return "chooseOne"
	case SingleUnit:
		return "singleUnit"
	case ProcessAll:
		return "processAll"
	}
	return fmt.Sprintf("semantics %d", uint8(s))
}

// A Part is a *[NullPart], *[SinglePart], *[ExternalPart] or *[MultiPart].
type Part interface{ part() }

// A NullPart has no content: the body of a deletion.
type NullPart struct {
	Disposition Disposition
	Language    string
}

// A SinglePart carries its content. Language is empty or a comma-separated list of
// RFC 5646 tags.
type SinglePart struct {
	Disposition Disposition
	Language    string
	ContentType string
	Content     []byte
}

// An ExternalPart points to content stored elsewhere. A Size of 0 means unknown,
// Expires of 0 never; an EncAlg of 0 with empty Key, Nonce and AAD means that the
// content is not encrypted (CNT-20). Expires is in seconds since 1970.
type ExternalPart struct {
	Disposition Disposition
	Language    string
	ContentType string
	URL         string
	Expires     uint32
	Size        uint64
	EncAlg      uint16
	Key         []byte
	Nonce       []byte
	AAD         []byte
	HashAlg     uint8
	ContentHash []byte
	Description string
	Filename    string
}

// A MultiPart groups two or more parts.
type MultiPart struct {
	Disposition Disposition
	Language    string
	Semantics   Semantics
	Parts       []Part
}

func (*NullPart) part()     {}
func (*SinglePart) part()   {}
func (*ExternalPart) part() {}
func (*MultiPart) part()    {}

// Cardinalities, the third element of every part.
const (
	cardinalityNull = iota
	cardinalitySingle
	cardinalityExternal
	cardinalityMulti
)

// Wire forms. The arrays are positional, so the order of fields is the format.
type (
	wireNull struct {
		_           struct{} `cbor:",toarray"`
		Disposition Disposition
		Language    string
		Cardinality uint8
	}
	wireSingle struct {
		_           struct{} `cbor:",toarray"`
		Disposition Disposition
		Language    string
		Cardinality uint8
		ContentType string
		Content     []byte
	}
	wireExternal struct {
		_           struct{} `cbor:",toarray"`
		Disposition Disposition
		Language    string
		Cardinality uint8
		ContentType string
		URL         string
		Expires     uint32
		Size        uint64
		EncAlg      uint16
		Key         []byte
		Nonce       []byte
		AAD         []byte
		HashAlg     uint8
		ContentHash []byte
		Description string
		Filename    string
	}
	wireMulti struct {
		_           struct{} `cbor:",toarray"`
		Disposition Disposition
		Language    string
		Cardinality uint8
		Semantics   Semantics
		Parts       []cbor.RawMessage
	}
)

func encodePart(p Part, depth int) ([]byte, error) {
	if depth > MaxPartDepth {
		return nil, invalid("CNT-6", "parts nested deeper than %d", MaxPartDepth)
	}
	switch p := p.(type) {
	case *NullPart:
		return encMode.Marshal(wireNull{Disposition: p.Disposition, Language: p.Language})
	case *SinglePart:
		return encMode.Marshal(wireSingle{Disposition: p.Disposition, Language: p.Language,
			Cardinality: cardinalitySingle, ContentType: p.ContentType, Content: filled(p.Content)})
	case *ExternalPart:
		return encMode.Marshal(wireExternal{Disposition: p.Disposition, Language: p.Language,
			Cardinality: cardinalityExternal, ContentType: p.ContentType, URL: p.URL, Expires: p.Expires,
			Size: p.Size, EncAlg: p.EncAlg, Key: filled(p.Key), Nonce: filled(p.Nonce), AAD: filled(p.AAD),
			HashAlg: p.HashAlg, ContentHash: filled(p.ContentHash), Description: p.Description, Filename: p.Filename})
	case *MultiPart:
		w := wireMulti{Disposition: p.Disposition, Language: p.Language, Cardinality: cardinalityMulti, Semantics: p.Semantics}
		for _, sub := range p.Parts {
			b, err := encodePart(sub, depth+1)
			if err != nil {
				return nil, err
			}
			w.Parts = append(w.Parts, b)
		}
		return encMode.Marshal(w)
	}
	return nil, invalid("CNT-18", "no body")
}

// decodePart reads a part already known to be well-formed; parts counts what has
// been read of the message so far.
func decodePart(b []byte, depth int, parts *int) (Part, error) {
	if *parts++; *parts > MaxParts {
		return nil, invalid("CNT-22", "more than %d parts", MaxParts)
	}
	if depth > MaxPartDepth {
		return nil, invalid("CNT-6", "parts nested deeper than %d", MaxPartDepth)
	}
	cardinality, err := cardinalityOf(b)
	if err != nil {
		return nil, err
	}
	switch cardinality {
	case cardinalityNull:
		var w wireNull
		err := decMode.Unmarshal(b, &w)
		return &NullPart{w.Disposition, w.Language}, partError(err)
	case cardinalitySingle:
		var w wireSingle
		err := decMode.Unmarshal(b, &w)
		return &SinglePart{w.Disposition, w.Language, w.ContentType, w.Content}, partError(err)
	case cardinalityExternal:
		var w wireExternal
		err := decMode.Unmarshal(b, &w)
		return &ExternalPart{w.Disposition, w.Language, w.ContentType, w.URL, w.Expires, w.Size, w.EncAlg,
			w.Key, w.Nonce, w.AAD, w.HashAlg, w.ContentHash, w.Description, w.Filename}, partError(err)
	case cardinalityMulti:
		return decodeMulti(b, depth, parts)
	}
	return nil, invalid("CNT-18", "unknown kind of part")
}

func decodeMulti(b []byte, depth int, parts *int) (Part, error) {
	var w wireMulti
	if err := decMode.Unmarshal(b, &w); err != nil {
		return nil, partError(err)
	}
	m := &MultiPart{Disposition: w.Disposition, Language: w.Language, Semantics: w.Semantics}
	for _, raw := range w.Parts {
		sub, err := decodePart(raw, depth+1, parts)
		if err != nil {
			return nil, err
		}
		m.Parts = append(m.Parts, sub)
	}
	return m, nil
}

// cardinalityOf looks at the third element of a part.
func cardinalityOf(b []byte) (uint64, error) {
	s := scanner{b: b}
	major, count, err := s.head()
	if err != nil || major != majorArray || count < 3 {
		return 0, invalid("CNT-18", "a part is not an array")
	}
	for range 2 {
		if err := s.item(0, anyKey); err != nil {
			return 0, err
		}
	}
	major, v, err := s.head()
	if err != nil || major != majorUint {
		return 0, invalid("CNT-18", "unknown kind of part")
	}
	return v, nil
}

func partError(err error) error {
	if err == nil {
		return nil
	}
	return decodeError("CNT-18", err)
}

// filled turns nil into an empty byte string, which encodes differently.
func filled(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}
