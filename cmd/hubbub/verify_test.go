package main

import (
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hubbub/cmd/hubbub/internal/devenv"
	"hubbub/internal/fsck"
)

// TestProve verifies chats from the terminal, then checks what the providers
// leave behind: that it is whole, that damage is named, and that their logs at the
// lowest level hold no secret.
func TestProve(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	t.Setenv("HUBBUB_LOG__LEVEL", "debug")
	dir := shortDir(t)
	ctx, interrupt := context.WithCancel(t.Context())
	tv, ended := newScreen(), make(chan int, 1)
	go func() {
		ended <- run(ctx, func() {}, []string{"dev", "--keep", "--dir", dir}, strings.NewReader(""), tv, tv)
	}()
	defer interrupt()
	tv.until(t, "Ctrl-C ends everything")

	for _, who := range []string{"alice@a.localhost", "bob@b.localhost"} { // cathy was removed in the story
		code, out, errs := call(t, "", "room", "verify", "Lunch", "--as", who, "--dir", dir)
		var v verifyJSON
		if err := json.Unmarshal([]byte(out), &v); err != nil || code != exitOK || !v.OK || len(v.Copies) != 2 || v.Signed == nil ||
			v.Signed.Seq != v.Provider.Seq || v.Last != v.Provider.Seq || v.Note == "" {
			t.Errorf("%s: exit %d, %v: %s%s", who, code, err, out, errs)
		}
		for _, c := range v.Copies {
			if c.Place == nil || *c.Place != v.Provider {
				t.Errorf("%s: copy %+v, want %+v", who, c, v.Provider)
			}
		}
	}
	m, err := devenv.ReadManifest(dir)
	if err != nil {
		t.Fatal(err)
	}
	if code, _, errs := call(t, "", "fsck", "--config", m.Providers[0].Config); code != exitFailed || !strings.Contains(errs, "stop the provider") {
		t.Errorf("fsck of a running provider: exit %d: %s", code, errs)
	}
	for _, p := range m.Providers { // something to log at the lowest level
		conn, err := net.Dial("tcp", p.Federation)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(conn, "no TLS\r\n\r\n")
		io.Copy(io.Discard, conn)
		conn.Close()
	}
	interrupt()
	<-ended

	for _, p := range m.Providers {
		code, out, errs := call(t, "", "fsck", "--json", "--config", p.Config)
		var r fsck.Report
		if err := json.Unmarshal([]byte(out), &r); err != nil || code != exitOK || len(r.Findings) != 0 || r.Rooms == 0 || r.Entries == 0 {
			t.Errorf("%s: exit %d, %v: %s%s", p.Name, code, err, out, errs)
		}
	}
	p := m.Providers[1]
	query(t, filepath.Join(p.Data, "hubbub.db"), "UPDATE changes SET user_uri = user_uri || 'x' WHERE seq = (SELECT max(seq) FROM changes)")
	code, out, _ := call(t, "", "fsck", "--json", "--config", p.Config)
	var r fsck.Report
	if err := json.Unmarshal([]byte(out), &r); err != nil || code != exitFailed || len(r.Findings) == 0 || r.Findings[0].What != "history" || r.Findings[0].Seq == 0 {
		t.Errorf("a damaged history: exit %d, %v: %s", code, err, out)
	}
	noSecrets(t, dir, tv)
}

func query(t *testing.T, file, query string, into ...any) {
	t.Helper()
	db, err := sql.Open("sqlite", file)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if len(into) > 0 {
		err = db.QueryRow(query).Scan(into...)
	} else {
		_, err = db.Exec(query)
	}
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

// noSecrets searches the logs of providers and the screen for what devices keep
// to themselves (P26).
func noSecrets(t *testing.T, dir string, screen *screen) {
	t.Helper()
	secrets := map[string]string{}
	logs := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		switch filepath.Base(path) {
		case "device.db":
			var b, text string
			query(t, path, "SELECT value FROM device WHERE key = 'device'", &b)
			var d struct {
				Token string `json:"token"`
				Key   []byte `json:"key"`
			}
			if err := json.Unmarshal([]byte(b), &d); err != nil {
				return err
			}
			secrets[d.Token] = "the token of " + path
			secrets[base64.StdEncoding.EncodeToString(d.Key)] = "the key of " + path
			query(t, path, "SELECT coalesce(max(text), '') FROM message", &text)
			if len(text) > 8 {
				secrets[text] = "a message of " + path
			}
		case "serve.log":
			b, err := os.ReadFile(path)
			logs[path] = string(b)
			return err
		}
		return nil
	})
	if err != nil || len(secrets) < 6 || len(logs) != 3 {
		t.Fatalf("%d secrets, %d logs, %v", len(secrets), len(logs), err)
	}
	for path, text := range logs {
		if !strings.Contains(text, "level=DEBUG") {
			t.Errorf("%s holds nothing at debug level", path)
		}
		for secret, what := range secrets {
			if strings.Contains(text, secret) {
				t.Errorf("%s holds %s", path, what)
			}
		}
	}
	text, _ := screen.look()
	for secret, what := range secrets {
		if !strings.HasPrefix(what, "a message") && strings.Contains(text, secret) {
			t.Errorf("the screen shows %s", what)
		}
	}
}
