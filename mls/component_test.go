package mls

import (
	"errors"
	"testing"

	"hubbub/mls/wire"
)

// TestDictionaryOrder: EXT-1. Entries ascend, each component once.
func TestDictionaryOrder(t *testing.T) {
	for _, bad := range []string{"\x06\x00\x02\x00\x00\x01\x00", "\x06\x00\x01\x00\x00\x01\x00"} {
		if err := wire.Unmarshal([]byte(bad), new(AppDataDictionary)); !errors.Is(err, wire.ErrBadValue) {
			t.Errorf("%x: %v", bad, err)
		}
		if err := wire.Unmarshal([]byte(bad), new(SafeAAD)); !errors.Is(err, wire.ErrBadValue) {
			t.Errorf("SafeAAD %x: %v", bad, err)
		}
	}
	var d AppDataDictionary
	for _, id := range []ComponentID{3, 1, 2, 1} {
		d.Set(id, []byte{byte(id)})
	}
	wantBytes(t, "dictionary", encoded(&d), []byte("\x0c\x00\x01\x01\x01\x00\x02\x01\x02\x00\x03\x01\x03"))
	if !d.Delete(2) || d.Delete(2) || len(d.Entries) != 2 {
		t.Error("deletion")
	}
}

// TestComponentLabel: EXT-3. What one component signs or encrypts is of no use
// to another, nor to MLS itself.
func TestComponentLabel(t *testing.T) {
	wantBytes(t, "label", []byte(ComponentLabel(0x0022, "list")), []byte("\x0dMLS Component\x00\x22\x04list"))
	key := newSigner(t)
	sig, err := key.Suite.SignWithLabel(key.Private, ComponentLabel(1, "x"), []byte("content"))
	if err != nil {
		t.Fatal(err)
	}
	priv, pub, err := key.Suite.GenerateHPKEKey((*Config)(nil).rand())
	if err != nil {
		t.Fatal(err)
	}
	ct, err := key.Suite.EncryptWithLabel(pub, ComponentLabel(1, "x"), nil, []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	for label, ok := range map[string]bool{ComponentLabel(1, "x"): true, ComponentLabel(2, "x"): false, ComponentLabel(1, "y"): false, "x": false} {
		if err := key.Suite.VerifyWithLabel(key.Public, label, []byte("content"), sig); (err == nil) != ok {
			t.Errorf("%q: %v", label, err)
		}
		if _, err := key.Suite.DecryptWithLabel(priv, label, nil, ct); (err == nil) != ok {
			t.Errorf("%q: %v", label, err)
		}
	}
}
