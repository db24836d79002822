package fakepeer

import (
	"net/http"
	"time"
)

// Status answers with a status and nothing else.
func Status(status int) http.HandlerFunc { return Answer(status, nil, nil) }

// Answer answers with these header fields and body.
func Answer(status int, header map[string]string, body []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for k, v := range header {
			w.Header().Set(k, v)
		}
		w.WriteHeader(status)
		w.Write(body)
	}
}

// Redirect sends the caller elsewhere (F29).
func Redirect(status int, to string) http.HandlerFunc {
	return Answer(status, map[string]string{"Location": to}, nil)
}

// RetryAfter refuses for now, for as long as it says (F28).
func RetryAfter(value string) http.HandlerFunc {
	return Answer(http.StatusServiceUnavailable, map[string]string{"Retry-After": value, "Content-Type": "application/json"},
		[]byte(`{"code":"unavailable","detail":"come back later"}`))
}

// Never gives no answer as long as the caller waits.
func Never() http.HandlerFunc {
	return func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
}

// Deaf does not even read the body, so that the caller's flow-control window
// closes (F26).
func Deaf() http.HandlerFunc { return Never() }

// Drip sends the body one octet at a time (F26).
func Drip(status int, body []byte, every time.Duration) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		tick := time.NewTicker(every)
		defer tick.Stop()
		w.WriteHeader(status)
		for i := range body {
			w.Write(body[i : i+1])
			http.NewResponseController(w).Flush()
			select {
			case <-tick.C:
			case <-r.Context().Done():
				return
			}
		}
	}
}

// Abort resets the stream in the middle of an answer (F25).
func Abort() http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusOK)
		w.Write([]byte{0})
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
}
