package ohttp

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// values reads a file of names and hexadecimal values.
func values(t testing.TB, name string) map[string][]byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string][]byte)
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] != "#" {
			b, err := hex.DecodeString(strings.Join(f[1:], ""))
			if err != nil {
				t.Fatal(f[0], err)
			}
			out[f[0]] = b
		}
	}
	return out
}

// TestRFC9458 is the example of RFC 9458, Appendix A, from the gateway's and the client's
// side. What the client seals is random, so that step is the gateway's opening of it.
func TestRFC9458(t *testing.T) {
	v := values(t, "rfc9458-a.txt")
	config, err := ParseKeyConfig(v["config"])
	if err != nil || !bytes.Equal(config.Marshal(), v["config"]) {
		t.Fatalf("%+v, %v", config, err)
	}
	key, err := LoadKey(1, KEMX25519, v["key"])
	if err != nil || !reflect.DeepEqual(key.Config(), config) {
		t.Fatalf("%+v, %v", key.Config(), err)
	}
	q, x, err := Open(v["sealed-request"], key)
	if err != nil || !reflect.DeepEqual(q, &Request{Method: "GET", Scheme: "https", Authority: "example.com", Path: "/"}) {
		t.Fatalf("%+v, %v", q, err)
	}
	if !bytes.Equal(x.secret, v["secret"]) {
		t.Errorf("secret %x", x.secret)
	}
	sealed, err := x.sealWith(v["response-nonce"], v["response"])
	if err != nil || !bytes.Equal(sealed, v["sealed-response"]) {
		t.Errorf("sealed %x, %v", sealed, err)
	}
	if p, err := x.Open(v["sealed-response"]); err != nil || p.Status != 200 || p.Body != nil {
		t.Errorf("%+v, %v", p, err)
	}
	for n := range v["sealed-request"] {
		if _, _, err := Open(v["sealed-request"][:n], key); err == nil {
			t.Errorf("request cut at %d opens", n)
		}
		bad := bytes.Clone(v["sealed-request"])
		bad[n] ^= 1
		if _, _, err := Open(bad, key); !errors.Is(err, ErrSealed) && !errors.Is(err, ErrUnknownKey) {
			t.Errorf("request with octet %d changed: %v", n, err)
		}
	}
	for n := range sealed {
		bad := bytes.Clone(sealed)
		bad[n] ^= 1
		if _, err := x.Open(bad); !errors.Is(err, ErrSealed) {
			t.Errorf("response with octet %d changed: %v", n, err)
		}
		if _, err := x.Open(sealed[:n]); err == nil {
			t.Errorf("response cut at %d opens", n)
		}
	}
}

func TestRFC9292(t *testing.T) {
	v := values(t, "rfc9292.txt")
	q, err := ParseRequest(v["request-indefinite"])
	if err != nil {
		t.Fatal(err)
	}
	want := &Request{Method: "GET", Scheme: "https", Path: "/hello.txt", Header: []Field{
		{"user-agent", "curl/7.16.3 libcurl/7.16.3 OpenSSL/0.9.7l zlib/1.2.3"}, {"host", "www.example.com"}, {"accept-language", "en, mi"}}}
	if want.Body, want.Trailer = q.Body, q.Trailer; !reflect.DeepEqual(q, want) || len(q.Body)+len(q.Trailer) > 0 {
		t.Errorf("%+v", q)
	}
	// The padding, and the ends of empty sections, may be left out.
	full := v["request-indefinite"]
	for n := 1; n <= 12; n++ {
		if again, err := ParseRequest(full[:len(full)-n]); err != nil || !reflect.DeepEqual(again.Header, q.Header) {
			t.Errorf("without the last %d octets: %v", n, err)
		}
	}
	p, err := ParseResponse(v["response-indefinite"])
	if err != nil || p.Status != 200 || string(p.Body) != "Hello World! My content includes a trailing CRLF.\r\n" ||
		Get(p.Header, "ETag") != `"34aa387-d-1568eb00"` || len(p.Header) != 8 {
		t.Errorf("%+v, %v", p, err)
	}
	p, err = ParseResponse(v["response-known"])
	if err != nil || p.Status != 200 || string(p.Body) != "This content contains CRLF.\r\n" || !reflect.DeepEqual(p.Trailer, []Field{{"trailer", "text"}}) {
		t.Errorf("%+v, %v", p, err)
	}
	if b, err := p.Marshal(); err != nil || !bytes.Equal(b, v["response-known"]) {
		t.Errorf("encoded to %x, %v", b, err)
	}
}

