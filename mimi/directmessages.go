package mimi

import (
	"fmt"

	"hubbub/mls"
	"hubbub/mls/wire"
)

// A ConsentOperation is what a [ConsentEntry] says.
type ConsentOperation uint8

// Operations on consent: the first two go to requestConsent, the last two to
// updateConsent (CON-2).
const (
	ConsentCancel ConsentOperation = iota
	ConsentRequest
	ConsentGrant
	ConsentRevoke
)

// A ConsentEntry asks for, grants or withdraws consent that Requester may reach
// Target (mimi-protocol-06, Convey explicit consent).
type ConsentEntry struct {
	Operation   ConsentOperation
	Requester   UserURI
	Target      UserURI
	Room        RoomURI          // empty: any room
	KeyPackages []mls.KeyPackage // grant only; may be empty
	Extensions  mls.AppDataDictionary
}

// ParseConsentEntry reads a body. The error wraps [ErrMalformed].
func ParseConsentEntry(b []byte) (*ConsentEntry, error) {
	c := new(ConsentEntry)
	if err := parseBody(b, c); err != nil {
		return nil, err
	}
	return c, nil
}

// Marshal gives the body.
func (c *ConsentEntry) Marshal() ([]byte, error) { return wire.Marshal(c) }

// Encode writes the body to w.
func (c *ConsentEntry) Encode(w *wire.Writer) {
	w.Uint8(uint8(c.Operation))
	encodeString(w, c.Requester)
	encodeString(w, c.Target)
	w.Optional(c.Room != "")
	if c.Room != "" {
		encodeString(w, c.Room)
	}
	if c.Operation == ConsentGrant {
		encodeList(w, c.KeyPackages, func(w *wire.Writer, k *mls.KeyPackage) { k.Encode(w) })
	}
	c.Extensions.Encode(w)
}

// Decode reads the body from r.
func (c *ConsentEntry) Decode(r *wire.Reader) {
	*c = ConsentEntry{
		Operation: inRange(r, ConsentOperation(r.Uint8()), 0, ConsentRevoke),
		Requester: decodeURI(r, ParseUser),
		Target:    decodeURI(r, ParseUser),
	}
	if r.Optional() {
		c.Room = decodeURI(r, ParseRoom)
	}
	if c.Operation == ConsentGrant {
		c.KeyPackages = decodeList(r, func(r *wire.Reader, k *mls.KeyPackage) { k.Decode(r) })
	}
	c.Extensions.Decode(r)
}

// A SearchType is what a [QueryElement] compares with.
type SearchType uint8

// What can be searched for (IDQ-3 to IDQ-5).
const (
	SearchHandle       SearchType = 1
	SearchNick         SearchType = 2
	SearchEmail        SearchType = 3
	SearchPhone        SearchType = 4
	SearchPartialName  SearchType = 5
	SearchWholeProfile SearchType = 6
	SearchOIDCClaim    SearchType = 7 // Field names the claim
	SearchVCardField   SearchType = 8 // Field names the property
)

// maxQueryElements bounds an [IdentifierRequest] (SEC-1).
const maxQueryElements = 256

// An IdentifierRequest asks a provider for users (mimi-protocol-06, Find internal address). The
// elements, 1 to 256, are combined with AND.
type IdentifierRequest struct {
	Elements   []QueryElement
	Extensions mls.AppDataDictionary
}

// A QueryElement is one condition.
type QueryElement struct {
	Type  SearchType
	Field string // only for claims and properties
	Value string
}

// ParseIdentifierRequest reads a body. The error wraps [ErrMalformed].
func ParseIdentifierRequest(b []byte) (*IdentifierRequest, error) {
	q := new(IdentifierRequest)
	if err := parseBody(b, q); err != nil {
		return nil, err
	}
	return q, nil
}

// Marshal gives the body.
func (q *IdentifierRequest) Marshal() ([]byte, error) { return wire.Marshal(q) }

// Encode writes the body to w.
func (q *IdentifierRequest) Encode(w *wire.Writer) {
	encodeList(w, q.Elements, func(w *wire.Writer, e *QueryElement) {
		w.Uint8(uint8(e.Type))
		if e.Type.hasField() {
			encodeText(w, e.Field)
		}
		encodeText(w, e.Value)
	})
	q.Extensions.Encode(w)
}

// Decode reads the body from r.
func (q *IdentifierRequest) Decode(r *wire.Reader) {
	q.Elements = decodeList(r, func(r *wire.Reader, e *QueryElement) {
		e.Type = inRange(r, SearchType(r.Uint8()), SearchHandle, SearchVCardField)
		if e.Type.hasField() {
			e.Field = decodeText(r)
		}
		e.Value = decodeText(r)
	})
	if n := len(q.Elements); n == 0 || n > maxQueryElements { // IDQ-10
		r.FailValue()
	}
	q.Extensions.Decode(r)
}

func (t SearchType) hasField() bool { return t == SearchOIDCClaim || t == SearchVCardField }

// An IdentifierCode is the outcome of an [IdentifierRequest].
type IdentifierCode uint8

