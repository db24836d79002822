package content

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestStatusReport(t *testing.T) {
	entry := "82" + id("01")
	for _, tc := range []struct {
		name, hex, rule string
		want            StatusReport
	}{
		{"none", "80", "", StatusReport{}},
		{"delivered", "81" + entry + "01", "", StatusReport{{Message: ID(bytes.Join([][]byte{{1}, bytes.Repeat([]byte{0xaa}, 31)}, nil)), Status: StatusDelivered}}},
		{"unknown status", "81" + entry + "18ff", "", StatusReport{{Message: ID(bytes.Join([][]byte{{1}, bytes.Repeat([]byte{0xaa}, 31)}, nil)), Status: 255}}},
		{"status 256", "81" + entry + "190100", "STS-1", nil},
		{"status not shortest", "81" + entry + "1801", "CNT-1", nil},
		{"short id", "8182" + "581f01" + strings.Repeat("aa", 30) + "01", "CNT-13", nil},
		{"unknown hash", "8182" + id("02") + "01", "CNT-32", nil},
		{"three elements", "8183" + id("01") + "0100", "STS-1", nil},
		{"not a list", "a0", "STS-1", nil},
		{"trailing", "8000", "STS-1", nil},
		{"indefinite", "9fff", "CNT-1", nil},
		{"deep", "8181818100", "CNT-7", nil},
		{"too many", "991001" + strings.Repeat("80", 4097), "STS-1", nil},
		{"empty", "", "CNT-8", nil},
	} {
		b := unhex(t, tc.hex)
		got, err := DecodeStatus(b)
		if tc.rule != "" {
			var e *InvalidError
			if !errors.As(err, &e) || e.Rule != tc.rule {
				t.Errorf("%s: %v, want %s", tc.name, err, tc.rule)
			}
			continue
		}
		if err != nil || !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%s: %v, %v", tc.name, got, err)
		}
		if again, err := got.Encode(); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%s: encoded to %x, %v", tc.name, again, err)
		}
	}
	if _, err := make(StatusReport, 1).Encode(); !errors.Is(err, ErrInvalid) {
		t.Errorf("entry without a message: %v", err)
	}
}

func TestStatusTransitions(t *testing.T) {
	for _, tc := range []struct{ from, to, want Status }{
		{StatusUnread, StatusDelivered, StatusDelivered},
		{StatusDelivered, StatusRead, StatusRead},
		{StatusUnread, StatusRead, StatusRead},
		{StatusRead, StatusDelivered, StatusRead},
		{StatusRead, StatusUnread, StatusUnread},
		{StatusRead, StatusHidden, StatusHidden},
		{StatusHidden, StatusRead, StatusRead},
		{StatusHidden, StatusDelivered, StatusHidden},
		{StatusDeleted, StatusDelivered, StatusDeleted},
		{StatusDeleted, StatusRead, StatusDeleted},
		{StatusExpired, StatusRead, StatusExpired},
		{StatusError, StatusDelivered, StatusDelivered},
		{StatusRead, StatusError, StatusRead},
		{StatusDelivered, StatusError, StatusError},
		{StatusRead, 77, StatusRead},
	} {
		if got := tc.from.Next(tc.to); got != tc.want {
			t.Errorf("%v, then %v: %v, want %v", tc.from, tc.to, got, tc.want)
		}
	}
	if StatusHidden.String() != "hidden" || Status(9).String() != "status 9" {
		t.Error("names")
	}
}

func TestDerived(t *testing.T) {
	d := &Derived{ID: ID{1}, Accepted: time.UnixMilli(1644387225019), Group: []byte("mimi://a.example/g/x"), Leaf: 3,
		Client: "mimi://a.example/d/alice/A1", Sender: alice, Room: ourRoom}
	b, err := d.Encode()
	if err != nil {
		t.Fatal(err)
	}
	back, err := DecodeDerived(b)
	if err != nil || !reflect.DeepEqual(back, d) {
		t.Errorf("%+v, %v", back, err)
	}
	// The same with an extended time: 1001({1: 1644387225, -3: 19}).
	plain, extended := unhex(t, "1b0000017edd1dcdbb"), unhex(t, "d903e9a2011a62035b99 2213")
	if !bytes.Contains(b, plain) {
		t.Fatalf("no time in %x", b)
	}
	if back, err := DecodeDerived(bytes.Replace(b, plain, extended, 1)); err != nil || !reflect.DeepEqual(back, d) {
		t.Errorf("extended: %+v, %v", back, err)
	}
	for name, time := range map[string]string{"negative": "20", "text": "6131", "another tag": "d903eaa2011a62035b992213",
		"no seconds": "d903e9a12213", "a second of milliseconds": "d903e9a2011a62035b99221903e8", "microseconds": "d903e9a2011a62035b992513"} {
		if _, err := DecodeDerived(bytes.Replace(b, plain, unhex(t, time), 1)); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for n := range b {
		if _, err := DecodeDerived(b[:n]); !errors.Is(err, ErrInvalid) {
			t.Errorf("cut at %d: %v", n, err)
		}
	}
	if _, err := (&Derived{Client: "x", Sender: alice, Room: ourRoom}).Encode(); !errors.Is(err, ErrInvalid) {
		t.Errorf("bad identifier: %v", err)
	}
}

func FuzzStatus(f *testing.F) {
	f.Add(unhex(f, "8182"+id("01")+"01"))
	f.Add(unhex(f, "80"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := DecodeStatus(b)
		if err != nil {
			if !errors.Is(err, ErrInvalid) {
				t.Fatalf("error of another kind: %v", err)
			}
			return
		}
		if again, err := r.Encode(); err != nil || !bytes.Equal(again, b) {
			t.Fatalf("%x encodes to %x, %v", b, again, err)
		}
	})
}

func FuzzDerived(f *testing.F) {
	b, err := (&Derived{ID: ID{1}, Accepted: time.UnixMilli(1), Client: "mimi://a.example/d/alice/A1", Sender: alice, Room: ourRoom}).Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := DecodeDerived(b)
		if err != nil {
			return
		}
		if again, err := d.Encode(); err != nil {
			t.Fatal(err)
		} else if back, err := DecodeDerived(again); err != nil || !reflect.DeepEqual(back, d) {
			t.Fatalf("%x becomes %x, %v", b, again, err)
		}
	})
}

func FuzzMarkdown(f *testing.F) {
	for _, s := range []string{"[a](b)", "[[[[", "[](", "`x", "<a:b>", "\\", "<b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		NewMarkdown(alice, ourRoom, s).Links()
		if once := EscapeHTML(s); EscapeHTML(once) != once {
			t.Errorf("%q escapes to %q, again to %q", s, once, EscapeHTML(once))
		}
	})
}
