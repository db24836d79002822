// Package content is what users read: the MIMI content format, a CBOR array inside
// the encrypted application data of a room (draft-ietf-mimi-content-08).
//
// A message has one encoding, the deterministic one of RFC 8949 §4.2.1. [Decode]
// refuses every other, so a message and its [ID] always agree, and checks every
// rule that needs nothing but the octets. [Message.Check] adds the rules that need
// to know how the message arrived: who sent it, where, when. Both name the rule
// broken; a message that breaks one is dropped, never shown and never acknowledged.
//
//	m := content.NewText(me, room, "Hello!")
//	b, err := m.Encode()
//	…
//	m, err := content.Decode(b)
//	if err == nil {
//		err = m.Check(content.Arrival{Sender: leafUser, Room: room, Accepted: ts, Now: now})
//	}
//	text, ok := m.Text()
//
// [NewReply], [NewEdit], [NewDelete], [NewReaction], [Mention], [Message.InTopic] and
// [Message.ExpireAt] make the other kinds of message, [ExternalPart.Seal] an attachment.
// A client keeps what it received and shows [Fold] of it: the newest version of each
// message, what was taken back, who reacted how, what has expired. [StatusReport] tells
// others what became of their messages.
//
// Rendering and room policy are left to others. Marks such as CNT-6 name entries of the
// project's requirements checklist.
package content
