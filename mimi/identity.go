package mimi

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"hubbub/mls"
)

// ErrBadCredential is wrapped by every error about a credential that does not prove
// who its holder is.
var ErrBadCredential = errors.New("mimi: bad credential")

// An Identity is who holds a credential: a client and the user it belongs to, both
// of one provider (ID-6).
type Identity struct {
	User   UserURI
	Client ClientURI
}

// A Verifier ties MLS credentials to users and clients (D-51). It is safe for
// concurrent use.
//
// An X.509 credential is a chain, end entity first, that leads to one of Roots. The
// end entity carries exactly two URIs as subject alternative names, one user and one
// client of the same domain, and the key that signs in MLS. The certificate that
// issued it must be a CA and carry that domain as DNS name: that is how a root says
// which provider vouches for which users.
//
// A basic credential is the client URI itself and proves nothing; only AllowBasic
// admits it.
type Verifier struct {
	Roots      *x509.CertPool
	AllowBasic bool
}

const (
	maxCertificates     = 8
	maxCertificateBytes = 16 << 10
)

// Identify gives the holder of a credential whose key is signatureKey, valid at now.
// The error wraps [ErrBadCredential].
func (v *Verifier) Identify(c *mls.Credential, signatureKey []byte, now time.Time) (Identity, error) {
	switch {
	case c.Type == mls.CredentialTypeX509:
		return v.identifyX509(c, signatureKey, now)
	case c.Type == mls.CredentialTypeBasic && v.AllowBasic:
		return ClaimedIdentity(c)
	}
	return Identity{}, fmt.Errorf("%w: credential type %v is not accepted", ErrBadCredential, c.Type)
}

// Validate gives the function that package mls asks about each credential. It accepts
// what [Verifier.Identify] accepts and, for external senders, the identity of a
// provider. Whether a leaf belongs to a participant is for the room's rules to say;
// they never count a provider as one. Now is called at each use.
func (v *Verifier) Validate(now func() time.Time) func(c *mls.Credential, signatureKey []byte) error {
	return func(c *mls.Credential, signatureKey []byte) error {
		if _, err := ProviderIdentity(c); err == nil {
			return nil
		}
		_, err := v.Identify(c, signatureKey, now())
		return err
	}
}

// SameIdentity refuses a new credential in a leaf that names another user or client
// than the old one (MLSD-24, H43). The error wraps [ErrBadCredential].
func SameIdentity(old, new *mls.Credential) error {
	was, err := ClaimedIdentity(old)
	if err != nil {
		return err
	}
	is, err := ClaimedIdentity(new)
	if err != nil {
		return err
	}
	if was != is {
		return fmt.Errorf("%w: another identity than before", ErrBadCredential)
	}
	return nil
}

// ClaimedIdentity gives the user and client a credential names, without checking that
// anybody vouches for it. Use it for leaves that were identified when they entered
// their group. The error wraps [ErrBadCredential].
func ClaimedIdentity(c *mls.Credential) (Identity, error) {
	switch c.Type {
	case mls.CredentialTypeX509:
		certs, err := parseCertificates(c)
		if err != nil {
			return Identity{}, err
		}
		return certificateIdentity(certs[0])
	case mls.CredentialTypeBasic:
		client, err := ParseClient(string(c.Identity))
		if err != nil {
			return Identity{}, fmt.Errorf("%w: %w", ErrBadCredential, err)
		}
		if client.User() == "" {
			return Identity{}, fmt.Errorf("%w: client without a user", ErrBadCredential)
		}
		return Identity{User: client.User(), Client: client}, nil
	}
	return Identity{}, fmt.Errorf("%w: credential type %v is not accepted", ErrBadCredential, c.Type)
}

// ProviderIdentity gives the domain named by the credential of a server: basic, with
// the identity mimi://<domain>. The error wraps [ErrBadCredential].
func ProviderIdentity(c *mls.Credential) (Domain, error) {
	if c.Type != mls.CredentialTypeBasic {
		return "", fmt.Errorf("%w: not the credential of a provider", ErrBadCredential)
	}
	d, err := ParseProvider(string(c.Identity))
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrBadCredential, err)
	}
	return d, nil
}

