package mls

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The official vectors. Each test asserts how many cases it ran, so that a
// reader that finds nothing cannot pass.

func must[T any](t *testing.T) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func wantBytes(t *testing.T, what string, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Fatalf("%s = %x, want %x", what, got, want)
	}
}

// readVectors reads an official vector file, which lives beside the module
// because it carries no licence to copy it.
func readVectors(t *testing.T, name string) []byte {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if filepath.Dir(dir) == dir {
			t.Fatal("no go.mod above the test")
		}
		dir = filepath.Dir(dir)
	}
	b, err := os.ReadFile(filepath.Join(dir, "..", "shared", "mls-test-vectors", name))
	if errors.Is(err, os.ErrNotExist) && os.Getenv("HUBBUB_REQUIRE_SHARED") == "" {
		t.Skipf("official vectors %s are absent", name)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// checkVectors runs a file and wants every case to pass.
func checkVectors(t *testing.T, file, kind string, cases int) {
	t.Helper()
	r, err := RunVectors(file, readVectors(t, file))
	if err != nil {
		t.Fatal(err)
	}
	if r.Kind != kind || r.Passed != cases || r.Failed != 0 || r.SkippedCases() != 0 {
		t.Fatalf("%s: %+v, want %d cases of %s", file, r, cases, kind)
	}
}

func TestVectorsTreeMath(t *testing.T) { checkVectors(t, "tree-math.json", "tree-math", 10) }

func TestVectorsCryptoBasics(t *testing.T) { checkVectors(t, "crypto-basics.json", "crypto-basics", 7) }

func TestVectorsDeserialization(t *testing.T) {
	checkVectors(t, "deserialization.json", "deserialization", 14)
}

func TestVectorsSecretTree(t *testing.T) { checkVectors(t, "secret-tree.json", "secret-tree", 21) }

func TestVectorsMessageProtection(t *testing.T) {
	checkVectors(t, "message-protection.json", "message-protection", 7)
}

func TestVectorsKeySchedule(t *testing.T) { checkVectors(t, "key-schedule.json", "key-schedule", 7) }

func TestVectorsPSKSecret(t *testing.T) { checkVectors(t, "psk_secret.json", "psk_secret", 77) }

func TestVectorsTranscriptHashes(t *testing.T) {
	checkVectors(t, "transcript-hashes.json", "transcript-hashes", 7)
}

func TestVectorsWelcome(t *testing.T) { checkVectors(t, "welcome.json", "welcome", 7) }

func TestVectorsTreeOperations(t *testing.T) {
	checkVectors(t, "tree-operations.json", "tree-operations", 5)
}

func TestVectorsTreeValidation(t *testing.T) {
	checkVectors(t, "tree-validation.json", "tree-validation", 98)
}

func TestVectorsTreeKEM(t *testing.T) { checkVectors(t, "treekem.json", "treekem", 77) }

func TestVectorsMessages(t *testing.T) { checkVectors(t, "messages.json", "messages", 300) }

func TestVectorsPassiveClientWelcome(t *testing.T) {
	checkVectors(t, "passive-client-welcome.json", "passive-client-welcome", 56)
}

func TestVectorsPassiveClientHandlingCommit(t *testing.T) {
	checkVectors(t, "passive-client-handling-commit.json", "passive-client-handling-commit", 91)
}

func TestVectorsPassiveClientRandom(t *testing.T) {
	checkVectors(t, "passive-client-random.json", "passive-client-random", 1)
}

// The passive clients that the working group's interop scripts produced. They
// are named after the scripts, so the format is told by the epochs.
func TestVectorsPassiveInterop(t *testing.T) {
	for _, f := range []struct {
		name, kind string
		cases      int
	}{
		{"application", "welcome", 42},
		{"branch", "welcome", 224},
		{"external_join", "handling-commit", 42},
		{"external_proposals", "handling-commit", 196},
		{"welcome_join", "welcome", 56},
	} {
		t.Run(f.name, func(t *testing.T) {
			checkVectors(t, "passive-interop/"+f.name+".json", "passive-client-"+f.kind, f.cases)
		})
	}
}

// TestRunVectorsNotices: a change of any hexadecimal value makes its case fail,
// but for the end of two: the format tree-operations does not say that the
// proposal is signed, and sender data keys depend on the first octets of a
// ciphertext only.
func TestRunVectorsNotices(t *testing.T) {
	free := map[string]int{"tree-operations.json": 0, "secret-tree.json": 5}
	for _, file := range []string{"crypto-basics.json", "key-schedule.json", "message-protection.json",
		"transcript-hashes.json", "welcome.json", "tree-operations.json", "psk_secret.json", "secret-tree.json"} {
		var cases []any
		if err := json.Unmarshal(readVectors(t, file), &cases); err != nil {
			t.Fatal(err)
		}
		changed := 0
		eachString(cases[0], func(s string) string {
			if len(s) < 32 || strings.Trim(s, "0123456789abcdef") != "" {
				return s
			}
			changed++
			return s
		})
		for n := range changed {
			broken := brokenCase(t, cases[0], n)
			r, err := RunVectors("x.json", broken)
			if at, ok := free[file]; ok && n == at && err == nil && r.Passed == 1 {
				continue
			}
			if err != nil || r.Failed != 1 || r.Passed != 0 || len(r.First) != 1 {
				t.Errorf("%s with value %d changed: %+v, %v", file, n, r, err)
			}
		}
		if changed == 0 {
			t.Errorf("%s: nothing to change", file)
		}
	}
}

// brokenCase is a case whose n-th hexadecimal value has one bit flipped in its
// last octet.
func brokenCase(t *testing.T, c any, n int) []byte {
	t.Helper()
	b := must[[]byte](t)(json.Marshal(c))
	var fresh any
	if err := json.Unmarshal(b, &fresh); err != nil {
		t.Fatal(err)
	}
	at := 0
	fresh = eachString(fresh, func(s string) string {
		if len(s) < 32 || strings.Trim(s, "0123456789abcdef") != "" {
			return s
		}
		if at++; at-1 != n {
			return s
		}
		last := strings.IndexByte("0123456789abcdef", s[len(s)-1])
		return s[:len(s)-1] + string("0123456789abcdef"[last^1])
	})
	return must[[]byte](t)(json.Marshal(fresh))
}

// eachString maps the strings of a JSON value in a fixed order.
func eachString(v any, fn func(string) string) any {
	switch v := v.(type) {
	case string:
		return fn(v)
	case []any:
		for i := range v {
			v[i] = eachString(v[i], fn)
		}
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			v[k] = eachString(v[k], fn)
		}
	}
	return v
}

