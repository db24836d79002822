package mimi

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestProblem(t *testing.T) {
	p := NewProblem(http.StatusTooManyRequests, CodeTooMany, "limit is %d\n per minute", 5)
	if got, want := string(p.Body()), `{"code":"too-many-requests","detail":"limit is 5 per minute"}`; got != want {
		t.Errorf("body %s, want %s", got, want)
	}
	if !p.Retryable() || NewProblem(400, CodeMalformed, "").Retryable() {
		t.Error("429 must be retryable, 400 not")
	}
	long := NewProblem(400, CodeMalformed, strings.Repeat("é", 150))
	if len(long.Detail) != 200 {
		t.Errorf("detail of %d octets", len(long.Detail))
	}
	back := ParseProblem(429, "", p.Body(), time.Time{})
	if back.Code != p.Code || back.Detail != p.Detail {
		t.Errorf("read back %+v", back)
	}
	if got := ParseProblem(502, "", []byte("<html>"), time.Time{}); got.Code != "" || !got.Retryable() {
		t.Errorf("foreign body read as %+v", got)
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, tc := range []struct {
		in   string
		want time.Duration
	}{
		{"", 0}, {"x", 0}, {"-5", 0}, {"0", 0}, {"7", 7 * time.Second}, {"315360000", time.Hour},
		{"9223372036854775807", time.Hour},
		{now.Add(90 * time.Second).Format(http.TimeFormat), 90 * time.Second},
		{now.Add(-time.Hour).Format(http.TimeFormat), 0},
	} {
		if got := ParseProblem(503, tc.in, nil, now).RetryAfter; got != tc.want {
			t.Errorf("Retry-After %q = %v, want %v", tc.in, got, tc.want)
		}
	}
}
