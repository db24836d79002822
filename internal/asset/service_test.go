package asset

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"hubbub/internal/store"
	"hubbub/internal/store/sqlstore"
	"hubbub/mimi"
)

const (
	alice mimi.UserURI = "mimi://a.localhost/u/alice"
	bob   mimi.UserURI = "mimi://a.localhost/u/bob"
)

// place is a Service with what it stands on.
type place struct {
	*Service
	t   *testing.T
	dir string
	st  store.Store
	now time.Time
}

func newPlace(t *testing.T) *place {
	t.Helper()
	p := &place{t: t, dir: t.TempDir(), now: time.Now()}
	p.open()
	err := p.st.Update(t.Context(), func(tx store.Tx) error {
		return errors.Join(tx.CreateUser(alice, p.now), tx.CreateUser(bob, p.now))
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.st.Close() })
	return p
}

func (p *place) open() {
	p.t.Helper()
	var err error
	if p.st, err = sqlstore.Open(filepath.Join(p.dir, "db")); err != nil {
		p.t.Fatal(err)
	}
	p.Service, err = Open(Config{Store: p.st, Dir: filepath.Join(p.dir, "files"), MaxBytes: 3 << 20, MaxUserBytes: 4 << 20, Now: func() time.Time { return p.now }})
	if err != nil {
		p.t.Fatal(err)
	}
}

// reopen is a process that ended somewhere and begins anew.
func (p *place) reopen() {
	p.t.Helper()
	if err := p.st.Close(); err != nil {
		p.t.Fatal(err)
	}
	p.open()
}

func (p *place) create(size int) string {
	p.t.Helper()
	id, err := p.Create(p.t.Context(), alice, int64(size))
	if err != nil {
		p.t.Fatal(err)
	}
	return id
}

func (p *place) put(content []byte) string {
	p.t.Helper()
	id := p.create(len(content))
	if now, err := p.Append(p.t.Context(), alice, id, 0, bytes.NewReader(content)); err != nil || now != int64(len(content)) {
		p.t.Fatal(now, err)
	}
	return id
}

func (p *place) read(id string) []byte {
	p.t.Helper()
	f, _, err := p.Download(p.t.Context(), id)
	if err != nil {
		p.t.Fatal(err)
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		p.t.Fatal(err)
	}
	return b
}

// files are those on the disk, by name.
func (p *place) files() (names []string) {
	err := filepath.WalkDir(filepath.Join(p.dir, "files"), func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, d.Name())
		}
		return err
	})
	if err != nil {
		p.t.Fatal(err)
	}
	return names
}

func status(err error) int {
	var p *mimi.Problem
	if errors.As(err, &p) {
		return p.Status
	}
	return 0
}

func content(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * 31 >> 3)
	}
	return b
}

// An upload that breaks goes on where it stood, over the end of the process too.
func TestResume(t *testing.T) {
	p := newPlace(t)
	whole := content(2<<20 + 7)
	id := p.create(len(whole))
	broken := io.MultiReader(bytes.NewReader(whole[:1<<20+100]), iotest.ErrReader(io.ErrUnexpectedEOF))
	now, err := p.Append(t.Context(), alice, id, 0, broken)
	if now != 1<<20+100 || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatalf("%d, %v", now, err)
	}
	if _, _, err := p.Download(t.Context(), id); status(err) != 404 {
		t.Errorf("half a file can be fetched: %v", err)
	}
	p.reopen()
	// What lies behind the durable part was written by a process that was killed.
	f, err := os.OpenFile(p.partPath(id), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("never answered for"); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if a, err := p.Status(t.Context(), alice, id); err != nil || a.Received != now || a.Complete {
		t.Fatalf("%+v, %v", a, err)
	}
	for _, offset := range []int64{0, now - 1, now + 1, 1 << 40} {
		if at, err := p.Append(t.Context(), alice, id, offset, strings.NewReader("x")); at != now || status(err) != 409 {
			t.Errorf("at %d: %d, %v", offset, at, err)
		}
	}
	if now, err = p.Append(t.Context(), alice, id, now, bytes.NewReader(whole[now:])); err != nil || now != int64(len(whole)) {
		t.Fatal(now, err)
	}
	if !bytes.Equal(p.read(id), whole) {
		t.Error("another file came out")
	}
	// The answer to the last piece was lost.
	if now, err := p.Append(t.Context(), alice, id, int64(len(whole)), strings.NewReader("")); err != nil || now != int64(len(whole)) {
		t.Error(now, err)
	}
}

