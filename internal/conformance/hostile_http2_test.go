package conformance

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"testing"
	"time"

	"hubbub/mimi"
)

// Frames of HTTP/2 (RFC 9113 §6), as far as they are abused here.
const (
	frameData         = 0
	frameHeaders      = 1
	frameRSTStream    = 3
	frameSettings     = 4
	framePing         = 6
	frameGoAway       = 7
	frameContinuation = 9

	flagEndStream  = 1
	flagEndHeaders = 4
)

func frame(kind, flags byte, stream uint32, payload []byte) []byte {
	b := []byte{byte(len(payload) >> 16), byte(len(payload) >> 8), byte(len(payload)), kind, flags}
	return append(binary.BigEndian.AppendUint32(b, stream), payload...)
}

// requestHeaders is a request for the directory, in HPACK without compression.
func requestHeaders(more ...byte) []byte {
	b := []byte{0x82, 0x87} // :method GET, :scheme https
	literal := func(name byte, value string) {
		b = append(append(b, name, byte(len(value))), value...)
	}
	literal(0x04, mimi.DirectoryPath) // :path
	literal(0x01, string(target))     // :authority
	b = append(append(b, 0x00, 4), "from"...)
	b = append(append(b, byte(len("mimi@"+played))), "mimi@"+played...)
	return append(b, more...)
}

// raw is a connection on which anything may be written.
type raw struct {
	*tls.Conn
	failed error // of the first write that failed
}

func (s *stage) raw() *raw {
	s.Helper()
	conn, err := tls.Dial("tcp", s.cfg.Federation.Listen, &tls.Config{RootCAs: s.ask.Roots, ServerName: string(target),
		NextProtos: []string{"h2"}, Certificates: []tls.Certificate{s.ask.Certificate}})
	s.ok(err)
	s.Cleanup(func() { conn.Close() })
	s.ok(conn.SetDeadline(time.Now().Add(20 * time.Second)))
	r := &raw{Conn: conn}
	r.put([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), frame(frameSettings, 0, 0, nil))
	return r
}

func (r *raw) put(frames ...[]byte) {
	if r.failed == nil {
		_, r.failed = r.Write(bytes.Join(frames, nil))
	}
}

// end reads until the connection is over and gives the code of its GOAWAY, -1 for none.
func (r *raw) end() (code int, err error) {
	code = -1
	for {
		var head [9]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			var late net.Error
			if errors.As(err, &late) && late.Timeout() {
				return code, err
			}
			return code, nil // closed or reset
		}
		payload := make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
		if _, err := io.ReadFull(r, payload); err != nil {
			return code, nil
		}
		if head[3] == frameGoAway && len(payload) >= 8 {
			code = int(binary.BigEndian.Uint32(payload[4:]))
		}
	}
}

// answers says whether the connection still answers a request.
func (r *raw) answers(stream uint32) bool {
	r.put(frame(frameHeaders, flagEndStream|flagEndHeaders, stream, requestHeaders()))
	for r.failed == nil {
		var head [9]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return false
		}
		payload := make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
		if _, err := io.ReadFull(r, payload); err != nil {
			return false
		}
		if head[3] == frameHeaders && binary.BigEndian.Uint32(head[5:]) == stream {
			return len(payload) > 0 && payload[0] == 0x88 // :status 200
		}
	}
	return false
}

const (
	protocolError   = 1
	enhanceYourCalm = 11
)

