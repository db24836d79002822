package provider

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// envPrefix starts the names of our environment variables. Those with a double
// underscore, which stands for the dot, and those that name a top-level key set a
// value; others are not configuration.
const envPrefix = "HUBBUB_"

// Load reads a configuration file, applies the environment and the defaults and
// validates the result.
func Load(path string) (Config, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return Config{}, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return Config{}, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	c, err := parse(b, os.Environ())
	if err != nil {
		return Config{}, fmt.Errorf("%s: %w", path, err)
	}
	c = c.withDefaults().below(dir)
	if err := c.Validate(); err != nil {
		return Config{}, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// Encode writes the configuration as a file that Load reads.
func (c Config) Encode() ([]byte, error) {
	b, err := toml.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return b, nil
}

// NewLogger makes the logger that the configuration asks for.
func (c LogConfig) NewLogger(w io.Writer) *slog.Logger {
	opts := &slog.HandlerOptions{Level: logLevels[c.Level]}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}

func parse(b []byte, environ []string) (Config, error) {
	var c Config
	dec := toml.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&c); err != nil {
		return Config{}, explain(err)
	}
	return c, applyEnv(&c, environ)
}

// explain turns an error of the TOML library into one with line and column and,
// for an unknown key, the nearest key there is.
func explain(err error) error {
	var strict *toml.StrictMissingError
	if errors.As(err, &strict) {
		var errs []error
		for _, e := range strict.Errors {
			row, col := e.Position()
			errs = append(errs, fmt.Errorf("%w: line %d, column %d: %s", ErrConfig, row, col, unknown(strings.Join(e.Key(), "."))))
		}
		return errors.Join(errs...)
	}
	var dec *toml.DecodeError
	if errors.As(err, &dec) {
		row, col := dec.Position()
		return fmt.Errorf("%w: line %d, column %d: %w", ErrConfig, row, col, err)
	}
	return fmt.Errorf("%w: %w", ErrConfig, err)
}

func unknown(key string) string {
	candidates := map[string]bool{}
	for name := range keys(reflect.ValueOf(&Config{}).Elem(), "") {
		candidates[name] = true
		if table, _, ok := strings.Cut(name, "."); ok {
			candidates[table] = true
		}
	}
	return fmt.Sprintf("unknown key %s; the nearest is %s", key, nearest(key, slices.Sorted(maps.Keys(candidates))))
}

// keys finds the settable values by their dotted names. Keys below a table with
// free names, such as peers, are listed once with a star.
func keys(v reflect.Value, prefix string) map[string]reflect.Value {
	out := map[string]reflect.Value{}
	for i := range v.NumField() {
		tag, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("toml"), ",")
		name, field := prefix+tag, v.Field(i)
		switch field.Kind() {
		case reflect.Struct:
			maps.Copy(out, keys(field, name+"."))
		case reflect.Map:
			maps.Copy(out, keys(reflect.New(field.Type().Elem()).Elem(), name+".*."))
		default:
			out[name] = field
		}
	}
	return out
}

// applyEnv sets values from the environment.
func applyEnv(c *Config, environ []string) error {
	known := map[string]reflect.Value{}
	for key, field := range keys(reflect.ValueOf(c).Elem(), "") {
		if !strings.Contains(key, "*") {
			known[envName(key)] = field
		}
	}
	var errs []error
	for _, kv := range environ {
		name, value, _ := strings.Cut(kv, "=")
		field, ok := known[name]
		switch {
		case !ok && strings.HasPrefix(name, envPrefix) && strings.Contains(name, "__"):
			errs = append(errs, fmt.Errorf("%w: unknown environment variable %s; the nearest is %s",
				ErrConfig, name, nearest(name, slices.Sorted(maps.Keys(known)))))
		case !ok:
		case field.Kind() == reflect.String:
			field.SetString(value)
		case field.Kind() == reflect.Int:
			n, err := strconv.Atoi(value)
			if err != nil {
				errs = append(errs, fmt.Errorf("%w: %s must be a number", ErrConfig, name))
			}
			field.SetInt(int64(n))
		default: // a list
			field.Set(reflect.ValueOf(strings.FieldsFunc(value, func(r rune) bool { return r == ',' || r == ' ' })))
		}
	}
	return errors.Join(errs...)
}

// envName gives the variable for a key: federation.cert_file is
// HUBBUB_FEDERATION__CERT_FILE.
func envName(key string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(key, ".", "__"))
}

// nearest picks the candidate with the fewest edits from s.
func nearest(s string, candidates []string) string {
	best, least := "", -1
	for _, c := range candidates {
		if d := edits(s, c); least < 0 || d < least {
			best, least = c, d
		}
	}
	return best
}

// edits is the Levenshtein distance.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
