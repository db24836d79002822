package identity

import (
	"bytes"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"hubbub/mimi"
)

func newCA(t *testing.T) *CA {
	t.Helper()
	ca, err := NewCA("test root")
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func newIssuer(t *testing.T, ca *CA, d mimi.Domain) *Issuer {
	t.Helper()
	p, err := ca.IssueIdentityCA(d)
	if err != nil {
		t.Fatal(err)
	}
	i, err := NewIssuer(d, p)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func verifyChain(chain [][]byte, roots *x509.CertPool) (*x509.Certificate, error) {
	leaf, err := x509.ParseCertificate(chain[0])
	if err != nil {
		return nil, err
	}
	inter := x509.NewCertPool()
	for _, der := range chain[1:] {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, err
		}
		inter.AddCert(c)
	}
	_, err = leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: inter, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	return leaf, err
}

func TestIssueClient(t *testing.T) {
	ca := newCA(t)
	i := newIssuer(t, ca, "b.localhost")
	pub, _, _ := ed25519.GenerateKey(nil)
	chain, err := i.IssueClient("mimi://b.localhost/u/bob", "mimi://b.localhost/d/bob/phone", pub, time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := verifyChain(chain, ca.Pool())
	if err != nil {
		t.Fatal(err)
	}
	if len(leaf.URIs) != 2 || leaf.URIs[0].String() != "mimi://b.localhost/u/bob" || leaf.URIs[1].String() != "mimi://b.localhost/d/bob/phone" {
		t.Errorf("SAN URIs = %v", leaf.URIs)
	}
	if got, ok := leaf.PublicKey.(ed25519.PublicKey); !ok || !got.Equal(pub) {
		t.Error("leaf carries another key")
	}
	if len(leaf.DNSNames) != 0 || leaf.IsCA {
		t.Error("leaf proves more than a client")
	}
	if _, err := verifyChain(chain, newCA(t).Pool()); err == nil {
		t.Error("chain verifies under another root")
	}
}

func TestIssueClientRefuses(t *testing.T) {
	i := newIssuer(t, newCA(t), "b.localhost")
	pub, _, _ := ed25519.GenerateKey(nil)
	for name, c := range map[string]struct {
		user   mimi.UserURI
		client mimi.ClientURI
		key    []byte
		end    time.Duration
		want   error
	}{
		"foreign user":   {"mimi://a.localhost/u/bob", "mimi://b.localhost/d/bob/x", pub, time.Hour, ErrForeign},
		"foreign client": {"mimi://b.localhost/u/bob", "mimi://a.localhost/d/bob/x", pub, time.Hour, ErrForeign},
		"other's client": {"mimi://b.localhost/u/bob", "mimi://b.localhost/d/eve/x", pub, time.Hour, ErrForeign},
		"short key":      {"mimi://b.localhost/u/bob", "mimi://b.localhost/d/bob/x", pub[:31], time.Hour, ErrBadKey},
		"in the past":    {"mimi://b.localhost/u/bob", "mimi://b.localhost/d/bob/x", pub, -time.Hour, ErrBadKey},
		"not a SAN":      {"mimi://b.localhost/u/b\u00f6b", "mimi://b.localhost/d/b\u00f6b/x", pub, time.Hour, errNotASAN},
	} {
		if _, err := i.IssueClient(c.user, c.client, c.key, time.Now().Add(c.end)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

// An identity CA must not be able to vouch for another provider, even if its
// holder signs whatever he likes.
func TestIdentityCAIsConstrained(t *testing.T) {
	ca := newCA(t)
	p, err := ca.IssueIdentityCA("b.localhost")
	if err != nil {
		t.Fatal(err)
	}
	pair, _ := p.TLS()
	evil := &CA{cert: pair.Leaf, key: pair.PrivateKey.(ed25519.PrivateKey)}
	tlsPair, err := evil.IssueTLS("a.localhost")
	if err != nil {
		t.Fatal(err)
	}
	c, _ := tlsPair.TLS()
	if _, err := verifyChain(append(c.Certificate, pair.Certificate...), ca.Pool()); err == nil {
		t.Error("identity CA of b issued a TLS certificate for a")
	}
	i := newIssuer(t, ca, "b.localhost")
	i.domain = "a.localhost"
	pub, _, _ := ed25519.GenerateKey(nil)
	chain, err := i.IssueClient("mimi://a.localhost/u/eve", "mimi://a.localhost/d/eve/x", pub, time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := verifyChain(chain, ca.Pool()); err == nil {
		t.Error("identity CA of b vouched for a user of a")
	}
}

func TestTLSPairWorksBothWays(t *testing.T) {
	ca := newCA(t)
	p, err := ca.IssueTLS("a.localhost")
	if err != nil {
		t.Fatal(err)
	}
	c, err := p.TLS()
	if err != nil {
		t.Fatal(err)
	}
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{c}, ClientCAs: ca.Pool(), ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS13,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		if conn, err := ln.Accept(); err == nil {
			conn.Write([]byte("ok"))
			conn.Close()
		}
	}()
	raw, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	conn := tls.Client(raw, &tls.Config{Certificates: []tls.Certificate{c}, RootCAs: ca.Pool(), ServerName: "a.localhost"})
	defer conn.Close()
	var b [2]byte
	if _, err := conn.Read(b[:]); err != nil || string(b[:]) != "ok" {
		t.Fatalf("read %q, %v", b, err)
	}
}

func TestFiles(t *testing.T) {
	ca := newCA(t)
	p, err := ca.IssueIdentityCA("a.localhost")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "k", "ca.pem"), filepath.Join(dir, "k", "ca.key")
	if err := p.WriteFiles(cert, key); err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{cert, key} {
		if st, err := os.Stat(f); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", f, st.Mode(), err)
		}
	}
	if _, err := LoadIssuer("a.localhost", cert, key); err != nil {
		t.Error(err)
	}
	if _, err := LoadIssuer("b.localhost", cert, key); !errors.Is(err, ErrBadKey) {
		t.Errorf("issuer for a foreign domain: %v", err)
	}
	if _, err := LoadPair(cert, cert); !errors.Is(err, ErrBadKey) {
		t.Errorf("certificate as key: %v", err)
	}
	if _, _, err := LoadRoots(key); !errors.Is(err, ErrBadKey) {
		t.Errorf("key as roots: %v", err)
	}
	roots := filepath.Join(dir, "roots.pem")
	if err := os.WriteFile(roots, append(ca.CertPEM(), newCA(t).CertPEM()...), 0o600); err != nil {
		t.Fatal(err)
	}
	if pool, ders, err := LoadRoots(roots); err != nil || len(ders) != 2 || !bytes.Equal(ders[0], ca.cert.Raw) || pool.Equal(ca.Pool()) {
		t.Errorf("roots: %d certificates, %v", len(ders), err)
	}
	tlsPair, _ := ca.IssueTLS("a.localhost")
	if _, err := NewIssuer("a.localhost", tlsPair); !errors.Is(err, ErrBadKey) {
		t.Errorf("TLS certificate as identity CA: %v", err)
	}
}

func TestHubKey(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keys", "hub.key")
	first, err := LoadHubKey(file)
	if err != nil {
		t.Fatal(err)
	}
	again, err := LoadHubKey(file)
	if err != nil || !bytes.Equal(first, again) {
		t.Errorf("second load: %v, same key %t", err, bytes.Equal(first, again))
	}
	if err := os.WriteFile(file, []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadHubKey(file); !errors.Is(err, ErrBadKey) {
		t.Errorf("junk: %v", err)
	}
}
