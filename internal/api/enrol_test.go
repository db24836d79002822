package api

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"testing"
	"time"

	"connectrpc.com/connect"

	"hubbub/client/clientpb"
	"hubbub/internal/peer"
	"hubbub/internal/store"
	"hubbub/mimi"
)

// enrol asks for a device as an app would.
func (h *harness) enrol(user mimi.UserURI, device, code string) error {
	h.Helper()
	pub, priv, err := ed25519.GenerateKey(rand.Reader)
	h.ok(err)
	token := sha256.Sum256(pub)
	req := &clientpb.EnrolRequest{Code: code, User: string(user), Device: device, SignatureKey: pub, TokenHash: token[:]}
	req.Proof = ed25519.Sign(priv, clientpb.EnrolTBS(req.User, req.Device, req.Code, req.TokenHash))
	_, err = h.api("").Enrol(h.ctx, connect.NewRequest(req))
	return err
}

// code makes an enrolment code.
func (h *harness) code(user mimi.UserURI, code string) {
	h.Helper()
	h.ok(h.s.Store.Update(h.ctx, func(tx store.Tx) error {
		return tx.PutEnrolment(hashCode(code), user, time.Now().Add(time.Hour))
	}))
}

func (h *harness) refused(err error, code connect.Code, reason clientpb.Reason, message string, after time.Duration) {
	h.Helper()
	ce, _ := err.(*connect.Error)
	if ce == nil {
		h.Errorf("no refusal: %v", err)
		return
	}
	d := detailOf(ce)
	if ce.Code() != code || d.Reason != reason || d.Message != message || d.RetryAfterMs != uint64(after.Milliseconds()) {
		h.Errorf("refused with %v, %v", ce, d)
	}
}

// TestEnrolmentFailures: after so many codes that are not good nobody can try for
// that user, nor from that address, until time has passed; good ones cost nothing.
func TestEnrolmentFailures(t *testing.T) {
	h := newHarness(t)
	h.client(alice, "phone")
	h.client(eve, "phone")
	now := time.UnixMilli(1_000)
	clock := func() time.Time { return now }
	rate := peer.Limit{Rate: 0.1, Burst: 3}
	wrong := func(user mimi.UserURI) error { return h.enrol(user, "x", "wrong") }
	const refusedUser, refusedHost = "too many attempts of this user", "too many attempts from here"

	h.s.Limits = Limits{EnrolmentsOfUser: peer.NewLimits[mimi.UserURI]("attempts of this user", rate, clock)}
	for i := range 5 { // good ones
		code := fmt.Sprint("good", i)
		h.code(alice, code)
		h.ok(h.enrol(alice, code, code))
	}
	for range 3 {
		h.refused(wrong(alice), connect.CodePermissionDenied, clientpb.Reason_REASON_CODE_REFUSED, "the code is not valid for this user", 0)
	}
	h.code(alice, "late")
	before := h.dump()
	for range 2 { // a good code waits as well: otherwise guessing would go on
		h.refused(h.enrol(alice, "late", "late"), connect.CodeResourceExhausted, clientpb.Reason_REASON_RATE_LIMITED, refusedUser, 10*time.Second)
	}
	if h.dump() != before {
		t.Error("a refused enrolment left something behind")
	}
	h.refused(wrong(eve), connect.CodePermissionDenied, clientpb.Reason_REASON_CODE_REFUSED, "the code is not valid for this user", 0)
	now = now.Add(10 * time.Second)
	h.ok(h.enrol(alice, "late", "late"))

	h.s.Limits = Limits{EnrolmentsFrom: peer.NewLimits[string]("attempts from here", rate, clock)}
	for _, user := range []mimi.UserURI{alice, eve, "mimi://a.localhost/u/nobody"} {
		h.refused(wrong(user), connect.CodePermissionDenied, clientpb.Reason_REASON_CODE_REFUSED, "the code is not valid for this user", 0)
	}
	h.refused(wrong(alice), connect.CodeResourceExhausted, clientpb.Reason_REASON_RATE_LIMITED, refusedHost, 10*time.Second)
}

// TestDevices: a user enrols as many devices as allowed; one more is refused, and
// its code stays good.
func TestDevices(t *testing.T) {
	h := newHarness(t)
	h.client(alice, "phone")
	h.s.Limits = Limits{Devices: 3}
	for _, name := range []string{"a", "b", "c"} {
		h.code(alice, name)
	}
	h.ok(h.enrol(alice, "a", "a"))
	h.ok(h.enrol(alice, "b", "b"))
	before := h.dump()
	for range 2 {
		h.refused(h.enrol(alice, "c", "c"), connect.CodeResourceExhausted, clientpb.Reason_REASON_QUOTA, "the user has 3 devices, which is the limit", 0)
	}
	if h.dump() != before {
		t.Error("a refused enrolment left something behind")
	}
	h.s.Limits.Devices = 4
	h.ok(h.enrol(alice, "c", "c"))
}
