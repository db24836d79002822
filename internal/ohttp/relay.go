package ohttp

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"

	"hubbub/mimi/ohttp"
)

// A Relay passes sealed requests of clients on to gateways and the answers back. It sends
// nothing but the sealed octets: no address, cookie or header of the client. Its fields
// must not change once in use; it is then safe for concurrent use.
type Relay struct {
	// Gateway gives the address of the gateway a request is for, and false for one that is
	// no gateway of a known hub (D-48).
	Gateway func(r *http.Request) (address string, ok bool)
	// Transport sends to gateways.
	Transport http.RoundTripper

	MaxRequestBytes  int64 // 0: 64 KiB
	MaxResponseBytes int64 // 0: 33 MiB, a little more than a gateway sends
}

// ServeHTTP takes sealed requests by POST. The gateway's status goes through; a gateway that
// cannot be reached is 502, one that takes too long 504.
func (y *Relay) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, status := readSealed(w, r, ohttp.MediaTypeRequest, or(y.MaxRequestBytes, defaultRequestBytes))
	if status != 0 {
		http.Error(w, http.StatusText(status), status)
		return
	}
	address, ok := y.Gateway(r)
	if !ok {
		http.Error(w, "no such gateway", http.StatusForbidden)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), 2*defaultTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		http.Error(w, "no such gateway", http.StatusForbidden)
		return
	}
	req.Header.Set("Content-Type", ohttp.MediaTypeRequest)
	req.Header.Set("User-Agent", "")
	res, err := y.Transport.RoundTrip(req)
	if err != nil {
		status := http.StatusBadGateway
		if errors.Is(err, context.DeadlineExceeded) {
			status = http.StatusGatewayTimeout
		}
		http.Error(w, "the gateway does not answer", status)
		return
	}
	defer res.Body.Close()
	y.passBack(w, res)
}

func (y *Relay) passBack(w http.ResponseWriter, res *http.Response) {
	most := or(y.MaxResponseBytes, defaultResponseBytes+1<<20)
	answer, err := io.ReadAll(io.LimitReader(res.Body, most+1))
	if err != nil || int64(len(answer)) > most || res.StatusCode >= 300 && res.StatusCode < 400 {
		http.Error(w, "the gateway's answer cannot be passed on", http.StatusBadGateway)
		return
	}
	w.Header().Set("Content-Type", res.Header.Get("Content-Type"))
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(res.StatusCode)
	w.Write(answer)
}

// maxKeyBytes bounds the keys of a gateway, of which a few hundred octets are usual.
const maxKeyBytes = 64 << 10

// ServeKeys fetches the keys of the gateway that a GET is about, so that its clients need
// not show themselves to ask for them either.
func (y *Relay) ServeKeys(w http.ResponseWriter, r *http.Request) {
	address, ok := y.Gateway(r)
	if !ok {
		http.Error(w, "no such gateway", http.StatusForbidden)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), defaultTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		http.Error(w, "no such gateway", http.StatusForbidden)
		return
	}
	req.Header.Set("Accept", ohttp.MediaTypeKeys)
	req.Header.Set("User-Agent", "")
	res, err := y.Transport.RoundTrip(req)
	if err != nil {
		http.Error(w, "the gateway does not answer", http.StatusBadGateway)
		return
	}
	defer res.Body.Close()
	keys, err := io.ReadAll(io.LimitReader(res.Body, maxKeyBytes+1))
	if err != nil || len(keys) > maxKeyBytes || res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != ohttp.MediaTypeKeys {
		http.Error(w, "the gateway offers no keys", http.StatusBadGateway)
		return
	}
	w.Header().Set("Content-Type", ohttp.MediaTypeKeys)
	w.Header().Set("Cache-Control", "no-store")
	w.Write(keys)
}
