// Package identity holds the keys by which a provider is known and makes the
// certificates that go with them.
//
// There are three kinds. The TLS certificate proves a provider to its peers.
// The provider identity CA signs the X.509 leafs that clients use as MLS
// credentials, so that everybody can check that a user is vouched for by the
// user's own provider. The hub key signs what a hub itself says in a room (the
// external sender of RFC 9420 §12.1.8).
//
// CA is a throw-away root for development and tests. Checking a client's
// credential is mimi.Verifier's work, not done here.
package identity
