// Package publicnet judges the addresses that strangers have us connect to: only those of
// the public Internet will do, so that no name, redirect or answer of DNS steers us into
// the network we stand in (H83).
package publicnet

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// ErrNotPublic is wrapped when an address is not one of the public Internet.
var ErrNotPublic = errors.New("not a public address")

// unicast6 is all of IPv6 that is handed out for global use.
var unicast6 = netip.MustParsePrefix("2000::/3")

// special lists the ranges within the global ones that are none (the registries of
// special-purpose addresses), and those that carry another address inside.
var special = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"),
	netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"),
	netip.MustParsePrefix("192.88.99.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"),
	netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("2001::/23"),
	netip.MustParsePrefix("2001:db8::/32"),
	netip.MustParsePrefix("2002::/16"), // 6to4
	netip.MustParsePrefix("2620:4f:8000::/48"),
	netip.MustParsePrefix("3fff::/20"),
}

// Check judges a resolved address with its port. The error wraps [ErrNotPublic].
func Check(address string) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotPublic, err)
	}
	ip := ap.Addr().Unmap()
	if !ip.IsGlobalUnicast() || ip.IsPrivate() || ip.Zone() != "" || ip.Is6() && !unicast6.Contains(ip) {
		return fmt.Errorf("%w: %s", ErrNotPublic, ip)
	}
	for _, p := range special {
		if p.Contains(ip) {
			return fmt.Errorf("%w: %s", ErrNotPublic, ip)
		}
	}
	return nil
}

// Dialer makes a dialer that connects to public addresses only. It looks at each address
// when DNS has had its last say.
func Dialer(timeout time.Duration) *net.Dialer {
	return &net.Dialer{Timeout: timeout, Control: func(_, address string, _ syscall.RawConn) error {
		return Check(address)
	}}
}
