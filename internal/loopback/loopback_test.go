package loopback

import (
	"fmt"
	"net"
	"testing"
)

// What is picked can be listened at, and again after a restart.
func TestPicked(t *testing.T) {
	var addrs []string
	for range 3 {
		addr, err := Free()
		if err != nil {
			t.Fatal(err)
		}
		addrs = append(addrs, addr)
	}
	ports, err := Ports(6)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range ports {
		if p < firstPort || p > lastPort {
			t.Errorf("port %d", p)
		}
		addrs = append(addrs, fmt.Sprintf("127.0.0.1:%d", p))
	}
	var open []net.Listener
	for range 2 {
		for _, addr := range addrs {
			ln, err := net.Listen("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			open = append(open, ln)
		}
		for _, ln := range open {
			ln.Close()
		}
	}
}
