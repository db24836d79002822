package publicnet

import (
	"errors"
	"net"
	"testing"
	"time"
)

// H83: what is inside another address counts, and so does what is not listed anywhere.
func TestCheck(t *testing.T) {
	for _, a := range []string{"93.184.216.34:443", "8.8.8.8:1", "[2606:2800:220:1::1]:443", "[::ffff:8.8.8.8]:443"} {
		if err := Check(a); err != nil {
			t.Error(err)
		}
	}
	for _, a := range []string{
		"127.0.0.1:443", "127.9.9.9:443", "[::1]:443", "[::]:443", "0.0.0.0:443", "10.1.2.3:443", "172.16.0.1:443", "192.168.1.1:443",
		"169.254.169.254:443", "100.64.0.1:443", "224.0.0.1:443", "255.255.255.255:443", "192.0.2.1:443", "198.18.0.1:443", "240.0.0.1:443",
		"[::ffff:10.0.0.1]:443", "[::ffff:127.0.0.1]:443", "[::ffff:169.254.169.254]:443", "[::10.0.0.1]:443", "[::ffff:0:10.0.0.1]:443",
		"[2002:a00:1::]:443", "[2002:5db8:d822::]:443", "[64:ff9b::a00:1]:443", "[64:ff9b:1::a00:1]:443", "[2001::1]:443", "[2001:db8::1]:443",
		"[fe80::1]:443", "[fe80::1%eth0]:443", "[2606:2800:220:1::1%eth0]:443", "[fd00::1]:443", "[fec0::1]:443", "[ff02::1]:443", "[5f00::1]:443",
		"2130706433:443", "0x7f.1:443", "localhost:443", "127.0.0.1", "nonsense",
	} {
		if err := Check(a); !errors.Is(err, ErrNotPublic) {
			t.Errorf("%s: %v", a, err)
		}
	}
}

// A name that leads to a private address is judged after it was resolved.
func TestDialer(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	if conn, err := Dialer(time.Second).Dial("tcp", "localhost:"+port); !errors.Is(err, ErrNotPublic) {
		t.Errorf("connected: %v, %v", conn, err)
	}
}
