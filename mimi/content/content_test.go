package content

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"
)

const (
	salt    = "50 000102030405060708090a0b0c0d0e0f"
	head    = "87" + salt + "f6 40 f6 f6"
	null    = "83 01 60 00"          // NullPart, render
	single  = "85 01 60 01 61 74 40" // SinglePart of type "t"
	ourUser = "mimi://a.example/u/alice"
	ourRoom = "mimi://a.example/r/clubhouse"
)

// nested wraps a SinglePart in multiparts until the body has depth levels.
func nested(depth int) string {
	p := single
	for range depth - 1 {
		p = "85 01 60 03 00 82" + p + null
	}
	return p
}

func list(n int, head string) string {
	return "85 01 60 03 02" + head + strings.Repeat(null, n)
}

func id(first string) string { return "5820" + first + strings.Repeat("aa", 31) }

func TestDecodeRules(t *testing.T) {
	for _, tc := range []struct {
		name, hex, rule string // empty rule: accepted
	}{
		{"smallest", head + "a0" + null, ""},
		{"indefinite array", "9f" + salt + "f640f6f6a0" + null + "ff", "CNT-1"},
		{"eight elements", "88" + salt + "f640f6f6a0" + null + "00", "CNT-10"},
		{"six elements", "86" + salt + "f640f6f6a0", "CNT-10"},
		{"trailing octet", head + "a0" + null + "00", "CNT-10"},
		{"integer not shortest", head + "a0 83 1801 60 00", "CNT-1"},
		{"length not shortest", head + "a0 83 01 7800 00", "CNT-1"},
		{"salt of 15", "87 4f 000102030405060708090a0b0c0d0e f640f6f6a0" + null, "CNT-13"},
		{"replaces of 31", "87" + salt + "581f" + strings.Repeat("01", 31) + "40f6f6a0" + null, "CNT-13"},
		{"replaces by SHA-256", "87" + salt + id("01") + "40f6f6a0" + null, ""},
		{"replaces by another hash", "87" + salt + id("02") + "40f6f6a0" + null, "CNT-32"},
		{"in reply to another hash", "87" + salt + "f640f6" + id("02") + "a0" + null, "CNT-32"},
		{"topic of 4096", "87" + salt + "f6 591000" + strings.Repeat("00", 4096) + "f6f6a0" + null, ""},
		{"topic of 4097", "87" + salt + "f6 591001" + strings.Repeat("00", 4097) + "f6f6a0" + null, "CNT-14"},
		{"topic of the wrong type", "87" + salt + "f6 01 f6f6a0" + null, "CNT-10"},
		{"expires", "87" + salt + "f640 82f51affffffff f6a0" + null, ""},
		{"expires too large", "87" + salt + "f640 82f51b0000000100000000 f6a0" + null, "CNT-10"},
		{"expires of three", "87" + salt + "f640 83f50000 f6a0" + null, "CNT-10"},
		{"extensions not a map", head + "80" + null, "CNT-10"},
		{"keys in order", head + "a4 01 6161 190100 00 20 00 6161 00" + null, ""},
		{"keys by length first", head + "a3 01 6161 20 00 190100 00" + null, "CNT-2"},
		{"key twice", head + "a2 0300 0301" + null, "CNT-3"},
		{"key 2^53-1", head + "a1 1b001fffffffffffff 00" + null, ""},
		{"key 2^53", head + "a1 1b0020000000000000 00" + null, "CNT-4"},
		{"key -(2^53-1)", head + "a1 3b001ffffffffffffe 00" + null, ""},
		{"key -2^53", head + "a1 3b001fffffffffffff 00" + null, "CNT-4"},
		{"empty name", head + "a1 60 00" + null, "CNT-4"},
		{"name of 255", head + "a1 78ff" + strings.Repeat("61", 255) + "00" + null, ""},
		{"name of 256", head + "a1 790100" + strings.Repeat("61", 256) + "00" + null, "CNT-4"},
		{"byte string key", head + "a1 4161 00" + null, "CNT-4"},
		{"byte string key below", head + "a1 03 a1 4161 00" + null, ""},
		{"boolean key below", head + "a1 03 a1 f5 00" + null, "CNT-4"},
		{"key 0 is read", head + "a1 00 00" + null, ""},
		{"sender not text", head + "a1 01 00" + null, "CNT-10"},
		{"extension depth 4", head + "a1 03 8181c100" + null, ""},
		{"extension depth 5", head + "a1 03 818181c100" + null, "CNT-7"},
		{"short float", head + "a1 03 f93c00" + null, ""},
		{"1.0 as single", head + "a1 03 fa3f800000" + null, "CNT-1"},
		{"0.1 as double", head + "a1 03 fb3fb999999999999a" + null, ""},
		{"100000 as single", head + "a1 03 fa47c35000" + null, ""},
		{"2^-24 as single", head + "a1 03 fa33800000" + null, "CNT-1"},
		{"2^-25 as single", head + "a1 03 fa33000000" + null, ""},
		{"1.5 as double", head + "a1 03 fb3ff8000000000000" + null, "CNT-1"},
		{"infinity as single", head + "a1 03 fa7f800000" + null, "CNT-1"},
		{"the NaN", head + "a1 03 f97e00" + null, ""},
		{"another NaN", head + "a1 03 f97e01" + null, "CNT-5"},
		{"double NaN", head + "a1 03 fb7ff8000000000000" + null, "CNT-5"},
		{"small bignum", head + "a1 03 c24105" + null, "CNT-9"},
		{"large bignum", head + "a1 03 c249010000000000000000" + null, ""},
		{"simple value in two octets", head + "a1 03 f814" + null, "CNT-1"},
		{"huge array", head + "a1 03 9bffffffffffffffff" + null, "CNT-8"},
		{"huge map", head + "a1 03 bbffffffffffffffff" + null, "CNT-8"},
		{"huge string", head + "a1 03 7bffffffffffffffff" + null, "CNT-8"},
		{"huge body", head + "a0 9affffffff", "CNT-8"},
		{"content type not UTF-8", head + "a0 85 01 60 01 61ff 40", "CNT-5"},
		{"language list", head + "a0 83 01 68656e2c66722d4341 00", ""},
		{"language nonsense", head + "a0 83 01 62212e 00", "CNT-17"},
		{"language with empty tag", head + "a0 83 01 63656e2c 00", "CNT-17"},
		{"disposition 255", head + "a0 83 18ff 60 00", ""},
		{"disposition 256", head + "a0 83 190100 60 00", "CNT-18"},
		{"cardinality 4", head + "a0 83 01 60 04", "CNT-18"},
		{"null part of four", head + "a0 84 01 60 00 00", "CNT-18"},
		{"single part of four", head + "a0 84 01 60 01 6174", "CNT-18"},
		{"multipart of one", head + "a0" + list(1, "81"), "CNT-18"},
		{"multipart of two", head + "a0" + list(2, "82"), ""},
		{"semantics 3", head + "a0 85 01 60 03 03 82" + null + null, "CNT-18"},
		{"1024 parts", head + "a0" + list(1023, "9903ff"), ""},
		{"1025 parts", head + "a0" + list(1024, "990400"), "CNT-22"},
		{"parts 4 deep", head + "a0" + nested(4), ""},
		{"parts 5 deep", head + "a0" + nested(5), "CNT-6"},
		{"parts 200 deep", head + "a0" + nested(200), "CNT-7"},
		{"external", head + "a0 8f 06 60 02 6174 6175 00 00 00 40 40 40 00 40 60 60", ""},
		{"external with a key but no cipher", head + "a0 8f 06 60 02 6174 6175 00 00 00 4101 40 40 00 40 60 60", "CNT-20"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := unhex(t, tc.hex)
			m, err := Decode(b)
			if tc.rule == "" {
				if err != nil {
					t.Fatal(err)
				}
				if tc.name == "key 0 is read" {
					if _, err := m.Encode(); !errors.Is(err, ErrInvalid) {
						t.Errorf("key 0 written: %v", err)
					}
					return
				}
				if again, err := m.Encode(); err != nil || !bytes.Equal(again, b) {
					t.Errorf("encoded to %x, %v", again, err)
				}
				return
			}
			var e *InvalidError
			if !errors.As(err, &e) || !errors.Is(err, ErrInvalid) || e.Rule != tc.rule {
				t.Errorf("error %v, want rule %s", err, tc.rule)
			}
		})
	}
}

