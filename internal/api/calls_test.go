package api

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"connectrpc.com/connect"

	"hubbub/client/clientpb"
	"hubbub/internal/store"
	"hubbub/mimi"
	"hubbub/mls"
)

// call sends one raw JSON request, as curl would.
func (h *harness) call(token, procedure, body string) (int, string) {
	h.Helper()
	req, err := http.NewRequestWithContext(h.ctx, http.MethodPost, h.server.URL+procedure, strings.NewReader(body))
	h.ok(err)
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", token)
	}
	res, err := h.server.Client().Do(req)
	h.ok(err)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	h.ok(err)
	return res.StatusCode, string(b)
}

var procedures = []string{
	clientpb.ClientServicePublishKeyPackagesProcedure, clientpb.ClientServiceKeyPackageStatusProcedure,
	clientpb.ClientServiceCreateRoomProcedure, clientpb.ClientServiceClaimKeyMaterialProcedure,
	clientpb.ClientServiceSubmitProcedure, clientpb.ClientServiceGetSubmissionProcedure,
	clientpb.ClientServiceListSubmissionsProcedure, clientpb.ClientServiceForgetProcedure,
	clientpb.ClientServiceGetGroupInfoProcedure, clientpb.ClientServiceListRoomsProcedure,
	clientpb.ClientServiceGetRoomProcedure, clientpb.ClientServiceGetHistoryProcedure, clientpb.ClientServiceGetLogProcedure,
}

// H86: whatever is wrong with a token, the answer is the same.
func TestWithoutAValidToken(t *testing.T) {
	h := newHarness(t)
	phone := h.client(alice, "phone")
	before := h.dump()
	_, want := h.call("", procedures[0], "{}")
	for _, procedure := range procedures {
		for _, token := range []string{"", "Bearer", "Bearer ", "Bearer unknown", string(phone), "Basic " + string(phone), "Bearer " + strings.Repeat("x", 100<<10)} {
			status, body := h.call(token[:min(len(token), 8<<10)], procedure, "{}")
			if status != http.StatusUnauthorized || body != want {
				t.Errorf("%s with %.20q: %d %s", procedure, token, status, body)
			}
		}
		if status, body := h.call("Bearer "+string(phone), procedure, "{}"); status == http.StatusUnauthorized {
			t.Errorf("%s with a good token: %d %s", procedure, status, body)
		}
	}
	res, err := h.server.Client().Get(h.server.URL + clientpb.SyncPath)
	h.ok(err)
	res.Body.Close()
	if res.StatusCode != http.StatusUnauthorized {
		t.Errorf("sync without a token: %d", res.StatusCode)
	}
	if after := h.dump(); after != before {
		t.Error("something was kept")
	}
}

// H96: what the operator may do is not to be found where clients are served.
func TestNoAdminForClients(t *testing.T) {
	h := newHarness(t)
	phone := h.client(alice, "phone")
	for _, procedure := range []string{clientpb.AdminServiceAddUserProcedure, clientpb.AdminServiceStatusProcedure,
		clientpb.AdminServiceCreateEnrolmentCodeProcedure, clientpb.AdminServiceListUsersProcedure} {
		if status, _ := h.call("Bearer "+string(phone), procedure, "{}"); status != http.StatusNotFound {
			t.Errorf("%s: %d", procedure, status)
		}
	}
}

