package mls

import (
	"errors"
	"slices"
	"testing"
)

// TestPostQuantumSizes: the keys are those of the KEMs the draft names.
func TestPostQuantumSizes(t *testing.T) {
	sizes := map[CipherSuite]int{ // of the public key: ML-KEM, and the classical key of a hybrid
		SuiteMLKEM768X25519AES128SHA256Ed25519: 1184 + 32, SuiteMLKEM768X25519AES256SHA384Ed25519: 1184 + 32,
		SuiteMLKEM768P256AES128SHA256P256: 1184 + 65, SuiteMLKEM768P256AES256SHA384P256: 1184 + 65,
		SuiteMLKEM1024P384AES256SHA384P384: 1568 + 97, SuiteMLKEM768AES256SHA384Ed25519: 1184,
		SuiteMLKEM768AES256SHA384P256: 1184, SuiteMLKEM1024AES256SHA384P384: 1568,
	}
	if len(PostQuantumSuites()) != len(sizes) {
		t.Fatalf("%d suites", len(PostQuantumSuites()))
	}
	for _, s := range PostQuantumSuites() {
		_, pub, err := s.GenerateHPKEKey((*Config)(nil).rand())
		if err != nil || len(pub) != sizes[s] {
			t.Errorf("%v: public key of %d octets, want %d (%v)", s, len(pub), sizes[s], err)
		}
		if slices.Contains(DefaultCapabilities().CipherSuites, s) {
			t.Errorf("%v is advertised by clients that do not use it", s)
		}
		key, err := NewSignatureKey(s, nil)
		if err != nil {
			t.Fatal(err)
		}
		kp, err := NewKeyPackage(KeyPackageOptions{Suite: s, Signer: key, Credential: BasicCredential([]byte("x"))})
		if err != nil || !slices.Contains(kp.KeyPackage.LeafNode.Capabilities.CipherSuites, s) {
			t.Errorf("%v: leaf does not list its suite (%v)", s, err)
		}
		if err := s.checkHPKEPublicKey(pub[1:]); !errors.Is(err, ErrBadKey) {
			t.Errorf("%v: short key: %v", s, err)
		}
		if s.String() == "" || s.String()[0] != 'M' {
			t.Errorf("name %q", s)
		}
	}
}

// TestRegisterSuite: groups under a peer's number work like those under ours.
func TestRegisterSuite(t *testing.T) {
	const theirs CipherSuite = 0x004D
	if theirs.Supported() {
		t.Fatal("number is known already")
	}
	t.Cleanup(func() { aliases.m = nil })
	for range 2 { // the same again is no error
		if err := RegisterSuite(theirs, SuiteMLKEM768X25519AES128SHA256Ed25519); err != nil {
			t.Fatal(err)
		}
	}
	c := newChat(t, theirs, nil, nil, "alice", "bob")
	c.commit("bob", CommitOptions{})
	c.send("alice", "hello")
	for _, tc := range [][2]CipherSuite{
		{1, SuiteMLKEM768X25519AES128SHA256Ed25519}, {theirs, SuiteMLKEM768AES256SHA384P256},
		{0x0a0a, SuiteMLKEM768AES256SHA384P256}, {0x0050, 1}, {0x0050, 0xf0ff},
	} {
		if err := RegisterSuite(tc[0], tc[1]); err == nil {
			t.Errorf("0x%04x registered for %v", uint16(tc[0]), tc[1])
		}
	}
}
