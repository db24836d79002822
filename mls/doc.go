// Package mls implements Messaging Layer Security (RFC 9420) with the parts of
// draft-ietf-mls-extensions that MIMI builds on. All seven cipher suites of
// RFC 9420 are supported, and those with post-quantum KEMs and classical
// signatures of draft-ietf-mls-pq-ciphersuites.
//
// A client holds a Group: an immutable snapshot of one epoch with its secrets.
// Every operation returns a new snapshot and leaves the old one alone, so
// dropping a result is the rollback:
//
//   - NewGroup, JoinWelcome and JoinExternal make the first snapshot.
//   - Encrypt and Propose return the next snapshot and a message. Store the
//     snapshot before the message leaves, for its key must not be used again.
//   - Commit returns a PendingCommit. Store it before sending; merge it when
//     the Delivery Service has accepted it, else drop it.
//   - Process opens a received message and returns what it was, with the next
//     snapshot.
//
// A server holds a PublicGroup: the same view without secrets. All public
// validation and the application of proposals live there, once; Group adds the
// key schedule and message protection.
//
// The package does no I/O, keeps no global state but what RegisterSuite is told,
// and never logs. Left to the
// caller are the authenticity of credentials (Config.Validate), the meaning of
// application components (Config.Components), the order of commits, storage,
// and that a group id is not joined twice.
//
// Some things happen only where they are asked for: messages in a wire format
// beyond RFC 9420, such as SemiPrivateMessage, where the GroupContext requires
// that format; framing of application data where it lists media types
// (GroupContext.FrameContent); the bindings of multi-credentials with
// Config.MultiCredentials; numbers for post-quantum suites other than ours with
// RegisterSuite.
//
// Whatever comes from outside is taken for hostile. Decoding and validation end
// with a value or a typed error, allocate no more than a small multiple of the
// input, and take time linear in it up to a factor of the tree's depth.
//
// Wire types mirror the structs of RFC 9420 and encode with package mls/wire.
// Decoded values alias the input they were decoded from. Since the encoding is
// canonical, a decoded value encodes to the octets received, and references
// and hashes are therefore computed over those.
//
// Values are safe for concurrent reading. Nothing in this package is safe for
// concurrent modification.
package mls
