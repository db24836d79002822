package content

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"
)

// TestGCMStream compares with the library's GCM for every length around the blocks, in
// pieces of random length.
func TestGCMStream(t *testing.T) {
	rnd := rand.NewChaCha8([32]byte{1})
	dice := rand.New(rnd)
	for n := range 100 {
		key, nonce, aad, plain := make([]byte, 16+16*(n%2)), make([]byte, 12), make([]byte, dice.IntN(40)), make([]byte, n)
		for _, b := range [][]byte{key, nonce, aad, plain} {
			rnd.Read(b)
		}
		block, err := aes.NewCipher(key)
		if err != nil {
			t.Fatal(err)
		}
		library, err := cipher.NewGCM(block)
		if err != nil {
			t.Fatal(err)
		}
		want := library.Seal(nil, nonce, plain, aad)
		g, err := newGCMStream(key, nonce, aad)
		if err != nil {
			t.Fatal(err)
		}
		got := bytes.Clone(plain)
		for rest := got; len(rest) > 0; {
			k := 1 + dice.IntN(len(rest))
			if err := g.seal(rest[:k]); err != nil {
				t.Fatal(err)
			}
			rest = rest[k:]
		}
		tag := g.tag()
		if got = append(got, tag[:]...); !bytes.Equal(got, want) {
			t.Fatalf("%d octets with %d of AAD: %x, want %x", n, len(aad), got, want)
		}
	}
}

func TestAttachment(t *testing.T) {
	rnd := rand.NewChaCha8([32]byte{2})
	for _, n := range []int{0, 1, 15, 16, 17, attachmentChunk - 16, attachmentChunk, attachmentChunk + 1, 3*attachmentChunk + 5} {
		plain := make([]byte, n)
		rnd.Read(plain)
		p := &ExternalPart{Disposition: Attachment, ContentType: "image/png"}
		upload, err := p.SealBytes(plain)
		if err != nil {
			t.Fatal(err)
		}
		if p.Size != uint64(len(upload)) || len(upload) != n+16 || p.EncAlg != AES128GCM || p.HashAlg != SHA256 {
			t.Errorf("%d octets: %d to upload, part %+v", n, len(upload), p)
		}
		for name, r := range map[string]io.Reader{"whole": bytes.NewReader(upload), "by octet": iotest.OneByteReader(bytes.NewReader(upload)),
			"end with data": iotest.DataErrReader(bytes.NewReader(upload))} {
			var got bytes.Buffer
			if err := p.Open(&got, r); err != nil || !bytes.Equal(got.Bytes(), plain) {
				t.Errorf("%d octets, %s: %d back, %v", n, name, got.Len(), err)
			}
		}
		for i := 0; i < len(upload); i += 1 + len(upload)/7 {
			bad := bytes.Clone(upload)
			bad[i] ^= 1
			if _, err := p.OpenBytes(bad); !errors.Is(err, ErrAttachment) {
				t.Errorf("%d octets, %d changed: %v", n, i, err)
			}
			if _, err := p.OpenBytes(upload[:i]); !errors.Is(err, ErrAttachment) {
				t.Errorf("%d octets, cut at %d: %v", n, i, err)
			}
		}
		if _, err := p.OpenBytes(append(bytes.Clone(upload), make([]byte, 40)...)); !errors.Is(err, ErrAttachment) {
			t.Errorf("%d octets and more: %v", n, err)
		}
	}
}

func TestAttachmentParameters(t *testing.T) {
	good := &ExternalPart{}
	upload, err := good.SealBytes([]byte("a picture"))
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(p *ExternalPart){
		"another key":    func(p *ExternalPart) { p.Key = bytes.Repeat([]byte{1}, 16) },
		"short key":      func(p *ExternalPart) { p.Key = p.Key[:15] },
		"key of the 256": func(p *ExternalPart) { p.EncAlg = AES256GCM },
		"short nonce":    func(p *ExternalPart) { p.Nonce = p.Nonce[:8] },
		"other AAD":      func(p *ExternalPart) { p.AAD = []byte("x") },
		"unknown cipher": func(p *ExternalPart) { p.EncAlg = 99 },
		"unknown hash":   func(p *ExternalPart) { p.HashAlg = 99 },
		"hash of none":   func(p *ExternalPart) { p.HashAlg = NoHash },
		"other hash":     func(p *ExternalPart) { p.ContentHash = bytes.Repeat([]byte{1}, 32) },
		"too long":       func(p *ExternalPart) { p.Size = 3 },
		"nothing at all": func(p *ExternalPart) { p.EncAlg, p.HashAlg, p.ContentHash = NoEncryption, NoHash, nil },
	} {
		p := *good
		change(&p)
		if _, err := p.OpenBytes(upload); !errors.Is(err, ErrAttachment) {
			t.Errorf("%s: %v", name, err)
		}
	}
	size := *good
	size.Size -= 16 // another reading of the draft
	if _, err := size.OpenBytes(upload); err != nil {
		t.Errorf("size without the tag: %v", err)
	}
	plain := &ExternalPart{HashAlg: SHA256, ContentHash: good.ContentHash}
	if got, err := plain.OpenBytes(upload); err != nil || !bytes.Equal(got, upload) {
		t.Errorf("not encrypted: %v", err)
	}
	broken := errors.New("broken")
	if err := good.Open(io.Discard, iotest.ErrReader(broken)); !errors.Is(err, broken) || errors.Is(err, ErrAttachment) {
		t.Errorf("reader broke: %v", err)
	}
	if err := new(ExternalPart).Seal(io.Discard, iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("reader broke while sealing: %v", err)
	}
}

func BenchmarkAttachment(b *testing.B) {
	plain := make([]byte, 1<<20)
	b.SetBytes(int64(len(plain)))
	for b.Loop() {
		if err := new(ExternalPart).Seal(io.Discard, bytes.NewReader(plain)); err != nil {
			b.Fatal(err)
		}
	}
}
