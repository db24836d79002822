package clientpb

import (
	"encoding/binary"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"
)

// SyncBatch is the subprotocol of the sync stream that programs of ours choose:
// one binary WebSocket message holds one or more frames, each behind its length
// as a varint. A message of entries costs no more than one entry.
const SyncBatch = "hubbub.sync.v1.batch"

var errBadFrames = errors.New("clientpb: not a sequence of frames")

// AppendFrame adds a frame to a message of [SyncBatch].
func AppendFrame(message []byte, frame proto.Message) ([]byte, error) {
	message = binary.AppendUvarint(message, uint64(proto.Size(frame)))
	message, err := proto.MarshalOptions{UseCachedSize: true}.MarshalAppend(message, frame)
	if err != nil {
		return nil, fmt.Errorf("encoding frame: %w", err)
	}
	return message, nil
}

// EachFrame hands the octets of each frame of a message of [SyncBatch] to fn, in
// order, until fn fails. They belong to message.
func EachFrame(message []byte, fn func(frame []byte) error) error {
	for len(message) > 0 {
		size, n := binary.Uvarint(message)
		if n <= 0 || size > uint64(len(message)-n) {
			return errBadFrames
		}
		message = message[n:]
		if err := fn(message[:size:size]); err != nil {
			return err
		}
		message = message[size:]
	}
	return nil
}
