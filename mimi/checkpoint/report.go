package checkpoint

import (
	"fmt"

	"hubbub/mls/wire"
)

// reportVersion is the first octet of an encoded Report.
const reportVersion = 1

// A Report is what a provider says of its own copy of a room: how far it reaches,
// and the newest checkpoint of the hub that it has verified. Providers of a room
// ask each other for it, so that a hub that shows two histories is found out even
// if nobody sees both.
type Report struct {
	Seq    uint64   // entries of its copy
	Hash   [32]byte // chain hash after them
	Signed []byte   // the newest checkpoint it holds; empty if none. At most MaxBytes
}

// Marshal gives the octets of the x-checkpoint answer.
func (r *Report) Marshal() ([]byte, error) {
	var w wire.Writer
	w.Uint8(reportVersion)
	w.Uint64(r.Seq)
	w.Raw(r.Hash[:])
	w.Opaque(r.Signed)
	return w.Bytes()
}

// ParseReport reads what [Report.Marshal] wrote. The signature of the checkpoint
// is not looked at. The error wraps [ErrBadCheckpoint].
func ParseReport(b []byte) (*Report, error) {
	rd := wire.NewReader(b)
	if v := rd.Uint8(); v != reportVersion {
		return nil, fmt.Errorf("%w: report of unknown version %d", ErrBadCheckpoint, v)
	}
	r := &Report{Seq: rd.Uint64()}
	copy(r.Hash[:], rd.Raw(len(r.Hash)))
	r.Signed = rd.Opaque()
	if err := rd.Done(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadCheckpoint, err)
	}
	if len(r.Signed) > MaxBytes {
		return nil, fmt.Errorf("%w: checkpoint of %d octets", ErrBadCheckpoint, len(r.Signed))
	}
	return r, nil
}
