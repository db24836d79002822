package conformance

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"hubbub/internal/fakepeer"
	"hubbub/mimi"
	"hubbub/mls"
)

// row is a line of the hostile-input catalogue at work: a request, what is answered,
// and nothing in the database changes.
type row struct {
	id, what string
	ask      func(context.Context) (*fakepeer.Reply, error)
	status   int
	code     string // of the refusal, or of the answer in the body
}

// dump is every table of the target but the audit log and what the engine keeps for
// itself.
func (s *stage) dump() string {
	s.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(s.cfg.DataDir, "hubbub.db")+"?_pragma=query_only(1)&_pragma=busy_timeout(5000)")
	s.ok(err)
	defer db.Close()
	tx, err := db.Begin()
	s.ok(err)
	defer tx.Rollback()
	column := func(query string) (list []string) {
		rows, err := tx.Query(query)
		s.ok(err)
		defer rows.Close()
		for rows.Next() {
			var v string
			s.ok(rows.Scan(&v))
			list = append(list, v)
		}
		s.ok(rows.Err())
		return list
	}
	var out strings.Builder
	for _, table := range column("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY name") {
		if table == "audit" || table == "counters" || table == "goose_db_version" {
			continue
		}
		columns := strings.Join(column("SELECT 'quote(' || name || ')' FROM pragma_table_info('"+table+"') ORDER BY cid"), " || ' ' || ")
		for _, line := range column("SELECT " + columns + " AS line FROM " + table + " ORDER BY line") {
			fmt.Fprintln(&out, table, line)
		}
	}
	return out.String()
}

// rest waits until the target writes nothing more, and says what it holds.
func (s *stage) rest() string {
	s.Helper()
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(30 * time.Millisecond)
	defer tick.Stop()
	for before, same := "", 0; ; {
		now := s.dump()
		if same++; now != before {
			before, same = now, 0
		}
		if same == 10 {
			return now
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			s.Fatal("the target does not come to rest")
		}
	}
}

// inBody is the code that a MIMI body answers with.
func inBody(e mimi.Endpoint, body []byte) string {
	switch e {
	case mimi.EndpointUpdate:
		if a, err := mimi.ParseUpdateRoomResponse(body); err == nil {
			return []string{"success", "wrongEpoch", "notAllowed", "invalidProposal"}[a.Code]
		}
	case mimi.EndpointSubmitMessage:
		if a, err := mimi.ParseSubmitMessageResponse(body); err == nil {
			return []string{"accepted", "notAllowed", "epochTooOld"}[a.Code]
		}
	case mimi.EndpointGroupInfo:
		if a, err := mimi.ParseGroupInfoResponse(body); err == nil {
			return []string{"", "success", "notAuthorized", "noSuchRoom"}[a.Status]
		}
	case mimi.EndpointIdentifierQuery:
		if a, err := mimi.ParseIdentifierResponse(body); err == nil {
			return []string{"success", "notFound", "ambiguous", "forbidden", "unsupportedField"}[a.Code]
		}
	case mimi.EndpointKeyMaterial:
		if a, err := mimi.ParseKeyMaterialResponse(body); err == nil {
			return []string{"success", "partialSuccess", "incompatibleProtocol", "noCompatibleMaterial", "userUnknown", "noConsent", "noConsentForThisRoom", "userDeleted"}[a.Status]
		}
	}
	return "?"
}

