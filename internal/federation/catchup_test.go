package federation

import (
	"strings"
	"testing"

	"hubbub/internal/room"
)

func TestReadFrom(t *testing.T) {
	hash := strings.Repeat("ab", 32)
	pos, err := readFrom("seq=7&hash=" + hash)
	if err != nil || pos.Seq != 7 || pos.Hash[31] != 0xab {
		t.Errorf("%v, %v", pos, err)
	}
	for _, query := range []string{"", "seq=7", "hash=" + hash, "seq=-1&hash=" + hash, "seq=07&hash=" + hash, "seq=7&hash=" + hash + "00",
		"seq=7&hash=zz" + hash[2:], "seq=7&seq=8&hash=" + hash, "seq=7&hash=" + hash + "&x=1"} {
		if pos, err := readFrom(query); err == nil || pos != (room.Pos{}) && pos.Hash != ([32]byte{}) {
			t.Errorf("%q gives %v, %v", query, pos, err)
		}
	}
}
