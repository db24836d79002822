//go:build !unix || aix || solaris

package client

import (
	"errors"
	"fmt"
	"os"
)

// lockDir fails: without a lock that ends with its process two processes could
// use one message key twice.
func lockDir(path string) (*os.File, error) {
	return nil, fmt.Errorf("locking %s: %w", path, errors.ErrUnsupported)
}
