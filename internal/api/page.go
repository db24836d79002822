package api

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"hubbub/client/clientpb"
	"hubbub/internal/store"
	"hubbub/internal/tail"
	"hubbub/mimi"
)

// page is what one look finds to send: messages of the stream, encoded.
type page struct {
	many, text bool // the subprotocol: several frames in one message; JSON
	messages   [][]byte
	err        error // of the first frame that could not be encoded

	reach map[mimi.RoomURI]uint64   // acks up to here become possible
	more  map[mimi.RoomURI]struct{} // rooms with more than fits a page
}

// maxMessageOut is the size at which a message of several frames is complete.
const maxMessageOut = 256 << 10

// add adds a frame.
func (p *page) add(f *clientpb.ServerFrame) {
	var message []byte
	var err error
	switch {
	case p.many:
		last := p.open(proto.Size(f) + 8)
		*last, err = clientpb.AppendFrame(*last, f)
	case p.text:
		message, err = protojson.Marshal(f)
	default:
		message, err = proto.Marshal(f)
	}
	if err != nil && p.err == nil {
		p.err = fmt.Errorf("encoding frame: %w", err)
	}
	if !p.many {
		p.messages = append(p.messages, message)
	}
}

// open gives the message that the next frame goes into, with place for size octets.
func (p *page) open(size int) *[]byte {
	n := len(p.messages)
	if n == 0 || len(p.messages[n-1]) >= maxMessageOut {
		p.messages = append(p.messages, make([]byte, 0, size))
		n++
	}
	return &p.messages[n-1]
}

// entry adds an entry from the store.
func (p *page) entry(uri mimi.RoomURI, e *store.Entry) {
	if !p.many {
		p.add(&clientpb.ServerFrame{Frame: &clientpb.ServerFrame_Entry{
			Entry: &clientpb.RoomEntry{Room: string(uri), Entry: entryPB(*e)}}})
		return
	}
	last := p.open(entrySize(uri, e))
	*last = appendEntry(*last, uri, e)
}

// shared adds entries from memory, encoded once for all streams that they go to.
func (p *page) shared(uri mimi.RoomURI, list []*tail.Entry) {
	if !p.many {
		for _, e := range list {
			p.entry(uri, &e.Entry)
		}
		return
	}
	size := 0
	encode := func(e *store.Entry) []byte { return appendEntry(make([]byte, 0, entrySize(uri, e)), uri, e) }
	for _, e := range list {
		size += len(e.Frame(encode))
	}
	for _, e := range list {
		last := p.open(min(size, 2*maxMessageOut))
		frame := e.Frame(encode)
		*last = append(*last, frame...)
		size -= len(frame)
	}
}

// entrySize is a little more than an entry takes as a frame.
func entrySize(uri mimi.RoomURI, e *store.Entry) int { return len(uri) + len(e.Body) + 100 }

// Field numbers of an entry in its frames; see sync.proto and client.proto.
const (
	frameEntry    protowire.Number = 4 // of ServerFrame
	roomEntryRoom protowire.Number = 1
	roomEntryBody protowire.Number = 2
	entrySeq      protowire.Number = 1
	entryTime     protowire.Number = 2
	entryKind     protowire.Number = 3
	entryBody     protowire.Number = 4
	entryHash     protowire.Number = 5
)

// appendEntry is AppendFrame for an entry: most of what streams carry, so that it
// is written without a detour.
func appendEntry(message []byte, uri mimi.RoomURI, e *store.Entry) []byte {
	entry := sizeNumber(e.Seq) + sizeNumber(e.Timestamp) + sizeNumber(uint64(e.Kind)) + sizeBytes(len(e.Body)) + sizeBytes(len(e.Hash))
	inner := sizeBytes(len(uri)) + sizeBytes(entry)
	message = protowire.AppendVarint(message, uint64(sizeBytes(inner)))
	message = protowire.AppendTag(message, frameEntry, protowire.BytesType)
	message = protowire.AppendVarint(message, uint64(inner))
	message = protowire.AppendTag(message, roomEntryRoom, protowire.BytesType)
	message = protowire.AppendString(message, string(uri))
	message = protowire.AppendTag(message, roomEntryBody, protowire.BytesType)
	message = protowire.AppendVarint(message, uint64(entry))
	message = appendNumber(message, entrySeq, e.Seq)
	message = appendNumber(message, entryTime, e.Timestamp)
	message = appendNumber(message, entryKind, uint64(e.Kind))
	if len(e.Body) > 0 {
		message = protowire.AppendTag(message, entryBody, protowire.BytesType)
		message = protowire.AppendBytes(message, e.Body)
	}
	message = protowire.AppendTag(message, entryHash, protowire.BytesType)
	return protowire.AppendBytes(message, e.Hash[:])
}

// All field numbers used here take one octet. Empty fields are left out.
func sizeBytes(n int) int {
	if n == 0 {
		return 0
	}
	return 1 + protowire.SizeBytes(n)
}

func sizeNumber(v uint64) int {
	if v == 0 {
		return 0
	}
	return 1 + protowire.SizeVarint(v)
}

func appendNumber(message []byte, num protowire.Number, v uint64) []byte {
	if v == 0 {
		return message
	}
	return protowire.AppendVarint(protowire.AppendTag(message, num, protowire.VarintType), v)
}
