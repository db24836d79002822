// Package clientpb is the API between a provider and its own users' clients:
// code generated from proto/hubbub/client/v1, and the few octet strings both
// sides must build alike.
package clientpb

import "encoding/binary"

// Names of the sync stream: its path and its WebSocket subprotocols.
const (
	SyncPath     = "/v1/sync"
	SyncProtocol = "hubbub.sync.v1"
	SyncJSON     = "hubbub.sync.v1.json"
)

// ResyncPath, on the operator's socket, brings the copy of a room up to its hub's
// log: a POST with ?room=URI, answered by a JSON object with seq and hash, or by a
// status of 400 or more and a line of text.
const ResyncPath = "/resync"

// EnrolTBS gives the octets a client signs to prove, when it enrols, that it
// holds its signature key; see EnrolRequest.proof.
func EnrolTBS(user, device, code string, tokenHash []byte) []byte {
	out := append([]byte("hubbub enrol v1"), 0)
	for _, field := range [][]byte{[]byte(user), []byte(device), []byte(code), tokenHash} {
		out = binary.BigEndian.AppendUint32(out, uint32(len(field)))
		out = append(out, field...)
	}
	return out
}
