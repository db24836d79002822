package peer

import (
	"errors"
	"strings"
	"testing"
	"time"

	"hubbub/internal/store/sqlstore"
	"hubbub/mimi"
)

const b mimi.Domain = "b.localhost"

func TestHoldsSurvive(t *testing.T) {
	dir := t.TempDir()
	now := time.UnixMilli(5_000)
	open := func() (*Book, func()) {
		t.Helper()
		st, err := sqlstore.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		book, err := Open(t.Context(), st, func() time.Time { return now })
		if err != nil {
			t.Fatal(err)
		}
		return book, func() { st.Close() }
	}
	book, end := open()
	if _, held := book.Held(b); held {
		t.Error("held from the start")
	}
	if err := book.Hold(t.Context(), b, "moving house"); err != nil {
		t.Fatal(err)
	}
	end()
	now = now.Add(time.Hour)
	book, end = open()
	defer end()
	if h, held := book.Held(b); !held || h.Reason != "moving house" || h.Since.UnixMilli() != 5_000 {
		t.Errorf("after a restart: %+v %t", h, held)
	}
	if was, err := book.Release(t.Context(), b); err != nil || !was {
		t.Errorf("release: %t, %v", was, err)
	}
	if was, err := book.Release(t.Context(), b); err != nil || was {
		t.Errorf("second release: %t, %v", was, err)
	}
	if _, held := book.Held(b); held {
		t.Error("still held")
	}
}

func TestRecords(t *testing.T) {
	st, err := sqlstore.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	now := time.UnixMilli(1_000)
	book, err := Open(t.Context(), st, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	cert := time.UnixMilli(9_000)
	book.Sent(b, nil, cert)
	now = now.Add(time.Second)
	book.Sent(b, errors.New(strings.Repeat("long", 1000)), time.Time{})
	book.Received(b, nil, time.Time{})
	r := book.Record(b)
	if r.Out.LastSuccess.UnixMilli() != 1_000 || r.Out.LastFailure.UnixMilli() != 2_000 || len(r.Out.LastError) != maxErrorBytes ||
		r.In.Successes != 1 || !r.CertificateExpires.Equal(cert) {
		t.Errorf("%+v", r)
	}
	for i := range 2 * maxPeers {
		book.Received(mimi.Domain(strings.Repeat("x", 1+i%50)+string(rune('a'+i%26))+".example"), nil, time.Time{})
	}
	if n := len(book.Known()); n > maxPeers {
		t.Errorf("%d peers are remembered", n)
	}
}

func TestLimits(t *testing.T) {
	now := time.UnixMilli(0)
	l := NewLimits[string]("posts", Limit{Rate: 1, Burst: 3}, func() time.Time { return now })
	if p := l.Take("x", 2); p != nil {
		t.Fatal(p)
	}
	p := l.Take("x", 2)
	if p == nil || p.Status != 429 || p.RetryAfter != time.Second {
		t.Fatalf("%+v, want a refusal until 1 s from now", p)
	}
	// A refusal costs nothing, and others have buckets of their own.
	if p := l.Take("x", 1); p != nil {
		t.Error(p)
	}
	if p := l.Take("y", 3); p != nil {
		t.Error(p)
	}
	now = now.Add(time.Second)
	if p := l.Take("x", 1); p != nil {
		t.Error(p)
	}
	if p := l.Take("z", 4); p == nil || p.RetryAfter != 3*time.Second {
		t.Errorf("more than the burst: %+v", p)
	}
	l.Return("z", 2)
	l.Return("nobody", 2)
	if p := l.Take("y", 1); p != nil || l.Take("y", 1) == nil {
		t.Error("y has one back after a second")
	}
	l.Return("y", 1)
	if p := l.Take("y", 1); p != nil {
		t.Errorf("what was returned is not there: %v", p)
	}
	l.Return("y", 100)
	if p := l.Take("y", 3); p != nil || l.Take("y", 1) == nil {
		t.Error("a bucket holds no more than the burst")
	}
	if p := (*Limits[string])(nil).Take("x", 1000); p != nil || NewLimits[string]("x", Limit{}, nil) != nil {
		t.Error("the zero limit limits")
	}
}