// Outcomes of a search (IDQ-7).
const (
	IdentifierSuccess IdentifierCode = iota
	IdentifierNotFound
	IdentifierAmbiguous
	IdentifierForbidden
	IdentifierUnsupportedField
)

// An IdentifierResponse lists every match, and details of some of them. Both lists
// are empty unless Code is success (D-45).
type IdentifierResponse struct {
	Code       IdentifierCode
	Users      []UserURI
	Profiles   []UserProfile
	Extensions mls.AppDataDictionary
}

// A UserProfile tells about one of the users found.
type UserProfile struct {
	User   UserURI
	Fields []ProfileField
}

// A ProfileField is one detail; Source is SearchOIDCClaim or SearchVCardField.
type ProfileField struct {
	Source      SearchType
	Name, Value string
}

// ParseIdentifierResponse reads a body. The error wraps [ErrMalformed].
func ParseIdentifierResponse(b []byte) (*IdentifierResponse, error) {
	q := new(IdentifierResponse)
	if err := parseBody(b, q); err != nil {
		return nil, err
	}
	return q, nil
}

// Marshal gives the body.
func (q *IdentifierResponse) Marshal() ([]byte, error) { return wire.Marshal(q) }

// Encode writes the body to w.
func (q *IdentifierResponse) Encode(w *wire.Writer) {
	w.Uint8(uint8(q.Code))
	if q.Code != IdentifierSuccess && len(q.Users)+len(q.Profiles) > 0 {
		w.Fail(fmt.Errorf("%w: results beside a failure", ErrMalformed))
	}
	encodeList(w, q.Users, func(w *wire.Writer, u *UserURI) { encodeString(w, *u) })
	encodeList(w, q.Profiles, func(w *wire.Writer, p *UserProfile) {
		encodeString(w, p.User)
		encodeList(w, p.Fields, func(w *wire.Writer, f *ProfileField) {
			w.Uint8(uint8(f.Source))
			encodeText(w, f.Name)
			encodeText(w, f.Value)
		})
	})
	q.Extensions.Encode(w)
}

// Decode reads the body from r.
func (q *IdentifierResponse) Decode(r *wire.Reader) {
	q.Code = inRange(r, IdentifierCode(r.Uint8()), 0, IdentifierUnsupportedField)
	q.Users = decodeList(r, func(r *wire.Reader, u *UserURI) { *u = decodeURI(r, ParseUser) })
	q.Profiles = decodeList(r, func(r *wire.Reader, p *UserProfile) {
		p.User = decodeURI(r, ParseUser)
		p.Fields = decodeList(r, func(r *wire.Reader, f *ProfileField) {
			f.Source = inRange(r, SearchType(r.Uint8()), SearchOIDCClaim, SearchVCardField)
			f.Name, f.Value = decodeText(r), decodeText(r)
		})
	})
	if q.Code != IdentifierSuccess && len(q.Users)+len(q.Profiles) > 0 {
		r.FailValue()
	}
	q.Extensions.Decode(r)
}

// An AbuseReport tells a hub of abuse in one of its rooms (mimi-protocol-06, Report abuse).
type AbuseReport struct {
	Reporter   UserURI // empty: anonymous
	Abuser     UserURI
	Reason     uint8 // 0 until codes exist (D-47)
	Note       string
	Messages   []AbusiveMessage
	Extensions mls.AppDataDictionary
}

// An AbusiveMessage is evidence: the whole application data with the hub's frank
// (D-33).
type AbusiveMessage struct {
	Content   []byte
	Frank     Frank
	Timestamp uint64 // acceptance time in Unix ms
}

// ParseAbuseReport reads a body. The error wraps [ErrMalformed].
func ParseAbuseReport(b []byte) (*AbuseReport, error) {
	a := new(AbuseReport)
	if err := parseBody(b, a); err != nil {
		return nil, err
	}
	return a, nil
}

// Marshal gives the body.
func (a *AbuseReport) Marshal() ([]byte, error) { return wire.Marshal(a) }

// Encode writes the body to w.
func (a *AbuseReport) Encode(w *wire.Writer) {
	encodeString(w, a.Reporter)
	encodeString(w, a.Abuser)
	w.Uint8(a.Reason)
	encodeText(w, a.Note)
	encodeList(w, a.Messages, func(w *wire.Writer, m *AbusiveMessage) {
		w.Opaque(m.Content)
		m.Frank.Encode(w)
		w.Uint64(m.Timestamp)
	})
	a.Extensions.Encode(w)
}

// Decode reads the body from r.
func (a *AbuseReport) Decode(r *wire.Reader) {
	*a = AbuseReport{
		Reporter: decodeOptionalURI(r, ParseUser),
		Abuser:   decodeURI(r, ParseUser),
		Reason:   r.Uint8(),
		Note:     decodeText(r),
	}
	a.Messages = decodeList(r, func(r *wire.Reader, m *AbusiveMessage) {
		m.Content = r.Opaque()
		m.Frank.Decode(r)
		m.Timestamp = r.Uint64()
	})
	a.Extensions.Decode(r)
}
