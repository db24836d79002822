package conformance

import (
	"context"
	"fmt"

	"hubbub/internal/fakepeer"
	"hubbub/mimi"
)

// Reports of abuse in the room that our user was invited to.
var abuseChecks = []check{
	{id: "ABU-1", what: "reports go to the hub of the room", needs: needsReport, run: foreignReport},
	{id: "ABU-2", what: "no reporter, no note, no messages", needs: needsReport, run: bareReport},
	{id: "ABU-3", what: "the answer says that it was taken, and no more", needs: needsReport, run: forgedReport},
	{id: "ABU-6", what: "a reporter is of the provider that reports, and in the room", needs: needsReport, run: foreignReporter},
	{id: "ABU-7", what: "any reason is taken", needs: needsReport, run: anyReason},
	{id: "ABU-8", what: "the same report twice", needs: needsReport, run: reportedTwice},
}

var needsReport = []string{needDirectory, offersReport, needGuest}

func (s *session) report(ctx context.Context, uri mimi.RoomURI, r *mimi.AbuseReport) (*fakepeer.Reply, error) {
	return s.ask(ctx, mimi.EndpointReportAbuse, string(uri), marshal(r))
}

// accused is somebody in the room: who invited us.
func (g *guest) accused() mimi.UserURI { return g.client.Participants().Participants[0].User }

func foreignReport(ctx context.Context, p *probe) {
	s := p.s
	report := &mimi.AbuseReport{Reporter: s.guest.client.User, Abuser: s.guest.accused()}
	r, err := s.report(ctx, "mimi://elsewhere.example/r/x", report)
	p.answered("about another provider's room", r, err, 404)
	r, err = s.report(ctx, s.roomURI(s.target, "none"), report)
	p.answered("about a room that is not there", r, err, 404)
}

func bareReport(ctx context.Context, p *probe) {
	g := p.s.guest
	r, err := p.s.report(ctx, g.uri, &mimi.AbuseReport{Abuser: g.accused()})
	p.taken("an anonymous report without anything", r, err)
	r, err = p.s.ask(ctx, mimi.EndpointReportAbuse, string(g.uri), nil)
	p.answered("an empty body", r, err, 400)
	body := marshal(&mimi.AbuseReport{Abuser: g.accused(), Note: "ab"})
	at := len(body) - 3 // the note ends before two empty lists
	body[at] = 0xff
	r, err = p.s.ask(ctx, mimi.EndpointReportAbuse, string(g.uri), body)
	p.answered("a note that is not UTF-8", r, err, 400)
}

func forgedReport(ctx context.Context, p *probe) {
	g := p.s.guest
	forged := mimi.AbusiveMessage{Content: []byte("not a message"), Timestamp: 1,
		Frank: mimi.Frank{ServerFrank: [32]byte{1}, Suite: 1, Signature: make([]byte, 64)}}
	r, err := p.s.report(ctx, g.uri, &mimi.AbuseReport{Reporter: g.client.User, Abuser: g.accused(), Messages: []mimi.AbusiveMessage{forged}})
	p.taken("a report whose evidence is forged", r, err)
}

func foreignReporter(ctx context.Context, p *probe) {
	s, g := p.s, p.s.guest
	for what, who := range map[string]mimi.UserURI{
		"in the name of who invited us":         g.accused(),
		"in the name of a stranger's user":      "mimi://elsewhere.example/u/x",
		"by a user of ours who is not in it":    s.userOf("outsider"),
		"by a user of the target who is nobody": s.userURI("nobody"),
	} {
		r, err := s.report(ctx, g.uri, &mimi.AbuseReport{Reporter: who, Abuser: g.accused()})
		p.answered("a report "+what, r, err, 403)
	}
	if o := p.thirdOf(ctx); o != nil {
		r, err := o.s.report(ctx, g.uri, &mimi.AbuseReport{Reporter: g.client.User, Abuser: g.accused()})
		p.answered("a report by b's user, sent by c", r, err, 403)
		return
	}
	if s.third != nil { // which has no part in the room
		r, err := s.third.report(ctx, g.uri, &mimi.AbuseReport{Abuser: g.accused()})
		p.answered("an anonymous report by a provider without a part in the room", r, err, 403, 404)
	}
}

func anyReason(ctx context.Context, p *probe) {
	g := p.s.guest
	for _, reason := range []uint8{0, 1, 200} {
		r, err := p.s.report(ctx, g.uri, &mimi.AbuseReport{Reporter: g.client.User, Abuser: g.accused(), Reason: reason, Note: "reason"})
		p.taken(fmt.Sprint("reason ", reason), r, err)
	}
}

func reportedTwice(ctx context.Context, p *probe) {
	g := p.s.guest
	for range 2 {
		r, err := p.s.report(ctx, g.uri, &mimi.AbuseReport{Reporter: g.client.User, Abuser: g.accused(), Note: "twice"})
		p.taken("the same report", r, err)
	}
}
