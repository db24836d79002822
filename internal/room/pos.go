package room

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"

	"hubbub/mimi"
)

// hashLabel starts every hash of a room log, so that no other hash of ours can
// be mistaken for a position.
const hashLabel = "hubbub room log v1"

// Pos is a place in a room's log: the number of entries up to it and the hash
// chained over them. Two replicas with equal Pos hold equal history.
type Pos struct {
	Seq  uint64   // entries 1..Seq lie at or before this place
	Hash [32]byte // chain hash after entry Seq
}

// StartPos is the place before entry 1 of a room.
func StartPos(uri mimi.RoomURI) Pos {
	return Pos{Hash: sha256.Sum256([]byte(hashLabel + string(uri)))}
}

// Next is the place after one more entry with exactly these octets.
func (p Pos) Next(entry []byte) Pos {
	body := sha256.Sum256(entry)
	h := sha256.New()
	h.Write([]byte(hashLabel))
	h.Write(p.Hash[:])
	var seq [8]byte
	binary.BigEndian.PutUint64(seq[:], p.Seq+1)
	h.Write(seq[:])
	h.Write(body[:])
	next := Pos{Seq: p.Seq + 1}
	h.Sum(next.Hash[:0])
	return next
}

// String is the form people see: the Seq and the first eight hex digits.
func (p Pos) String() string {
	return fmt.Sprintf("%d:%s", p.Seq, hex.EncodeToString(p.Hash[:4]))
}

// MismatchError says that two logs of one room differ: proof that the hub
// forked or lost data, or that a replica was damaged.
type MismatchError struct {
	Room mimi.RoomURI
	Have Pos // what this side holds
	Want Pos // what the other side claims
}

func (e *MismatchError) Error() string {
	return fmt.Sprintf("room %s: log mismatch: have %s, other side has %s", e.Room, e.Have, e.Want)
}
