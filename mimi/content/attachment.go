package content

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"errors"
	"fmt"
	"hash"
	"io"
)

// Ciphers of external content, from the registry of AEAD algorithms (CNT-20).
const (
	NoEncryption uint16 = 0
	AES128GCM    uint16 = 1
	AES256GCM    uint16 = 2
)

// Hashes of external content, from the registry of named information.
const (
	NoHash uint8 = 0
	SHA256 uint8 = 1
	SHA384 uint8 = 7
	SHA512 uint8 = 8
)

// ErrAttachment is wrapped by every error about external content that is not what the
// message says: changed, cut short, too long, or protected in a way not known here.
var ErrAttachment = errors.New("mimi/content: attachment is not what the message says")

// Seal encrypts what is to be stored elsewhere, with AES-128-GCM under a new random key,
// and says in p what a receiver needs to open it: cipher, key, nonce, hash and size, both
// of the octets written to dst, which are those to upload: 16 more than src has. The other
// fields are left alone. Memory does not grow with the length, at most 64 GiB. Errors of
// src and dst come back wrapped; p is then not to be used (CNT-21).
func (p *ExternalPart) Seal(dst io.Writer, src io.Reader) error {
	p.EncAlg, p.Key, p.Nonce, p.AAD = AES128GCM, make([]byte, 16), make([]byte, gcmNonceBytes), nil
	rand.Read(p.Key) // never fails: crypto/rand ends the process instead
	rand.Read(p.Nonce)
	g, err := newGCMStream(p.Key, p.Nonce, nil)
	if err != nil {
		return fmt.Errorf("mimi/content: sealing an attachment: %w", err)
	}
	sum := sha256.New()
	out := io.MultiWriter(dst, sum)
	buf := make([]byte, attachmentChunk)
	for {
		n, readErr := io.ReadFull(src, buf)
		if err := g.seal(buf[:n]); err != nil {
			return fmt.Errorf("%w: %w", ErrAttachment, err)
		}
		if _, err := out.Write(buf[:n]); err != nil {
			return fmt.Errorf("mimi/content: sealing an attachment: %w", err)
		}
		if readErr == io.EOF || readErr == io.ErrUnexpectedEOF {
			break
		}
		if readErr != nil {
			return fmt.Errorf("mimi/content: sealing an attachment: %w", readErr)
		}
	}
	tag := g.tag()
	if _, err := out.Write(tag[:]); err != nil {
		return fmt.Errorf("mimi/content: sealing an attachment: %w", err)
	}
	p.HashAlg, p.ContentHash, p.Size = SHA256, sum.Sum(nil), g.text+gcmTagBytes
	return nil
}

// attachmentChunk is how much of an attachment is in memory at a time, in octets.
const attachmentChunk = 64 << 10

// Open decrypts external content, src being the octets fetched from the part's URL, and
// checks hash and tag against the part. It writes to dst before it has seen the end, so
// that memory does not grow with the length: unless it gives nil, what was written is not
// the attachment and has to be thrown away. A part with a size stops reading there.
// Content that is not encrypted must have a hash. Errors wrap [ErrAttachment], or are
// those of src and dst (CNT-21).
func (p *ExternalPart) Open(dst io.Writer, src io.Reader) error {
	sum, err := p.hash()
	if err != nil {
		return err
	}
	switch p.EncAlg {
	case NoEncryption:
		if sum == nil {
			return fmt.Errorf("%w: neither encrypted nor hashed", ErrAttachment)
		}
		if err := p.copyPlain(io.MultiWriter(dst, sum), src); err != nil {
			return err
		}
	case AES128GCM, AES256GCM:
		if sum != nil {
			src = io.TeeReader(src, sum)
		}
		if err := p.openGCM(dst, src); err != nil {
			return err
		}
	default:
		return fmt.Errorf("%w: unknown cipher %d", ErrAttachment, p.EncAlg)
	}
	if sum != nil && subtle.ConstantTimeCompare(sum.Sum(nil), p.ContentHash) != 1 {
		return fmt.Errorf("%w: its hash differs", ErrAttachment)
	}
	return nil
}

