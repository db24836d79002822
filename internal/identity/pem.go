package identity

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Errors that callers act on.
var (
	// ErrBadKey: a key or certificate file holds something else, or the two
	// do not belong together.
	ErrBadKey = errors.New("identity: bad key or certificate")
	// ErrForeign: a name that this key may not vouch for.
	ErrForeign = errors.New("identity: name is not ours to vouch for")
)

const (
	pemCertificate = "CERTIFICATE"
	pemPrivateKey  = "PRIVATE KEY"
)

// Pair is a certificate chain with the private key of its first certificate.
type Pair struct {
	CertPEM []byte
	KeyPEM  []byte // PKCS #8
}

// WriteFiles writes both halves with mode 0600, each complete or not at all.
func (p Pair) WriteFiles(certFile, keyFile string) error {
	if err := writeFile(keyFile, p.KeyPEM); err != nil {
		return err
	}
	return writeFile(certFile, p.CertPEM)
}

// LoadPair reads what WriteFiles wrote and checks that the halves match.
func LoadPair(certFile, keyFile string) (Pair, error) {
	certPEM, err := os.ReadFile(certFile)
	if err != nil {
		return Pair{}, fmt.Errorf("reading certificate: %w", err)
	}
	keyPEM, err := os.ReadFile(keyFile)
	if err != nil {
		return Pair{}, fmt.Errorf("reading private key: %w", err)
	}
	p := Pair{CertPEM: certPEM, KeyPEM: keyPEM}
	if _, err := p.TLS(); err != nil {
		return Pair{}, fmt.Errorf("%s and %s: %w", certFile, keyFile, err)
	}
	return p, nil
}

// TLS is the pair as crypto/tls wants it, with the leaf parsed.
func (p Pair) TLS() (tls.Certificate, error) {
	c, err := tls.X509KeyPair(p.CertPEM, p.KeyPEM)
	if err != nil {
		// The error of crypto/tls never quotes the input.
		return tls.Certificate{}, fmt.Errorf("%w: %w", ErrBadKey, err)
	}
	return c, nil
}

// LoadRoots reads trusted certificates from a PEM file, as a pool and one by one in
// DER; a file without any is an error.
func LoadRoots(file string) (*x509.CertPool, [][]byte, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, nil, fmt.Errorf("reading trusted roots: %w", err)
	}
	pool, ders := x509.NewCertPool(), [][]byte(nil)
	for block, rest := pem.Decode(b); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != pemCertificate {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, nil, fmt.Errorf("%w: %s: %w", ErrBadKey, file, err)
		}
		pool.AddCert(cert)
		ders = append(ders, cert.Raw)
	}
	if len(ders) == 0 {
		return nil, nil, fmt.Errorf("%w: %s holds no certificate", ErrBadKey, file)
	}
	return pool, ders, nil
}

// LoadHubKey reads the hub's Ed25519 signing key, and makes one, durable before
// it is returned, if there is none yet.
func LoadHubKey(file string) (ed25519.PrivateKey, error) {
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return createHubKey(file)
	}
	if err != nil {
		return nil, fmt.Errorf("reading hub key: %w", err)
	}
	key, err := parseKey(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	ed, ok := key.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%w: %s is not an Ed25519 key", ErrBadKey, file)
	}
	return ed, nil
}

func createHubKey(file string) (ed25519.PrivateKey, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making hub key: %w", err)
	}
	b, err := encodeKey(key)
	if err != nil {
		return nil, err
	}
	return key, writeFile(file, b)
}

func parseKey(b []byte) (crypto.Signer, error) {
	block, _ := pem.Decode(b)
	if block == nil || block.Type != pemPrivateKey {
		return nil, fmt.Errorf("%w: no PEM block of type %s", ErrBadKey, pemPrivateKey)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%w: not PKCS #8", ErrBadKey)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("%w: not a signing key", ErrBadKey)
	}
	return signer, nil
}

func encodeKey(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encoding private key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: pemPrivateKey, Bytes: der}), nil
}

func encodeCerts(chain ...[]byte) []byte {
	var out []byte
	for _, der := range chain {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: der})...)
	}
	return out
}

// writeFile replaces a file by rename, so that a crash leaves the old content or
// the new one, and syncs both the file and its directory.
func writeFile(name string, content []byte) error {
	dir := filepath.Dir(name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("writing key file: %w", err)
	}
	f, err := os.CreateTemp(dir, ".new-*") // mode 0600
	if err != nil {
		return fmt.Errorf("writing key file: %w", err)
	}
	defer os.Remove(f.Name()) // no-op after the rename
	if _, err = f.Write(content); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("writing key file: %w", err)
	}
	if err := os.Rename(f.Name(), name); err != nil {
		return fmt.Errorf("writing key file: %w", err)
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("syncing directory: %w", err)
	}
	return errors.Join(d.Sync(), d.Close())
}
