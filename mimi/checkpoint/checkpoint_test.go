package checkpoint_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"hubbub/mimi"
	"hubbub/mimi/checkpoint"
	"hubbub/mls"
)

const club = mimi.RoomURI("mimi://a.example/r/club")

func newKey(t *testing.T, d mimi.Domain) (ed25519.PrivateKey, mls.ExternalSender) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return private, mls.ExternalSender{SignatureKey: public, Credential: mimi.ProviderCredential(d)}
}

func sign(t *testing.T, c checkpoint.Checkpoint, d mimi.Domain, key ed25519.PrivateKey) []byte {
	t.Helper()
	b, err := c.Sign(d, key)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Every octet of a signed checkpoint matters.
func TestEveryOctetCounts(t *testing.T) {
	key, sender := newKey(t, "a.example")
	c := checkpoint.Checkpoint{Room: club, Seq: 17, Hash: sha256.Sum256([]byte("x"))}
	signed := sign(t, c, "a.example", key)
	got, err := checkpoint.Open(signed, club, []mls.ExternalSender{sender})
	if err != nil || got != c {
		t.Fatalf("%+v, %v", got, err)
	}
	for i := range signed {
		for _, bit := range []byte{1, 0x20, 0x80} {
			damaged := bytes.Clone(signed)
			damaged[i] ^= bit
			if got, err := checkpoint.Open(damaged, club, []mls.ExternalSender{sender}); err == nil && got != c {
				t.Errorf("octet %d changed: %+v", i, got)
			} else if err != nil && !errors.Is(err, checkpoint.ErrBadCheckpoint) && !errors.Is(err, checkpoint.ErrUnverified) {
				t.Errorf("octet %d changed: %v", i, err)
			}
		}
	}
}

// Only the hub's own key signs for a room, and only for that room.
func TestWhoseSignature(t *testing.T) {
	key, sender := newKey(t, "a.example")
	other, otherSender := newKey(t, "a.example")
	strangerKey, stranger := newKey(t, "b.example")
	c := checkpoint.Checkpoint{Room: club, Seq: 1}
	signed := sign(t, c, "a.example", key)
	for name, q := range map[string]struct {
		signed  []byte
		room    mimi.RoomURI
		senders []mls.ExternalSender
		want    error
	}{
		"right":                    {signed, club, []mls.ExternalSender{stranger, otherSender, sender, sender}, nil},
		"key not in the room":      {signed, club, []mls.ExternalSender{otherSender}, checkpoint.ErrUnverified},
		"no key in the room":       {signed, club, nil, checkpoint.ErrUnverified},
		"another provider's key":   {signed, club, []mls.ExternalSender{{SignatureKey: sender.SignatureKey, Credential: stranger.Credential}}, checkpoint.ErrUnverified},
		"another room":             {signed, "mimi://a.example/r/other", []mls.ExternalSender{sender}, checkpoint.ErrBadCheckpoint},
		"signed with a wrong key":  {sign(t, c, "a.example", other), club, []mls.ExternalSender{sender}, checkpoint.ErrUnverified},
		"too long":                 {append(bytes.Clone(signed), bytes.Repeat([]byte("x"), checkpoint.MaxBytes)...), club, []mls.ExternalSender{sender}, checkpoint.ErrBadCheckpoint},
		"nothing":                  {nil, club, []mls.ExternalSender{sender}, checkpoint.ErrBadCheckpoint},
		"without its signature":    {[]byte(c.Text()), club, []mls.ExternalSender{sender}, checkpoint.ErrBadCheckpoint},
		"signed by a member state": {bytes.Replace(signed, []byte("— a.example "), []byte("— b.example "), 1), club, []mls.ExternalSender{sender, stranger}, checkpoint.ErrUnverified},
	} {
		if _, err := checkpoint.Open(q.signed, q.room, q.senders); !errors.Is(err, q.want) || (err == nil) != (q.want == nil) {
			t.Errorf("%s: %v, want %v", name, err, q.want)
		}
	}
	if _, err := c.Sign("b.example", strangerKey); !errors.Is(err, checkpoint.ErrBadCheckpoint) {
		t.Errorf("b.example signs for a room of a.example: %v", err)
	}
}

// Any tool that reads signed notes can check ours.
func TestIsASignedNote(t *testing.T) {
	key, _ := newKey(t, "a.example")
	c := checkpoint.Checkpoint{Room: club, Seq: 3, Hash: sha256.Sum256(nil)}
	vkey, err := note.NewEd25519VerifierKey("a.example", key.Public().(ed25519.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	v, err := note.NewVerifier(vkey)
	if err != nil {
		t.Fatal(err)
	}
	n, err := note.Open(sign(t, c, "a.example", key), note.VerifierList(v))
	if err != nil || n.Text != "mimi://a.example/r/club\n3\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n" {
		t.Errorf("%+v, %v", n, err)
	}
	if got, err := checkpoint.Claimed(sign(t, c, "a.example", key)); err != nil || got != c {
		t.Errorf("claimed: %+v, %v", got, err)
	}
}

// There is one way to write a checkpoint, even for the hub itself.
func TestOneSpelling(t *testing.T) {
	key, sender := newKey(t, "a.example")
	vs := noteSigner{key}
	good := checkpoint.Checkpoint{Room: club, Seq: 3}.Text()
	for _, text := range []string{
		strings.Replace(good, "\n3\n", "\n03\n", 1), strings.Replace(good, "\n3\n", "\n+3\n", 1),
		strings.Replace(good, "\n3\n", "\n18446744073709551616\n", 1), good + "extension\n",
		strings.Replace(good, "=\n", "\n", 1), strings.ToUpper(good), "\n" + good,
	} {
		signed, err := note.Sign(&note.Note{Text: text}, vs)
		if err != nil {
			t.Fatal(err)
		}
		if c, err := checkpoint.Open(signed, club, []mls.ExternalSender{sender}); !errors.Is(err, checkpoint.ErrBadCheckpoint) {
			t.Errorf("%q: %+v, %v", text, c, err)
		}
	}
}

type noteSigner struct{ key ed25519.PrivateKey }

func (s noteSigner) Name() string { return "a.example" }
func (s noteSigner) KeyHash() uint32 {
	sum := sha256.Sum256(append([]byte("a.example\n\x01"), s.key.Public().(ed25519.PublicKey)...))
	return uint32(sum[0])<<24 | uint32(sum[1])<<16 | uint32(sum[2])<<8 | uint32(sum[3])
}
func (s noteSigner) Sign(msg []byte) ([]byte, error) { return ed25519.Sign(s.key, msg), nil }

func TestReport(t *testing.T) {
	r := &checkpoint.Report{Seq: 9, Hash: sha256.Sum256([]byte("y")), Signed: []byte("note")}
	b, err := r.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	got, err := checkpoint.ParseReport(b)
	if err != nil || got.Seq != r.Seq || got.Hash != r.Hash || !bytes.Equal(got.Signed, r.Signed) {
		t.Errorf("%+v, %v", got, err)
	}
	for i := range b {
		if _, err := checkpoint.ParseReport(b[:i]); !errors.Is(err, checkpoint.ErrBadCheckpoint) {
			t.Errorf("cut at %d: %v", i, err)
		}
	}
	for name, bad := range map[string][]byte{"longer": append(bytes.Clone(b), 0), "version": append([]byte{2}, b[1:]...)} {
		if _, err := checkpoint.ParseReport(bad); !errors.Is(err, checkpoint.ErrBadCheckpoint) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzCheckpoint(f *testing.F) {
	f.Add([]byte(checkpoint.Checkpoint{Room: club, Seq: 3}.Text() + "\n— a.example AAAA\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := checkpoint.Claimed(b); err == nil && !bytes.HasPrefix(b, []byte(c.Text())) {
			t.Errorf("read %+v", c)
		}
		if r, err := checkpoint.ParseReport(b); err == nil {
			if again, err := r.Marshal(); err != nil || !bytes.Equal(again, b) {
				t.Errorf("%x becomes %x, %v", b, again, err)
			}
		}
	})
}
