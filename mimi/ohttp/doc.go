// Package ohttp is Oblivious HTTP without the HTTP: key configurations, and requests and
// responses sealed so that a relay that knows the client does not see what it asks for, and
// a gateway that sees it does not know the client (RFC 9458), in the binary form of HTTP
// messages (RFC 9292). MIMI clients fetch attachments that way (mimi-protocol-06, Download
// using Oblivious HTTP).
//
// It moves no octets; package internal/ohttp has the gateway and the relay, a client sends
// with whatever it speaks HTTP by:
//
//	configs, err := ohttp.ParseKeyConfigs(keys)          // GET of the gateway's keys
//	sealed, exchange, err := configs[0].Seal(request)    // POST to the relay
//	response, err := exchange.Open(answer)
//
// Messages are whole and in memory; a limit on their length is the caller's.
package ohttp
