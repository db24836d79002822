package killtest

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"hubbub/client"
	"hubbub/internal/provider"
	"hubbub/mimi/content"
)

// uploadPlaces are where a provider dies while a file comes in: a piece is durable and
// the database does not know, the same at the last piece, the file has its name and the
// database does not know.
var uploadPlaces = []string{"asset.synced:1", "asset.synced:3", "asset.named:1"}

// A provider that dies in the middle of an upload: the upload goes on where it stood,
// the file is whole and there once, and files and database agree.
func TestKilledInUpload(t *testing.T) {
	f := newFederation(t, a)
	p := f.providers[a]
	ok(t, p.start(""))
	ok(t, p.ready(t.Context()))
	alice := f.device("alice@a.localhost")
	uri := f.club([]*client.Client{alice})
	ctx, cancel := context.WithTimeout(t.Context(), 4*startPatience)
	defer cancel()
	var files [][]byte
	for i, at := range uploadPlaces {
		p.stop()
		ok(t, p.start(at))
		ok(t, p.ready(ctx))
		file := make([]byte, 3<<20-100*i) // three pieces
		for j := range file {
			file[j] = byte(rand.Uint32())
		}
		files = append(files, file)
		type outcome struct {
			part *content.ExternalPart
			err  error
		}
		done := make(chan outcome, 1)
		go func() {
			part, err := alice.Attach(ctx, uri, client.File{Name: "file.bin"}, bytes.NewReader(file))
			done <- outcome{part, err}
		}()
		if err := p.died(ctx); err != nil {
			t.Fatalf("%s: %v", at, err)
		}
		ok(t, p.start(""))
		ok(t, p.ready(ctx))
		got := <-done // which ctx bounds
		if got.err != nil {
			t.Fatalf("%s: the upload does not go on: %v", at, got.err)
		}
		_, err := alice.Post(ctx, uri, client.Draft{Text: at, Attachments: []*content.ExternalPart{got.part}})
		ok(t, err)
	}
	seen := 0
	until(t, "the messages", func(ctx context.Context) error {
		list, err := alice.Messages(ctx, uri, 0, 100)
		if err != nil || len(list) < len(files) {
			return fmt.Errorf("%d so far: %w", len(list), err)
		}
		return nil
	})
	list, err := alice.Messages(ctx, uri, 0, 100)
	ok(t, err)
	for _, m := range list {
		for _, attached := range m.Attachments {
			var b bytes.Buffer
			if err := alice.ReadAttachment(ctx, m, attached, &b); err != nil || !bytes.Equal(b.Bytes(), files[seen]) {
				t.Errorf("file %d comes back with %d octets: %v", seen, b.Len(), err)
			}
			seen++
		}
	}
	if seen != len(files) {
		t.Errorf("%d files came back, %d were sent", seen, len(files))
	}
	ok(t, alice.Close())
	p.stop()
	began := time.Now()
	report, err := provider.Fsck(ctx, p.cfg)
	ok(t, err)
	for _, finding := range report.Findings {
		t.Errorf("fsck: %s", finding)
	}
	t.Logf("fsck took %s", time.Since(began))
}
