package client

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"unicode/utf8"

	"connectrpc.com/connect"

	"hubbub/client/clientpb"
	"hubbub/mimi"
	"hubbub/mimi/content"
	"hubbub/mls"
	"hubbub/mls/wire"
)

// Limits of a report, as hubs set them.
const (
	maxReportNote     = 4096
	maxReportMessages = 100
)

// franker is whoever franks the messages of a group, nil if nobody does.
func franker(g *mls.Group) *mimi.FrankingAgent {
	d, err := g.Context().Extensions.Dictionary()
	if err != nil {
		return nil
	}
	agent, err := mimi.AgentOf(d)
	if err != nil {
		return nil
	}
	return agent
}

// tagged is the authenticated data of an own message: in a group with franking the tag
// by which its sender commits to it (FRK-1 to FRK-3), else nothing. Data is what will be
// encrypted, encoded the content in it.
func tagged(g *mls.Group, k kind, data, encoded []byte) ([]byte, error) {
	if k == kindReport || franker(g) == nil {
		return nil, nil
	}
	msg, err := content.Decode(encoded)
	if err != nil {
		return nil, err
	}
	tag := mimi.NewFrankTag(msg.Salt, data)
	return wire.Marshal(&mls.SafeAAD{Items: []mls.ComponentData{tag.Item()}})
}

// vouched checks what sender and hub committed to with a message, and notes on its row
// what came of it. It says false if the message is to be discarded: a sender that could
// not be reported for it would be free to write anything (D-36).
func (in *incoming) vouched(g *mls.Group, app *mls.Application, f *mimi.FanoutMessage) bool {
	if in.message == nil || len(app.AAD) == 0 {
		return true
	}
	m := mimi.FrankedMessage{ApplicationData: app.Data, Salt: in.message.Salt, ContentSender: in.message.Extensions.Sender(),
		ContentRoom: in.message.Extensions.Room(), AuthenticatedData: app.AAD, Timestamp: f.Timestamp, Frank: f.Frank,
		Sender: in.record.Sender, Room: in.record.Room, Suite: g.Context().CipherSuite, Agent: franker(g)}
	ok, err := m.Reportable(nil)
	switch {
	case errors.Is(err, mimi.ErrBadFrankTag):
		return false
	case err != nil:
		in.record.flags |= flagBadProof
	case ok:
		in.record.flags |= flagProved
	}
	return true
}

// keepFrank stores the hub's proof of a message that was taken in, for a report (FRK-13).
// The rest of what a report takes is in the message's row.
func (b *batch) keepFrank(rec *record, app *mls.Application, f *mimi.Frank) error {
	if rec.flags&flagProved == 0 || len(rec.content) == 0 {
		return nil
	}
	v, err := wire.Marshal(f)
	if err != nil {
		return err
	}
	frame, _ := bytes.CutSuffix(app.Data, rec.content) // the media type, where groups frame
	_, err = b.tx.Exec("INSERT INTO frank (message, frank, frame) SELECT id, ?, ? FROM message WHERE id = ? ON CONFLICT (message) DO NOTHING",
		v, append([]byte{}, frame...), rec.ID[:])
	return err
}

// A Complaint is what a user says about a message besides reporting it.
type Complaint struct {
	// Reason is 0 until codes exist.
	Reason uint8
	Note   string // up to 4,096 octets of UTF-8
	// Anonymous keeps the user's name from the hub. The own provider knows it and
	// answers for it.
	Anonymous bool
}

// Report tells the hub of a room of abuse by the sender of a message. If the message is
// Reportable the report holds its content, in all versions that this device has, and
// proves that the sender wrote it; whoever operates the hub reads that content and
// nothing else of the room. Otherwise the report names the sender and is the user's word:
// proved is false. A nil error means that the hub has stored the report; what follows
// from it is not told. A repeat is the same report.
//
// Errors: [ErrBadArgument], [ErrUnknownMessage], an *[Error] ("not_found",
// "rate_limited", "peer_unreachable": nothing was stored, try again), ctx's.
func (c *Client) Report(ctx context.Context, room mimi.RoomURI, id MessageID, about Complaint) (proved bool, err error) {
	if len(about.Note) > maxReportNote || !utf8.ValidString(about.Note) {
		return false, fmt.Errorf("%w: a note has at most %d octets of UTF-8", ErrBadArgument, maxReportNote)
	}
	report, err := c.complain(room, id)
	if err != nil {
		return false, err
	}
	report.Reason, report.Note = about.Reason, about.Note
	if !about.Anonymous {
		report.Reporter = c.user
	}
	body, err := report.Marshal()
	if err != nil {
		return false, err
	}
	api := clientpb.NewReportServiceClient(c.t.calls, c.t.base.String(), connect.WithInterceptors(connect.UnaryInterceptorFunc(c.t.authorise)))
	_, err = api.ReportAbuse(ctx, connect.NewRequest(&clientpb.ReportAbuseRequest{Room: string(room), Report: body}))
	return err == nil && len(report.Messages) > 0, err
}

// complain gathers what this device can prove of a message and its versions.
func (c *Client) complain(room mimi.RoomURI, id MessageID) (*mimi.AbuseReport, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fatal != nil {
		return nil, c.fatal
	}
	r := c.rooms[room]
	rec, err := c.record(room, id)
	switch {
	case err != nil:
		return nil, err
	case r == nil || rec == nil || rec.kind == kindReport:
		return nil, ErrUnknownMessage
	case rec.Sender == c.user:
		return nil, fmt.Errorf("%w: the message is your own", ErrBadArgument)
	}
	list := []*record{rec}
	if rec.kind == kindWrite {
		edits, err := c.records("root = ? AND +room = ? AND kind = 1 AND sender = ? ORDER BY seq LIMIT ?", id[:], string(room), string(rec.Sender), maxReportMessages-1)
		if err != nil {
			return nil, err
		}
		list = append(list, edits...)
	}
	report := &mimi.AbuseReport{Abuser: rec.Sender}
	for _, rec := range list {
		m, err := c.evidence(r, rec)
		if err != nil {
			return nil, err
		}
		if m != nil {
			report.Messages = append(report.Messages, *m)
		}
	}
	return report, nil
}

// evidence is what proves a message, nil if nothing does or its content is gone.
func (c *Client) evidence(r *room, rec *record) (*mimi.AbusiveMessage, error) {
	if rec.flags&flagProved == 0 || len(rec.content) == 0 {
		return nil, nil
	}
	var frank, frame []byte
	err := c.db.QueryRow("SELECT frank, frame FROM frank WHERE message = ?", rec.ID[:]).Scan(&frank, &frame)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading messages: %w", err)
	}
	m := &mimi.AbusiveMessage{Content: append(frame, rec.content...), Timestamp: uint64(rec.Timestamp.UnixMilli())}
	if err := wire.Unmarshal(frank, &m.Frank); err != nil {
		return nil, fmt.Errorf("reading messages: %w", err)
	}
	return m, nil
}
