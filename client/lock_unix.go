//go:build unix && !aix && !solaris

package client

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"syscall"
)

// lockDir reserves a device for this process until the file is closed or the
// process ends, however it ends. The file holds our process id.
func lockDir(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking device: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("%w: process %s has %s", ErrLocked, lockHolder(path), path)
		}
		return nil, fmt.Errorf("locking device: %w", err)
	}
	if err := f.Truncate(0); err == nil {
		_, err = fmt.Fprintln(f, os.Getpid())
		if err == nil {
			return f, nil
		}
	}
	f.Close()
	return nil, fmt.Errorf("locking device: cannot write %s", path)
}

func lockHolder(path string) string {
	b, err := os.ReadFile(path)
	if pid := bytes.TrimSpace(b); err == nil && len(pid) > 0 {
		return string(pid)
	}
	return "unknown"
}
