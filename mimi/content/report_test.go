package content

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"hubbub/mimi"
	"hubbub/mls"
	"hubbub/mls/wire"
)

// TestFrankingVectors frames the published message both ways and none, and compares the
// tags with the vectors of the requirements checklist, section 31.
func TestFrankingVectors(t *testing.T) {
	plain, err := os.ReadFile(filepath.Join(sharedDir(t, "mimi-content-examples"), "original.cbor"))
	if err != nil {
		t.Fatal(err)
	}
	frame := func(kind string) []byte {
		b, err := wire.Marshal(&mls.ApplicationFraming{MediaType: mls.MediaType{Type: kind}, Content: plain})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	want := mimi.ReportedContent{Salt: [16]byte(unhex(t, "5eed9406c2545547ab6f09f20a18b003")),
		Sender: "mimi://example.com/u/alice-smith", Room: "mimi://example.com/r/engineering_team"}
	for _, tc := range []struct {
		name, tag string
		data      []byte
	}{
		{"bare", "a9a69f1d2fe6f37984190c093ecb8a10d647093db735fb7ba926bfdccff4c2bf", plain},
		{"explicit", "cac50818a758d500a44109d35073e0ce59d35c81f68eaf911c5b930d014034d0", frame(MediaType)},
		{"empty type", "728037c40a60ea96a1d2b15c43fca2415728e15f9f9a8114c52660c287688813", frame("")},
	} {
		if tag := mimi.NewFrankTag(want.Salt, tc.data); hex.EncodeToString(tag[:]) != tc.tag {
			t.Errorf("%s: tag %x", tc.name, tag)
		}
		if got, err := Reported(tc.data); err != nil || got != want {
			t.Errorf("%s: %+v, %v", tc.name, got, err)
		}
	}
	if len(frame(MediaType)) != 221 {
		t.Errorf("framed: %d octets", len(frame(MediaType)))
	}
	for _, b := range [][]byte{nil, {0}, plain[:20], frame("x/y")[:30], bytes.Repeat([]byte{0xff}, 40)} {
		if _, err := Reported(b); !errors.Is(err, ErrInvalid) {
			t.Errorf("%x: %v", b, err)
		}
	}
}
