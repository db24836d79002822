//go:build !unix || aix || solaris

package sqlstore

import (
	"errors"
	"fmt"
	"os"
)

// lockDir fails: without a lock that ends with its process we would rather
// not run than let two processes write one log.
func lockDir(path string) (*os.File, error) {
	return nil, fmt.Errorf("lock %s: %w", path, errors.ErrUnsupported)
}
