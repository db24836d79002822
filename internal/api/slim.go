package api

import (
	"bufio"
	"net"
	"net/http"
)

// Buffers of a stream's connection. A client says little, and one entry of the
// usual size leaves in one piece; what is larger passes the buffer by.
const (
	streamReadBytes  = 256
	streamWriteBytes = 1 << 10
)

// slim hands over a connection with small buffers: those of net/http would be a
// good part of what an idle stream weighs.
type slim struct{ http.ResponseWriter }

// Hijack implements http.Hijacker.
func (s slim) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(s.ResponseWriter).Hijack()
	if err != nil || rw.Reader.Buffered() > 0 || rw.Writer.Buffered() > 0 { // nothing of it may get lost
		return conn, rw, err
	}
	return conn, bufio.NewReadWriter(bufio.NewReaderSize(conn, streamReadBytes), bufio.NewWriterSize(conn, streamWriteBytes)), nil
}