// hash gives the function the part names, nil for none.
func (p *ExternalPart) hash() (hash.Hash, error) {
	switch p.HashAlg {
	case NoHash:
		if len(p.ContentHash) != 0 {
			return nil, fmt.Errorf("%w: a hash of no kind", ErrAttachment)
		}
		return nil, nil
	case SHA256:
		return sha256.New(), nil
	case SHA384:
		return sha512.New384(), nil
	case SHA512:
		return sha512.New(), nil
	}
	return nil, fmt.Errorf("%w: unknown hash %d", ErrAttachment, p.HashAlg)
}

// most is how many octets the URL may deliver. The draft does not say whether the size
// counts the tag, so both readings pass; the hash decides.
func (p *ExternalPart) most() uint64 {
	if p.Size == 0 || p.Size > gcmMaxBytes {
		return gcmMaxBytes + gcmTagBytes
	}
	return p.Size + gcmTagBytes
}

func (p *ExternalPart) copyPlain(dst io.Writer, src io.Reader) error {
	most := p.most()
	n, err := io.Copy(dst, io.LimitReader(src, int64(most)+1))
	if err != nil {
		return fmt.Errorf("mimi/content: opening an attachment: %w", err)
	}
	if uint64(n) > most {
		return fmt.Errorf("%w: longer than it says", ErrAttachment)
	}
	return nil
}

// openGCM holds back the last 16 octets, which are the tag.
func (p *ExternalPart) openGCM(dst io.Writer, src io.Reader) error {
	if want := 16 * int(p.EncAlg); len(p.Key) != want {
		return fmt.Errorf("%w: key is not %d octets long", ErrAttachment, want)
	}
	g, err := newGCMStream(p.Key, p.Nonce, p.AAD)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrAttachment, err)
	}
	src = io.LimitReader(src, int64(p.most())+1)
	buf := make([]byte, attachmentChunk+gcmTagBytes)
	held := 0
	for {
		n, readErr := io.ReadFull(src, buf[held:])
		held += n
		ended := readErr == io.EOF || readErr == io.ErrUnexpectedEOF
		if readErr != nil && !ended {
			return fmt.Errorf("mimi/content: opening an attachment: %w", readErr)
		}
		if held < gcmTagBytes {
			return fmt.Errorf("%w: cut short", ErrAttachment)
		}
		text := buf[:held-gcmTagBytes]
		if err := g.open(text); err != nil {
			return fmt.Errorf("%w: %w", ErrAttachment, err)
		}
		if g.text+gcmTagBytes > p.most() {
			return fmt.Errorf("%w: longer than it says", ErrAttachment)
		}
		if _, err := dst.Write(text); err != nil {
			return fmt.Errorf("mimi/content: opening an attachment: %w", err)
		}
		held = copy(buf, buf[held-gcmTagBytes:held])
		if ended {
			break
		}
	}
	tag := g.tag()
	if subtle.ConstantTimeCompare(tag[:], buf[:gcmTagBytes]) != 1 {
		return fmt.Errorf("%w: it was changed", ErrAttachment)
	}
	return nil
}

// SealBytes is [ExternalPart.Seal] for content in memory.
func (p *ExternalPart) SealBytes(plain []byte) (upload []byte, err error) {
	var b bytes.Buffer
	b.Grow(len(plain) + gcmTagBytes)
	err = p.Seal(&b, bytes.NewReader(plain))
	return b.Bytes(), err
}

// OpenBytes is [ExternalPart.Open] for content in memory; there is none if there is an
// error.
func (p *ExternalPart) OpenBytes(fetched []byte) ([]byte, error) {
	var b bytes.Buffer
	b.Grow(len(fetched))
	if err := p.Open(&b, bytes.NewReader(fetched)); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