func TestEncodeRefuses(t *testing.T) {
	for name, change := range map[string]func(m *Message){
		"no salt":         func(m *Message) { m.Salt = Salt{} },
		"no body":         func(m *Message) { m.Body = nil },
		"typed nil below": func(m *Message) { m.Body = &MultiPart{Parts: []Part{nil, nil}} },
		"bad extension":   func(m *Message) { m.Extensions[ExtensionKey{Number: 7}] = []byte{0x18, 0x01} },
		"two items":       func(m *Message) { m.Extensions[ExtensionKey{Number: 7}] = []byte{0x01, 0x01} },
		"no item":         func(m *Message) { m.Extensions[ExtensionKey{Number: 7}] = nil },
		"not UTF-8":       func(m *Message) { m.Body = &SinglePart{ContentType: "\xff"} },
		"key both ways":   func(m *Message) { m.Extensions[ExtensionKey{Number: 7, Name: "x"}] = []byte{0} },
	} {
		m := NewText(ourUser, ourRoom, "hello")
		change(m)
		if b, err := m.Encode(); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: encoded to %x, %v", name, b, err)
		}
	}
}

func TestNewText(t *testing.T) {
	m := NewText(ourUser, ourRoom, "Grüße")
	b, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	back, err := Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	if s, ok := back.Text(); !ok || s != "Grüße" {
		t.Errorf("text %q, %v", s, ok)
	}
	if back.Extensions.Sender() != ourUser || back.Extensions.Room() != ourRoom {
		t.Errorf("extensions name %s in %s", back.Extensions.Sender(), back.Extensions.Room())
	}
	if other := NewText(ourUser, ourRoom, "Grüße"); other.Salt == m.Salt {
		t.Error("two messages share a salt")
	}
	if _, err := MessageID(ourUser, ourRoom, b[:17]); !errors.Is(err, ErrInvalid) {
		t.Errorf("id of a stump: %v", err)
	}
}

