package mls

import (
	"bytes"

	"hubbub/mls/wire"
)

// Credential binds a member's identity to its signature key (RFC 9420 §5.3).
// Type selects which field holds the content.
type Credential struct {
	Type         CredentialType
	Identity     []byte   // basic: application-defined identity
	Certificates [][]byte // x509: DER certificates, the end entity first
	Raw          []byte   // any other type: content of the one vector that follows the type
}

// BasicCredential returns a credential of type basic for identity.
func BasicCredential(identity []byte) Credential {
	return Credential{Type: CredentialTypeBasic, Identity: identity}
}

// Encode appends the credential.
func (c *Credential) Encode(w *wire.Writer) {
	w.Uint16(uint16(c.Type))
	switch c.Type {
	case CredentialTypeBasic:
		w.Opaque(c.Identity)
	case CredentialTypeX509:
		w.Vector(func(w *wire.Writer) {
			for _, cert := range c.Certificates {
				w.Opaque(cert)
			}
		})
	default:
		w.Opaque(c.Raw)
	}
}

// Decode reads a credential. Types other than basic and x509 are kept in Raw;
// like all credentials defined so far they must consist of one vector.
func (c *Credential) Decode(r *wire.Reader) {
	*c = Credential{Type: CredentialType(r.Uint16())}
	switch c.Type {
	case CredentialTypeBasic:
		c.Identity = r.Opaque()
	case CredentialTypeX509:
		for v := r.Vector(); !v.Empty(); {
			c.Certificates = append(room(c.Certificates), v.Opaque())
		}
	default:
		c.Raw = r.Opaque()
	}
}

// Equal reports whether both credentials have the same encoding.
func (c *Credential) Equal(other *Credential) bool {
	if c.Type != other.Type || len(c.Certificates) != len(other.Certificates) {
		return false
	}
	for i := range c.Certificates {
		if !bytes.Equal(c.Certificates[i], other.Certificates[i]) {
			return false
		}
	}
	return bytes.Equal(c.Identity, other.Identity) && bytes.Equal(c.Raw, other.Raw)
}