func TestRoundTrips(t *testing.T) {
	big := bytes.Repeat([]byte("x"), 1<<17)
	for _, kem := range []uint16{KEMX25519, KEMP256, KEMX25519MLKEM} {
		other, err := NewKey(6, kem)
		if err != nil {
			t.Fatal(err)
		}
		key, err := NewKey(7, kem)
		if err != nil {
			t.Fatal(err)
		}
		private, err := key.Private()
		if err != nil {
			t.Fatal(err)
		}
		if key, err = LoadKey(7, kem, private); err != nil {
			t.Fatal(err)
		}
		configs, err := ParseKeyConfigs(MarshalKeyConfigs(other.Config(), key.Config()))
		if err != nil || len(configs) != 2 {
			t.Fatal(configs, err)
		}
		for _, a := range algorithms {
			config := *configs[1]
			config.Algorithms = []Algorithm{{9, 9}, a} // the first is not known here
			q := &Request{Method: "GET", Scheme: "https", Authority: "cdn.example", Path: "/a?b", Header: []Field{{"range", "bytes=0-9"}}, Body: []byte("b")}
			sealed, x, err := config.Seal(q)
			if err != nil {
				t.Fatal(err)
			}
			got, y, err := Open(sealed, other, key)
			if err != nil || !reflect.DeepEqual(got, q) {
				t.Fatalf("%+v, %v", got, err)
			}
			p := &Response{Status: 206, Header: []Field{{"content-type", "image/png"}}, Body: big}
			answer, err := y.Seal(p)
			if err != nil {
				t.Fatal(err)
			}
			if back, err := x.Open(answer); err != nil || !reflect.DeepEqual(back, p) {
				t.Errorf("%v", err)
			}
			if _, again, err := config.Seal(q); err != nil {
				t.Error(err)
			} else if _, err := again.Open(answer); !errors.Is(err, ErrSealed) {
				t.Errorf("another exchange opens the answer: %v", err)
			}
		}
		if _, _, err := Open(append([]byte{7}, make([]byte, 6)...), key); !errors.Is(err, ErrUnknownKey) {
			t.Errorf("another KEM: %v", err)
		}
	}
}

func TestRefusals(t *testing.T) {
	for name, s := range map[string]string{
		"empty": "", "a response": "0140c8", "no method": "0000", "method with a space": "00024720", "cut": "000347",
		"path with a space": "0003474554000001" + "20", "unknown form": "04", "padding": "00034745540000000000000001",
		"upper-case field": "000347455400000004" + "0141" + "0162", "pseudo-field": "000347455400000008" + "053a70617468" + "0178",
		"empty name": "000347455400000003" + "00" + "0178", "line feed": "000347455400000004" + "0161" + "010a", "space around": "000347455400000004" + "0161" + "0120",
		"section too long": "0003474554000000" + "7fff" + "00",
	} {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		if q, err := ParseRequest(b); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %+v, %v", name, q, err)
		}
	}
	for name, s := range map[string]string{"status 99": "014063", "status 600": "014258", "only interim": "01406400", "a request": "00"} {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		if p, err := ParseResponse(b); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
	if _, err := (&Response{Status: 100}).Marshal(); !errors.Is(err, ErrMalformed) {
		t.Errorf("interim response written: %v", err)
	}
	if _, err := (&Request{Method: "GET", Header: []Field{{"a", "b\r\nc: d"}}}).Marshal(); !errors.Is(err, ErrMalformed) {
		t.Errorf("field with a line in it: %v", err)
	}
	v := values(t, "rfc9458-a.txt")["config"]
	for n := range v {
		if _, err := ParseKeyConfig(v[:n]); !errors.Is(err, ErrMalformed) {
			t.Errorf("key configuration cut at %d: %v", n, err)
		}
	}
	if _, err := ParseKeyConfigs([]byte{0, 3, 1, 0x7f, 0x7f}); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("only an unknown KEM: %v", err)
	}
	if _, err := NewKey(1, 0x1234); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("unknown KEM: %v", err)
	}
	bad := &KeyConfig{ID: 1, KEM: KEMP256, PublicKey: make([]byte, 65), Algorithms: algorithms}
	if _, _, err := bad.Seal(&Request{Method: "GET"}); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("a key that is none: %v", err)
	}
}

func FuzzMessages(f *testing.F) {
	for _, name := range []string{"rfc9292.txt", "rfc9458-a.txt"} {
		for _, b := range values(f, name) {
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if q, err := ParseRequest(b); err == nil {
			again, err := q.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			if back, err := ParseRequest(again); err != nil || back.Path != q.Path || !bytes.Equal(back.Body, q.Body) || len(back.Header) != len(q.Header) {
				t.Fatalf("%+v becomes %+v, %v", q, back, err)
			}
		} else if !errors.Is(err, ErrMalformed) {
			t.Fatal(err)
		}
		if p, err := ParseResponse(b); err == nil {
			if _, err := p.Marshal(); err != nil {
				t.Fatal(err)
			}
		}
		if configs, err := ParseKeyConfigs(b); err == nil {
			if _, err := ParseKeyConfigs(MarshalKeyConfigs(configs...)); err != nil {
				t.Fatal(err)
			}
		}
	})
}