func TestCheck(t *testing.T) {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	fine := Arrival{Sender: ourUser, Room: ourRoom, Accepted: now, Now: now, RoomCreated: now.Add(-time.Hour)}
	seconds := func(d time.Duration) *Expires { return &Expires{Seconds: uint32(now.Add(d).Unix())} }
	for _, tc := range []struct {
		name   string
		change func(m *Message, a *Arrival)
		rule   string
	}{
		{"fine", func(*Message, *Arrival) {}, ""},
		{"no extensions", func(m *Message, _ *Arrival) { m.Extensions = nil }, ""},
		{"other sender", func(_ *Message, a *Arrival) { a.Sender += "x" }, "CNT-31"},
		{"other room", func(_ *Message, a *Arrival) { a.Room += "x" }, "CNT-31"},
		{"a year ahead", func(m *Message, _ *Arrival) { m.Expires = seconds(year) }, ""},
		{"over a year ahead", func(m *Message, _ *Arrival) { m.Expires = seconds(year + time.Second) }, "CNT-16"},
		{"a year ago", func(m *Message, _ *Arrival) { m.Expires = seconds(-year) }, ""},
		{"over a year ago", func(m *Message, _ *Arrival) { m.Expires = seconds(-year - time.Second) }, "CNT-16"},
		{"relative year", func(m *Message, _ *Arrival) { m.Expires = &Expires{Relative: true, Seconds: 31536000} }, ""},
		{"relative more", func(m *Message, _ *Arrival) { m.Expires = &Expires{Relative: true, Seconds: 31536001} }, "CNT-16"},
		{"hub 5 minutes ahead", func(_ *Message, a *Arrival) { a.Accepted = now.Add(5 * time.Minute) }, ""},
		{"hub further ahead", func(_ *Message, a *Arrival) { a.Accepted = now.Add(5*time.Minute + 1) }, "CNT-35"},
		{"before the room", func(_ *Message, a *Arrival) { a.Accepted = now.Add(-2 * time.Hour) }, "CNT-35"},
		{"before the format", func(_ *Message, a *Arrival) { a.Accepted = time.Unix(1, 0); a.RoomCreated = time.Time{} }, "CNT-35"},
	} {
		m, a := NewText(ourUser, ourRoom, "x"), fine
		tc.change(m, &a)
		var e *InvalidError
		switch err := m.Check(a); {
		case tc.rule == "" && err != nil, tc.rule != "" && (!errors.As(err, &e) || e.Rule != tc.rule):
			t.Errorf("%s: %v, want %q", tc.name, err, tc.rule)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(unhex(f, head+"a0"+null))
	f.Add(unhex(f, head+"a4 01 6161 190100 00 20 00 6161 00"+nested(3)))
	f.Add(unhex(f, head+"a0 8f 06 60 02 6174 6175 00 00 00 40 40 40 00 40 60 60"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Decode(b)
		if err != nil {
			if !errors.Is(err, ErrInvalid) {
				t.Fatalf("error of another kind: %v", err)
			}
			return
		}
		again, err := m.Reencode()
		if err != nil || !bytes.Equal(again, b) {
			t.Fatalf("%x encodes to %x, %v", b, again, err)
		}
		m.Text()
	})
}
