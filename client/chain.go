package client

import (
	"crypto/sha256"
	"encoding/binary"

	"hubbub/mimi"
)

// chainLabel is what providers start every hash of a room log with.
const chainLabel = "hubbub room log v1"

// ownLabel is what the hash of a place is made with that a provider counts by itself,
// because the room's hub gives its log no places.
const ownLabel = "hubbub log in order of arrival v1"

// counted says whether a log that begins there is one in order of arrival at the own
// provider: its places are nobody else's, and no hub signs them.
func (p Pos) counted(room mimi.RoomURI) bool {
	return p == Pos{Hash: sha256.Sum256([]byte(ownLabel + string(room)))}
}

// startPos is the place before entry 1 of a room.
func startPos(room mimi.RoomURI) Pos {
	return Pos{Hash: sha256.Sum256([]byte(chainLabel + string(room)))}
}

// next is the place after one more entry with exactly these octets.
func (p Pos) next(entry []byte) Pos {
	body := sha256.Sum256(entry)
	h := sha256.New()
	h.Write([]byte(chainLabel))
	h.Write(p.Hash[:])
	h.Write(binary.BigEndian.AppendUint64(nil, p.Seq+1))
	h.Write(body[:])
	next := Pos{Seq: p.Seq + 1}
	h.Sum(next.Hash[:0])
	return next
}
