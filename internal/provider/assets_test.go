package provider

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"hubbub/client"
	"hubbub/mimi"
	"hubbub/mimi/content"
	"hubbub/mimi/policy"
)

// attachmentOf waits for a message with a text and gives its only attachment.
func attachmentOf(t *testing.T, c *client.Client, room mimi.RoomURI, text string) (m client.Message, a client.Attachment) {
	t.Helper()
	until(t, "the message "+text, func(ctx context.Context) error {
		list, err := c.Messages(ctx, room, 0, 1000)
		if err != nil {
			return err
		}
		for _, got := range list {
			if got.Text == text && len(got.Attachments) == 1 {
				m, a = got, got.Attachments[0]
				return nil
			}
		}
		return errors.New("not there")
	})
	return m, a
}

// post attaches octets to a message.
func post(t *testing.T, c *client.Client, room mimi.RoomURI, text, name string, octets []byte) *content.ExternalPart {
	t.Helper()
	part, err := c.Attach(t.Context(), room, client.File{Name: name}, bytes.NewReader(octets))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Post(t.Context(), room, client.Draft{Text: text, Attachments: []*content.ExternalPart{part}}); err != nil {
		t.Fatal(err)
	}
	return part
}

// Attachments between two providers, in both directions and by both ways that hide who
// fetches (AST-1, AST-6, AST-8).
func TestAttachments(t *testing.T) {
	w := newWorld(t, "a.localhost", "b.localhost")
	w.start("a.localhost")
	w.start("b.localhost")
	alice, bob := w.device("alice@a.localhost", "phone"), w.device("bob@b.localhost", "phone")
	room, _, err := alice.CreateRoom(t.Context(), client.RoomOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := add(t, alice, room, bob.User()); err != nil {
		t.Fatal(err)
	}
	until(t, "membership", func(ctx context.Context) error {
		info, err := bob.Room(ctx, room)
		if err == nil && !info.Member {
			err = errors.New("not a member")
		}
		return err
	})
	picture := bytes.Repeat([]byte("a picture of a cat "), 150_000) // 2.7 MiB
	post(t, alice, room, "of alice", "../../cat.png", picture)
	m, a := attachmentOf(t, bob, room, "of alice")
	dir := t.TempDir()
	for n := 1; n <= 2; n++ { // the second does not replace the first
		file, err := bob.SaveAttachment(t.Context(), m, a, dir)
		if err != nil {
			t.Fatal(err)
		}
		want := filepath.Join(dir, "cat.png")
		if n == 2 {
			want = filepath.Join(dir, "cat (2).png")
		}
		if got, err := os.ReadFile(file); err != nil || file != want || !bytes.Equal(got, picture) {
			t.Errorf("%s: %v, %d octets", file, err, len(got))
		}
	}
	post(t, bob, room, "of bob", "b.txt", []byte("small"))
	m, a = attachmentOf(t, alice, room, "of bob")
	var got bytes.Buffer
	if err := alice.ReadAttachment(t.Context(), m, a, &got); err != nil || got.String() != "small" {
		t.Errorf("through our own provider, which is the hub: %q, %v", &got, err)
	}
	bob = w.throughGateway(t, bob, room, picture)

	// What is not what was sent, and what lies where nobody keeps files.
	m, a = attachmentOf(t, bob, room, "of alice")
	changed := *a.Part
	changed.ContentHash = bytes.Repeat([]byte{1}, 32)
	if err := bob.ReadAttachment(t.Context(), m, client.Attachment{Part: &changed}, io.Discard); !errors.Is(err, content.ErrAttachment) {
		t.Errorf("another file passes: %v", err)
	}
	elsewhere := *a.Part
	elsewhere.URL = "https://evil.example/x"
	var refused *client.Error
	if err := bob.ReadAttachment(t.Context(), m, client.Attachment{Part: &elsewhere}, io.Discard); !errors.As(err, &refused) || refused.Reason != "policy_denied" {
		t.Errorf("fetched from a stranger: %v", err)
	}
	gone := *a.Part
	gone.URL = "https://a.localhost/assets/aaaaaaaaaaaaaaaaaaaaaaaaaa"
	if err := bob.ReadAttachment(t.Context(), m, client.Attachment{Part: &gone}, io.Discard); !errors.As(err, &refused) || refused.Reason != "not_found" {
		t.Errorf("a file that is not there: %v", err)
	}
}

// throughGateway fetches the attachment of alice again, sealed, with a device that is
// open anew after that.
func (w *world) throughGateway(t *testing.T, bob *client.Client, room mimi.RoomURI, want []byte) *client.Client {
	t.Helper()
	dir := w.devices[len(w.devices)-1]
	if err := bob.Close(); err != nil {
		t.Fatal(err)
	}
	sealed, err := client.Open(t.Context(), dir, &client.Options{Downloads: []policy.DownloadType{policy.DownloadOHTTP}})
	if err != nil {
		t.Fatal(err)
	}
	m, a := attachmentOf(t, sealed, room, "of alice")
	var got bytes.Buffer
	if err := sealed.ReadAttachment(t.Context(), m, a, &got); err != nil || !bytes.Equal(got.Bytes(), want) {
		t.Errorf("through relay and gateway: %d octets, %v", got.Len(), err)
	}
	if err := sealed.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := client.Open(t.Context(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { again.Close() })
	return again
}

// The quota is of the user, and what is refused takes no place.
func TestAttachmentQuota(t *testing.T) {
	w := newWorld(t, "a.localhost")
	cfg := w.cfgs["a.localhost"]
	cfg.Limits.UploadBytes, cfg.Limits.AssetBytesPerUser = 1000, 1500
	w.cfgs["a.localhost"] = cfg
	w.start("a.localhost")
	alice := w.device("alice@a.localhost", "phone")
	room, _, err := alice.CreateRoom(t.Context(), client.RoomOptions{})
	if err != nil {
		t.Fatal(err)
	}
	attach := func(n int) error {
		_, err := alice.Attach(t.Context(), room, client.File{}, bytes.NewReader(make([]byte, n)))
		return err
	}
	reason := func(err error) string {
		var e *client.Error
		if errors.As(err, &e) {
			return e.Reason
		}
		return fmt.Sprint(err)
	}
	if got := reason(attach(1000)); got != "too_large" { // with its tag
		t.Error(got)
	}
	if err := attach(900); err != nil {
		t.Fatal(err)
	}
	if got := reason(attach(900)); got != "quota" {
		t.Error(got)
	}
	files := 0
	err = filepath.WalkDir(filepath.Join(cfg.DataDir, "assets"), func(_ string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files++
		}
		return err
	})
	if err != nil || files != 1 {
		t.Errorf("%d files, %v", files, err)
	}
}
