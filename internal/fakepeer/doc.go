// Package fakepeer plays a provider that misbehaves: a follower that lies, a hub
// that forks, a peer that is slow, silent or loud. It speaks the real protocol,
// HTTP/2 with mutual TLS, with a certificate that every provider believes, and
// none of our own rules on its side: what it sends and answers is what the test
// says.
//
// As a server it takes any defect per endpoint (On), counts what reaches it
// (Received) and behaves well where nothing is set. As a client it sends any
// request (Send) to any provider. It has no state of a room; tests give it a
// true log, taken from a real hub in whose place it then stands.
package fakepeer
