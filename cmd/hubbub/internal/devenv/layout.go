package devenv

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"hubbub/mimi"
)

// Errors that callers act on.
var (
	// ErrRunning: another process runs an environment in this directory.
	ErrRunning = errors.New("a dev environment is already running there")
	// ErrKept: the directory holds an environment that a run left on purpose.
	ErrKept = errors.New("an earlier run kept its environment there")
	// ErrForeign: the directory holds something that we did not make.
	ErrForeign = errors.New("the directory is not empty and was not made by hubbub dev")
	// ErrNone: there is no environment in the directory.
	ErrNone = errors.New("no dev environment there")
)

// manifestFile marks a directory as ours and says what is in it.
const manifestFile = "dev.json"

// Manifest is what dev.json holds.
type Manifest struct {
	PID       int        `json:"pid"`
	Started   time.Time  `json:"started"`
	Kept      bool       `json:"kept"`    // left on purpose by a run that has ended
	Control   string     `json:"control"` // Unix socket of the running process
	CA        string     `json:"ca"`      // PEM file with the root of everything here
	Providers []Provider `json:"providers"`
}

// Provider is one provider of the environment.
type Provider struct {
	Name        string      `json:"name"` // short: "a"
	Domain      mimi.Domain `json:"domain"`
	Dir         string      `json:"dir"`
	Config      string      `json:"config"`
	Data        string      `json:"data_dir"`
	Log         string      `json:"log"`
	AdminSocket string      `json:"admin_socket"`
	API         string      `json:"api"`        // base URL for clients
	Federation  string      `json:"federation"` // host:port for other providers
}

// DefaultDir is where an environment lies unless told otherwise: in the user's
// state directory, so that other terminals find it.
func DefaultDir() string {
	if d := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(d) {
		return filepath.Join(d, "hubbub", "dev")
	}
	if home, err := os.UserHomeDir(); err == nil {
		return filepath.Join(home, ".local", "state", "hubbub", "dev")
	}
	return filepath.Join(os.TempDir(), fmt.Sprintf("hubbub-dev-%d", os.Getuid()))
}

// ReadManifest reads the environment in dir; the error wraps ErrNone if there
// is none.
func ReadManifest(dir string) (*Manifest, error) {
	text, err := os.ReadFile(filepath.Join(dir, manifestFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", dir, ErrNone)
	}
	if err != nil {
		return nil, err
	}
	var m Manifest
	if err := json.Unmarshal(text, &m); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, manifestFile), err)
	}
	return &m, nil
}

// write stores the manifest, complete or not at all.
func (m *Manifest) write(dir string) error {
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	tmp := filepath.Join(dir, manifestFile+".new")
	if err := os.WriteFile(tmp, append(text, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, filepath.Join(dir, manifestFile))
}

// Find returns a provider by its short name or its domain.
func (m *Manifest) Find(name string) (Provider, bool) {
	for _, p := range m.Providers {
		if p.Name == name || string(p.Domain) == name {
			return p, true
		}
	}
	return Provider{}, false
}

// Names lists the short names.
func (m *Manifest) Names() string {
	var names []string
	for _, p := range m.Providers {
		names = append(names, p.Name)
	}
	return strings.Join(names, ", ")
}

// ClientDir is where a device of a user keeps its state.
func ClientDir(dir string, user mimi.UserURI, device string) string {
	return filepath.Join(dir, "clients", user.Handle(), device)
}

// Devices lists the devices of a user that exist in dir.
func Devices(dir string, user mimi.UserURI) []string {
	entries, err := os.ReadDir(filepath.Join(dir, "clients", user.Handle()))
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names
}

// claim makes dir ready for a new environment. What a crashed run left there
// is removed; anything else that is in the way is an error.
func claim(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return os.MkdirAll(dir, 0o700)
	}
	if err != nil {
		return err
	}
	if len(entries) == 0 {
		return nil
	}
	m, err := ReadManifest(dir)
	switch {
	case errors.Is(err, ErrNone):
		return fmt.Errorf("%s: %w", dir, ErrForeign)
	case err != nil:
		return err
	case answering(m.Control):
		return fmt.Errorf("%s: %w (process %d)", dir, ErrRunning, m.PID)
	case m.Kept:
		return fmt.Errorf("%s: %w", dir, ErrKept)
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	return os.MkdirAll(dir, 0o700)
}
