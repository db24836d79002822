package identity

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"

	"hubbub/mimi"
)

// Issuer is a provider's identity CA at work. Safe for concurrent use.
type Issuer struct {
	domain mimi.Domain
	cert   *x509.Certificate
	key    crypto.Signer
	chain  [][]byte // DER: cert, then its issuers up to, not including, the root
	now    func() time.Time
}

// LoadIssuer reads a provider's identity CA and checks that it may sign
// certificates for that domain.
func LoadIssuer(domain mimi.Domain, certFile, keyFile string) (*Issuer, error) {
	pair, err := LoadPair(certFile, keyFile)
	if err != nil {
		return nil, err
	}
	return NewIssuer(domain, pair)
}

// NewIssuer is LoadIssuer for a pair in memory.
func NewIssuer(domain mimi.Domain, pair Pair) (*Issuer, error) {
	c, err := pair.TLS()
	if err != nil {
		return nil, err
	}
	switch {
	case !c.Leaf.IsCA || c.Leaf.KeyUsage&x509.KeyUsageCertSign == 0:
		return nil, fmt.Errorf("%w: the identity CA certificate is not a CA", ErrBadKey)
	case !slices.Contains(c.Leaf.DNSNames, string(domain)):
		return nil, fmt.Errorf("%w: the identity CA certificate has no DNS name %s", ErrBadKey, domain)
	}
	key, ok := c.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("%w: the identity CA key cannot sign", ErrBadKey)
	}
	return &Issuer{domain: domain, cert: c.Leaf, key: key, chain: c.Certificate, now: time.Now}, nil
}

// IssueClient vouches for a client of one of our users: a leaf over the client's
// Ed25519 signature key whose subject alternative names are exactly the two
// URIs (ID-6). It answers the DER chain, leaf first, without the root; the leaf
// never outlives the CA. A name of another provider is ErrForeign.
func (i *Issuer) IssueClient(user mimi.UserURI, client mimi.ClientURI, signatureKey []byte, notAfter time.Time) ([][]byte, error) {
	if user.Domain() != i.domain || client.Domain() != i.domain || client.User() != user {
		return nil, fmt.Errorf("%w: %s for %s", ErrForeign, client, user)
	}
	if len(signatureKey) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("%w: signature key of %d octets", ErrBadKey, len(signatureKey))
	}
	uris, err := sanURIs(string(user), string(client))
	if err != nil {
		return nil, err
	}
	if notAfter.After(i.cert.NotAfter) {
		notAfter = i.cert.NotAfter
	}
	now := i.now()
	if !notAfter.After(now) {
		return nil, fmt.Errorf("%w: the certificate would end at %s", ErrBadKey, notAfter.UTC().Format(time.RFC3339))
	}
	// No extended key usage: an MLS credential is none of the registered uses,
	// and without a DNS name it proves nothing in TLS either.
	t := &x509.Certificate{
		SerialNumber:          newSerial(),
		Subject:               pkix.Name{CommonName: user.Handle()},
		NotBefore:             now.Add(-clockSkew),
		NotAfter:              notAfter,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		URIs:                  uris,
	}
	if t.NotBefore.Before(i.cert.NotBefore) {
		t.NotBefore = i.cert.NotBefore
	}
	der, err := x509.CreateCertificate(rand.Reader, t, i.cert, ed25519.PublicKey(signatureKey), i.key)
	if err != nil {
		return nil, fmt.Errorf("signing client certificate: %w", err)
	}
	return append([][]byte{der}, i.chain...), nil
}

var errNotASAN = errors.New("identity: identifier cannot stand in a certificate")

// sanURIs refuses identifiers that net/url would write differently: the octets in
// the certificate must be those of the identifier (ID-3).
func sanURIs(ids ...string) ([]*url.URL, error) {
	out := make([]*url.URL, 0, len(ids))
	for _, id := range ids {
		u, err := url.Parse(id)
		if err != nil || u.String() != id {
			return nil, errNotASAN
		}
		out = append(out, u)
	}
	return out, nil
}
