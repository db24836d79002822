package room

import (
	"strings"
	"testing"

	"hubbub/mimi"
	"hubbub/mls"
)

// TestMinimalMetadata: rooms whose leaves do not name their users are not hosted, and who
// tries is told so (D-50).
func TestMinimalMetadata(t *testing.T) {
	env := &Env{Verifier: &mimi.Verifier{AllowBasic: true}}
	_, err := env.identify(&mls.LeafNode{Credential: mls.Credential{Type: 0xf001}}, &clock{})
	if r, ok := asRefusal(err); !ok || !strings.Contains(r.Description, "minimal metadata") {
		t.Errorf("%v", err)
	}
}
