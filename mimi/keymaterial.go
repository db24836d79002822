package mimi

import (
	"fmt"

	"hubbub/mls"
	"hubbub/mls/wire"
)

// A KeyMaterialRequest asks a user's provider for one KeyPackage of each of the
// user's clients (mimi-protocol-06, Fetch Key Material). A client signs it, providers relay its
// octets unchanged (KM-7).
type KeyMaterialRequest struct {
	Protocol       Protocol
	RequestingUser UserURI
	TargetUser     UserURI
	Room           RoomURI // where the KeyPackages will be used; empty when not for an add (D-17)

	// The rest belongs to mls10.

	CipherSuites         []mls.CipherSuite // acceptable, at least one, the suite of SignatureKey first (D-16)
	RequiredCapabilities mls.RequiredCapabilities
	SignatureKey         []byte // the requesting client's public key
	Credential           mls.Credential
	Signature            []byte
}

const keyMaterialLabel = "KeyMaterialRequestTBS"

// ParseKeyMaterialRequest reads a request. A protocol other than mls10 is no error
// (KM-16): then only the fields before CipherSuites are set. Otherwise the error
// wraps [ErrMalformed].
func ParseKeyMaterialRequest(b []byte) (*KeyMaterialRequest, error) {
	k := new(KeyMaterialRequest)
	if err := parseBody(b, k); err != nil {
		return nil, err
	}
	return k, nil
}

// Marshal gives the body.
func (k *KeyMaterialRequest) Marshal() ([]byte, error) { return wire.Marshal(k) }

// Encode writes the body to w.
func (k *KeyMaterialRequest) Encode(w *wire.Writer) {
	k.encodeTBS(w)
	if k.Protocol == ProtocolMLS10 {
		w.Opaque(k.Signature)
	}
}

func (k *KeyMaterialRequest) encodeTBS(w *wire.Writer) {
	w.Uint8(uint8(k.Protocol))
	encodeString(w, k.RequestingUser)
	encodeString(w, k.TargetUser)
	encodeString(w, k.Room)
	if k.Protocol != ProtocolMLS10 {
		return
	}
	encodeSuites(w, k.CipherSuites)
	k.RequiredCapabilities.Encode(w)
	w.Opaque(k.SignatureKey)
	k.Credential.Encode(w)
}

// Decode reads the body from r.
func (k *KeyMaterialRequest) Decode(r *wire.Reader) {
	*k = KeyMaterialRequest{
		Protocol:       Protocol(r.Uint8()),
		RequestingUser: decodeURI(r, ParseUser),
		TargetUser:     decodeURI(r, ParseUser),
		Room:           decodeOptionalURI(r, ParseRoom),
	}
	if k.Protocol != ProtocolMLS10 {
		r.Raw(len(r.Remaining())) // of a layout nobody has defined
		return
	}
	if k.CipherSuites = decodeSuites(r); len(k.CipherSuites) == 0 {
		r.FailValue() // KM-4
	}
	k.RequiredCapabilities.Decode(r)
	c := &k.RequiredCapabilities
	if max(len(c.Extensions), len(c.Proposals), len(c.Credentials)) > maxCodePoints {
		r.FailValue()
	}
	k.SignatureKey = r.Opaque()
	k.Credential.Decode(r)
	k.Signature = r.Opaque()
}

// Sign sets SignatureKey and Signature. The first of CipherSuites must be the suite
// of key (D-16).
func (k *KeyMaterialRequest) Sign(key *mls.SignatureKey) error {
	if k.Protocol != ProtocolMLS10 {
		return ErrUnsupportedProtocol
	}
	if len(k.CipherSuites) == 0 || k.CipherSuites[0] != key.Suite {
		return fmt.Errorf("mimi: sign key material request: the first acceptable suite must be that of the key, %v", key.Suite)
	}
	k.SignatureKey = key.Public
	tbs, err := encodeWith(k.encodeTBS)
	if err != nil {
		return fmt.Errorf("mimi: sign key material request: %w", err)
	}
	k.Signature, err = key.Suite.SignWithLabel(key.Private, keyMaterialLabel, tbs)
	if err != nil {
		return fmt.Errorf("mimi: sign key material request: %w", err)
	}
	return nil
}

// Verify checks Signature under SignatureKey, trying the signature schemes of
// CipherSuites in their order (KM-5, D-16). That SignatureKey belongs to
// RequestingUser is for [Verifier.Identify] to say. The error wraps
// [ErrBadSignature].
func (k *KeyMaterialRequest) Verify() error {
	if k.Protocol != ProtocolMLS10 {
		return ErrUnsupportedProtocol
	}
	tbs, err := encodeWith(k.encodeTBS)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBadSignature, err)
	}
	tried := make(map[mls.CipherSuite]bool)
	for _, suite := range k.CipherSuites {
		if !suite.Supported() || tried[suite] {
			continue
		}
		tried[suite] = true
		if suite.VerifyWithLabel(k.SignatureKey, keyMaterialLabel, tbs, k.Signature) == nil {
			return nil
		}
	}
	return fmt.Errorf("%w: key material request", ErrBadSignature)
}

