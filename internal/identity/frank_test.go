package identity

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"hubbub/mimi"
)

// TestFrankKeys writes keys and reads them back: who has the same file franks the same.
func TestFrankKeys(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keys", "franking.keys")
	made := 0
	first := func() mimi.FrankKeys {
		made++
		return mimi.FrankKeys(nil).Rotate(time.UnixMilli(0), time.Hour)
	}
	load := func() mimi.FrankKeys {
		t.Helper()
		keys, err := LoadFrankKeys(file, first)
		if err != nil {
			t.Fatal(err)
		}
		return keys
	}
	keys := load()
	if again := load(); made != 1 || !reflect.DeepEqual(again, keys) {
		t.Errorf("made %d times; first %v, then %v", made, keys, again)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file has mode %v, %v", info.Mode(), err)
	}
	rotated := keys.Rotate(time.UnixMilli(1_000), time.Hour)
	if err := WriteFrankKeys(file, rotated); err != nil {
		t.Fatal(err)
	}
	if again := load(); len(again) != 2 || !reflect.DeepEqual(again, rotated) {
		t.Errorf("wrote %v, read %v", rotated, again)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"empty": nil, "cut": b[:len(b)/2][:40], "other": []byte("-----BEGIN X-----\nAAAA\n-----END X-----\n")} {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadFrankKeys(file, first); !errors.Is(err, ErrBadKey) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if made != 1 {
		t.Error("damaged keys were made anew: nothing that was franked could be checked any more")
	}
}
