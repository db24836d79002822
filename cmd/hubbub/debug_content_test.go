package main

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"hubbub/mimi/content"
	"hubbub/mls"
	"hubbub/mls/wire"
)

// sharedExamples finds the published messages beside the module.
func sharedExamples(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "..", "..", "shared", "mimi-content-examples", "*.cbor"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		if os.Getenv("HUBBUB_REQUIRE_SHARED") != "" {
			t.Fatal("the published messages are missing")
		}
		t.Skip("the published messages are not beside the module")
	}
	return files
}

func TestDebugContentExamples(t *testing.T) {
	files := sharedExamples(t)
	code, out, errs := call(t, "", append([]string{"debug", "content", "--json"}, files...)...)
	if code != exitOK || errs != "" {
		t.Fatalf("exit %d: %s", code, errs)
	}
	var got struct {
		Failed int
		Files  []struct {
			MessageID string
			SameBytes bool
		}
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil || got.Failed != 0 || len(got.Files) != len(files) {
		t.Fatalf("%v, %+v", err, got)
	}
	for i, file := range files {
		edn, err := os.ReadFile(strings.TrimSuffix(file, ".cbor") + ".edn")
		if err != nil {
			t.Fatal(err)
		}
		m := regexp.MustCompile(`# message ID = h'([0-9a-f]+)\s*\n#\s*([0-9a-f]+)'`).FindSubmatch(edn)
		if m == nil || got.Files[i].MessageID != string(m[1])+string(m[2]) || !got.Files[i].SameBytes {
			t.Errorf("%s: %+v", file, got.Files[i])
		}
	}
	code, out, _ = call(t, "", append([]string{"debug", "content"}, files...)...)
	for _, want := range []string{"MIMI message", "Kudos to [@Alice Smith]", "mentions     mimi://example.com/u/alice-smith", "unlike", "bigfile.mp4",
		"chooseOne", "2022-02-09T07:00:04Z", "the same octets"} {
		if code != exitOK || !strings.Contains(out, want) {
			t.Errorf("exit %d, no %q in\n%s", code, want, out)
		}
	}
	if strings.Count(out, "the same octets") != len(files) || strings.Contains(out, "DIFFERENT") {
		t.Errorf("not all the same:\n%s", out)
	}
}

func TestDebugContentKinds(t *testing.T) {
	bare := content.New("", "", &content.SinglePart{ContentType: "application/x", Content: []byte{0xff}})
	plain, err := bare.Encode()
	if err != nil {
		t.Fatal(err)
	}
	framed, err := wire.Marshal(&mls.ApplicationFraming{Content: plain})
	if err != nil {
		t.Fatal(err)
	}
	report, err := content.StatusReport{{Message: content.ID{1}, Status: content.StatusRead}}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	derived, err := (&content.Derived{ID: content.ID{1}, Accepted: time.UnixMilli(1644387225019), Client: "mimi://a.example/d/alice/A1",
		Sender: "mimi://a.example/u/alice", Room: "mimi://a.example/r/x"}).Encode()
	if err != nil {
		t.Fatal(err)
	}
	zero := append([]byte{}, plain...)
	copy(zero[2:18], make([]byte, 16))
	for _, tc := range []struct {
		name  string
		input []byte
		args  []string
		code  int
		say   []string
	}{
		{"without names", plain, nil, exitOK, []string{"no message id", "--sender", "octets       ff", "the same octets"}},
		{"with names", plain, []string{"--sender", "mimi://a.example/u/alice", "--room", "mimi://a.example/r/x"}, exitOK, []string{"message id   01"}},
		{"hexadecimal", []byte(hex.EncodeToString(plain)), nil, exitOK, []string{"the same octets"}},
		{"framed", framed, nil, exitOK, []string{"framed as    the group's first media type", "the same octets"}},
		{"report", report, nil, exitOK, []string{"status report", "read         01"}},
		{"derived", derived, nil, exitOK, []string{"derived values", "alice/A1", "the same octets"}},
		{"salt of zeros", zero, nil, exitOK, []string{"must not be sent", "the same octets"}},
		{"trailing octet", append(plain[:len(plain):len(plain)], 0), nil, exitFailed, []string{"CNT-10"}},
		{"cut", plain[:len(plain)-1], nil, exitFailed, []string{"CNT-8"}},
		{"garbage", []byte("certainly not CBOR!"), nil, exitFailed, []string{"not readable"}},
		{"nothing", nil, nil, exitFailed, []string{"nothing in it"}},
		{"bad sender", plain, []string{"--sender", "bob"}, exitUsage, []string{"--sender mimi://"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			code, out, errs := call(t, string(tc.input), append([]string{"debug", "content", "-"}, tc.args...)...)
			if code != tc.code {
				t.Errorf("exit %d, want %d: %s%s", code, tc.code, out, errs)
			}
			for _, want := range tc.say {
				if !strings.Contains(out+errs, want) {
					t.Errorf("no %q in\n%s%s", want, out, errs)
				}
			}
		})
	}
}

// TestDebugContentMismatch names another sender than the message does.
func TestDebugContentMismatch(t *testing.T) {
	b, err := content.NewText("mimi://a.example/u/alice", "mimi://a.example/r/x", "hi\x1b[31m").Encode()
	if err != nil {
		t.Fatal(err)
	}
	code, out, _ := call(t, string(b), "debug", "content", "-", "--sender", "mimi://b.example/u/bob")
	if code != exitOK || !strings.Contains(out, "a client would drop it") || strings.Contains(out, "\x1b") {
		t.Errorf("exit %d:\n%s", code, out)
	}
	code, out, errs := call(t, "", "debug", "content", filepath.Join(t.TempDir(), "none"))
	if code != exitFailed || !strings.Contains(out, "no such file") || !strings.Contains(errs, "1 of 1") {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
}
