package main

import (
	"encoding/hex"
	"time"
	"unicode/utf8"

	"hubbub/client"
	"hubbub/mimi"
)

// messageJSON is a message in the JSON output.
type messageJSON struct {
	Event      string         `json:"event,omitempty"`
	What       client.Update  `json:"what,omitempty"` // event updated: what happened to it
	By         mimi.UserURI   `json:"by,omitempty"`   // and who did it
	ID         string         `json:"id"`
	Act        client.Act     `json:"act"`             // message, edit, delete, reaction
	About      string         `json:"about,omitempty"` // id of the message an act is about
	Room       mimi.RoomURI   `json:"room"`
	Sender     mimi.UserURI   `json:"sender"`
	Device     mimi.ClientURI `json:"device"`
	Text       string         `json:"text"`
	Markdown   bool           `json:"markdown,omitempty"`
	Seq        uint64         `json:"seq"`
	TimeMS     int64          `json:"time_ms"`
	State      client.State   `json:"state"`
	Reason     string         `json:"reason,omitempty"`
	WaitingFor mimi.Domain    `json:"waiting_for,omitempty"`

	InReplyTo    string           `json:"in_reply_to,omitempty"`
	Topic        string           `json:"topic,omitempty"` // hexadecimal if it is not text
	Mentions     []mimi.UserURI   `json:"mentions,omitempty"`
	Attachments  []attachmentJSON `json:"attachments,omitempty"`
	Unshown      []string         `json:"unshown,omitempty"` // types of parts that cannot be shown
	Alternatives bool             `json:"alternatives,omitempty"`
	Warnings     []string         `json:"warnings,omitempty"`
	Edited       bool             `json:"edited,omitempty"`
	Versions     []versionJSON    `json:"versions,omitempty"`
	Incomplete   bool             `json:"incomplete,omitempty"` // only edits of it are here
	Deleted      bool             `json:"deleted,omitempty"`
	DeletedBy    mimi.UserURI     `json:"deleted_by,omitempty"`
	Expired      bool             `json:"expired,omitempty"`
	ExpiresMS    int64            `json:"expires_ms,omitempty"`
	ExpiresAfter float64          `json:"expires_after_read_s,omitempty"`
	Hidden       string           `json:"hidden,omitempty"` // why it is not shown
	Reactions    []reactionJSON   `json:"reactions,omitempty"`
	Receipts     []receiptJSON    `json:"receipts,omitempty"`
	Read         bool             `json:"read"`
}

type attachmentJSON struct {
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
	ContentType string `json:"content_type"`
	Bytes       uint64 `json:"bytes,omitempty"`
	URL         string `json:"url"`
}

type versionJSON struct {
	ID     string `json:"id"`
	TimeMS int64  `json:"time_ms"`
	Text   string `json:"text"`
}

type reactionJSON struct {
	Emoji string         `json:"emoji"`
	Users []mimi.UserURI `json:"users"`
}

type receiptJSON struct {
	User   mimi.UserURI `json:"user"`
	Status string       `json:"status"`
	TimeMS int64        `json:"time_ms"`
}

func messageToJSON(event string, m client.Message) messageJSON {
	out := messageJSON{Event: event, ID: m.ID.String(), Act: m.Act, Room: m.Room, Sender: m.Sender, Device: m.Device, Text: m.Text,
		Markdown: m.Markdown, Seq: m.Seq, TimeMS: m.Timestamp.UnixMilli(), State: m.State, Reason: m.Reason,
		InReplyTo: idText(m.InReplyTo), About: idText(m.About), Topic: topicText(m.Topic), Mentions: m.Mentions, Unshown: m.Unshown,
		Alternatives: m.Alternatives, Warnings: m.Warnings, Edited: m.Edited, Incomplete: m.Incomplete, Deleted: m.Deleted,
		DeletedBy: m.DeletedBy, Expired: m.Expired, ExpiresAfter: m.ExpiresAfter.Seconds(), Hidden: m.Hidden, Read: m.Read}
	if m.WaitingFor != nil {
		out.WaitingFor = m.WaitingFor.Provider
	}
	if !m.Expires.IsZero() {
		out.ExpiresMS = m.Expires.UnixMilli()
	}
	for _, a := range m.Attachments {
		out.Attachments = append(out.Attachments, attachmentJSON{a.Name, a.Description, a.ContentType, a.Bytes, a.Part.URL})
	}
	for _, v := range m.Versions {
		out.Versions = append(out.Versions, versionJSON{v.ID.String(), v.Timestamp.UnixMilli(), v.Text})
	}
	for _, r := range m.Reactions {
		out.Reactions = append(out.Reactions, reactionJSON{r.Emoji, r.Users})
	}
	for _, r := range m.Receipts {
		out.Receipts = append(out.Receipts, receiptJSON{r.User, r.Status.String(), r.Time.Truncate(time.Millisecond).UnixMilli()})
	}
	return out
}

// updateToJSON is a message after something happened to it.
func updateToJSON(e client.MessageUpdated) messageJSON {
	out := messageToJSON("updated", e.Message)
	out.What, out.By = e.What, e.By
	return out
}

func idText(id client.MessageID) string {
	if id.IsZero() {
		return ""
	}
	return id.String()
}

func topicText(topic string) string {
	if utf8.ValidString(topic) {
		return topic
	}
	return hex.EncodeToString([]byte(topic))
}
