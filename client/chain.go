package client

import (
	"crypto/sha256"
	"encoding/binary"

	"hubbub/mimi"
)

// chainLabel is what providers start every hash of a room log with.
const chainLabel = "hubbub room log v1"

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
