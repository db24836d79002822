package mls

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/asn1"
	"math/big"
	"strings"
	"testing"
	"time"
)

// certificate makes an x509 credential with a self-issued certificate for a
// signature key.
func certificate(t testing.TB, key *SignatureKey) Credential {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	issuer := ed25519.NewKeyFromSeed(make([]byte, 32))
	public := crypto.PublicKey(ed25519.PublicKey(key.Public))
	a, err := key.Suite.algorithms()
	if err != nil {
		t.Fatal(err)
	}
	_, isEd448 := a.signature.(ed448Scheme)
	if s, ok := a.signature.(ecdsaScheme); ok {
		if public, err = ecdsa.ParseUncompressedPublicKey(s.curve, key.Public); err != nil {
			t.Fatal(err)
		}
	}
	if isEd448 {
		public = issuer.Public()
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, issuer)
	if err != nil {
		t.Fatal(err)
	}
	if isEd448 {
		der = withEd448(t, der, key.Public)
	}
	return Credential{Type: CredentialTypeX509, Certificates: [][]byte{der}}
}

// withEd448 replaces the key in a certificate, whose signature breaks by that.
func withEd448(t testing.TB, der, pub []byte) []byte {
	t.Helper()
	var cert struct {
		TBS struct {
			Version                                      int `asn1:"optional,explicit,default:0,tag:0"`
			Serial                                       *big.Int
			Algorithm, Issuer, Validity, Subject, Public asn1.RawValue
		}
		Algorithm asn1.RawValue
		Signature asn1.BitString
	}
	if _, err := asn1.Unmarshal(der, &cert); err != nil {
		t.Fatal(err)
	}
	info := append([]byte("\x30\x43\x30\x05\x06\x03\x2b\x65\x71\x03\x3a\x00"), pub...)
	cert.TBS.Public = asn1.RawValue{FullBytes: info}
	out, err := asn1.Marshal(cert)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestCertificateKey: the key in the end-entity certificate is the leaf's
// (RFC 9420 §5.3), for the keys of every suite.
func TestCertificateKey(t *testing.T) {
	for _, suite := range SupportedSuites() {
		key, err := NewSignatureKey(suite, nil)
		if err != nil {
			t.Fatal(err)
		}
		other, _ := NewSignatureKey(suite, nil)
		c := certificate(t, key)
		if err := c.checkKey(suite, key.Public); err != nil {
			t.Errorf("suite %d: %v", suite, err)
		}
		if err := c.checkKey(suite, other.Public); err == nil {
			t.Errorf("suite %d: certificate for another key accepted", suite)
		}
		if err := c.checkKey(suite%7+1, key.Public); err == nil {
			t.Errorf("suite %d: certificate accepted for another algorithm", suite)
		}
	}
	key := newSigner(t)
	for name, list := range map[string][][]byte{
		"empty chain": nil, "not a certificate": {{1}}, "long chain": make([][]byte, maxCertificates+1),
	} {
		c := Credential{Type: CredentialTypeX509, Certificates: list}
		if err := c.checkKey(1, key.Public); err == nil {
			t.Errorf("%s accepted", name)
		}
	}
}

// TestX509Chat: members with certificates, one of whom renews its own.
func TestX509Chat(t *testing.T) {
	c := newChat(t, 2, nil, nil, "alice")
	signer := c.signer("bob")
	kp, err := NewKeyPackage(KeyPackageOptions{Suite: 2, Signer: signer, Credential: certificate(t, signer)})
	c.ok(err)
	p := c.commit("alice", CommitOptions{Proposals: []Proposal{addOf(kp)}})
	c.members["bob"], err = JoinWelcome(p.Welcome(), kp, JoinOptions{Tree: p.Tree()}, nil)
	c.ok(err)
	next, _ := NewSignatureKey(2, nil)
	old := certificate(t, signer)
	if _, err := c.members["bob"].Commit(CommitOptions{Leaf: &LeafChange{Signer: next, Credential: &old}}); err == nil {
		t.Error("a new key with the old certificate was accepted")
	}
	renewed := certificate(t, next)
	c.commit("bob", CommitOptions{Leaf: &LeafChange{Signer: next, Credential: &renewed}})
	msg := c.encrypt("bob", "renewed")
	got, err := c.members["alice"].Process(msg)
	c.ok(err)
	wantBytes(t, "signature key", got.(*Application).SignatureKey, next.Public)
}

// TestMultiCredential: EXT-25.
func TestMultiCredential(t *testing.T) {
	cfg := &Config{MultiCredentials: true}
	caps := DefaultCapabilities()
	caps.Credentials = append(caps.Credentials, CredentialTypeMulti, CredentialTypeWeakMulti)
	work, _ := NewSignatureKey(2, nil)
	unknown := CredentialBinding{CipherSuite: 0x0a0a, Credential: BasicCredential([]byte("x"))}
	for _, tc := range []struct {
		name   string
		weak   bool
		reason string // empty: accepted
		change func(list []CredentialBinding) []CredentialBinding
	}{
		{"all good", false, "", nil},
		{"weak", true, "", nil},
		{"weak with an unknown binding", true, "", func(l []CredentialBinding) []CredentialBinding { return append(l, unknown) }},
		{"unknown binding", false, "unsupported", func(l []CredentialBinding) []CredentialBinding { return append(l, unknown) }},
		{"only an unknown binding", true, "does not support", func([]CredentialBinding) []CredentialBinding { return []CredentialBinding{unknown} }},
		{"none", false, "0 bindings", func([]CredentialBinding) []CredentialBinding { return nil }},
		{"bad signature", true, "bad signature", func(l []CredentialBinding) []CredentialBinding {
			l[0].CredentialKey, l[0].CipherSuite = newSigner(t).Public, 1
			return l
		}},
		{"wrong certificate", true, "another signature key", func(l []CredentialBinding) []CredentialBinding {
			l[0].Credential = certificate(t, newP256(t))
			return rebind(t, l, work)
		}},
		{"nested", true, "within a multi", func(l []CredentialBinding) []CredentialBinding {
			l[0].Credential = MultiCredential(true, unknown)
			return l
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := &chat{t: t, suite: 1, cfg: cfg, members: map[string]*Group{}, used: map[string]bool{}, signers: map[string]*SignatureKey{}}
			g, err := NewGroup(GroupOptions{Suite: 1, Signer: c.signer("alice"), Credential: BasicCredential([]byte("alice")), Capabilities: caps}, cfg)
			c.ok(err)
			signer := c.signer("bob")
			b, err := NewCredentialBinding(certificate(t, work), work, signer.Public)
			c.ok(err)
			list := []CredentialBinding{*b}
			if tc.change != nil {
				bound = signer.Public
				list = tc.change(list)
			}
			kp, err := NewKeyPackage(KeyPackageOptions{Suite: 1, Signer: signer, Credential: MultiCredential(tc.weak, list...), Capabilities: caps})
			c.ok(err)
			_, err = g.Commit(CommitOptions{Proposals: []Proposal{addOf(kp)}})
			if (err == nil) != (tc.reason == "") || err != nil && !strings.Contains(err.Error(), tc.reason) {
				t.Error(err)
			}
			g.public.config = nil
			if _, err = g.Commit(CommitOptions{Proposals: []Proposal{addOf(kp)}}); err != nil {
				t.Errorf("without the switch: %v", err)
			}
		})
	}
}

// bound is the leaf key that rebind signs for.
var bound []byte

func newP256(t testing.TB) *SignatureKey {
	t.Helper()
	k, err := NewSignatureKey(2, nil)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func rebind(t testing.TB, l []CredentialBinding, key *SignatureKey) []CredentialBinding {
	t.Helper()
	b, err := NewCredentialBinding(l[0].Credential, key, bound)
	if err != nil {
		t.Fatal(err)
	}
	return []CredentialBinding{*b}
}
