package mls

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
)

// TestProcessAll: many messages at once have the results that they have one by one,
// whatever is wrong with some of them.
func TestProcessAll(t *testing.T) {
	c := newChat(t, 1, &Config{MaxForward: 30, MaxSkippedKeys: 3}, nil, "alice", "bob", "carol")
	var good [][]byte
	for i := range 40 {
		good = append(good, c.encrypt([]string{"alice", "carol"}[i%2], fmt.Sprint(i)))
	}
	own := c.encrypt("bob", "own")
	spoiled := bytes.Clone(good[6])
	spoiled[len(spoiled)-1] ^= 1
	// A member can make a message with a valid key and no valid signature.
	forger := *c.members["alice"]
	forger.signer = c.signer("mallory")
	_, forged, err := forger.Encrypt([]byte("forged"), EncryptOptions{})
	c.ok(err)
	pending, err := c.members["alice"].Commit(CommitOptions{})
	c.ok(err)
	for name, msgs := range map[string][][]byte{
		"good":      good,
		"one":       good[:1],
		"none":      {},
		"disorder":  {good[4], good[2], good[0], good[2], good[1], good[8]},
		"replayed":  append(append([][]byte{}, good[:4]...), append([][]byte{good[1]}, good[4:]...)...),
		"own":       append([][]byte{good[0], own, good[1]}, good[2:]...),
		"spoiled":   append(append([][]byte{}, good[:6]...), append([][]byte{spoiled}, good[6:]...)...),
		"forged":    append(append([][]byte{}, good...), forged, forged, forged),
		"too far":   {good[0], good[38], good[39], good[5]},
		"commit":    {good[0], pending.Message(), good[1]},
		"malformed": {good[0], []byte("rubbish"), good[1]},
	} {
		bob := c.members["bob"]
		got := bob.ProcessAll(msgs)
		if (name == "commit" || name == "malformed") != (len(got) == 1 && len(msgs) == 3) || len(got) != len(msgs) && len(got) != 1 {
			t.Errorf("%s: %d results of %d", name, len(got), len(msgs))
		}
		end := bob
		for i, r := range got {
			p, err := bob.Process(msgs[i])
			if (err == nil) != (r.Err == nil) || err != nil && !errors.Is(r.Err, err) && r.Err.Error() != err.Error() {
				t.Errorf("%s: message %d: %v, want %v", name, i, r.Err, err)
			}
			if fmt.Sprintf("%T", p) != fmt.Sprintf("%T", r.Processed) {
				t.Errorf("%s: message %d: %T, want %T", name, i, r.Processed, p)
			}
			a, ok := p.(*Application)
			if !ok {
				continue
			}
			bob = a.Next
			b, ok := r.Processed.(*Application)
			if !ok {
				continue
			}
			end = b.Next
			if !bytes.Equal(a.Data, b.Data) || a.Sender != b.Sender || a.Generation != b.Generation {
				t.Errorf("%s: message %d: %q, want %q", name, i, b.Data, a.Data)
			}
		}
		want, err := bob.MarshalBinary()
		c.ok(err)
		state, err := end.MarshalBinary()
		c.ok(err)
		if !bytes.Equal(state, want) {
			t.Errorf("%s: another state is left", name)
		}
	}
}

func BenchmarkProcessAll(b *testing.B) {
	c := newChat(b, 1, nil, nil, "alice", "bob")
	var msgs [][]byte
	for i := range 512 {
		msgs = append(msgs, c.encrypt("alice", fmt.Sprint(i)))
	}
	for b.Loop() {
		for _, r := range c.members["bob"].ProcessAll(msgs) {
			if r.Err != nil {
				b.Fatal(r.Err)
			}
		}
	}
}
