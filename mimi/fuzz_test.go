package mimi

import (
	"bytes"
	"errors"
	"net/http"
	"testing"
	"time"
)

// FuzzBatch decodes the bodies of our own batches both ways.
func FuzzBatch(f *testing.F) {
	f.Add([]byte{0})
	f.Add([]byte{1, 2, 3})
	f.Fuzz(func(t *testing.T, b []byte) {
		if q, err := ParseBatchRequest(b); err == nil {
			if again, err := q.Marshal(); err != nil || !bytes.Equal(again, b) {
				t.Fatalf("%x encodes to %x, %v", b, again, err)
			}
		} else if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrBadURI) {
			t.Fatal(err)
		}
		if a, err := ParseBatchResponse(b); err == nil {
			if again, err := a.Marshal(); err != nil || !bytes.Equal(again, b) {
				t.Fatalf("%x encodes to %x, %v", b, again, err)
			}
		} else if !errors.Is(err, ErrMalformed) {
			t.Fatal(err)
		}
	})
}

// FuzzProblem reads refusals, which come from anybody.
func FuzzProblem(f *testing.F) {
	f.Add(http.StatusTooManyRequests, "3", []byte("{}"))
	f.Add(http.StatusServiceUnavailable, "Wed, 21 Oct 2026 07:28:00 GMT", []byte("not JSON"))
	f.Fuzz(func(t *testing.T, status int, retryAfter string, body []byte) {
		if p := ParseProblem(status, retryAfter, body, time.Unix(1_700_000_000, 0)); p == nil || p.Error() == "" {
			t.Fatal("a refusal without words")
		}
	})
}
