// Package checkpoint is the signed statement of a hub about where the log of one
// of its rooms stands.
//
// It is an extension of ours to MIMI, in the signed-note format of C2SP
// (c2sp.org/signed-note): a text of three lines, which are the room URI, the
// number of entries and the chain hash after them in base64, and the hub's
// Ed25519 signature over it. Two checkpoints of one room that cannot both be
// true are proof, for anybody, that the hub showed two histories.
//
//	mimi://a.example/r/club
//	17
//	t0kz…=
//
//	— a.example Xzzy…
//
// The key is that of the hub's own entry in the external_senders of the room's
// GroupContext. All members and all providers of a room have authenticated it,
// so nothing further has to be handed out or trusted. No signature of MLS can be
// taken for a checkpoint or the other way round: what MLS signs starts with the
// length of a label and "MLS 1.0 ", a checkpoint with "mimi://".
//
// The package does no I/O. Everything in it is safe for concurrent use.
package checkpoint

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"hubbub/mimi"
	"hubbub/mls"
)

var (
	// ErrBadCheckpoint is wrapped by every error about octets that are no
	// checkpoint, or one of another room.
	ErrBadCheckpoint = errors.New("checkpoint: malformed")
	// ErrUnverified: no key of the room's hub has signed it.
	ErrUnverified = errors.New("checkpoint: not signed by the room's hub")
)

// MaxBytes bounds a signed checkpoint; a room URI has at most 1 KiB.
const MaxBytes = 4 << 10

// A Checkpoint says that the first Seq entries of a room's log have this hash.
type Checkpoint struct {
	Room mimi.RoomURI
	Seq  uint64   // number of entries
	Hash [32]byte // chain hash after entry Seq
}

// Text is what is signed: three lines.
func (c Checkpoint) Text() string {
	return fmt.Sprintf("%s\n%d\n%s\n", c.Room, c.Seq, base64.StdEncoding.EncodeToString(c.Hash[:]))
}

// Sign makes the signed note of a hub whose external-sender key is key. The
// error says that the room cannot stand in a note or is not the hub's.
func (c Checkpoint) Sign(hub mimi.Domain, key ed25519.PrivateKey) ([]byte, error) {
	if c.Room.Domain() != hub {
		return nil, fmt.Errorf("%w: %s signs for a room of %s", ErrBadCheckpoint, hub, c.Room.Domain())
	}
	if len(key) != ed25519.PrivateKeySize {
		return nil, fmt.Errorf("%w: key of %d octets", ErrBadCheckpoint, len(key))
	}
	s := signer{name: string(hub), key: key}
	return note.Sign(&note.Note{Text: c.Text()}, s)
}

// Open reads a signed checkpoint of a room and checks that one of the room's
// external senders in the name of its hub has signed it. senders is what the
// GroupContext holds. Errors wrap [ErrBadCheckpoint] or [ErrUnverified].
func Open(signed []byte, room mimi.RoomURI, senders []mls.ExternalSender) (Checkpoint, error) {
	if len(signed) > MaxBytes {
		return Checkpoint{}, fmt.Errorf("%w: %d octets", ErrBadCheckpoint, len(signed))
	}
	verifiers := verifiersOf(room.Domain(), senders)
	if len(verifiers) == 0 {
		return Checkpoint{}, fmt.Errorf("%w: the room names no key of %s", ErrUnverified, room.Domain())
	}
	n, err := note.Open(signed, note.VerifierList(verifiers...))
	var unknown *note.UnverifiedNoteError
	var invalid *note.InvalidSignatureError
	switch {
	case errors.As(err, &unknown), errors.As(err, &invalid):
		return Checkpoint{}, fmt.Errorf("%w: %w", ErrUnverified, err)
	case err != nil:
		return Checkpoint{}, fmt.Errorf("%w: %w", ErrBadCheckpoint, err)
	}
	c, err := parse(n.Text)
	if err == nil && c.Room != room {
		err = fmt.Errorf("%w: of another room", ErrBadCheckpoint)
	}
	if err != nil {
		return Checkpoint{}, err
	}
	return c, nil
}

// Claimed reads a signed checkpoint without looking at its signature: to say
// what is in one that is evidence, or to see whether one is worth verifying. The
// error wraps [ErrBadCheckpoint].
func Claimed(signed []byte) (Checkpoint, error) {
	text, _, ok := bytes.Cut(signed, []byte("\n\n"))
	if !ok || len(signed) > MaxBytes {
		return Checkpoint{}, fmt.Errorf("%w: not a signed note", ErrBadCheckpoint)
	}
	return parse(string(text) + "\n")
}

// parse reads the three lines, and accepts no second way to write them.
func parse(text string) (c Checkpoint, err error) {
	lines := strings.Split(text, "\n")
	if len(lines) != 4 {
		return c, fmt.Errorf("%w: not three lines", ErrBadCheckpoint)
	}
	if c.Room, err = mimi.ParseRoom(lines[0]); err != nil {
		return c, fmt.Errorf("%w: %w", ErrBadCheckpoint, err)
	}
	if c.Seq, err = strconv.ParseUint(lines[1], 10, 64); err != nil {
		return c, fmt.Errorf("%w: number of entries", ErrBadCheckpoint)
	}
	hash, err := base64.StdEncoding.DecodeString(lines[2])
	if err != nil || len(hash) != len(c.Hash) {
		return c, fmt.Errorf("%w: hash", ErrBadCheckpoint)
	}
	copy(c.Hash[:], hash)
	if c.Text() != text {
		return c, fmt.Errorf("%w: written in another way than it has to be", ErrBadCheckpoint)
	}
	return c, nil
}

// verifiersOf are the keys of the hub among a room's external senders. Others
// may stand there: they sign no checkpoints.
func verifiersOf(hub mimi.Domain, senders []mls.ExternalSender) (out []note.Verifier) {
	seen := map[uint32]bool{}
	for i := range senders {
		d, err := mimi.ProviderIdentity(&senders[i].Credential)
		key := senders[i].SignatureKey
		if err != nil || d != hub || len(key) != ed25519.PublicKeySize {
			continue
		}
		v := verifier{name: string(hub), key: key}
		if !seen[v.KeyHash()] { // the note package refuses two of one hash
			seen[v.KeyHash()] = true
			out = append(out, v)
		}
	}
	return out
}

// algEd25519 marks an Ed25519 key in a note (c2sp.org/signed-note, "Signature types").
const algEd25519 = 1

func keyHash(name string, public []byte) uint32 {
	h := sha256.New()
	h.Write([]byte(name))
	h.Write([]byte{'\n', algEd25519})
	h.Write(public)
	return binary.BigEndian.Uint32(h.Sum(nil))
}

type signer struct {
	name string
	key  ed25519.PrivateKey
}

func (s signer) Name() string { return s.name }
func (s signer) KeyHash() uint32 {
	return keyHash(s.name, s.key.Public().(ed25519.PublicKey))
}
func (s signer) Sign(msg []byte) ([]byte, error) { return ed25519.Sign(s.key, msg), nil }

type verifier struct {
	name string
	key  ed25519.PublicKey
}

func (v verifier) Name() string                { return v.name }
func (v verifier) KeyHash() uint32             { return keyHash(v.name, v.key) }
func (v verifier) Verify(msg, sig []byte) bool { return ed25519.Verify(v.key, msg, sig) }
