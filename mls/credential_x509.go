package mls

import (
	"bytes"
	"crypto/x509"
	"errors"
)

// maxCertificates is the longest certificate chain that is considered.
const maxCertificates = 16

var (
	errCertificateChain = errors.New("certificate chain is empty or too long")
	errCertificate      = errors.New("certificate cannot be parsed")
	errCertificateKey   = errors.New("certificate is for another signature key")
)

// checkKey verifies what a credential itself says about the signature key
// beside it: the end-entity certificate of an x509 credential must hold that
// very key, of the suite's algorithm (RFC 9420 §5.3). Who the certificates
// come from is for Config.Validate to judge.
func (c *Credential) checkKey(suite CipherSuite, key []byte) error {
	if c.Type != CredentialTypeX509 {
		return nil
	}
	err := c.checkCertificate(suite, key)
	if err == nil || errors.Is(err, ErrUnsupportedSuite) {
		return err
	}
	return &ValidationError{Clause: "RFC 9420 §5.3", Reason: "x509 credential", Err: err}
}

func (c *Credential) checkCertificate(suite CipherSuite, key []byte) error {
	a, err := suite.algorithms()
	if err != nil {
		return err
	}
	if n := len(c.Certificates); n == 0 || n > maxCertificates {
		return errCertificateChain
	}
	cert, err := x509.ParseCertificate(c.Certificates[0])
	if err != nil {
		return errCertificate
	}
	if pub, ok := a.signature.certified(cert); !ok || !bytes.Equal(pub, key) {
		return errCertificateKey
	}
	return nil
}
