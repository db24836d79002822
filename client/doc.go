// Package client is the SDK for programs that take part in end-to-end
// encrypted rooms: bots, command-line tools, graphical clients. It talks to
// the user's own provider only; where a room is hosted makes no difference.
//
// A device is a directory. [Enrol] spends a one-time code of the operator and
// fills the directory with the device's keys, [Open] runs the device from it.
// One process at a time may have a device open ([ErrLocked]). Everything the
// device knows is in that directory: MLS state, decrypted messages, messages
// still on their way. It holds secrets: whoever can read it can read the rooms.
//
// The directory may lose power at any moment. Each step is one durable
// transaction that joins what the step means (a message, a new epoch) with the
// MLS state it leaves, so a restart neither loses a message nor sends one
// twice, and no encryption key is ever used for two messages.
//
// A message that [Client.Send] returned is safe: it is encrypted and sent in
// the background, however often the program restarts meanwhile. Its State
// tells how far it has come:
//
//	Sending   durable in this directory
//	Queued    durable at the own provider, waiting for the room's hub
//	Posted    in the room's one order, at Seq
//	Rejected  refused for good, Reason says why
//
// Reading needs only the own provider: the sync stream that Open starts
// reconnects by itself and resumes without a gap. [Client.Events] tells what
// happens; [Client.Messages] is the device's own copy.
//
// Beside text there are replies, edits, deletions, reactions, mentions, topics and
// messages that expire, see [Draft]; what is said about a message later is part of
// the [Message], and [MessageUpdated] tells of it.
//
// What this package leaves to others: the message format itself
// (package content), the rules of who may do what (package policy), and
// showing anything to anybody. It writes no logs.
//
// All methods are safe for concurrent use. Errors that come from a provider
// are *[Error] and name the provider at fault and a remedy.
package client
