// Package federation is how providers talk to each other: HTTP/2 over mutually
// authenticated TLS 1.3, the directory of endpoints, and who a peer is.
//
// Server turns a request into one call of Roles, with the peer's proven domain
// first. Client turns one call into a request to the endpoint that the peer's
// directory names. Bodies are opaque octets here: the package knows the limits
// of a request and nothing of rooms. A refusal travels as a mimi.Problem in both
// directions.
//
// The certificate is authoritative for who a peer is (D-76). Names in it are
// compared exactly, as lower-case A-labels: a wildcard proves no provider.
package federation