// TestRunVectorsOddInput: whatever a file holds, it is an error or a failed
// case that says what is wrong.
func TestRunVectorsOddInput(t *testing.T) {
	for _, data := range []string{"", "null", "[]", "{}", "[1,2]", `[{"a":1}]`, "[[", `"x"`, `[{"cipher_suite":1}]`} {
		if r, err := RunVectors("tree-math.json", []byte(data)); !errors.Is(err, ErrVectors) {
			t.Errorf("%s: %+v, %v", data, r, err)
		}
	}
	for data, reason := range map[string]string{
		`[{"vlbytes_header":"00","length":1}]`:                                                       "trailing data",
		`[{"vlbytes_header":"zz","length":1}]`:                                                       "invalid byte",
		`[{"vlbytes_header":"00","length":"1"}]`:                                                     "cannot unmarshal",
		`[{"vlbytes_header":"00","length":0},7]`:                                                     "not a JSON object",
		`[{"vlbytes_header":"00","length":0},{"length":7}]`:                                          "lacks vlbytes_header",
		`{"n_leaves":4294967295,"n_nodes":0,"root":0,"left":[],"right":[],"parent":[],"sibling":[]}`: "not the width",
		`{"n_leaves":2,"n_nodes":3,"root":1,"left":[],"right":[],"parent":[],"sibling":[]}`:          "0 entries",
		`[{"cipher_suite":1,"psks":null,"psk_secret":null}]`:                                         "differs",
		`[{"mls_welcome":"","mls_group_info":"","mls_key_package":"","ratchet_tree":"","group_secrets":"","commit":"","private_message":""}]`: "truncated",
	} {
		r, err := RunVectors("", []byte(data))
		if err != nil || r.Failed != 1 || !strings.Contains(r.First[0].Reason, reason) {
			t.Errorf("%s: %+v, %v, want %q", data, r, err, reason)
		}
	}
	r, err := RunVectors("", []byte(`[{"cipher_suite":61166,"psks":[],"psk_secret":"00"}]`))
	if err != nil || r.Passed+r.Failed != 0 || r.SkippedCases() != 1 {
		t.Errorf("unknown suite: %+v, %v", r, err)
	}
}

// FuzzRunVectors: no file makes the runner panic.
func FuzzRunVectors(f *testing.F) {
	f.Add([]byte(`[{"vlbytes_header":"4000","length":0}]`))
	f.Add([]byte(`[{"cipher_suite":1,"psks":[{"psk_id":"00","psk":"00","psk_nonce":"00"}],"psk_secret":"00"}]`))
	f.Add([]byte(`[{"cipher_suite":1,"tree":"","group_id":"","resolutions":[],"tree_hashes":[]}]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := RunVectors("f.json", data)
		if err == nil && r.Passed+r.Failed+r.SkippedCases() == 0 {
			t.Fatal("neither an error nor a case")
		}
		for _, x := range r.First {
			if strings.HasPrefix(x.Reason, "panic") {
				t.Fatal(x.Reason)
			}
		}
	})
}

// TestVectorSigner: private keys in the forms that vectors of others have.
func TestVectorSigner(t *testing.T) {
	for _, suite := range []CipherSuite{1, 2, 4, 5, 7} {
		k := must[*SignatureKey](t)(NewSignatureKey(suite, nil))
		wantBytes(t, "key", vectorSigner(suite, k.Private, k.Public), k.Private)
		if suite == 1 || suite == 4 {
			wantBytes(t, "key with public key", vectorSigner(suite, append(bytes.Clone(k.Private), k.Public...), k.Public), k.Private)
			continue
		}
		wantBytes(t, "short key", vectorSigner(suite, []byte{7}, k.Public), append(make([]byte, len(k.Private)-1), 7))
	}
}