// A crash between the last octet and the row is ended by Scrub, before and after the
// file has its name.
func TestCrashAtTheEnd(t *testing.T) {
	for _, named := range []bool{false, true} {
		p := newPlace(t)
		id := p.put([]byte("content"))
		if err := p.advance(t.Context(), id, 7, false); err != nil {
			t.Fatal(err)
		}
		if !named {
			if err := os.Rename(p.path(id), p.partPath(id)); err != nil {
				t.Fatal(err)
			}
		}
		p.reopen()
		if err := p.Scrub(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := p.read(id); string(got) != "content" {
			t.Errorf("named %v: %q", named, got)
		}
	}
}

func TestScrub(t *testing.T) {
	p := newPlace(t)
	old, empty := p.create(10), p.create(10)
	if _, err := p.Append(t.Context(), alice, old, 0, strings.NewReader("half")); err != nil {
		t.Fatal(err)
	}
	whole := p.put([]byte("whole"))
	p.now = p.now.Add(unfinishedAge - time.Hour)
	if err := p.Scrub(t.Context()); err != nil || len(p.files()) != 2 {
		t.Fatalf("%v, %v", p.files(), err)
	}
	p.now = p.now.Add(2 * time.Hour)
	if err := p.Scrub(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{old, empty} {
		if _, err := p.Status(t.Context(), alice, id); status(err) != 404 {
			t.Errorf("still there: %v", err)
		}
	}
	if files := p.files(); len(files) != 1 || files[0] != whole {
		t.Errorf("on the disk: %v", files)
	}
}

// H95, for what reaches the store: refusals leave nothing, neither rows nor files.
func TestRefusals(t *testing.T) {
	p := newPlace(t)
	id := p.create(5)
	big := p.create(3 << 20)
	dump := func() (s string) {
		if err := p.st.View(t.Context(), func(tx store.ReadTx) (err error) { s, err = tx.Dump(); return err }); err != nil {
			t.Fatal(err)
		}
		return s + strings.Join(p.files(), " ")
	}
	before := dump()
	appendTo := func(owner mimi.UserURI, id string) error {
		_, err := p.Append(t.Context(), owner, id, 0, strings.NewReader("x"))
		return err
	}
	make := func(n int64) error { _, err := p.Create(t.Context(), alice, n); return err }
	get := func(id string) error { _, _, err := p.Download(t.Context(), id); return err }
	for name, tc := range map[string]struct {
		err  error
		want int
	}{
		"nothing":         {make(0), 400},
		"less":            {make(-1), 400},
		"too large":       {make(3<<20 + 1), 413},
		"over the quota":  {make(1 << 20), 507},
		"of another user": {appendTo(bob, id), 404},
		"their status":    {func() error { _, err := p.Status(t.Context(), bob, id); return err }(), 404},
		"their deletion":  {p.Delete(t.Context(), bob, id), 404},
		"unknown":         {appendTo(alice, strings.Repeat("a", idBytes)), 404},
		"dots":            {appendTo(alice, "../../../../etc/passwd____"), 404},
		"dots to read":    {get("../db/hubbub.db"), 404},
		"a separator":     {get("aaaaaaaaaaaa/aaaaaaaaaaaaa"), 404},
		"upper case":      {get(strings.ToUpper(id)), 404},
		"a zero octet":    {get(id[:25] + "\x00"), 404},
		"no name":         {get(""), 404},
		"not finished":    {get(id), 404},
	} {
		if status(tc.err) != tc.want {
			t.Errorf("%s: %v", name, tc.err)
		}
	}
	if after := dump(); after != before {
		t.Errorf("a refusal left something:\n%s\nbefore:\n%s", after, before)
	}
	if now, err := p.Append(t.Context(), alice, id, 0, strings.NewReader("123456")); now != 5 || status(err) != 413 {
		t.Errorf("more than announced: %d, %v", now, err)
	}
	if err := p.Delete(t.Context(), alice, big); err != nil {
		t.Error(err)
	}
	for range maxUnfinished {
		p.create(1)
	}
	if err := make(1); status(err) != http.StatusTooManyRequests {
		t.Errorf("too many unfinished: %v", err)
	}
}

func TestOneWriter(t *testing.T) {
	p := newPlace(t)
	id := p.create(5)
	r, w := io.Pipe()
	done := make(chan error)
	go func() { _, err := p.Append(t.Context(), alice, id, 0, r); done <- err }()
	if _, err := w.Write([]byte("abc")); err != nil { // the first writer is inside
		t.Fatal(err)
	}
	if _, err := p.Append(t.Context(), alice, id, 0, strings.NewReader("x")); status(err) != http.StatusLocked {
		t.Errorf("a second writer: %v", err)
	}
	w.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
