package provider

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"

	"connectrpc.com/connect"

	"hubbub/client"
	"hubbub/client/clientpb"
	"hubbub/internal/moderation"
	"hubbub/mimi"
)

// waitText waits until a client has a posted message with the text.
func waitText(t *testing.T, c *client.Client, room mimi.RoomURI, text string) (m client.Message) {
	t.Helper()
	until(t, fmt.Sprintf("%q at %s", text, c.User()), func(ctx context.Context) error {
		list, err := c.Messages(ctx, room, 0, 0)
		if err != nil {
			return err
		}
		for _, m = range list {
			if m.Text == text && m.Seq != 0 {
				return nil
			}
		}
		return fmt.Errorf("has %d other messages", len(list))
	})
	return m
}

func (w *world) cases(d mimi.Domain) []moderation.Case {
	w.t.Helper()
	list, err := w.running[d].moderator.Cases(w.t.Context(), 0, true, 1000)
	if err != nil {
		w.t.Fatal(err)
	}
	return list
}

func statusOf(err error) int {
	var p *mimi.Problem
	if errors.As(err, &p) {
		return p.Status
	}
	return 0
}

// A message goes through two providers and comes with a proof that its receiver checks;
// a report of it is proved at the hub, also after a restart and a new key. With any octet
// changed it is answered alike and not proved (H81); who may not report is refused, and
// who reports too much (FRK-5 to FRK-13, ABU-1 to ABU-8).
func TestReportBetweenProviders(t *testing.T) {
	w := newWorld(t, "a.localhost", "b.localhost", "c.localhost")
	for d := range w.cfgs {
		w.start(d)
	}
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	alice, bob, cathy := w.device("alice@a.localhost", "phone"), w.device("bob@b.localhost", "phone"), w.device("cathy@b.localhost", "phone")
	room, _, err := alice.CreateRoom(ctx, client.RoomOptions{Name: "Lunch", Franking: true, Members: []mimi.UserURI{bob.User(), cathy.User()}})
	must(err)
	until(t, "bob in the room", func(ctx context.Context) error {
		info, err := bob.Room(ctx, room)
		if err == nil && !info.Member {
			err = errors.New("not a member")
		}
		return err
	})
	_, err = bob.Send(ctx, room, "you fools")
	must(err)
	seen := waitText(t, cathy, room, "you fools")
	if !seen.Reportable || seen.BadProof {
		t.Fatalf("cathy got %+v", seen)
	}
	if own := waitText(t, bob, room, "you fools"); own.Reportable {
		t.Error("an own message is reportable")
	}
	if _, err := bob.Report(ctx, room, seen.ID, client.Complaint{}); !errors.Is(err, client.ErrBadArgument) {
		t.Errorf("bob reports himself: %v", err)
	}

	// From the other provider, twice, and from the hub's own.
	for range 2 {
		if proved, err := cathy.Report(ctx, room, seen.ID, client.Complaint{Note: "rude"}); err != nil || !proved {
			t.Fatalf("reported: %v, %v", proved, err)
		}
	}
	waitText(t, alice, room, "you fools")
	_, err = alice.Report(ctx, room, seen.ID, client.Complaint{Anonymous: true})
	must(err)
	list := w.cases("a.localhost")
	if len(list) != 2 {
		t.Fatalf("%d cases", len(list))
	}
	first := list[0]
	if first.Claim.Reporter != cathy.User() || first.Claim.Abuser != bob.User() || first.Claim.Note != "rude" || first.Peer != "b.localhost" ||
		first.Proved() != 1 || first.Messages[0].Text != "you fools" {
		t.Errorf("%+v", first)
	}
	if anonymous := list[1]; anonymous.Claim.Reporter != "" || anonymous.Proved() != 1 || bytes.Contains(anonymous.Body, []byte(alice.User())) {
		t.Errorf("%+v", anonymous)
	}

	// What the operator sees and does.
	desk := clientpb.NewModerationServiceClient(w.adminHTTP("a.localhost"), "http://admin")
	got, err := desk.GetReport(ctx, connect.NewRequest(&clientpb.GetReportRequest{Id: first.ID}))
	must(err)
	if r := got.Msg.Report; r.Accused != string(bob.User()) || r.Proved != 1 || len(r.Evidence) != 1 || !r.Evidence[0].Proved || r.Evidence[0].Text != "you fools" {
		t.Errorf("the operator is shown %v", r)
	}
	_, err = desk.ResolveReport(ctx, connect.NewRequest(&clientpb.ResolveReportRequest{Id: first.ID, Resolution: "warned"}))
	must(err)
	open, err := desk.ListReports(ctx, connect.NewRequest(&clientpb.ListReportsRequest{}))
	must(err)
	if r := open.Msg.Reports; len(r) != 1 || r[0].Id == first.ID || len(r[0].Evidence) != 0 {
		t.Errorf("open: %v", r)
	}
	rotated, err := desk.RotateFrankingKey(ctx, connect.NewRequest(&clientpb.RotateFrankingKeyRequest{}))
	must(err)
	if rotated.Msg.Id != 2 || rotated.Msg.Keys != 2 {
		t.Errorf("rotated to %v", rotated.Msg)
	}

	// The hub's memory is gone; the keys are files.
	w.stop("a.localhost")
	cfg := w.cfgs["a.localhost"]
	cfg.Limits.ReportsPerUser = "20 + 20/h"
	w.cfgs["a.localhost"] = cfg
	w.start("a.localhost")
	peer := w.running["b.localhost"].remote
	tell := func(body []byte) error { return peer.ReportAbuse(ctx, "a.localhost", room, body) }
	claim := *first.Claim
	claim.Reporter, claim.Note = "", "again"
	again, err := claim.Marshal()
	must(err)
	must(tell(again))
	if list := w.cases("a.localhost"); len(list) != 3 || list[2].Proved() != 1 {
		t.Errorf("after the restart: %+v", list)
	}
	var changed [][]byte
	for i := range 12 {
		c, m := claim, claim.Messages[0]
		m.Content, m.Frank.Signature = bytes.Clone(m.Content), bytes.Clone(m.Frank.Signature)
		switch i % 4 {
		case 0:
			m.Content[i*len(m.Content)/12] ^= 1
		case 1:
			m.Frank.ServerFrank[i] ^= 1
		case 2:
			m.Frank.Signature[i] ^= 1
		case 3:
			m.Timestamp ^= 1 << i
		}
		c.Messages = []mimi.AbusiveMessage{m}
		body, err := c.Marshal()
		must(err)
		changed = append(changed, body)
	}
	for i, body := range changed {
		if err := tell(body); err != nil {
			t.Errorf("change %d is answered differently: %v", i, err)
		}
	}
	list = w.cases("a.localhost")
	if len(list) != 3+len(changed) {
		t.Errorf("%d cases", len(list))
	}
	for _, c := range list[3:] {
		if c.Proved() != 0 {
			t.Errorf("report %d is proved", c.ID)
		}
	}

	// Refusals.
	named := claim
	named.Reporter = cathy.User()
	for i := range 21 {
		named.Note = fmt.Sprint(i)
		body, err := named.Marshal()
		must(err)
		err = tell(body)
		if want := 429 * (i / 20); statusOf(err) != want {
			t.Errorf("report %d: %v, want %d", i, err, want)
		}
		var p *mimi.Problem
		if errors.As(err, &p) && p.RetryAfter == 0 {
			t.Error("no Retry-After")
		}
	}
	before := len(w.cases("a.localhost"))
	stranger, foreign := claim, claim
	stranger.Reporter, foreign.Reporter = "mimi://b.localhost/u/nobody", alice.User()
	for name, c := range map[string]struct {
		report mimi.AbuseReport
		from   mimi.Domain
		room   mimi.RoomURI
		want   int
	}{
		"a user who was never there":   {stranger, "b.localhost", room, 403},
		"a user of another provider":   {foreign, "b.localhost", room, 403},
		"a provider without a part":    {claim, "c.localhost", room, 404},
		"a room that is not the hub's": {claim, "b.localhost", "mimi://b.localhost/r/x", 404},
	} {
		body, err := c.report.Marshal()
		must(err)
		if err := w.running[c.from].remote.ReportAbuse(ctx, "a.localhost", c.room, body); statusOf(err) != c.want {
			t.Errorf("%s: %v, want %d", name, err, c.want)
		}
	}
	if n := len(w.cases("a.localhost")); n != before {
		t.Errorf("%d refused reports were kept", n-before)
	}
}
