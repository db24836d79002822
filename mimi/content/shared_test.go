package content

import (
	"os"
	"path/filepath"
	"testing"
)

// sharedDir finds a directory of published test material beside the module, or
// skips the test.
func sharedDir(t *testing.T, name string) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if parent := filepath.Dir(dir); parent != dir {
			dir = parent
			continue
		}
		t.Fatal("no go.mod above the test")
	}
	path := filepath.Join(dir, "..", "shared", name)
	if _, err := os.Stat(path); err != nil {
		if os.Getenv("HUBBUB_REQUIRE_SHARED") != "" {
			t.Fatalf("test material %s is missing: %v", name, err)
		}
		t.Skipf("test material %s is not beside the module", name)
	}
	return path
}
