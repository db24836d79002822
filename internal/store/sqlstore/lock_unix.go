//go:build unix && !aix && !solaris

package sqlstore

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"syscall"

	"hubbub/internal/store"
)

// lockDir reserves the data directory for this process until the file is
// closed or the process ends, however it ends. The file holds our process id.
func lockDir(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock data directory: %w", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		if err = writePID(f); err == nil {
			return f, nil
		}
	}
	defer f.Close()
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, fmt.Errorf("%w: %s is held by process %s", store.ErrLocked, path, readPID(path))
	}
	return nil, fmt.Errorf("lock data directory: %w", err)
}

func writePID(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := fmt.Fprintln(f, os.Getpid())
	return err
}

func readPID(path string) string {
	b, err := os.ReadFile(path)
	if pid := bytes.TrimSpace(b); err == nil && len(pid) > 0 {
		return string(pid)
	}
	return "unknown"
}
