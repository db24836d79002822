package api

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"connectrpc.com/connect"

	"hubbub/client/clientpb"
	"hubbub/internal/delivery"
	"hubbub/internal/peer"
	"hubbub/internal/store"
	"hubbub/mimi"
	"hubbub/mls"
)

// fakeDeliveries knows what it was told and counts what it is asked.
type fakeDeliveries struct {
	list  []delivery.Provider
	after []delivery.Provider // known once the hub was asked
	asked int
}

func (f *fakeDeliveries) Known(store.ReadTx, *store.RoomRecord) ([]delivery.Provider, error) {
	return f.list, nil
}

func (f *fakeDeliveries) Refresh(context.Context, mimi.RoomURI) error {
	if f.asked++; f.after == nil {
		return errors.New("no answer")
	}
	f.list = f.after
	return nil
}

// TestDelivery: the hub is asked when something is open and only then; its
// silence is not an error and makes nothing known.
func TestDelivery(t *testing.T) {
	h := newHarness(t)
	phone := h.client(alice, "phone")
	h.room(remote, 1, []mimi.UserURI{alice, bob}, phone)
	for _, text := range []string{"one", "two"} {
		h.post(remote, text)
	}
	at := time.UnixMilli(77)
	f := &fakeDeliveries{list: []delivery.Provider{{Domain: "b.localhost", Hub: true, Stored: 2, KnownAt: at}, {Domain: "c.localhost"}}}
	h.s.Deliveries = f
	get := func(seq uint64) *clientpb.GetDeliveryResponse {
		t.Helper()
		res, err := h.api(phone).GetDelivery(h.ctx, connect.NewRequest(&clientpb.GetDeliveryRequest{Room: string(remote), Seq: seq}))
		h.ok(err)
		return res.Msg
	}
	if m := get(2); f.asked != 1 || m.Providers[1].KnownAt != 0 || m.Providers[1].Stored != 0 || m.Providers[0].Stored != 2 ||
		m.AcceptedTimestamp != 1002 || m.HubStatus.GetReachable() {
		t.Errorf("while the hub is away: asked %d, %v", f.asked, m)
	}
	f.after = []delivery.Provider{f.list[0], {Domain: "c.localhost", Stored: 1, KnownAt: at}}
	if m := get(1); f.asked != 2 || m.Providers[1].Stored != 1 || m.Providers[1].KnownAt != 77 {
		t.Errorf("after the hub's word: asked %d, %v", f.asked, m)
	}
	if get(1); f.asked != 2 {
		t.Errorf("asked for what is known: %d times", f.asked)
	}
	if get(2); f.asked != 3 {
		t.Errorf("not asked for what is open: %d times", f.asked)
	}
	room, err := h.api(phone).GetRoom(h.ctx, connect.NewRequest(&clientpb.GetRoomRequest{Room: string(remote)}))
	if err != nil || len(room.Msg.Room.Delivery) != 2 || f.asked != 3 {
		t.Errorf("GetRoom: %v, %v, asked %d", room, err, f.asked)
	}
	stranger := h.client(eve, "phone")
	if _, err := h.api(stranger).GetDelivery(h.ctx, connect.NewRequest(&clientpb.GetDeliveryRequest{Room: string(remote)})); connect.CodeOf(err) != connect.CodeNotFound {
		t.Errorf("a stranger: %v", err)
	}
}

// TestRates: beyond its rate a call does nothing and says when to come again; a
// repeat of what was taken is answered all the same.
func TestRates(t *testing.T) {
	h := newHarness(t)
	now := time.UnixMilli(1_000)
	clock := func() time.Time { return now }
	one := peer.Limit{Rate: 0.1, Burst: 1}
	h.s.Limits = Limits{Posts: peer.NewLimits[mimi.ClientURI]("posts", one, clock), Rooms: peer.NewLimits[mimi.UserURI]("rooms", one, clock),
		Claims: peer.NewLimits[mimi.UserURI]("claims", peer.Limit{Rate: 1, Burst: 100}, clock), ClaimsOfTarget: peer.NewLimits[Claim]("claims", one, clock)}
	refusedWith := func(d *clientpb.ErrorDetail) {
		t.Helper()
		if d.GetReason() != clientpb.Reason_REASON_RATE_LIMITED || d.GetRetryAfterMs() != 10_000 {
			t.Errorf("refused with %v", d)
		}
	}
	phone := h.client(alice, "phone")
	h.room(lobby, 0, []mimi.UserURI{alice}, phone)
	api := h.api(phone)
	submit := func(txn string) *clientpb.SubmitResult {
		t.Helper()
		res, err := api.Submit(h.ctx, connect.NewRequest(&clientpb.SubmitRequest{Submissions: []*clientpb.NewSubmission{message(t, txn, lobby, alice)}}))
		h.ok(err)
		return res.Msg.Results[0]
	}
	if r := submit("1"); r.GetSubmission() == nil {
		t.Fatalf("the first: %v", r)
	}
	before := h.dump()
	refusedWith(submit("2").GetError())
	if h.dump() != before {
		t.Error("the refused write left something behind")
	}
	if r := submit("1"); r.GetSubmission() == nil {
		t.Errorf("the repeat: %v", r)
	}
	now = now.Add(10 * time.Second)
	if r := submit("2"); r.GetSubmission() == nil {
		t.Errorf("later: %v", r)
	}
	for i, want := range []connect.Code{connect.CodeInternal, connect.CodeResourceExhausted} { // the harness has no key material
		_, err := api.ClaimKeyMaterial(h.ctx, connect.NewRequest(&clientpb.ClaimKeyMaterialRequest{Target: string(bob), Body: claimBody(h, alice, phone, bob)}))
		if connect.CodeOf(err) != want {
			t.Errorf("claim %d: %v", i+1, err)
		}
	}
	for i, want := range []connect.Code{connect.CodePermissionDenied, connect.CodeResourceExhausted} {
		_, err := api.CreateRoom(h.ctx, connect.NewRequest(&clientpb.CreateRoomRequest{Room: string(attic), GroupInfo: []byte("x")}))
		if connect.CodeOf(err) != want {
			t.Errorf("room %d: %v", i+1, err)
		}
	}
}

// message is a write that this provider takes.
func message(t *testing.T, txn string, uri mimi.RoomURI, sender mimi.UserURI) *clientpb.NewSubmission {
	return &clientpb.NewSubmission{Txn: txn, Room: string(uri), Kind: clientpb.SubmissionKind_SUBMISSION_KIND_MESSAGE, Body: submitBody(t, sender)}
}

// claimBody is a claim in the name of a client, which gets a key for it.
func claimBody(h *harness, user mimi.UserURI, client mimi.ClientURI, target mimi.UserURI) []byte {
	h.Helper()
	c, err := h.s.byToken(h.ctx, http.Header{"Authorization": {"Bearer " + string(client)}})
	h.ok(err)
	req := &mimi.KeyMaterialRequest{Protocol: mimi.ProtocolMLS10, RequestingUser: user, TargetUser: target,
		CipherSuites: []mls.CipherSuite{mls.SuiteX25519AES128SHA256Ed25519}, Credential: mls.BasicCredential([]byte(client))}
	h.ok(req.Sign(&mls.SignatureKey{Suite: mls.SuiteX25519AES128SHA256Ed25519, Private: h.keys[client].Seed(), Public: c.SignatureKey}))
	return marshal(h.T, req)
}
