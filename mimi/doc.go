// Package mimi holds what two providers of the More Instant Messaging
// Interoperability protocol say to each other: identifiers, the directory of
// endpoints, every request, response and fanout body, the MLS components that
// carry a room's participants and metadata, and the rule that ties an MLS
// credential to a user and a client.
//
// It speaks no network protocol and keeps no state. A hub, a follower and a
// client use the same types, so a rule about octets is written once: package
// mls below it knows nothing of rooms, package policy beside it judges who may
// do what, package content is what users read.
//
// Bodies are structs with Encode and Decode over mls/wire, a Marshal method and
// a Parse function. Parse refuses anything but exactly one body; decoders are
// total: they return an error wrapping [ErrMalformed] for every input that is
// not valid, and never allocate by a claimed length. Values decoded from a
// slice alias it, so the caller must not modify the slice afterwards.
//
//	req, err := mimi.ParseKeyMaterialRequest(body)
//	if err != nil {
//		return err // the peer sees 400
//	}
//	if err := req.Verify(); err != nil {
//		return err // the peer sees 403
//	}
//
// The pinned documents are draft-ietf-mimi-protocol-06, draft-ietf-mimi-content-08,
// draft-ietf-mimi-room-policy-03, draft-ietf-mls-extensions (editor's copy of -10)
// and RFC 9420. Marks such as D-16 or KM-5 name entries of the project's
// requirements checklist, where the drafts' open points are decided.
package mimi
