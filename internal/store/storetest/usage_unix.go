//go:build unix

package storetest

import (
	"bytes"
	"os"
	"strconv"
	"syscall"
)

func used() (u usage) {
	var r syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &r) == nil {
		u.user, u.system = r.Utime.Sec*1e6+int64(r.Utime.Usec), r.Stime.Sec*1e6+int64(r.Stime.Usec)
	}
	text, _ := os.ReadFile("/proc/self/io")
	for line := range bytes.Lines(text) {
		name, value, _ := bytes.Cut(bytes.TrimSpace(line), []byte(": "))
		n, _ := strconv.ParseInt(string(value), 10, 64)
		switch string(name) {
		case "wchar":
			u.bytes = n
		case "syscw":
			u.writes = n
		}
	}
	return u
}