// TestHostileHTTP2 is what somebody with a good certificate can do below the level of
// requests (H08, H11). Whatever it is, another peer is answered meanwhile, and every
// table is as it was.
func TestHostileHTTP2(t *testing.T) {
	t.Parallel()
	st := newStage(t)
	cfg := st.ask
	s, err := newSession(t.Context(), cfg)
	st.ok(err)
	defer s.close()
	st.ok(st.alice.Close())
	before := st.rest()
	for _, r := range []struct {
		id, what string
		do       func(*raw)
		ends     bool // the connection must be over
	}{
		{"H08", "streams opened and reset", func(c *raw) {
			for i := range uint32(5000) {
				c.put(frame(frameHeaders, flagEndStream|flagEndHeaders, 2*i+1, requestHeaders()), frame(frameRSTStream, 0, 2*i+1, []byte{0, 0, 0, 8}))
			}
		}, false},
		{"H08", "headers that never end", func(c *raw) {
			c.put(frame(frameHeaders, flagEndStream, 1, requestHeaders()))
			field := append(append([]byte{0x00, 1, 'x', 0x7f, 0x81, 0x7f}, make([]byte, 16256)...), 0x00, 1, 'y', 1, 'z')
			for range 2000 {
				c.put(frame(frameContinuation, 0, 1, field))
			}
		}, true},
		{"H08", "empty continuations", func(c *raw) {
			c.put(frame(frameHeaders, flagEndStream, 1, requestHeaders()))
			for range 100_000 {
				c.put(frame(frameContinuation, 0, 1, nil))
			}
		}, false},
		{"H08", "settings", func(c *raw) {
			for range 100_000 {
				c.put(frame(frameSettings, 0, 0, nil))
			}
		}, false},
		{"H08", "pings", func(c *raw) {
			for range 100_000 {
				c.put(frame(framePing, 0, 0, make([]byte, 8)))
			}
		}, false},
		{"H08", "empty data", func(c *raw) {
			c.put(frame(frameHeaders, flagEndHeaders, 1, requestHeaders()))
			for range 100_000 {
				c.put(frame(frameData, 0, 1, nil))
			}
		}, false},
		{"H11", "2 MiB of headers", func(c *raw) {
			c.put(frame(frameHeaders, flagEndStream, 1, requestHeaders()))
			field := append([]byte{0x00, 1, 'x', 0x7f, 0x81, 0x7f}, make([]byte, 16256)...)
			for range 130 {
				c.put(frame(frameContinuation, 0, 1, field))
			}
			c.put(frame(frameContinuation, flagEndHeaders, 1, nil))
		}, true},
	} {
		t.Run(r.id+" "+r.what, func(t *testing.T) {
			c := st.raw()
			done := make(chan struct{})
			go func() { defer close(done); r.do(c) }() // it may block: nothing is read
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			for range 3 { // another peer, meanwhile
				reply, err := s.getDirectory(ctx)
				if err != nil || reply.Status != 200 {
					t.Fatalf("another peer is answered %v, %v", reply, err)
				}
			}
			if r.ends {
				c.SetDeadline(time.Now().Add(10 * time.Second))
				code, err := c.end()
				if err != nil || code != enhanceYourCalm && code != protocolError {
					t.Errorf("it ended with error code %d, %v", code, err)
				}
			} else {
				c.Close()
			}
			<-done
			if after := st.dump(); after != before {
				t.Errorf("the tables changed: %s", firstChange(before, after))
			}
		})
	}
	t.Run("H08 frames of unknown types", func(t *testing.T) {
		c := st.raw()
		for kind := byte(0x0a); kind <= 0x0f; kind++ {
			for range 100 {
				c.put(frame(kind, 0xff, 0, []byte("what is this?")))
			}
		}
		if !c.answers(1) {
			t.Error("they are not passed over")
		}
	})
}

// TestHostileHandshakes is what anybody can do before TLS has proven anything (H09, H10).
func TestHostileHandshakes(t *testing.T) {
	t.Parallel()
	st := newStage(t)
	s, err := newSession(t.Context(), st.ask)
	st.ok(err)
	defer s.close()
	st.ok(st.alice.Close())
	before := st.rest()
	t.Run("H09 connections without a word", func(t *testing.T) {
		var conns []net.Conn
		for range 300 {
			conn, err := net.Dial("tcp", st.cfg.Federation.Listen)
			st.ok(err)
			defer conn.Close()
			conns = append(conns, conn)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if reply, err := s.getDirectory(ctx); err != nil || reply.Status != 200 {
			t.Errorf("another peer is answered %v, %v", reply, err)
		}
		for i, conn := range conns {
			conn.SetDeadline(time.Now().Add(15 * time.Second))
			if _, err := io.ReadAll(conn); errors.Is(err, context.DeadlineExceeded) || isTimeout(err) {
				t.Fatalf("connection %d is still open after 15 seconds", i)
			}
		}
	})
	for what, cert := range map[string]tls.Certificate{"100,000 names": manyNames(t), "an RSA key of 16,384 bits": hugeKey(t)} {
		t.Run("H10 a certificate with "+what, func(t *testing.T) {
			began := time.Now()
			conn, err := tls.Dial("tcp", st.cfg.Federation.Listen, &tls.Config{RootCAs: st.ask.Roots, ServerName: string(target), NextProtos: []string{"h2"},
				GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }}) // whoever is asked for
			if err == nil {
				defer conn.Close()
				conn.SetDeadline(time.Now().Add(10 * time.Second))
				_, err = conn.Read(make([]byte, 1)) // the server judges after the client is done
			}
			if took := time.Since(began); err == nil || isTimeout(err) || took > 5*time.Second {
				t.Errorf("%v after %s", err, took)
			}
		})
	}
	if after := st.dump(); after != before {
		t.Errorf("the tables changed: %s", firstChange(before, after))
	}
}

func isTimeout(err error) bool {
	var late net.Error
	return errors.As(err, &late) && late.Timeout()
}

func certify(t *testing.T, names []string, public any, signer crypto.Signer) tls.Certificate {
	t.Helper()
	ca, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "hostile"}, DNSNames: names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, ca)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: signer}
}

func manyNames(t *testing.T) tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	names := make([]string, 100_000)
	for i := range names {
		names[i] = fmt.Sprintf("n%d.b.localhost", i)
	}
	return certify(t, names, &key.PublicKey, key)
}

// nobody signs without a private key: whoever verifies that has done too much already.
type nobody struct{ public *rsa.PublicKey }

func (n nobody) Public() crypto.PublicKey { return n.public }

func (n nobody) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return make([]byte, n.public.Size()), nil
}

func hugeKey(t *testing.T) tls.Certificate {
	modulus := make([]byte, 2048)
	rand.Read(modulus)
	modulus[0] |= 0x80
	modulus[2047] |= 1
	public := &rsa.PublicKey{N: new(big.Int).SetBytes(modulus), E: 65537}
	return certify(t, []string{string(played)}, public, nobody{public})
}
