package keymaterial

import (
	"bytes"
	"testing"

	"hubbub/mimi"
)

// A provider that hides its users gives one answer, octet for octet, whether there
// is no consent, consent for another room, or no such user; nothing is used up
// (KM-15, SEC-3).
func TestRefusalsLookTheSame(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.enrol("alice@a.localhost", "phone", 1), w.enrol("bob@b.localhost", "phone", 2)
	b := w.providers["b.localhost"]
	nobody := mimi.UserURI("mimi://b.localhost/u/nob") // as long as bob
	answer := func(target mimi.UserURI, consent Consent) []byte {
		t.Helper()
		b.consent = consent
		got, err := b.service.Claim(t.Context(), "a.localhost", target, w.request(alice, target, nil))
		w.must(err)
		return bytes.ReplaceAll(got, []byte(target), []byte(bob.User))
	}
	for _, c := range []struct {
		hide bool
		want [4]mimi.KeyMaterialUserCode
	}{
		{true, [4]mimi.KeyMaterialUserCode{mimi.KeyMaterialNoConsent, mimi.KeyMaterialNoConsent, mimi.KeyMaterialNoConsent, mimi.KeyMaterialNoConsent}},
		{false, [4]mimi.KeyMaterialUserCode{mimi.KeyMaterialNoConsent, mimi.KeyMaterialNoConsentForRoom, mimi.KeyMaterialNoConsent, mimi.KeyMaterialUserUnknown}},
	} {
		b.service.cfg.HideUsers = c.hide
		answers := [4][]byte{answer(bob.User, Denied), answer(bob.User, DeniedForThisRoom), answer(nobody, Denied), answer(nobody, Granted)}
		for i, a := range answers {
			r, err := mimi.ParseKeyMaterialResponse(bytes.Clone(a))
			w.must(err)
			if r.Status != c.want[i] || len(r.Clients) != 0 {
				t.Errorf("hide %v, case %d: %+v, want status %d and no clients", c.hide, i, r, c.want[i])
			}
			if c.hide && !bytes.Equal(a, answers[0]) {
				t.Errorf("case %d: %x, want %x", i, a, answers[0])
			}
		}
	}
	if n := b.stock(bob); n != 2 {
		t.Errorf("%d packages left, want 2", n)
	}
}
