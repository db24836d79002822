package mls

import (
	"fmt"
	"sync"
)

// Cipher suites with a post-quantum KEM, alone or in a hybrid, and a classical
// signature (draft-ietf-mls-pq-ciphersuites). They protect what is sent today
// from quantum computers to come; they do not keep those from forging
// signatures. No numbers are assigned yet; these are from the private range, in
// the draft's order, and RegisterSuite adds those that a peer uses.
const (
	SuiteMLKEM768X25519AES128SHA256Ed25519 CipherSuite = 0xF001
	SuiteMLKEM768X25519AES256SHA384Ed25519 CipherSuite = 0xF002
	SuiteMLKEM768P256AES128SHA256P256      CipherSuite = 0xF003
	SuiteMLKEM768P256AES256SHA384P256      CipherSuite = 0xF004
	SuiteMLKEM1024P384AES256SHA384P384     CipherSuite = 0xF005
	SuiteMLKEM768AES256SHA384Ed25519       CipherSuite = 0xF006
	SuiteMLKEM768AES256SHA384P256          CipherSuite = 0xF007
	SuiteMLKEM1024AES256SHA384P384         CipherSuite = 0xF008
)

// PostQuantumSuites returns the implemented suites of
// draft-ietf-mls-pq-ciphersuites under the numbers of this package.
func PostQuantumSuites() []CipherSuite {
	out := make([]CipherSuite, 0, 8)
	for s := SuiteMLKEM768X25519AES128SHA256Ed25519; s <= SuiteMLKEM1024AES256SHA384P384; s++ {
		out = append(out, s)
	}
	return out
}

// suiteAliases are further numbers of implemented suites.
type suiteAliases struct {
	mu sync.RWMutex
	m  map[CipherSuite]*algorithms
}

var aliases suiteAliases

func (a *suiteAliases) lookup(s CipherSuite) *algorithms {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.m[s]
}

// RegisterSuite makes a post-quantum suite known under a second number, for
// groups with implementations that chose another one while none is assigned.
// The number is part of what is hashed and signed: a group uses one of the two
// throughout. It holds for the whole process; call it before groups are loaded.
//
// It returns ErrUnsupportedSuite if suite is not one of PostQuantumSuites, and
// another error if the number stands for something else already. It is safe for
// concurrent use.
func RegisterSuite(number, suite CipherSuite) error {
	target := suites[suite]
	if target == nil || suite < SuiteMLKEM768X25519AES128SHA256Ed25519 {
		return fmt.Errorf("%w: %s", ErrUnsupportedSuite, suite)
	}
	aliases.mu.Lock()
	defer aliases.mu.Unlock()
	known := suites[number]
	if known == nil {
		known = aliases.m[number]
	}
	if known != nil && known != target || number == 0 || isGREASE(uint16(number)) {
		return fmt.Errorf("mls: cipher suite number 0x%04x is taken", uint16(number))
	}
	if aliases.m == nil {
		aliases.m = map[CipherSuite]*algorithms{}
	}
	aliases.m[number] = target
	return nil
}
