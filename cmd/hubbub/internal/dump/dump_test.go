package dump

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hubbub/mimi"
	"hubbub/mimi/content"
	"hubbub/mimi/policy"
	"hubbub/mls"
	"hubbub/mls/wire"
)

// vectors reads the official messages, which lie beside the repository.
func vectors(t *testing.T) map[string]string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
	}
	text, err := os.ReadFile(filepath.Join(dir, "..", "shared", "mls-test-vectors", "messages.json"))
	if err != nil {
		if os.Getenv("HUBBUB_REQUIRE_SHARED") != "" {
			t.Fatal(err)
		}
		t.Skipf("the official vectors are not beside the repository: %v", err)
	}
	var all []map[string]string
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	return all[0]
}

func TestDecodeMLSMessages(t *testing.T) {
	v := vectors(t)
	for name, want := range map[string][]string{
		"mls_key_package":       {"mls-message", "KeyPackage:", "CipherSuite: "},
		"mls_welcome":           {"mls-message", "Welcome:"},
		"mls_group_info":        {"mls-message", "GroupInfo:", "Epoch: "},
		"public_message_commit": {"mls-message", "Public:", "commit"},
		"private_message":       {"mls-message", "Private:"},
	} {
		d, err := Decode(Bytes([]byte(v[name])), "")
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var b strings.Builder
		if err := Print(&b, d); err != nil {
			t.Fatal(err)
		}
		for _, w := range want {
			if !strings.Contains(b.String(), w) {
				t.Errorf("%s: no %q in\n%s", name, w, b.String())
			}
		}
	}
}

func TestDecodeContent(t *testing.T) {
	b, err := content.NewText("mimi://b.localhost/u/bob", "mimi://a.localhost/r/x", "hello there").Encode()
	if err != nil {
		t.Fatal(err)
	}
	d, err := Decode(b, "content")
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := Print(&out, d); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "hello there") {
		t.Errorf("the text is missing:\n%s", out.String())
	}
}

func TestDecodeGarbage(t *testing.T) {
	_, err := Decode([]byte("certainly neither MLS nor MIMI"), "")
	if err == nil {
		t.Fatal("garbage was taken for something")
	}
	if !strings.Contains(err.Error(), "not mls-message: ") || !strings.Contains(err.Error(), "not fanout: ") {
		t.Errorf("the error does not say what was tried: %v", err)
	}
	if _, err := Decode(nil, ""); err == nil {
		t.Error("nothing was taken for something")
	}
}

func TestBytes(t *testing.T) {
	raw := []byte{0, 1, 2, 0xff, 0xfe}
	for name, in := range map[string]string{
		"raw": string(raw), "hex": hex.EncodeToString(raw), "hex in lines": "00 01\n02 ff fe\n", "0x": "0x000102fffe",
		"base64": base64.StdEncoding.EncodeToString(raw), "base64url": base64.RawURLEncoding.EncodeToString(raw),
	} {
		if got := Bytes([]byte(in)); string(got) != string(raw) {
			t.Errorf("%s: %x", name, got)
		}
	}
}

// What a room and a leaf carry is decoded where it stands, each component by its name.
func TestDecodeComponents(t *testing.T) {
	d, err := policy.InitialDictionary("mimi://a.localhost/r/x", "club", "mimi://a.localhost/u/alice")
	if err != nil {
		t.Fatal(err)
	}
	whole, err := wire.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	shows := func(b []byte, as string, want ...string) {
		t.Helper()
		got, err := Decode(b, as)
		if err != nil {
			t.Errorf("%s: %v", as, err)
			return
		}
		var out strings.Builder
		if err := Print(&out, got); err != nil {
			t.Fatal(err)
		}
		for _, w := range want {
			if !strings.Contains(out.String(), w) {
				t.Errorf("%s: no %q in\n%s", as, w, out.String())
			}
		}
	}
	shows(whole, "app-data-dictionary", "participant-list (0x0022)", "mimi://a.localhost/u/alice", "metadata (0x0023)", "club", "roles (0x0025)", "base-policy (0x0027)")
	leaf := policy.LeafExtension()
	shows(leaf.Data, "app-data-dictionary", "content-media-types (0x0003)", "text/markdown")
	for _, c := range components {
		data, ok := d.Get(c.id)
		if !ok {
			continue
		}
		shows(data, c.name, c.name)
		if _, err := Decode(append(data, 0), c.name); err == nil {
			t.Errorf("%s: an octet too many is taken", c.name)
		}
	}
	update, err := (&mimi.ParticipantListUpdate{Removed: []uint32{3}}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	shows(update, "participant-list-update", "Removed", "3")
	var out strings.Builder
	err = Print(&out, &Decoded{Kind: "proposal", Value: &mls.Proposal{Type: mls.ProposalTypeAppDataUpdate, AppDataUpdate: &mls.AppDataUpdate{
		Component: mimi.ComponentParticipantList, Op: mls.AppDataUpdateOpUpdate, Data: update}}})
	if err != nil || !strings.Contains(out.String(), "participant-list-update (0x0022)") {
		t.Errorf("an update in a proposal: %v\n%s", err, out.String())
	}
}

func TestDecodeStatusReport(t *testing.T) {
	b, err := content.StatusReport{{Message: content.ID{1, 2}, Status: content.StatusRead}}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	d, err := Decode(b, "")
	if err != nil || d.Kind != "status" {
		t.Errorf("%+v, %v", d, err)
	}
}