// H94: JSON that could be read in two ways, or not at all.
func TestHostileJSON(t *testing.T) {
	h := newHarness(t)
	token := "Bearer " + string(h.client(alice, "phone"))
	before := h.dump()
	for name, body := range map[string]string{
		"not JSON":       "{",
		"twice the key":  `{"room":"a","room":"b"}`,
		"unknown field":  `{"roomm":"a"}`,
		"NaN":            `{"room":"a","fromSeq":NaN}`,
		"negative":       `{"room":"a","fromSeq":-1}`,
		"too large":      `{"room":"a","fromSeq":18446744073709551616}`,
		"lone surrogate": `{"room":"\ud800"}`,
		"deep":           `{"room":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + `}`,
		"wrong type":     `{"room":5}`,
	} {
		if status, answer := h.call(token, clientpb.ClientServiceGetHistoryProcedure, body); status != http.StatusBadRequest {
			t.Errorf("%s: %d %.100s", name, status, answer)
		}
	}
	big := `{"room":"` + strings.Repeat("x", maxCallBytes) + `"}`
	if status, answer := h.call(token, clientpb.ClientServiceGetHistoryProcedure, big); status < 400 || status >= 500 {
		t.Errorf("oversize: %d %.100s", status, answer)
	}
	if after := h.dump(); after != before {
		t.Error("something was kept")
	}
}

// reasonOf reads the reason out of a refusal.
func reasonOf(err error) (connect.Code, clientpb.Reason) {
	var ce *connect.Error
	if !errors.As(err, &ce) {
		return 0, 0
	}
	return ce.Code(), detailOf(ce).Reason
}

// P8: each refusal has a reason of its own and leaves nothing behind.
func TestRefusals(t *testing.T) {
	h := newHarness(t)
	phone, other := h.client(alice, "phone"), h.client(eve, "phone")
	h.room(lobby, 7, []mimi.UserURI{alice}, phone)
	h.room(attic, 7, []mimi.UserURI{eve}, other)
	h.room("mimi://a.localhost/r/listed", 7, []mimi.UserURI{alice})
	h.post(lobby, "one")
	api := h.api(phone)
	ctx := h.ctx
	submit := func(n *clientpb.NewSubmission) func() error {
		return func() error {
			res, err := api.Submit(ctx, connect.NewRequest(&clientpb.SubmitRequest{Submissions: []*clientpb.NewSubmission{n}}))
			if err != nil {
				return err
			}
			d := res.Msg.Results[0].GetError()
			if d == nil {
				return nil
			}
			return withDetail(connect.CodeUnknown, d)
		}
	}
	message := func(room mimi.RoomURI, sender mimi.UserURI) *clientpb.NewSubmission {
		return &clientpb.NewSubmission{Txn: "t", Room: string(room), Kind: clientpb.SubmissionKind_SUBMISSION_KIND_MESSAGE, Body: submitBody(t, sender)}
	}
	update := func(room mimi.RoomURI, epoch uint64) *clientpb.NewSubmission {
		return &clientpb.NewSubmission{Txn: "t", Room: string(room), Kind: clientpb.SubmissionKind_SUBMISSION_KIND_UPDATE, Body: proposalBody(t, epoch)}
	}
	key, err := mls.NewSignatureKey(mls.SuiteX25519AES128SHA256Ed25519, rand.Reader)
	h.ok(err)
	foreign := &mimi.GroupInfoRequest{Credential: mls.BasicCredential([]byte(phone)), PublicKey: []byte("key")}
	h.ok(foreign.Sign(key))
	groupInfo, err := foreign.Marshal()
	h.ok(err)
	claim := &mimi.KeyMaterialRequest{Protocol: mimi.ProtocolMLS10, RequestingUser: eve, TargetUser: bob,
		CipherSuites: []mls.CipherSuite{key.Suite}, Credential: mls.BasicCredential([]byte(phone))}
	h.ok(claim.Sign(key))
	keyMaterial, err := claim.Marshal()
	h.ok(err)

	before := h.dump()
	const none = connect.CodeUnknown // the reason travels in a result
	for _, c := range []struct {
		name   string
		do     func() error
		code   connect.Code
		reason clientpb.Reason
	}{
		{"submit garbage", submit(&clientpb.NewSubmission{Txn: "t", Room: string(lobby), Kind: 1, Body: []byte("rubbish")}), none, clientpb.Reason_REASON_MALFORMED},
		{"submit nothing", submit(&clientpb.NewSubmission{}), none, clientpb.Reason_REASON_MALFORMED},
		{"submit of no kind", submit(&clientpb.NewSubmission{Txn: "t", Room: string(lobby), Body: []byte("x")}), none, clientpb.Reason_REASON_MALFORMED},
		{"submit with a bad txn", submit(&clientpb.NewSubmission{Txn: "a b", Room: string(lobby), Kind: 1}), none, clientpb.Reason_REASON_MALFORMED},
		{"submit with a long txn", submit(&clientpb.NewSubmission{Txn: strings.Repeat("x", maxTxnBytes+1), Room: string(lobby), Kind: 1}), none, clientpb.Reason_REASON_MALFORMED},
		{"submit to no URI", submit(&clientpb.NewSubmission{Txn: "t", Room: "lobby", Kind: 1}), none, clientpb.Reason_REASON_MALFORMED},
		{"submit oversize", submit(&clientpb.NewSubmission{Txn: "t", Room: string(lobby), Kind: 1, Body: make([]byte, maxMessageBytes+1)}), none, clientpb.Reason_REASON_TOO_LARGE},
		{"submit oversize bundle", submit(&clientpb.NewSubmission{Txn: "t", Room: string(lobby), Kind: 2, Body: make([]byte, maxBodyBytes+1)}), none, clientpb.Reason_REASON_TOO_LARGE},
		{"submit for another user", submit(message(lobby, eve)), none, clientpb.Reason_REASON_WRONG_IDENTITY},
		{"submit to another's room", submit(message(attic, alice)), none, clientpb.Reason_REASON_NOT_FOUND},
		{"submit to no room", submit(message("mimi://a.localhost/r/none", alice)), none, clientpb.Reason_REASON_NOT_FOUND},
		{"submit without membership", submit(message("mimi://a.localhost/r/listed", alice)), none, clientpb.Reason_REASON_POLICY_DENIED},
		{"submit of an epoch past", submit(update(lobby, 6)), none, clientpb.Reason_REASON_STALE_EPOCH},
		{"submit of too many", func() error {
			_, err := api.Submit(ctx, connect.NewRequest(&clientpb.SubmitRequest{Submissions: make([]*clientpb.NewSubmission, maxSubmissions+1)}))
			return err
		}, connect.CodeInvalidArgument, clientpb.Reason_REASON_TOO_LARGE},
		{"key packages refused", func() error {
			_, err := api.PublishKeyPackages(ctx, connect.NewRequest(&clientpb.PublishKeyPackagesRequest{KeyPackages: [][]byte{{1}}}))
			return err
		}, connect.CodeInvalidArgument, clientpb.Reason_REASON_MALFORMED},
		{"101 key packages", func() error {
			_, err := api.PublishKeyPackages(ctx, connect.NewRequest(&clientpb.PublishKeyPackagesRequest{KeyPackages: make([][]byte, 101)}))
			return err
		}, connect.CodeInvalidArgument, clientpb.Reason_REASON_TOO_LARGE},
		{"room of another provider", func() error {
			_, err := api.CreateRoom(ctx, connect.NewRequest(&clientpb.CreateRoomRequest{Room: string(remote)}))
			return err
		}, connect.CodeFailedPrecondition, clientpb.Reason_REASON_NOT_HUB},
		{"room that is none", func() error {
			_, err := api.CreateRoom(ctx, connect.NewRequest(&clientpb.CreateRoomRequest{Room: "mimi://a.localhost/r/new"}))
			return err
		}, connect.CodePermissionDenied, clientpb.Reason_REASON_WRONG_IDENTITY},
		{"claim in another's name", func() error {
			_, err := api.ClaimKeyMaterial(ctx, connect.NewRequest(&clientpb.ClaimKeyMaterialRequest{Target: string(bob), Body: keyMaterial}))
			return err
		}, connect.CodePermissionDenied, clientpb.Reason_REASON_WRONG_IDENTITY},
		{"claim of garbage", func() error {
			_, err := api.ClaimKeyMaterial(ctx, connect.NewRequest(&clientpb.ClaimKeyMaterialRequest{Target: string(bob), Body: []byte("x")}))
			return err
		}, connect.CodeInvalidArgument, clientpb.Reason_REASON_MALFORMED},
		{"group info in another's name", func() error {
			_, err := api.GetGroupInfo(ctx, connect.NewRequest(&clientpb.GetGroupInfoRequest{Room: string(lobby), Body: groupInfo}))
			return err
		}, connect.CodePermissionDenied, clientpb.Reason_REASON_WRONG_IDENTITY},
		{"log of another's room", func() error {
			_, err := api.GetLog(ctx, connect.NewRequest(&clientpb.GetLogRequest{Room: string(attic)}))
			return err
		}, connect.CodeNotFound, clientpb.Reason_REASON_NOT_FOUND},
		{"history of no room", func() error {
			_, err := api.GetHistory(ctx, connect.NewRequest(&clientpb.GetHistoryRequest{Room: "mimi://a.localhost/r/none"}))
			return err
		}, connect.CodeNotFound, clientpb.Reason_REASON_NOT_FOUND},
		{"submission of nobody", func() error {
			_, err := api.GetSubmission(ctx, connect.NewRequest(&clientpb.GetSubmissionRequest{Txn: "none"}))
			return err
		}, connect.CodeNotFound, clientpb.Reason_REASON_NOT_FOUND},
		{"forget with a bad txn", func() error {
			_, err := api.Forget(ctx, connect.NewRequest(&clientpb.ForgetRequest{Txns: []string{"\x00"}}))
			return err
		}, connect.CodeInvalidArgument, clientpb.Reason_REASON_MALFORMED},
	} {
		if code, reason := reasonOf(c.do()); code != c.code || reason != c.reason {
			t.Errorf("%s: %v %v, want %v %v", c.name, code, reason, c.code, c.reason)
		}
	}
	if after := h.dump(); after != before {
		t.Errorf("left behind:\n%s\nbefore:\n%s", after, before)
	}
	if len(h.submitted) != 0 {
		t.Errorf("%d writes got through", len(h.submitted))
	}
}

// P13: a room that is not the caller's looks like one that does not exist.
func TestUnknownIsUnauthorised(t *testing.T) {
	h := newHarness(t)
	token := "Bearer " + string(h.client(alice, "phone"))
	h.room(attic, 7, []mimi.UserURI{eve}, h.client(eve, "phone"))
	for _, procedure := range []string{clientpb.ClientServiceGetRoomProcedure, clientpb.ClientServiceGetHistoryProcedure, clientpb.ClientServiceGetLogProcedure} {
		s1, b1 := h.call(token, procedure, fmt.Sprintf(`{"room":%q}`, attic))
		s2, b2 := h.call(token, procedure, `{"room":"mimi://a.localhost/r/nosuch"}`)
		if s1 != s2 || b1 != b2 || s1 != http.StatusNotFound {
			t.Errorf("%s: %d %s and %d %s", procedure, s1, b1, s2, b2)
		}
	}
}

// H88, P4: the same txn again is the same write; with another body it is refused.
func TestSubmitTwice(t *testing.T) {
	h := newHarness(t)
	phone := h.client(alice, "phone")
	h.room(remote, 0, []mimi.UserURI{alice}, phone)
	n := &clientpb.NewSubmission{Txn: "t1", Room: string(remote), Kind: clientpb.SubmissionKind_SUBMISSION_KIND_UPDATE, Body: proposalBody(t, 0)}
	submit := func(n *clientpb.NewSubmission) *clientpb.SubmitResult {
		res, err := h.api(phone).Submit(h.ctx, connect.NewRequest(&clientpb.SubmitRequest{Submissions: []*clientpb.NewSubmission{n}}))
		h.ok(err)
		return res.Msg.Results[0]
	}
	first := submit(n).GetSubmission()
	if first.GetState() != clientpb.SubmissionState_SUBMISSION_STATE_QUEUED || first.GetWaitingFor().GetProvider() != "b.localhost" ||
		first.GetWaitingFor().GetLastError() != "no answer" {
		t.Errorf("first: %v", first)
	}
	stored := h.dump()
	if again := submit(n).GetSubmission(); again.GetRevision() != first.GetRevision() {
		t.Errorf("again: %v", again)
	}
	other := &clientpb.NewSubmission{Txn: "t1", Room: string(remote), Kind: n.Kind, Body: proposalBody(t, 1)}
	if e := submit(other).GetError(); e.GetReason() != clientpb.Reason_REASON_TXN_CONFLICT {
		t.Errorf("another body: %v", e)
	}
	if h.dump() != stored {
		t.Error("repeats changed something")
	}
}

// Nothing overtakes a write to the same room that may be taken later.
func TestSubmitKeepsOrder(t *testing.T) {
	h := newHarness(t)
	phone := h.client(alice, "phone")
	h.room(remote, 0, []mimi.UserURI{alice}, phone)
	h.refusal = mimi.NewProblem(http.StatusServiceUnavailable, mimi.CodeUnavailable, "busy")
	var list []*clientpb.NewSubmission
	for i := range 3 {
		list = append(list, &clientpb.NewSubmission{Txn: fmt.Sprint("t", i), Room: string(remote), Kind: 2, Body: proposalBody(t, uint64(i))})
	}
	res, err := h.api(phone).Submit(h.ctx, connect.NewRequest(&clientpb.SubmitRequest{Submissions: list}))
	h.ok(err)
	for i, r := range res.Msg.Results {
		if r.GetError().GetReason() != clientpb.Reason_REASON_UNAVAILABLE {
			t.Errorf("result %d: %v", i, r)
		}
	}
	if len(h.submitted) != 1 {
		t.Errorf("%d writes were tried", len(h.submitted))
	}
}

// H89, H91: what the caller may not see is passed over, and reading goes on.
func TestLogPages(t *testing.T) {
	h := newHarness(t)
	phone, laptop := h.client(alice, "phone"), h.client(alice, "laptop")
	h.room(lobby, 1, []mimi.UserURI{alice}, phone)
	for i := range 10 {
		switch i {
		case 3:
			h.post(lobby, "in", joins(laptop, 4))
		case 5:
			h.post(lobby, "out", leaves(laptop))
		case 8:
			h.post(lobby, "again", joins(laptop, 9))
		default:
			h.post(lobby, fmt.Sprint("m", i))
		}
	}
	read := func(after uint64, limit uint32) (seqs []uint64, res *clientpb.GetLogResponse) {
		r, err := h.api(laptop).GetLog(h.ctx, connect.NewRequest(&clientpb.GetLogRequest{Room: string(lobby), After: after, Limit: limit}))
		h.ok(err)
		for _, e := range r.Msg.Entries {
			seqs = append(seqs, e.Seq)
		}
		return seqs, r.Msg
	}
	if seqs, r := read(0, 0); fmt.Sprint(seqs) != "[5 6 10]" || r.Next != 10 || r.More {
		t.Errorf("all: %v %v", seqs, r)
	}
	if seqs, r := read(0, 2); fmt.Sprint(seqs) != "[5 6]" || !r.More || r.Next < 6 {
		t.Errorf("two: %v, more %t, next %d", seqs, r.More, r.Next)
	}
	if seqs, r := read(6, 2); fmt.Sprint(seqs) != "[10]" || r.More {
		t.Errorf("rest: %v %v", seqs, r)
	}
	for _, after := range []uint64{10, 11, 1 << 63, 1<<64 - 1} {
		if seqs, r := read(after, 1e9); len(seqs) != 0 || r.More || r.Next != after {
			t.Errorf("after %d: %v %v", after, seqs, r)
		}
	}
}

func TestEnrolment(t *testing.T) {
	h := newHarness(t)
	admin := adminService{h.s}
	_, err := admin.AddUser(h.ctx, connect.NewRequest(&clientpb.AddUserRequest{User: "alice@a.localhost"}))
	h.ok(err)
	if code, _ := reasonOf(second(admin.AddUser(h.ctx, connect.NewRequest(&clientpb.AddUserRequest{User: string(alice)})))); code != connect.CodeAlreadyExists {
		t.Errorf("adding a user twice: %v", code)
	}
	for user, want := range map[string]connect.Code{"nobody@a.localhost": connect.CodeNotFound, "bob@b.localhost": connect.CodeInvalidArgument, "x": connect.CodeInvalidArgument} {
		if code, _ := reasonOf(second(admin.CreateEnrolmentCode(h.ctx, connect.NewRequest(&clientpb.CreateEnrolmentCodeRequest{User: user})))); code != want {
			t.Errorf("code for %s: %v", user, code)
		}
	}
	made, err := admin.CreateEnrolmentCode(h.ctx, connect.NewRequest(&clientpb.CreateEnrolmentCodeRequest{User: "alice@a.localhost"}))
	h.ok(err)
	pub, priv, err := ed25519.GenerateKey(nil)
	h.ok(err)
	token := sha256.Sum256([]byte("token"))
	enrol := func(change func(*clientpb.EnrolRequest)) error {
		req := &clientpb.EnrolRequest{Code: made.Msg.Code, User: string(alice), Device: "phone", SignatureKey: pub, TokenHash: token[:]}
		req.Proof = ed25519.Sign(priv, clientpb.EnrolTBS(req.User, req.Device, req.Code, req.TokenHash))
		change(req)
		_, err := h.api("").Enrol(h.ctx, connect.NewRequest(req))
		return err
	}
	resign := func(r *clientpb.EnrolRequest) {
		r.Proof = ed25519.Sign(priv, clientpb.EnrolTBS(r.User, r.Device, r.Code, r.TokenHash))
	}
	before := h.dump()
	for name, c := range map[string]struct {
		change func(*clientpb.EnrolRequest)
		reason clientpb.Reason
	}{
		"wrong code":      {func(r *clientpb.EnrolRequest) { r.Code = "wrong"; resign(r) }, clientpb.Reason_REASON_CODE_REFUSED},
		"another user":    {func(r *clientpb.EnrolRequest) { r.User = string(eve); resign(r) }, clientpb.Reason_REASON_CODE_REFUSED},
		"foreign user":    {func(r *clientpb.EnrolRequest) { r.User = string(bob); resign(r) }, clientpb.Reason_REASON_WRONG_IDENTITY},
		"no proof":        {func(r *clientpb.EnrolRequest) { r.Proof = nil }, clientpb.Reason_REASON_WRONG_IDENTITY},
		"another's proof": {func(r *clientpb.EnrolRequest) { r.Device = "laptop" }, clientpb.Reason_REASON_WRONG_IDENTITY},
		"device a path":   {func(r *clientpb.EnrolRequest) { r.Device = "../x"; resign(r) }, clientpb.Reason_REASON_MALFORMED},
		"device with NUL": {func(r *clientpb.EnrolRequest) { r.Device = "a\x00"; resign(r) }, clientpb.Reason_REASON_MALFORMED},
		"bidi device":     {func(r *clientpb.EnrolRequest) { r.Device = "a\u202eb"; resign(r) }, clientpb.Reason_REASON_MALFORMED},
		"long device":     {func(r *clientpb.EnrolRequest) { r.Device = strings.Repeat("x", 10<<10); resign(r) }, clientpb.Reason_REASON_TOO_LARGE},
		"long code":       {func(r *clientpb.EnrolRequest) { r.Code = strings.Repeat("x", 1<<20); resign(r) }, clientpb.Reason_REASON_MALFORMED},
		"short key":       {func(r *clientpb.EnrolRequest) { r.SignatureKey = pub[:31] }, clientpb.Reason_REASON_MALFORMED},
		"short token":     {func(r *clientpb.EnrolRequest) { r.TokenHash = token[:31] }, clientpb.Reason_REASON_MALFORMED},
	} {
		if _, reason := reasonOf(enrol(c.change)); reason != c.reason {
			t.Errorf("%s: %v, want %v", name, reason, c.reason)
		}
	}
	if h.dump() != before {
		t.Error("a refused enrolment left something")
	}
	typed := func(r *clientpb.EnrolRequest) {
		r.Code = strings.ToUpper(strings.ReplaceAll(r.Code, "-", " "))
		resign(r)
	}
	h.ok(enrol(typed))
	h.ok(enrol(typed)) // the answer was lost, say
	if _, reason := reasonOf(enrol(func(r *clientpb.EnrolRequest) { r.TokenHash = make([]byte, 32); r.Device = "laptop"; resign(r) })); reason != clientpb.Reason_REASON_CODE_REFUSED {
		t.Errorf("a spent code: %v", reason)
	}
	res, err := admin.ListUsers(h.ctx, connect.NewRequest(&clientpb.ListUsersRequest{}))
	h.ok(err)
	if len(res.Msg.Users) != 1 || len(res.Msg.Users[0].Clients) != 1 {
		t.Errorf("users: %v", res.Msg)
	}
	if h.call("Bearer token", clientpb.ClientServiceListRoomsProcedure, "{}"); strings.Contains(h.dump(), "token\"") {
		t.Error("the token is stored")
	}
}

func second[T any](_ T, err error) error { return err }

func TestStatus(t *testing.T) {
	h := newHarness(t)
	phone := h.client(alice, "phone")
	h.room(lobby, 3, []mimi.UserURI{alice, bob}, phone)
	h.post(lobby, "one")
	h.post(lobby, "two")
	h.ok(h.store.Update(h.ctx, func(tx store.Tx) error {
		return tx.PutFanout(store.FanoutState{Room: lobby, Peer: "b.localhost", Acked: 1, Sent: 2})
	}))
	res, err := adminService{h.s}.Status(h.ctx, connect.NewRequest(&clientpb.StatusRequest{}))
	h.ok(err)
	m := res.Msg
	if len(m.Rooms) != 1 || m.Rooms[0].Head.Seq != 2 || m.Rooms[0].Participants != 2 || len(m.Followers) != 1 || m.Followers[0].Lag != 1 ||
		len(m.Peers) != 1 || m.Peers[0].LastError != "no answer" {
		t.Errorf("status: %v", m)
	}
}

func TestAdminSocketIsPrivate(t *testing.T) {
	path := t.TempDir() + "/s"
	l, err := ListenAdmin(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := ListenAdmin(path); err == nil {
		t.Error("two processes serve one socket")
	}
}

// submitBody is a SubmitMessageRequest that decodes; no group could read it.
func submitBody(t *testing.T, sender mimi.UserURI) []byte {
	t.Helper()
	m := mls.NewMessage(&mls.PrivateMessage{GroupID: []byte("g"), Epoch: 7, ContentType: mls.ContentTypeApplication,
		EncryptedSenderData: []byte("x"), Ciphertext: []byte("y")})
	return marshal(t, &mimi.SubmitMessageRequest{Message: *m, Sender: sender})
}

// proposalBody is a HandshakeBundle with an unsigned proposal of an external
// sender.
func proposalBody(t *testing.T, epoch uint64) []byte {
	t.Helper()
	m := mls.NewMessage(&mls.PublicMessage{Content: mls.FramedContent{GroupID: []byte("g"), Epoch: epoch,
		Sender: mls.Sender{Type: mls.SenderTypeExternal}, ContentType: mls.ContentTypeProposal,
		Proposal: &mls.Proposal{Type: mls.ProposalTypeRemove, Remove: &mls.Remove{Removed: 1}}}})
	return marshal(t, &mimi.HandshakeBundle{Message: *m})
}

func marshal(t *testing.T, m interface{ Marshal() ([]byte, error) }) []byte {
	t.Helper()
	b, err := m.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return b
}
