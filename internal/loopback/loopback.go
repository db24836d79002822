// Package loopback picks addresses for providers that tests and development
// environments stop and start again: what is free now has to be free then.
package loopback

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
)

// Free is an address nobody listens at. On Linux, where all of 127.0.0.0/8 is this
// machine, it is one of its own, so that no other process gets it before it is used, or
// while nobody uses it.
func Free() (string, error) {
	ln, err := net.Listen("tcp", fmt.Sprintf("127.%d.%d.%d:0", 1+rand.N(254), rand.N(256), 1+rand.N(254)))
	if err != nil {
		if ln, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return "", err
		}
	}
	defer ln.Close()
	return ln.Addr().String(), nil
}

// Ports outside of those that systems hand out by themselves, to whoever connects
// somewhere or asks for any.
const (
	firstPort = 20_000
	lastPort  = 29_999
)

// Ports are n different ports of 127.0.0.1 at which nobody listens.
func Ports(n int) ([]int, error) {
	var ports []int
	for tries := 0; len(ports) < n; tries++ {
		port := firstPort + rand.N(lastPort-firstPort+1)
		ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			if tries == 100 {
				return nil, errors.Join(errors.New("loopback: no free port found"), err)
			}
			continue
		}
		defer ln.Close() // held until the last is known, so that they differ
		ports = append(ports, port)
	}
	return ports, nil
}