// ProviderCredential is the credential by which a provider's server signs.
func ProviderCredential(d Domain) mls.Credential {
	return mls.BasicCredential([]byte(d.ProviderURI()))
}

func (v *Verifier) identifyX509(c *mls.Credential, signatureKey []byte, now time.Time) (Identity, error) {
	certs, err := parseCertificates(c)
	if err != nil {
		return Identity{}, err
	}
	id, err := certificateIdentity(certs[0])
	if err != nil {
		return Identity{}, err
	}
	if !sameKey(certs[0], signatureKey) {
		return Identity{}, fmt.Errorf("%w: certificate is for another key", ErrBadCredential)
	}
	if v.Roots == nil { // nil would mean the system's roots, which vouch for no users
		return Identity{}, fmt.Errorf("%w: no trusted roots", ErrBadCredential)
	}
	intermediates := x509.NewCertPool()
	for _, cert := range certs[1:] {
		intermediates.AddCert(cert)
	}
	chains, err := certs[0].Verify(x509.VerifyOptions{
		Roots: v.Roots, Intermediates: intermediates, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		return Identity{}, fmt.Errorf("%w: %w", ErrBadCredential, err)
	}
	for _, chain := range chains {
		if len(chain) > 1 && entitled(chain[1], id.User.Domain()) {
			return id, nil
		}
	}
	return Identity{}, fmt.Errorf("%w: issuer may not vouch for the domain", ErrBadCredential)
}

func parseCertificates(c *mls.Credential) ([]*x509.Certificate, error) {
	if n := len(c.Certificates); n == 0 || n > maxCertificates {
		return nil, fmt.Errorf("%w: no certificate, or too many", ErrBadCredential)
	}
	certs := make([]*x509.Certificate, 0, len(c.Certificates))
	for _, der := range c.Certificates {
		if len(der) > maxCertificateBytes {
			return nil, fmt.Errorf("%w: certificate too large", ErrBadCredential)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrBadCredential, err)
		}
		certs = append(certs, cert)
	}
	return certs, nil
}

// certificateIdentity reads the two names of an end entity.
func certificateIdentity(cert *x509.Certificate) (Identity, error) {
	if cert.IsCA || len(cert.URIs) != 2 {
		return Identity{}, fmt.Errorf("%w: certificate does not name one user and one client", ErrBadCredential)
	}
	var id Identity
	for _, u := range cert.URIs {
		if user, err := ParseUser(u.String()); err == nil {
			id.User = user
		} else if client, err := ParseClient(u.String()); err == nil {
			id.Client = client
		}
	}
	if id.User == "" || id.Client == "" {
		return Identity{}, fmt.Errorf("%w: certificate does not name one user and one client", ErrBadCredential)
	}
	if id.User.Domain() != id.Client.Domain() || id.Client.User() != "" && id.Client.User() != id.User {
		return Identity{}, fmt.Errorf("%w: client is not one of the user's", ErrBadCredential)
	}
	return id, nil
}

// entitled says whether a root has let issuer vouch for users of the domain. The name
// must be there as such: a wildcard is for servers, not for people.
func entitled(issuer *x509.Certificate, d Domain) bool {
	return issuer.IsCA && slices.ContainsFunc(issuer.DNSNames, func(name string) bool {
		return strings.EqualFold(name, string(d))
	})
}

// sameKey compares a certificate's key with one in the form MLS uses.
func sameKey(cert *x509.Certificate, signatureKey []byte) bool {
	switch key := cert.PublicKey.(type) {
	case ed25519.PublicKey:
		return bytes.Equal(key, signatureKey)
	case *ecdsa.PublicKey:
		b, err := key.Bytes()
		return err == nil && bytes.Equal(b, signatureKey)
	}
	return false
}
