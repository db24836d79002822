package federation

import (
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"net/url"
	"strconv"

	"hubbub/internal/room"
	"hubbub/mimi"
	"hubbub/mimi/checkpoint"
)

// writePos states a position in our headers.
func writePos(h http.Header, pos room.Pos) {
	h.Set(HeaderSeq, strconv.FormatUint(pos.Seq, 10))
	h.Set(HeaderHash, hex.EncodeToString(pos.Hash[:]))
}

// readPos is the position a peer states, nil if it states none. Half a position
// is an error: guessing the other half could hide a fork.
func readPos(h http.Header) (*room.Pos, error) {
	seqs, hashes := h.Values(HeaderSeq), h.Values(HeaderHash)
	if len(seqs) == 0 && len(hashes) == 0 {
		return nil, nil
	}
	if len(seqs) != 1 || len(hashes) != 1 {
		return nil, badPosition()
	}
	var pos room.Pos
	seq, ok := parseSeq(seqs[0])
	if !ok || len(hashes[0]) != 2*len(pos.Hash) {
		return nil, badPosition()
	}
	pos.Seq = seq
	if _, err := hex.Decode(pos.Hash[:], []byte(hashes[0])); err != nil {
		return nil, badPosition()
	}
	return &pos, nil
}

// writeCheckpoint sends a signed checkpoint along, if there is one.
func writeCheckpoint(h http.Header, signed []byte) {
	if signed != nil {
		h.Set(HeaderCheckpoint, base64.StdEncoding.EncodeToString(signed))
	}
}

// readCheckpoint is the signed checkpoint that a peer sends along, nil if none.
func readCheckpoint(h http.Header) ([]byte, error) {
	values := h.Values(HeaderCheckpoint)
	if len(values) == 0 {
		return nil, nil
	}
	signed, err := base64.StdEncoding.DecodeString(values[0])
	if err != nil || len(values) != 1 || len(signed) == 0 || len(signed) > checkpoint.MaxBytes {
		return nil, mimi.NewProblem(http.StatusBadRequest, mimi.CodeMalformed, "%s must be present once, in base64", HeaderCheckpoint)
	}
	return signed, nil
}

// readSeq reads the query seq=N, which must be all there is.
func readSeq(rawQuery string) (uint64, error) {
	q, err := url.ParseQuery(rawQuery)
	if err == nil && len(q) == 1 && len(q["seq"]) == 1 {
		if seq, ok := parseSeq(q["seq"][0]); ok {
			return seq, nil
		}
	}
	return 0, mimi.NewProblem(http.StatusBadRequest, mimi.CodeMalformed, "the query must be seq and a number")
}

// parseSeq accepts the one way to write a number: no sign, no leading zero.
func parseSeq(s string) (uint64, bool) {
	n, err := strconv.ParseUint(s, 10, 64)
	return n, err == nil && strconv.FormatUint(n, 10) == s
}

func badPosition() *mimi.Problem {
	return mimi.NewProblem(http.StatusBadRequest, mimi.CodeMalformed,
		"%s and %s must both be present once, a decimal number and 64 hex digits", HeaderSeq, HeaderHash)
}
