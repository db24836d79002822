package mimi

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net/url"
	"testing"
	"time"

	"hubbub/mls"
)

var certTime = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// issued is a certificate with its key.
type issued struct {
	cert *x509.Certificate
	key  crypto.Signer
}

func issue(t *testing.T, parent *issued, key crypto.Signer, template x509.Certificate) *issued {
	t.Helper()
	if key == nil {
		key = must2(ed25519.GenerateKey(rand.Reader))
	}
	template.SerialNumber = big.NewInt(1)
	template.NotBefore, template.NotAfter = certTime.Add(-time.Hour), certTime.Add(time.Hour)
	template.BasicConstraintsValid = true
	if template.Subject.CommonName == "" {
		template.Subject = pkix.Name{CommonName: "x"}
	}
	if parent == nil {
		parent = &issued{cert: &template, key: key}
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, parent.cert, key.Public(), parent.key)
	if err != nil {
		t.Fatal(err)
	}
	return &issued{must(x509.ParseCertificate(der)), key}
}

func must2[A any, T any](_ A, v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func authority(t *testing.T, parent *issued, name string, domains ...string) *issued {
	return issue(t, parent, nil, x509.Certificate{IsCA: true, KeyUsage: x509.KeyUsageCertSign, DNSNames: domains,
		Subject: pkix.Name{CommonName: name}})
}

func leaf(t *testing.T, parent *issued, key crypto.Signer, uris ...string) *issued {
	template := x509.Certificate{KeyUsage: x509.KeyUsageDigitalSignature}
	for _, u := range uris {
		template.URIs = append(template.URIs, must(url.Parse(u)))
	}
	return issue(t, parent, key, template)
}

func credentialOf(chain ...*issued) *mls.Credential {
	c := &mls.Credential{Type: mls.CredentialTypeX509}
	for _, i := range chain {
		c.Certificates = append(c.Certificates, i.cert.Raw)
	}
	return c
}

func TestIdentifyX509(t *testing.T) {
	const bobUser, bobPhone = "mimi://b.example/u/bob", "mimi://b.example/d/bob/phone"
	root, otherRoot := authority(t, nil, "root"), authority(t, nil, "other root")
	issuer := authority(t, root, "b.example", "b.example")
	foreign := authority(t, root, "c.example", "c.example")
	wild := authority(t, root, "wild", "*.example")
	stranger := authority(t, otherRoot, "stranger", "b.example")
	good := leaf(t, issuer, nil, bobUser, bobPhone)
	below := authority(t, issuer, "below")
	p256 := leaf(t, issuer, must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)), bobUser, bobPhone)
	pub := func(i *issued) []byte {
		if k, ok := i.key.Public().(*ecdsa.PublicKey); ok {
			return must(k.Bytes())
		}
		return i.key.Public().(ed25519.PublicKey)
	}
	pool := x509.NewCertPool()
	pool.AddCert(root.cert)
	v := &Verifier{Roots: pool}

	for _, tc := range []struct {
		name  string
		end   *issued
		chain []*issued
		at    time.Duration
		ok    bool
	}{
		{"as it should be", good, []*issued{issuer}, 0, true},
		{"with the root along", good, []*issued{issuer, root}, 0, true},
		{"P-256", p256, []*issued{issuer}, 0, true},
		{"opaque client", leaf(t, issuer, nil, bobUser, "mimi://b.example/d/1234"), []*issued{issuer}, 0, true},
		{"expired", good, []*issued{issuer}, 2 * time.Hour, false},
		{"not yet valid", good, []*issued{issuer}, -2 * time.Hour, false},
		{"without its issuer", good, nil, 0, false},
		{"from an unknown root", leaf(t, stranger, nil, bobUser, bobPhone), []*issued{stranger}, 0, false},
		{"from another provider", leaf(t, foreign, nil, bobUser, bobPhone), []*issued{foreign}, 0, false},
		{"from a wildcard", leaf(t, wild, nil, bobUser, bobPhone), []*issued{wild}, 0, false},
		{"from a CA below the entitled one", leaf(t, below, nil, bobUser, bobPhone), []*issued{below, issuer}, 0, false},
		{"from the bare root", leaf(t, root, nil, bobUser, bobPhone), nil, 0, false},
		{"from another user's client", leaf(t, good, nil, bobUser, bobPhone), []*issued{good, issuer}, 0, false},
		{"only a user", leaf(t, issuer, nil, bobUser), []*issued{issuer}, 0, false},
		{"two users", leaf(t, issuer, nil, bobUser, "mimi://b.example/u/eve"), []*issued{issuer}, 0, false},
		{"a name too many", leaf(t, issuer, nil, bobUser, bobPhone, "https://b.example/"), []*issued{issuer}, 0, false},
		{"another user's client", leaf(t, issuer, nil, bobUser, "mimi://b.example/d/eve/phone"), []*issued{issuer}, 0, false},
		{"client elsewhere", leaf(t, issuer, nil, bobUser, "mimi://c.example/d/bob/phone"), []*issued{issuer}, 0, false},
		{"a CA", authority(t, issuer, "ca"), []*issued{issuer}, 0, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := credentialOf(append([]*issued{tc.end}, tc.chain...)...)
			id, err := v.Identify(c, pub(tc.end), certTime.Add(tc.at))
			if (err == nil) != tc.ok || err != nil && !errors.Is(err, ErrBadCredential) {
				t.Fatalf("%+v, %v; want ok=%v", id, err, tc.ok)
			}
			if tc.ok && id.User != bobUser {
				t.Errorf("user %s", id.User)
			}
			if validate := v.Validate(func() time.Time { return certTime.Add(tc.at) }); (validate(c, pub(tc.end)) == nil) != tc.ok {
				t.Error("Validate disagrees with Identify")
			}
		})
	}
	if _, err := v.Identify(credentialOf(good, issuer), pub(p256), certTime); !errors.Is(err, ErrBadCredential) {
		t.Errorf("another key: %v", err)
	}
	if _, err := (&Verifier{}).Identify(credentialOf(good, issuer), pub(good), certTime); !errors.Is(err, ErrBadCredential) {
		t.Errorf("no roots: %v", err)
	}
	if id, err := ClaimedIdentity(credentialOf(good)); err != nil || id.Client != bobPhone {
		t.Errorf("claimed %+v, %v", id, err)
	}
	if err := SameIdentity(credentialOf(good), credentialOf(p256)); err != nil {
		t.Errorf("new certificate, same names: %v", err)
	}
	tablet := leaf(t, issuer, nil, bobUser, "mimi://b.example/d/bob/tablet")
	if err := SameIdentity(credentialOf(good), credentialOf(tablet)); !errors.Is(err, ErrBadCredential) {
		t.Errorf("another client: %v", err)
	}
	many := &mls.Credential{Type: mls.CredentialTypeX509, Certificates: make([][]byte, maxCertificates+1)}
	for name, c := range map[string]*mls.Credential{"none": {Type: mls.CredentialTypeX509}, "many": many,
		"junk": {Type: mls.CredentialTypeX509, Certificates: [][]byte{{1, 2}}}} {
		if _, err := v.Identify(c, nil, certTime); !errors.Is(err, ErrBadCredential) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestIdentifyBasic(t *testing.T) {
	basic := func(s string) *mls.Credential {
		c := mls.BasicCredential([]byte(s))
		return &c
	}
	v := &Verifier{AllowBasic: true}
	id, err := v.Identify(basic("mimi://b.example/d/bob/phone"), nil, certTime)
	if err != nil || id.User != bob || id.Client != "mimi://b.example/d/bob/phone" {
		t.Errorf("%+v, %v", id, err)
	}
	for _, s := range []string{"", "bob", "mimi://b.example/u/bob", "mimi://b.example/d/1234", "mimi://b.example"} {
		if id, err := v.Identify(basic(s), nil, certTime); !errors.Is(err, ErrBadCredential) {
			t.Errorf("%q is %+v, %v", s, id, err)
		}
	}
	strict := new(Verifier)
	if _, err := strict.Identify(basic("mimi://b.example/d/bob/phone"), nil, certTime); !errors.Is(err, ErrBadCredential) {
		t.Errorf("basic accepted: %v", err)
	}
	hub := ProviderCredential("b.example")
	if d, err := ProviderIdentity(&hub); err != nil || d != "b.example" {
		t.Errorf("provider %q, %v", d, err)
	}
	if err := strict.Validate(time.Now)(&hub, nil); err != nil {
		t.Errorf("external sender: %v", err)
	}
	if _, err := ProviderIdentity(basic("mimi://b.example/d/bob/phone")); !errors.Is(err, ErrBadCredential) {
		t.Errorf("client taken for a provider: %v", err)
	}
	if _, err := v.Identify(&mls.Credential{Type: 0xF001}, nil, certTime); !errors.Is(err, ErrBadCredential) {
		t.Errorf("unknown type: %v", err)
	}
}