// encodeWith runs one encoding function.
func encodeWith(encode func(*wire.Writer)) ([]byte, error) {
	var w wire.Writer
	encode(&w)
	return w.Bytes()
}

// A KeyMaterialUserCode is the outcome of a request for a whole user.
type KeyMaterialUserCode uint8

// Outcomes for a user (mimi-protocol-06, Fetch Key Material).
const (
	KeyMaterialSuccess              KeyMaterialUserCode = iota // material of every client
	KeyMaterialPartialSuccess                                  // of some, not all
	KeyMaterialIncompatibleProtocol                            // protocol not supported
	KeyMaterialNoCompatible                                    // of none
	KeyMaterialUserUnknown
	KeyMaterialNoConsent // may stand for any of its neighbours (KM-15)
	KeyMaterialNoConsentForRoom
	KeyMaterialUserDeleted
)

// A KeyMaterialClientCode is the outcome of a request for one client.
type KeyMaterialClientCode uint8

// Outcomes for a client (mimi-protocol-06, Fetch Key Material).
const (
	ClientKeyMaterialSuccess           KeyMaterialClientCode = iota
	ClientKeyMaterialExhausted                               // nothing left
	ClientKeyMaterialNothingCompatible                       // some left, none that fits
)

// A KeyMaterialResponse answers a [KeyMaterialRequest]. Clients is empty unless
// Status is success, partial success or no compatible material (KM-10), and lists
// each client at most once.
type KeyMaterialResponse struct {
	Status  KeyMaterialUserCode
	User    UserURI
	Clients []ClientKeyMaterial
}

// ClientKeyMaterial is what there is of one client.
type ClientKeyMaterial struct {
	Status       KeyMaterialClientCode
	Client       ClientURI
	KeyPackage   *mls.KeyPackage   // exactly if Status is success
	Capabilities *mls.Capabilities // optional, only if nothing is compatible (KM-11)
}

// ParseKeyMaterialResponse reads an answer. The error wraps [ErrMalformed].
func ParseKeyMaterialResponse(b []byte) (*KeyMaterialResponse, error) {
	k := new(KeyMaterialResponse)
	if err := parseBody(b, k); err != nil {
		return nil, err
	}
	return k, nil
}

// Marshal gives the body.
func (k *KeyMaterialResponse) Marshal() ([]byte, error) { return wire.Marshal(k) }

// Encode writes the body to w.
func (k *KeyMaterialResponse) Encode(w *wire.Writer) {
	w.Uint8(uint8(ProtocolMLS10)) // D-20: also when the request named another
	w.Uint8(uint8(k.Status))
	encodeString(w, k.User)
	if !k.mayList() && len(k.Clients) > 0 {
		w.Fail(fmt.Errorf("%w: clients listed beside a failure (KM-10)", ErrMalformed))
	}
	encodeList(w, k.Clients, func(w *wire.Writer, c *ClientKeyMaterial) { c.encode(w) })
}

// Decode reads the body from r.
func (k *KeyMaterialResponse) Decode(r *wire.Reader) {
	decodeProtocol(r)
	k.Status = inRange(r, KeyMaterialUserCode(r.Uint8()), 0, KeyMaterialUserDeleted)
	k.User = decodeURI(r, ParseUser)
	seen := make(map[ClientURI]bool)
	k.Clients = decodeList(r, func(r *wire.Reader, c *ClientKeyMaterial) {
		c.decode(r)
		if seen[c.Client] {
			r.FailValue()
		}
		seen[c.Client] = true
	})
	if !k.mayList() && len(k.Clients) > 0 {
		r.FailValue()
	}
}

func (k *KeyMaterialResponse) mayList() bool {
	return k.Status == KeyMaterialSuccess || k.Status == KeyMaterialPartialSuccess || k.Status == KeyMaterialNoCompatible
}

func (c *ClientKeyMaterial) encode(w *wire.Writer) {
	w.Uint8(uint8(c.Status))
	encodeString(w, c.Client)
	switch c.Status {
	case ClientKeyMaterialSuccess:
		if c.KeyPackage == nil {
			w.Fail(fmt.Errorf("%w: success without a KeyPackage (KM-9)", ErrMalformed))
			return
		}
		c.KeyPackage.Encode(w)
	case ClientKeyMaterialNothingCompatible:
		w.Optional(c.Capabilities != nil)
		if c.Capabilities != nil {
			c.Capabilities.Encode(w)
		}
	}
}

func (c *ClientKeyMaterial) decode(r *wire.Reader) {
	c.Status = inRange(r, KeyMaterialClientCode(r.Uint8()), 0, ClientKeyMaterialNothingCompatible)
	c.Client = decodeURI(r, ParseClient)
	switch c.Status {
	case ClientKeyMaterialSuccess:
		c.KeyPackage = new(mls.KeyPackage)
		c.KeyPackage.Decode(r)
	case ClientKeyMaterialNothingCompatible: // D-18: nothing follows "exhausted"
		if r.Optional() {
			c.Capabilities = new(mls.Capabilities)
			c.Capabilities.Decode(r)
		}
	}
}
