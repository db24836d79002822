// Package mls implements Messaging Layer Security (RFC 9420) with the parts of
// draft-ietf-mls-extensions that MIMI builds on.
//
// A client holds a Group: an immutable snapshot of one epoch with its secrets.
// Every operation returns a new snapshot and leaves the old one alone, so
// dropping a result is the rollback. The caller stores snapshots
// (Group.MarshalBinary) before it sends what they produced; the package does
// no I/O, keeps no global state and never logs.
//
// A server holds a PublicGroup: the same view without secrets. All public
// validation and the application of proposals live there, once; Group adds the
// key schedule and message protection.
//
// Wire types mirror the structs of RFC 9420 and encode with package mls/wire.
// Decoded values alias the input they were decoded from. Since the encoding is
// canonical, a decoded value encodes to the octets received, and references
// and hashes are therefore computed over those.
//
// Values are safe for concurrent reading. Nothing in this package is safe for
// concurrent modification.
package mls
