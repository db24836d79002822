package provider

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"connectrpc.com/connect"

	"hubbub/client/clientpb"
	"hubbub/mimi"
)

// keyFiles adds the private keys in the files of providers: those they made and those
// they were given.
func (s secrets) keyFiles(t *testing.T, w *world) {
	t.Helper()
	n := 0
	for _, cfg := range w.cfgs {
		files, err := filepath.Glob(filepath.Join(cfg.DataDir, keysDir, "*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range append(files, cfg.Federation.KeyFile, cfg.IdentityCA.KeyFile) {
			for line := range strings.Lines(string(readFile(t, file))) {
				if line = strings.TrimSpace(line); len(line) >= 32 && !strings.HasPrefix(line, "---") {
					s[line] = "a line of " + filepath.Base(file)
					n++
				}
			}
		}
	}
	if n < 8 {
		t.Errorf("only %d lines of keys were found", n)
	}
}

// without leaves out the secrets of a kind.
func (s secrets) without(what string) secrets {
	out := secrets{}
	for secret, is := range s {
		if !strings.HasPrefix(is, what) {
			out[secret] = is
		}
	}
	return out
}

// operate has the operator do what can be done, well and badly, and gives all that is
// answered.
func (w *world) operate(ctx context.Context, room mimi.RoomURI) string {
	var out strings.Builder
	for d := range w.cfgs {
		admin := w.admin(d)
		say := func(v any, err error) { fmt.Fprintf(&out, "%+v %+v\n", v, err) }
		status, err := admin.Status(ctx, connect.NewRequest(&clientpb.StatusRequest{}))
		say(status.Msg, err)
		users, err := admin.ListUsers(ctx, connect.NewRequest(&clientpb.ListUsersRequest{}))
		say(users.Msg, err)
		peers, err := admin.ListPeers(ctx, connect.NewRequest(&clientpb.ListPeersRequest{}))
		say(peers.Msg, err)
		_, err = admin.ThawRoom(ctx, connect.NewRequest(&clientpb.ThawRoomRequest{Room: string(room), Reason: "none"}))
		say(nil, err)
		_, err = admin.ReplaceRoom(ctx, connect.NewRequest(&clientpb.ReplaceRoomRequest{Room: string(room), Frozen: "none", Reason: "none"}))
		say(nil, err)
		for _, dir := range []string{filepath.Join(w.t.TempDir(), "backup"), w.cfgs[d].DataDir} {
			_, err = admin.Backup(ctx, connect.NewRequest(&clientpb.BackupRequest{Directory: dir}))
			say(nil, err)
		}
	}
	return out.String()
}

// atRest looks for secrets in what stopped providers have stored, but for the files
// that hold keys: plaintext, tokens and codes have no place there at all.
func (s secrets) atRest(t *testing.T, w *world) {
	t.Helper()
	octets := 0
	for d, cfg := range w.cfgs {
		err := filepath.WalkDir(cfg.DataDir, func(path string, e fs.DirEntry, err error) error {
			if err != nil || !e.Type().IsRegular() || filepath.Base(filepath.Dir(path)) == keysDir {
				return err
			}
			b, err := os.ReadFile(path)
			octets += len(b)
			for _, found := range s.in(string(b)) {
				t.Errorf("%s: %s holds %s", d, filepath.Base(path), found)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if octets < 100_000 {
		t.Errorf("only %d octets are stored: this test tests nothing", octets)
	}
}
