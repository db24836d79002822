package main

import (
	"fmt"
	"strings"
	"time"

	"hubbub/client"
	"hubbub/cmd/hubbub/internal/term"
	"hubbub/mimi"
)

// bodyText is what there is to read of a message, in one line of plain text.
func bodyText(m client.Message) string {
	switch {
	case m.Deleted && m.DeletedBy != m.Sender:
		return "[deleted by " + handle(m.DeletedBy) + "]"
	case m.Deleted:
		return "[deleted]"
	case m.Expired:
		return "[expired]"
	case m.Hidden != "":
		return "[not shown: " + term.Printable(m.Hidden) + "]"
	}
	var parts []string
	if t := m.Plain(); t != "" {
		parts = append(parts, term.Printable(t))
	}
	for _, a := range m.Attachments {
		name := a.Name
		if name == "" {
			name = a.Description
		}
		parts = append(parts, "["+strings.TrimSpace("attachment "+term.Printable(name)+" "+term.Printable(a.ContentType))+"]")
	}
	if len(m.Unshown) > 0 {
		parts = append(parts, "[cannot be shown here: "+term.Printable(strings.Join(m.Unshown, ", "))+"]")
	}
	for _, w := range m.Warnings {
		parts = append(parts, "[careful: "+term.Printable(w)+"]")
	}
	return strings.Join(parts, " ")
}

// remarks are what is to be known of a message besides what it says.
func remarks(m client.Message, now time.Time) string {
	if m.Deleted || m.Expired || m.Hidden != "" {
		return ""
	}
	var out []string
	if m.Edited {
		out = append(out, "edited")
	}
	if m.Incomplete {
		out = append(out, "the original is not on this device")
	}
	if m.Alternatives {
		out = append(out, "one of several forms")
	}
	if m.Topic != "" {
		out = append(out, "topic "+term.Printable(topicText(m.Topic)))
	}
	switch {
	case !m.Expires.IsZero():
		out = append(out, "vanishes in "+term.Duration(m.Expires.Sub(now)))
	case m.ExpiresAfter > 0:
		out = append(out, "vanishes "+term.Duration(m.ExpiresAfter)+" after it was read")
	}
	if len(out) == 0 {
		return ""
	}
	return "(" + strings.Join(out, ", ") + ")"
}

// reactionsText says who reacted how.
func reactionsText(list []client.Reaction) string {
	var out []string
	for _, r := range list {
		out = append(out, fmt.Sprintf("%s %d %s", term.Printable(r.Emoji), len(r.Users), names(r.Users)))
	}
	return strings.Join(out, "  ")
}

// receiptsText says who has got and read a message.
func receiptsText(list []client.Receipt) string {
	var out []string
	for _, r := range list {
		out = append(out, r.Status.String()+" by "+handle(r.User))
	}
	return strings.Join(out, ", ")
}

func names(users []mimi.UserURI) string {
	var out []string
	for _, u := range users {
		out = append(out, handle(u))
	}
	return strings.Join(out, ", ")
}

// updateText says what happened to a message, in a line.
func updateText(e client.MessageUpdated) string {
	m := e.Message
	switch e.What {
	case client.Edited:
		return fmt.Sprintf("%s changed %q to: %s", handle(e.By), before(m), bodyText(m))
	case client.Deleted:
		return fmt.Sprintf("%s deleted %s", handle(e.By), named(m))
	case client.Expired:
		return named(m) + " has expired"
	case client.Reacted:
		if len(m.Reactions) == 0 {
			return "no reactions any more"
		}
		return reactionsText(m.Reactions)
	case client.Receipted:
		return receiptsText(m.Receipts)
	}
	return string(e.What)
}

// named names a message of which nothing is left to quote.
func named(m client.Message) string {
	return fmt.Sprintf("the message of %s, %s", handle(m.Sender), m.Timestamp.Local().Format("15:04:05"))
}

// updateLine is updateText with the beginning of the message, if it does not say it.
func updateLine(e client.MessageUpdated) string {
	if e.What == client.Reacted || e.What == client.Receipted {
		return updateText(e) + "  " + excerpt(bodyText(e.Message))
	}
	return updateText(e)
}

// before is the beginning of what a message said before its newest edit.
func before(m client.Message) string {
	if n := len(m.Versions); n > 1 {
		return excerpt(m.Versions[n-2].Text)
	}
	return "…"
}
