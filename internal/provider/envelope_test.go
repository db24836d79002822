package provider

import (
	"testing"

	"hubbub/mimi"
)

// TestEnvelope: what is not set bounds nothing, and what is set does.
func TestEnvelope(t *testing.T) {
	for _, none := range []RoomsConfig{{}, RoomsConfig{}.withDefaults()} {
		if e := none.envelope(); e != nil {
			t.Errorf("%+v: %+v", none, e)
		}
	}
	e := RoomsConfig{Persistent: "no", Pseudonyms: "yes", Frozen: []string{"logging"}}.envelope()
	if e == nil || e.Persistent == nil || *e.Persistent || e.Discoverable != nil || e.Pseudonyms == nil || !*e.Pseudonyms ||
		len(e.Frozen) != 1 || e.Frozen[0] != mimi.ComponentLoggingPolicy {
		t.Errorf("%+v", e)
	}
}