// Each line of the catalogue that a provider with a certificate can try gets its own
// answer, and every table is as it was (P8).
func TestHostileInput(t *testing.T) {
	st := newStage(t)
	s, err := newSession(t.Context(), func() Config { c := st.ask; c.Wait = 30 * time.Second; return c }())
	st.ok(err)
	defer s.peer.Close()
	st.ok(s.visit(t.Context()))
	st.ok(st.alice.Close()) // or what she acknowledges is stored in between
	before := st.rest()
	seen := map[string]bool{}
	for _, r := range s.hostileRows() {
		t.Run(r.id+" "+r.what, func(t *testing.T) {
			seen[r.id] = true
			reply, err := r.ask(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			code := reply.Code
			if reply.Status == 200 {
				for _, e := range append(slices.Clone(core), mimi.EndpointIdentifierQuery) {
					if code = inBody(e, reply.Body); strings.Contains(" "+r.code+" ", " "+code+" ") {
						break
					}
				}
			}
			if reply.Status != r.status || !strings.Contains(" "+r.code+" ", " "+code+" ") && r.code != "" {
				t.Errorf("answered %d %s, want %d %s", reply.Status, code, r.status, r.code)
			}
			if after := st.dump(); after != before {
				t.Errorf("the tables changed: %s", firstChange(before, after))
				before = st.rest()
			}
		})
	}
	for _, c := range hostileElsewhere {
		for id := range strings.FieldsSeq(c.ids) {
			seen[id] = true
		}
	}
	everyHostileLine(t, seen)
}

func firstChange(before, after string) string {
	had := map[string]bool{}
	for _, line := range strings.Split(before, "\n") {
		had[line] = true
	}
	for _, line := range strings.Split(after, "\n") {
		if !had[line] {
			return fmt.Sprintf("%.300s", line)
		}
	}
	return "rows are gone"
}

// everyHostileLine holds the rows against the catalogue.
func everyHostileLine(t *testing.T, seen map[string]bool) {
	text, err := os.ReadFile("../../../shared/reliability.md")
	if err != nil {
		if os.Getenv("HUBBUB_REQUIRE_SHARED") != "" {
			t.Fatal(err)
		}
		t.Skip("the catalogue does not lie beside the repository")
	}
	_, section, _ := strings.Cut(string(text), "\n## 4.")
	section, _, _ = strings.Cut(section, "\nCVE ledger")
	count := 0
	for _, m := range regexp.MustCompile(`(?:^- |\n- |[.;)] )(H[0-9]{2}) `).FindAllStringSubmatch(section, -1) {
		if count++; !seen[m[1]] {
			t.Errorf("%s has neither a row nor a reason", m[1])
		}
	}
	if count < 90 {
		t.Errorf("only %d lines were found in the catalogue", count)
	}
}

// hostileElsewhere are lines whose test has to stand elsewhere, and those that have
// none, with the reason.
var hostileElsewhere = []struct{ ids, test, why string }{
	{"H01 H02 H07", "internal/federation/hostile_test.go:TestTLSRefusals", ""},
	{"H08 H11", "internal/conformance/hostile_http2_test.go:TestHostileHTTP2", ""},
	{"H09 H10", "internal/conformance/hostile_http2_test.go:TestHostileHandshakes", ""},
	{"H15", "internal/fakepeer/follower_test.go:TestLyingFollower", ""},
	{"H24", "internal/federation/federation_test.go:TestAliveAndAllowed", ""},
	{"H30 H31", "internal/provider/peers_test.go:TestPeerClaims", ""},
	{"H32", "internal/keymaterial/keymaterial_test.go:TestClaimRefuses", ""},
	{"H35 H61", "internal/hub/hub_test.go:TestRepeatGetsTheSameAnswer", ""},
	{"H36", "internal/hub/hub_test.go:TestOneCommitPerEpoch", ""},
	{"H39 H42 H43 H44 H45", "mls/hostile_test.go:TestHostileHandshakes", ""},
	{"H40 H55", "internal/room/story_test.go:TestTranscripts", ""},
	{"H47", "mls/tree_test.go:TestHostileTrees", ""},
	{"H52", "internal/room/limits_test.go:TestPendingProposals", ""},
	{"H54", "internal/room/limits_test.go:TestUsersOfARoom", ""},
	{"H62", "internal/hub/frank_test.go:TestNoFrank", ""},
	{"H64", "internal/fakepeer/follower_test.go:TestLyingFollower", ""},
	{"H65", "internal/provider/moderation_test.go:TestReportBetweenProviders", ""},
	{"H66 H67 H68 H69 H70 H71 H72 H73", "internal/fakepeer/hub_test.go:TestLyingHub", ""},
	{"H74", "", "a Welcome goes to the device whose KeyPackage it names: consent was asked when that was handed out (limits.md)"},
	{"H77", "internal/hub/hub_test.go:TestGroupInfo", ""},
	{"H85", "internal/federation/client_test.go:TestRubbishDirectory", ""},
	{"H86", "internal/api/calls_test.go:TestWithoutAValidToken", ""},
	{"H87", "", "there are no passwords"},
	{"H88", "internal/api/calls_test.go:TestSubmitTwice", ""},
	{"H89 H91", "internal/api/calls_test.go:TestLogPages", ""},
	{"H90", "internal/api/sync_test.go:TestSlowReaderIsCutAndResumes", ""},
	{"H92 H97", "internal/keymaterial/keymaterial_test.go:TestPublishRefuses", ""},
	{"H93 H94", "internal/api/calls_test.go:TestHostileJSON", ""},
	{"H95", "internal/asset/http_test.go:", ""},
	{"H96", "internal/api/calls_test.go:TestNoAdminForClients", ""},
}

// What is said to be tested elsewhere is.
func TestHostileElsewhere(t *testing.T) {
	for _, c := range hostileElsewhere {
		if (c.test == "") == (c.why == "") {
			t.Errorf("%s: a test or a reason", c.ids)
		}
		file, name, _ := strings.Cut(c.test, ":")
		if file == "" {
			continue
		}
		text, err := os.ReadFile("../../" + file)
		if err != nil || !bytes.Contains(text, []byte("\nfunc "+name)) {
			t.Errorf("%s: there is no %s (%v)", c.ids, c.test, err)
		}
	}
}

// to makes a row's request to an endpoint.
func (s *session) to(e mimi.Endpoint, id string, body []byte) func(context.Context) (*fakepeer.Reply, error) {
	return func(ctx context.Context) (*fakepeer.Reply, error) { return s.ask(ctx, e, id, body) }
}

// like is an update that nobody would refuse for its body, with another envelope.
func (s *session) like(change func(*fakepeer.Outgoing)) func(context.Context) (*fakepeer.Reply, error) {
	return func(ctx context.Context) (*fakepeer.Reply, error) { return s.update(ctx, change) }
}

func (s *session) hostileRows() (rows []row) {
	rows = append(rows, s.hostileEnvelopes()...)
	for _, b := range s.samples() {
		for id, spoil := range map[string]func(sample) []spoiled{"H16": cutOrLonger, "H17": hugeLength, "H18": longLength} {
			for _, m := range spoil(b) {
				rows = append(rows, row{id, string(b.endpoint) + " " + m.what, s.to(b.endpoint, b.id, m.body), 400, ""})
			}
		}
	}
	rows = append(rows, s.hostileClaims()...)
	rows = append(rows, s.hostileUpdates()...)
	rows = append(rows, s.hostileMessages()...)
	rows = append(rows, s.hostilePeople()...)
	return append(rows, s.hostileReports()...)
}

func (s *session) hostileEnvelopes() []row {
	b := s.sample(mimi.EndpointUpdate)
	prefix, _, _ := strings.Cut(s.offered[b.endpoint], "{")
	at := func(path string) func(*fakepeer.Outgoing) {
		return func(o *fakepeer.Outgoing) { o.URL = prefix + path }
	}
	header := func(k, v string) func(*fakepeer.Outgoing) {
		return func(o *fakepeer.Outgoing) { o.Header = http.Header{k: {v}} }
	}
	post := s.sample(mimi.EndpointSubmitMessage)
	info := s.sample(mimi.EndpointGroupInfo)
	return []row{
		{"H03", "another provider's From", s.like(func(o *fakepeer.Outgoing) { o.From = "mimi@c.localhost" }), 403, mimi.CodeFromNotProven},
		{"H04", "no From", s.like(func(o *fakepeer.Outgoing) { o.Bare = true }), 400, mimi.CodeBadFrom},
		{"H05", "From in upper case", s.like(func(o *fakepeer.Outgoing) { o.From = "mimi@B.localhost" }), 400, mimi.CodeBadFrom},
		{"H06", "another host", s.like(func(o *fakepeer.Outgoing) { o.Host = "z.localhost" }), 421, mimi.CodeMisdirected},
		{"H12", "unknown path", s.like(func(o *fakepeer.Outgoing) { o.URL = "https://" + string(s.target) + "/v1/reboot/x" }), 404, mimi.CodeNotFound},
		{"H12", "another method", s.like(func(o *fakepeer.Outgoing) { o.Method = http.MethodPut }), 405, mimi.CodeMethod},
		{"H13", "gzip", s.like(header("Content-Encoding", "gzip")), 415, ""},
		{"H14", "9 MiB", s.like(func(o *fakepeer.Outgoing) { o.Body = make([]byte, 9<<20) }), 413, mimi.CodeTooLarge},
		{"H20", "protocol 255", s.to(post.endpoint, post.id, post.with(0, 255)), 400, mimi.CodeUnsupported},
		{"H20", "protocol 0", s.to(info.endpoint, info.id, info.with(0, 0)), 400, mimi.CodeUnsupported},
		{"H21", "a NUL", s.like(at(url.QueryEscape(b.id + "\x00"))), 400, mimi.CodeBadURI},
		{"H21", "user info", s.like(at(url.QueryEscape("mimi://me@a.localhost/r/x"))), 400, mimi.CodeBadURI},
		{"H22", "a raw slash", s.like(at("mimi:/a.localhost/r/x")), 400, mimi.CodeBadURI},
		{"H23", "encoded twice", s.like(at(url.QueryEscape(url.QueryEscape(b.id)))), 400, mimi.CodeBadURI},
	}
}

func (s *session) hostileClaims() []row {
	c, user := s.client("hostile", "phone"), s.cfg.User
	km := func(id, what string, status int, code string, target mimi.UserURI, change func(*mimi.KeyMaterialRequest)) row {
		return row{id, what, s.to(mimi.EndpointKeyMaterial, string(target), s.claim(c, target, "", change)), status, code}
	}
	raw := s.claim(c, user, "", nil)
	suites := bytes.Index(raw, []byte{2, 0, 1})
	forged := bytes.Clone(raw)
	forged[len(forged)-1] ^= 1
	direct := func(id, what string, status int, code string, body []byte) row {
		return row{id, what, s.to(mimi.EndpointKeyMaterial, string(user), body), status, code}
	}
	return []row{
		direct("H19", "20,000 suites", 400, mimi.CodeMalformed, append(append(append(bytes.Clone(raw[:suites]), 0x80, 0, 0x9c, 0x40), make([]byte, 40_000)...), raw[suites+3:]...)),
		{"H23", "path and body differ", s.to(mimi.EndpointKeyMaterial, "mimi://a.localhost/u/other", raw), 400, mimi.CodeIDMismatch},
		km("H20", "protocol 2", 200, "incompatibleProtocol", user, nil).with(append(bytes.Clone(marshal(&mimi.KeyMaterialRequest{Protocol: 2, RequestingUser: c.User, TargetUser: user})), 1), s),
		km("H25", "for a user of another provider", 200, "noConsent", user, func(k *mimi.KeyMaterialRequest) { k.RequestingUser = "mimi://c.localhost/u/x" }),
		km("H26", "an unknown user", 200, "noConsent userUnknown", s.userURI("nobody"), nil),
		km("H26", "a user who has not consented", 200, "noConsent", user, nil),
		direct("H27", "no suites", 400, mimi.CodeMalformed, append(append(bytes.Clone(raw[:suites]), 0), raw[suites+3:]...)),
		direct("H28", "another signature", 403, mimi.CodeBadSignature, forged),
		km("H29", "another's credential", 200, "noConsent", user, func(k *mimi.KeyMaterialRequest) { k.Credential = s.client("x", "y").Credential() }),
	}
}

// with gives a row another body.
func (r row) with(body []byte, s *session) row {
	r.ask = s.to(mimi.EndpointKeyMaterial, string(s.cfg.User), body)
	return r
}

func (s *session) hostileUpdates() []row {
	g := s.guest
	g.catchUp()
	update := func(id, what string, status int, code string, body []byte) row {
		return row{id, what, s.to(mimi.EndpointUpdate, string(g.uri), body), status, code}
	}
	commit := g.client.Commit()
	of := func(change func(*mimi.HandshakeBundle)) []byte { return g.changed(commit, change) }
	epoch := func(e uint64) []byte {
		return of(func(b *mimi.HandshakeBundle) {
			m := *b.Message.Public
			m.Content.Epoch = e
			b.Message.Public, b.Message.Raw = &m, nil
		})
	}
	add := g.client.Add(s.client("added", "phone").KeyPackage())
	ext := g.client.Group.Context().Extensions.Without(mls.ExtensionTypeExternalSenders)
	list := g.client.Participants()
	own := uint32(list.Index(g.client.User))
	kp := s.client("unlisted", "phone").KeyPackage()
	proposal := g.client.Propose(mls.Proposal{Type: mls.ProposalTypeRemove, Remove: &mls.Remove{Removed: g.client.Group.OwnLeaf()}})
	none := mimi.RoomURI("mimi://a.localhost/r/none")
	rows := []row{
		update("H33", "a past epoch", 200, "wrongEpoch", epoch(0)),
		update("H34", "an epoch to come", 200, "wrongEpoch", epoch(1000)),
		update("H37", "a KeyPackage", 400, "", append(marshal(&mls.Message{Version: mls.MLS10, WireFormat: mls.WireFormatKeyPackage, KeyPackage: kp}), 0)),
		update("H37", "an application message", 400, "", message(g.client.Post("x"))),
		update("H38", "another signature", 200, "notAllowed", of(func(b *mimi.HandshakeBundle) {
			m := *b.Message.Public
			m.Auth.Signature = bytes.Clone(m.Auth.Signature)
			m.Auth.Signature[0] ^= 1
			b.Message.Public, b.Message.Raw = &m, nil
		})),
		update("H41", "an Add of nobody who is listed", 200, "notAllowed", g.client.Commit(mls.Proposal{Type: mls.ProposalTypeAdd, Add: &mls.Add{KeyPackage: *kp}})),
		update("H41", "a role for oneself", 200, "notAllowed", g.client.Commit(listUpdate(&mimi.ParticipantListUpdate{ChangedRoles: []mimi.RoleChange{{UserIndex: own, Role: 3}}}))),
		update("H46", "another signer", 200, "notAllowed", of(func(b *mimi.HandshakeBundle) { b.GroupInfo.Full.Signer++ })),
		update("H46", "another epoch", 200, "notAllowed", of(func(b *mimi.HandshakeBundle) { b.GroupInfo.Full.GroupContext.Epoch++ })),
		update("H48", "a tree to be fetched", 200, "notAllowed", of(func(b *mimi.HandshakeBundle) {
			b.RatchetTree = mimi.RatchetTreeOption{Representation: mimi.TreeHTTPSURI, URL: "https://a.localhost/tree"}
		})),
		update("H49", "a partial GroupInfo with another signature", 200, "notAllowed", of(func(b *mimi.HandshakeBundle) {
			full := b.GroupInfo.Full
			b.GroupInfo = mimi.GroupInfoOption{Partial: &mimi.PartialGroupInfo{Extensions: full.Extensions, Signature: make([]byte, len(full.Signature))}}
		})),
		update("H49", "a partial GroupInfo with another extension", 200, "notAllowed", of(func(b *mimi.HandshakeBundle) {
			full := b.GroupInfo.Full
			b.GroupInfo = mimi.GroupInfoOption{Partial: &mimi.PartialGroupInfo{
				Extensions: full.Extensions.Set(0xf7f7, []byte("x")), Signature: full.Signature}}
		})),
		update("H50", "no Welcome", 200, "notAllowed", g.changed(add, func(b *mimi.HandshakeBundle) { b.Welcome = nil })),
		update("H51", "a commit among proposals", 400, "", g.changed(proposal, func(b *mimi.HandshakeBundle) {
			other, err := mimi.ParseHandshakeBundle(bytes.Clone(commit))
			must(err)
			b.MoreProposals = append(b.MoreProposals, other.Message)
		})),
		update("H53", "the hub put out", 200, "notAllowed invalidProposal", g.client.Commit(mls.Proposal{
			Type: mls.ProposalTypeGroupContextExtensions, GroupContextExtensions: &mls.GroupContextExtensions{Extensions: ext}})),
		{"H56", "a room that is not there", s.to(mimi.EndpointUpdate, string(none), commit), 404, mimi.CodeNoSuchRoom},
		{"H56", "another provider's room", s.to(mimi.EndpointUpdate, "mimi://c.localhost/r/x", commit), 404, mimi.CodeNoSuchRoom},
	}
	g.client.Drop()
	body, _ := s.groupInfoRequest(g.client, func(r *mimi.GroupInfoRequest) { r.Signature[0] ^= 1 })
	zero, _ := s.groupInfoRequest(g.client, func(r *mimi.GroupInfoRequest) { r.PublicKey = make([]byte, 32); must(r.Sign(g.client.Key())) })
	stranger, _ := s.groupInfoRequest(s.client("coder", "phone"), func(r *mimi.GroupInfoRequest) { r.JoiningCode = []byte("guess"); must(r.Sign(g.client.Key())) })
	return append(rows,
		row{"H75", "another signature", s.to(mimi.EndpointGroupInfo, string(g.uri), body), 200, "notAuthorized"},
		row{"H75", "an HPKE key of zeros", s.to(mimi.EndpointGroupInfo, string(g.uri), zero), 200, "notAuthorized"},
		row{"H76", "a code that was guessed", s.to(mimi.EndpointGroupInfo, string(g.uri), stranger), 200, "notAuthorized"},
	)
}

func (s *session) hostileMessages() []row {
	g := s.guest
	submit := func(id, what string, status int, code string, change func(*mimi.SubmitMessageRequest, *mls.PrivateMessage)) row {
		req, err := mimi.ParseSubmitMessageRequest(g.client.Post(what))
		must(err)
		m := *req.Message.Private
		change(req, &m)
		req.Message.Private, req.Message.Raw = &m, nil
		return row{id, what, s.to(mimi.EndpointSubmitMessage, string(g.uri), marshal(req)), status, code}
	}
	// The content type stands behind version, format, group and epoch; no library
	// writes another one there.
	handshake := g.client.Post("a handshake")
	handshake[1+4+1+len(g.client.Group.GroupID())+8] = byte(mls.ContentTypeCommit)
	type request = mimi.SubmitMessageRequest
	type private = mls.PrivateMessage
	return []row{
		{"H57", "a handshake", s.to(mimi.EndpointSubmitMessage, string(g.uri), handshake), 400, ""},
		submit("H58", "an epoch that is over", 200, "epochTooOld", func(_ *request, m *private) { m.Epoch = 0 }),
		submit("H58", "an epoch to come", 200, "notAllowed", func(_ *request, m *private) { m.Epoch += 5 }),
		submit("H59", "another group", 200, "notAllowed", func(_ *request, m *private) { m.GroupID = []byte("mimi://a.localhost/g/other") }),
		submit("H60", "another provider's user", 200, "notAllowed", func(r *request, _ *private) { r.Sender = "mimi://c.localhost/u/x" }),
		submit("H60", "the hub's user", 200, "notAllowed", func(r *request, _ *private) { r.Sender = s.cfg.User }),
		submit("H60", "a user who is not in the room", 200, "notAllowed", func(r *request, _ *private) { r.Sender = s.client("nobody", "x").User }),
		submit("H63", "100 KiB of ciphertext", 200, "notAllowed", func(_ *request, m *private) { m.Ciphertext = make([]byte, 100<<10) }),
	}
}

// hostilePeople are the endpoints that are about users.
func (s *session) hostilePeople() []row {
	domain := string(s.target)
	consent := func(id, what string, e mimi.Endpoint, status int, entry *mimi.ConsentEntry) row {
		return row{id, what, s.to(e, domain, marshal(entry)), status, ""}
	}
	foreign := mimi.UserURI("mimi://c.localhost/u/x")
	asks := func(from, to mimi.UserURI) *mimi.ConsentEntry {
		return &mimi.ConsentEntry{Operation: mimi.ConsentRequest, Requester: from, Target: to}
	}
	grants := func(from, to mimi.UserURI, packages ...mls.KeyPackage) *mimi.ConsentEntry {
		return &mimi.ConsentEntry{Operation: mimi.ConsentGrant, Requester: to, Target: from, KeyPackages: packages}
	}
	cancel := asks(s.userOf("h"), s.cfg.User)
	cancel.Operation = mimi.ConsentCancel
	own := s.client("h", "phone")
	other := *s.client("h-other", "phone").KeyPackage()
	query := func(what string, status int, code string, elements ...mimi.QueryElement) row {
		return row{"H80", what, s.to(mimi.EndpointIdentifierQuery, domain, marshal(&mimi.IdentifierRequest{Elements: elements})), status, code}
	}
	many := make([]mimi.QueryElement, 256)
	for i := range many {
		many[i] = element(mimi.SearchNick, "", "x")
	}
	tooMany := append([]byte{0x40 | byte(1000>>8), byte(1000 & 0xff)}, bytes.Repeat([]byte{2, 2, 'x', 'y'}, 250)...)
	return []row{
		consent("H78", "a request of another provider's user", mimi.EndpointRequestConsent, 403, asks(foreign, s.cfg.User)),
		consent("H78", "a request to another provider's user", mimi.EndpointRequestConsent, 403, asks(s.userOf("h"), foreign)),
		consent("H78", "a decision of another provider's user", mimi.EndpointUpdateConsent, 403, grants(foreign, s.cfg.User)),
		consent("H78", "a decision about another provider's user", mimi.EndpointUpdateConsent, 403, grants(s.userOf("h"), foreign)),
		consent("H78", "nothing taken back", mimi.EndpointRequestConsent, 201, cancel),
		consent("H79", "a grant with another's KeyPackage", mimi.EndpointUpdateConsent, 400, grants(own.User, s.cfg.User, other)),
		consent("H79", "a grant with 10,000 KeyPackages", mimi.EndpointUpdateConsent, 413, grants(own.User, s.cfg.User, slices.Repeat([]mls.KeyPackage{*own.KeyPackage()}, 10_000)...)),
		{"H80", "no elements", s.to(mimi.EndpointIdentifierQuery, domain, []byte{0, 0}), 400, mimi.CodeMalformed},
		{"H80", "a value that is not UTF-8", s.to(mimi.EndpointIdentifierQuery, domain, []byte{4, 2, 2, 0xff, 0xfe, 0}), 400, mimi.CodeMalformed},
		{"H80", "a thousand octets of elements, cut", s.to(mimi.EndpointIdentifierQuery, domain, tooMany), 400, mimi.CodeMalformed},
		query("256 elements", 200, "forbidden", many...),
		query("a percent sign", 200, "ambiguous", element(mimi.SearchPartialName, "", "%")),
		query("an underscore", 200, "ambiguous", element(mimi.SearchWholeProfile, "", "_")),
		query("three percent signs", 200, "notFound", element(mimi.SearchPartialName, "", "%%%")),
		query("one letter", 200, "ambiguous", element(mimi.SearchPartialName, "", "a")),
		query("a field that nobody knows", 200, "unsupportedField", element(mimi.SearchOIDCClaim, "shoe_size", "42")),
	}
}

// hostileReports are reports of abuse and requests for files.
func (s *session) hostileReports() (rows []row) {
	g := s.guest
	accused := g.accused()
	report := func(what string, status int, uri mimi.RoomURI, r *mimi.AbuseReport) {
		rows = append(rows, row{"H81", what, s.to(mimi.EndpointReportAbuse, string(uri), marshal(r)), status, ""})
	}
	report("by another provider's user", 403, g.uri, &mimi.AbuseReport{Reporter: "mimi://c.localhost/u/x", Abuser: accused})
	report("by a user who is not in the room", 403, g.uri, &mimi.AbuseReport{Reporter: s.userOf("h"), Abuser: accused})
	report("about another provider's room", 404, "mimi://c.localhost/r/x", &mimi.AbuseReport{Abuser: accused})
	report("about a room that is not there", 404, "mimi://a.localhost/r/none", &mimi.AbuseReport{Abuser: accused})
	report("with 1000 messages", 400, g.uri, &mimi.AbuseReport{Reporter: g.client.User, Abuser: accused, Messages: slices.Repeat([]mimi.AbusiveMessage{{
		Content: []byte("x"), Frank: mimi.Frank{Suite: 1, Signature: make([]byte, 64)}}}, 1000)})
	report("with a note of 5000 octets", 400, g.uri, &mimi.AbuseReport{Reporter: g.client.User, Abuser: accused, Note: strings.Repeat("x", 5000)})
	file := func(id, address string, status int) {
		rows = append(rows, row{id, address, func(ctx context.Context) (*fakepeer.Reply, error) { return s.proxied(ctx, address) }, status, ""})
	}
	for _, address := range []string{"http://b.localhost/x", "file:///etc/passwd", "https://user@b.localhost/x", "https://b.localhost:8443/x",
		"https://elsewhere.example/x", "https://b.localhost./x", "https://B.localhost/x"} {
		file("H82", address, 403)
	}
	for _, address := range []string{"https://127.0.0.1/x", "https://169.254.169.254/x", "https://[::ffff:10.0.0.1]/x", "https://[2002:a00:1::]/x",
		"https://[fe80::1%25eth0]/x", "https://2130706433/x", "https://localhost/x"} {
		file("H83", address, 403)
	}
	away, _ := s.offerFile("h83", fakepeer.Redirect(http.StatusFound, "https://127.0.0.1/x"))
	file("H83", away, 403)
	short, _ := s.offerFile("h84", fakepeer.Answer(http.StatusOK, map[string]string{"Content-Length": "1000"}, []byte("short")))
	file("H84", short, 502)
	endless, _ := s.offerFile("h84-long", fakepeer.Answer(http.StatusOK, map[string]string{"Content-Length": fmt.Sprint(int64(10) << 30)}, []byte("x")))
	file("H84", endless, 502)
	return rows
}
