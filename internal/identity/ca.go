package identity

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"time"

	"hubbub/mimi"
)

// devLifetime is how long the certificates of a throw-away CA are good for.
const devLifetime = 365 * 24 * time.Hour

// clockSkew is how far a certificate is dated back, for readers whose clock is
// behind ours.
const clockSkew = time.Hour

// CA is a throw-away root for development and tests. It lives in memory: when
// it is gone nothing more can be issued under it.
type CA struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// NewCA makes a root with an ECDSA P-256 key.
func NewCA(name string) (*CA, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making root key: %w", err)
	}
	t := template(name, devLifetime)
	t.IsCA = true
	t.KeyUsage = x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("making root certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("making root certificate: %w", err)
	}
	return &CA{cert: cert, key: key}, nil
}

// CertPEM is the root certificate, for those who are to trust it.
func (ca *CA) CertPEM() []byte { return encodeCerts(ca.cert.Raw) }

// Pool holds just this root.
func (ca *CA) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	return pool
}

// WriteCert writes the root certificate. Its key is never written.
func (ca *CA) WriteCert(file string) error { return writeFile(file, ca.CertPEM()) }

// IssueTLS makes a provider's certificate for both ends of TLS, with the domain
// and any further hosts as DNS names.
func (ca *CA) IssueTLS(domain mimi.Domain, hosts ...string) (Pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Pair{}, fmt.Errorf("making TLS key: %w", err)
	}
	t := template(string(domain), devLifetime)
	t.KeyUsage = x509.KeyUsageDigitalSignature
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	t.DNSNames = append([]string{string(domain)}, hosts...)
	return ca.sign(t, key)
}

// IssueIdentityCA makes the CA under which a provider vouches for its clients:
// Ed25519, path length 0, entitled to one domain. Name constraints keep it from
// vouching for, or passing itself off as, any other.
func (ca *CA) IssueIdentityCA(domain mimi.Domain) (Pair, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return Pair{}, fmt.Errorf("making identity CA key: %w", err)
	}
	t := template(string(domain)+" identity CA", devLifetime)
	t.IsCA = true
	t.MaxPathLenZero = true
	t.KeyUsage = x509.KeyUsageCertSign
	t.DNSNames = []string{string(domain)}
	t.PermittedDNSDomains = []string{string(domain)}
	t.PermittedURIDomains = []string{string(domain)}
	t.PermittedDNSDomainsCritical = true
	return ca.sign(t, key)
}

func (ca *CA) sign(t *x509.Certificate, key crypto.Signer) (Pair, error) {
	der, err := x509.CreateCertificate(rand.Reader, t, ca.cert, key.Public(), ca.key)
	if err != nil {
		return Pair{}, fmt.Errorf("signing certificate for %s: %w", t.Subject.CommonName, err)
	}
	keyPEM, err := encodeKey(key)
	if err != nil {
		return Pair{}, err
	}
	return Pair{CertPEM: encodeCerts(der), KeyPEM: keyPEM}, nil
}

func template(name string, lifetime time.Duration) *x509.Certificate {
	now := time.Now()
	return &x509.Certificate{
		SerialNumber:          newSerial(),
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             now.Add(-clockSkew),
		NotAfter:              now.Add(lifetime),
		BasicConstraintsValid: true,
	}
}

// newSerial is 127 random bits: positive, and never 0 in practice.
func newSerial() *big.Int {
	var b [16]byte
	rand.Read(b[:]) // never fails
	b[0] &= 0x7f
	return new(big.Int).SetBytes(b[:])
}
