package main

import (
	"encoding/binary"
	"net"
	"strings"
)

// The three hosts. Host i serves on hostIP(i); muc.<host> and whatever else ends
// in the host's name is at the same address.
var hosts = [3]string{"s1.bench", "s2.bench", "s3.bench"}

const (
	clientPort = 5223
	serverPort = 5269
	dnsIP      = "127.0.1.53"
)

func hostIP(i int) net.IP { return net.IPv4(127, 0, 1, byte(i+1)).To4() }

// names is a name server that knows the three hosts and nothing else. ejabberd
// asks it for SRV records only and leaves the rest to the system's resolver, so
// these records name the address itself, which that resolver takes as it is.
type names struct {
	conn net.PacketConn
	port int
}

func newNames() (*names, error) {
	conn, err := net.ListenPacket("udp4", dnsIP+":0")
	if err != nil {
		return nil, err
	}
	n := &names{conn, conn.LocalAddr().(*net.UDPAddr).Port}
	go n.serve()
	return n, nil
}

func (n *names) close() { n.conn.Close() }

func (n *names) serve() {
	buf := make([]byte, 1500)
	for {
		size, from, err := n.conn.ReadFrom(buf)
		if err != nil {
			return
		}
		if reply := answer(buf[:size]); reply != nil {
			n.conn.WriteTo(reply, from)
		}
	}
}

// answer is the reply to a query of one question (RFC 1035 §4), nil if the
// packet is not one. Names and types that do not exist get an empty answer.
func answer(query []byte) []byte {
	const header = 12
	if len(query) < header || query[2]&0xF8 != 0 || binary.BigEndian.Uint16(query[4:]) != 1 {
		return nil
	}
	name, at := "", header
	for {
		if at >= len(query) {
			return nil
		}
		n := int(query[at])
		at++
		if n == 0 {
			break
		}
		if n > 63 || at+n > len(query) {
			return nil
		}
		name += "." + strings.ToLower(string(query[at:at+n]))
		at += n
	}
	if at+4 > len(query) {
		return nil
	}
	service, host := "", name[min(1, len(name)):]
	if rest, ok := strings.CutPrefix(host, xmppServer); ok {
		service, host = xmppServer, rest
	}
	ip := lookup(host)

	reply := append([]byte{}, query[:at+4]...)
	flags := uint16(0x8480) | uint16(query[2]&1)<<8 // response, authoritative, recursion as asked and available
	if ip == nil {
		flags |= 3 // no such name
	}
	binary.BigEndian.PutUint16(reply[2:], flags)
	copy(reply[6:header], make([]byte, 6))
	var data []byte
	kind := binary.BigEndian.Uint16(query[at:])
	switch {
	case ip != nil && kind == typeA && service == "":
		data = ip
	case ip != nil && kind == typeSRV && service != "":
		data = []byte{0, 0, 0, 0, serverPort >> 8, serverPort & 0xFF} // priority, weight, port
		for _, label := range strings.Split(ip.String(), ".") {
			data = append(append(data, byte(len(label))), label...)
		}
		data = append(data, 0)
	default:
		return reply
	}
	reply[7] = 1
	reply = append(reply, 0xC0, header, byte(kind>>8), byte(kind), 0, 1, 0, 0, 0x0E, 0x10, 0, byte(len(data)))
	return append(reply, data...)
}

const (
	typeA      = 1
	typeSRV    = 33
	xmppServer = "_xmpp-server._tcp."
)

// lookup is the address of a name, nil if there is none. Names of other services
// do not exist.
func lookup(name string) net.IP {
	if strings.HasPrefix(name, "_") {
		return nil
	}
	for i, h := range hosts {
		if name == h || strings.HasSuffix(name, "."+h) {
			return hostIP(i)
		}
	}
	return nil
}
