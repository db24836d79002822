package federation

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"

	"hubbub/mimi"
)

// fromLocal is the local part of every From header (TRN-3).
const fromLocal = "mimi"

// proves says whether a certificate speaks for a provider: the domain must be one
// of its DNS names, letter for letter. The common name counts for nothing, and a
// wildcard proves no domain.
func proves(cert *x509.Certificate, domain mimi.Domain) bool {
	return slices.Contains(cert.DNSNames, string(domain))
}

// ErrCertificate: our own certificate is not one that peers would accept.
var ErrCertificate = errors.New("federation: certificate not usable")

// checkOwn finds at start-up what peers would otherwise refuse without a word.
// Public CAs no longer issue certificates for the client side (H02).
func checkOwn(c tls.Certificate, domain mimi.Domain) error {
	if len(c.Certificate) == 0 {
		return fmt.Errorf("%w: none given", ErrCertificate)
	}
	leaf, err := x509.ParseCertificate(c.Certificate[0])
	if err != nil {
		return fmt.Errorf("%w: %w", ErrCertificate, err)
	}
	if !proves(leaf, domain) {
		return fmt.Errorf("%w: it does not carry the DNS name %s", ErrCertificate, domain)
	}
	if len(leaf.ExtKeyUsage)+len(leaf.UnknownExtKeyUsage) == 0 || slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageAny) {
		return nil
	}
	for use, name := range map[x509.ExtKeyUsage]string{x509.ExtKeyUsageServerAuth: "serverAuth", x509.ExtKeyUsageClientAuth: "clientAuth"} {
		if !slices.Contains(leaf.ExtKeyUsage, use) {
			return fmt.Errorf("%w: its extended key usage lacks %s; providers are both client and server to each other", ErrCertificate, name)
		}
	}
	return nil
}

// peerOf is the provider that a request comes from: the domain in From, if the
// client certificate proves it. The certificate is authoritative (D-76).
func peerOf(r *http.Request) (mimi.Domain, error) {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return "", mimi.NewProblem(http.StatusUnauthorized, mimi.CodeUnauthenticated, "a client certificate is required")
	}
	domain, err := parseFrom(r.Header.Values("From"))
	if err != nil {
		return "", err
	}
	if !proves(r.TLS.PeerCertificates[0], domain) {
		return "", mimi.NewProblem(http.StatusForbidden, mimi.CodeFromNotProven,
			"no DNS name of the client certificate is the domain in From")
	}
	return domain, nil
}

// parseFrom accepts exactly one header holding exactly mimi@<domain>.
func parseFrom(values []string) (mimi.Domain, error) {
	if len(values) != 1 {
		return "", badFrom()
	}
	local, host, ok := strings.Cut(values[0], "@")
	if !ok || local != fromLocal {
		return "", badFrom()
	}
	domain, err := mimi.ParseDomain(host)
	if err != nil {
		return "", badFrom()
	}
	return domain, nil
}

func badFrom() *mimi.Problem {
	return mimi.NewProblem(http.StatusBadRequest, mimi.CodeBadFrom, "From must be there once, as mimi@ and a lower-case domain")
}

// hostName is a Host or :authority without its port, in lower case; a domain name
// is compared without regard to case.
func hostName(authority string) string {
	if host, _, err := net.SplitHostPort(authority); err == nil {
		authority = host
	}
	return strings.ToLower(authority)
}
