package mlspeer

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math"
	"math/big"
	"slices"
	"time"

	"hubbub/mls"
)

// client is one MLS client.
type client struct {
	suite        mls.CipherSuite
	signer       *mls.SignatureKey
	credential   mls.Credential
	capabilities *mls.Capabilities
	keyPackages  []*mls.KeyPackageSecret
	groups       map[string]*membership
	psks         []mls.PSK
	cfg          *mls.Config
}

// membership is a client's place in a group.
type membership struct {
	group   *mls.Group // the last epoch the client was in
	removed bool
}

func (p *Peer) info(*request) (answer, error) {
	return answer{
		"name": p.name, "version": p.version,
		"ciphersuites":     mls.SupportedSuites(),
		"credential_types": []mls.CredentialType{mls.CredentialTypeBasic, mls.CredentialTypeX509},
		"lacks":            []string{},
		"commands":         commandNames(),
	}, nil
}

func (p *Peer) createClient(r *request) (answer, error) {
	if r.Client == "" {
		return nil, fmt.Errorf("%w: client", errMissing)
	}
	if p.clients[r.Client] != nil {
		return nil, fmt.Errorf("client %q exists", r.Client)
	}
	suite := r.Suite
	if suite == 0 {
		suite = mls.SuiteX25519AES128SHA256Ed25519
	}
	signer, err := mls.NewSignatureKey(suite, nil)
	if err != nil {
		return nil, err
	}
	identity := r.Identity
	if identity == nil {
		identity = []byte(r.Client)
	}
	c := &client{suite: suite, signer: signer, groups: map[string]*membership{},
		capabilities: withCapabilities(r), cfg: &mls.Config{MaxLifetime: -1, Proposals: r.CapProposals}}
	switch r.Credential {
	case "", "basic":
		c.credential = mls.BasicCredential(identity)
	case "x509":
		c.credential = mls.Credential{Type: mls.CredentialTypeX509, Certificates: r.Certificates}
		if len(r.Certificates) == 0 {
			if c.credential.Certificates, err = selfSigned(signer, r.Client); err != nil {
				return nil, err
			}
		}
	default:
		return nil, fmt.Errorf("credential is basic or x509, not %q", r.Credential)
	}
	p.clients[r.Client] = c
	return answer{"identity": identityOf(&c.credential), "signature_key": signer.Public}, nil
}

// withCapabilities adds what the request asks for to the library's own, nil if
// that is nothing.
func withCapabilities(r *request) *mls.Capabilities {
	if len(r.CapExtensions)+len(r.CapProposals) == 0 {
		return nil
	}
	c := mls.DefaultCapabilities()
	for _, t := range r.CapExtensions {
		if !t.IsDefault() && !slices.Contains(c.Extensions, t) {
			c.Extensions = append(c.Extensions, t)
		}
	}
	for _, t := range r.CapProposals {
		if !t.IsDefault() && !slices.Contains(c.Proposals, t) {
			c.Proposals = append(c.Proposals, t)
		}
	}
	return c
}

// identityOf is how a member is named: the identity of a basic credential, the
// end-entity certificate of an X.509 one.
func identityOf(c *mls.Credential) []byte {
	switch {
	case c.Type == mls.CredentialTypeBasic:
		return c.Identity
	case len(c.Certificates) > 0:
		return c.Certificates[0]
	}
	return c.Raw
}

// selfSigned makes a certificate for a signature key.
func selfSigned(k *mls.SignatureKey, name string) ([][]byte, error) {
	key, err := standardKey(k)
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(mls.DefaultLifetime),
		KeyUsage: x509.KeyUsageDigitalSignature}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	return [][]byte{der}, err
}

// standardKey is a signature key in the form the standard library works with.
func standardKey(k *mls.SignatureKey) (crypto.Signer, error) {
	curve := elliptic.P256()
	switch k.Suite {
	case mls.SuiteX25519AES128SHA256Ed25519, mls.SuiteX25519ChaChaSHA256Ed25519:
		return ed25519.NewKeyFromSeed(k.Private), nil
	case mls.SuiteP256AES128SHA256P256:
	case mls.SuiteP384AES256SHA384P384:
		curve = elliptic.P384()
	case mls.SuiteP521AES256SHA512P521:
		curve = elliptic.P521()
	default:
		return nil, errors.New("no certificate can be made for this suite: give certificates")
	}
	return ecdsa.ParseRawPrivateKey(curve, k.Private)
}

func (p *Peer) free(r *request) (answer, error) {
	return withClient(func(c *client, r *request) (answer, error) {
		if r.Group == nil {
			delete(p.clients, r.Client)
			return nil, nil
		}
		if c.groups[string(r.Group)] == nil {
			return nil, errUnknownGroup
		}
		delete(c.groups, string(r.Group))
		return nil, nil
	})(p, r)
}

func (c *client) keyPackage(r *request) (answer, error) {
	o := mls.KeyPackageOptions{Suite: c.suite, Signer: c.signer, Credential: c.credential, Capabilities: c.capabilities,
		Extensions: extensions(r.Extensions), LeafExtensions: extensions(r.LeafExtensions), LastResort: r.LastResort}
	if r.LifetimeS != nil {
		if *r.LifetimeS < 0 || *r.LifetimeS > math.MaxInt64/int64(time.Second) {
			return nil, errors.New("lifetime_s out of range")
		}
		o.NotBefore = time.Now().Add(-time.Minute)
		o.NotAfter = time.Now().Add(time.Duration(*r.LifetimeS) * time.Second)
	}
	s, err := mls.NewKeyPackage(o)
	if err != nil {
		return nil, err
	}
	b, err := mls.NewMessage(s.KeyPackage).Marshal()
	if err != nil {
		return nil, err
	}
	c.keyPackages = append(c.keyPackages, s)
	return answer{"key_package": b}, nil
}

func (c *client) storePSK(r *request) (answer, error) {
	if r.PSKID == nil || r.PSK == nil {
		return nil, fmt.Errorf("%w: psk_id or psk", errMissing)
	}
	c.psks = slices.DeleteFunc(c.psks, func(k mls.PSK) bool { return bytes.Equal(k.ID.ID, r.PSKID) })
	c.psks = append(c.psks, mls.PSK{ID: mls.PreSharedKeyID{Type: mls.PSKTypeExternal, ID: r.PSKID}, Secret: r.PSK})
	for _, m := range c.groups {
		m.group = m.group.WithPSKs(c.psks...)
	}
	return nil, nil
}
