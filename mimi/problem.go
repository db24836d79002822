package mimi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// A Problem is a refusal at the HTTP level between two providers (D-13): the
// request never got as far as an answer of the draft's own. It implements error.
// Its JSON body is {"code":…,"detail":…}; detail explains, is at most 200 octets
// and never repeats what the peer sent.
type Problem struct {
	Status     int           // HTTP status: 400, 401, 403, 404, 405, 413, 421, 429, 503 …
	Code       string        // short and stable, such as "bad-uri"
	Detail     string        // for people
	RetryAfter time.Duration // when not zero, when to try again (429, 503)
}

// maxDetailBytes bounds the part of a refusal meant for people.
const maxDetailBytes = 200

// The codes this implementation uses; a peer may send others.
const (
	CodeMalformed       = "malformed"              // 400: body does not decode
	CodeBadURI          = "bad-uri"                // 400
	CodeIDMismatch      = "id-mismatch"            // 400: path and body name different things
	CodeUnsupported     = "unsupported-protocol"   // 400
	CodeWrongWireFormat = "wrong-wire-format"      // 400
	CodeBadFrom         = "bad-from"               // 400
	CodeUnauthenticated = "unauthenticated"        // 401
	CodeForbidden       = "forbidden"              // 403
	CodeBadSignature    = "bad-signature"          // 403
	CodeFromNotProven   = "from-not-authenticated" // 403
	CodePeerNotAllowed  = "peer-not-allowed"       // 403
	CodeNotFound        = "not-found"              // 404
	CodeNoSuchRoom      = "no-such-room"           // 404
	CodeMethod          = "method-not-allowed"     // 405
	CodeConflict        = "conflict"               // 409
	CodeTooLarge        = "too-large"              // 413
	CodeMisdirected     = "misdirected"            // 421
	CodeTooMany         = "too-many-requests"      // 429
	CodeInternal        = "internal"               // 500
	CodeUnavailable     = "unavailable"            // 503
)

// NewProblem makes a refusal. Detail is formatted with args, stripped of control
// characters and cut to 200 octets; it must not hold anything the peer sent.
func NewProblem(status int, code, detail string, args ...any) *Problem {
	if len(args) > 0 {
		detail = fmt.Sprintf(detail, args...)
	}
	return &Problem{Status: status, Code: code, Detail: cleanDetail(detail)}
}

// Error gives status, code and detail on one line.
func (p *Problem) Error() string {
	s := fmt.Sprintf("mimi: %d %s", p.Status, p.Code)
	if p.Detail != "" {
		s += ": " + p.Detail
	}
	return s
}

// Retryable says whether the same request may succeed later (D-13): after 408,
// 425, 429 and every 5xx.
func (p *Problem) Retryable() bool {
	switch p.Status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	}
	return p.Status >= 500
}

type problemBody struct {
	Code   string `json:"code"`
	Detail string `json:"detail,omitempty"`
}

// Body is the JSON sent with the refusal.
func (p *Problem) Body() []byte {
	b, err := json.Marshal(problemBody{p.Code, cleanDetail(p.Detail)})
	if err != nil { // strings always marshal
		return []byte(`{"code":"internal"}`)
	}
	return b
}

// ParseProblem reads a refusal of a peer. The body need not be ours: what cannot
// be understood leaves Code empty. retryAfter is the Retry-After header, in seconds
// or as an HTTP date (TRN-10); a positive value is clamped to between one second
// and one hour, anything else means none.
func ParseProblem(status int, retryAfter string, body []byte, now time.Time) *Problem {
	p := &Problem{Status: status, RetryAfter: parseRetryAfter(retryAfter, now)}
	var b problemBody
	if len(body) <= 4096 && json.Unmarshal(body, &b) == nil {
		p.Code, p.Detail = cleanDetail(b.Code), cleanDetail(b.Detail)
	}
	return p
}

func parseRetryAfter(s string, now time.Time) time.Duration {
	if s == "" {
		return 0
	}
	var d time.Duration
	if seconds, err := strconv.ParseInt(s, 10, 64); err == nil {
		d = time.Duration(min(max(seconds, 0), 3600)) * time.Second
	} else if t, err := http.ParseTime(s); err == nil {
		d = t.Sub(now)
	}
	if d <= 0 {
		return 0
	}
	return min(max(d, time.Second), time.Hour)
}

func cleanDetail(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == utf8.RuneError {
			return -1
		}
		return r
	}, s)
	if len(s) <= maxDetailBytes {
		return s
	}
	s = s[:maxDetailBytes]
	for !utf8.ValidString(s) {
		s = s[:len(s)-1]
	}
	return s
}
