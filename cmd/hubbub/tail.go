package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hubbub/client"
	"hubbub/cmd/hubbub/internal/term"
	"hubbub/mimi"
)

func (c *cli) tailCmd() *cobra.Command {
	w := &whoami{}
	var jsonl bool
	var count int
	var since int64
	var until string
	cmd := &cobra.Command{
		Use:   "tail",
		Short: "print what happens in one chat or all, until Ctrl-C",
		Args:  cobra.NoArgs,
	}
	w.flags(cmd, true)
	cmd.Flags().BoolVar(&jsonl, "jsonl", false, "print one JSON document per line (the default where nobody watches)")
	cmd.Flags().IntVar(&count, "count", 0, "stop after so many lines (0 = never)")
	cmd.Flags().StringVar(&until, "until", "", "stop after a message with this text")
	cmd.Flags().Int64Var(&since, "since", -1, "first print the messages of --room after this Seq (0 = all)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx, cancel := context.WithCancel(cmd.Context())
		defer cancel()
		cl, err := c.open(ctx, w)
		if err != nil {
			return err
		}
		defer cl.Close()
		t := &tailer{c: c, cl: cl, jsonl: jsonl || c.wantJSON(), left: count, until: until, names: map[mimi.RoomURI]string{}}
		events := cl.Events(ctx)
		if w.room != "" || since >= 0 {
			r, err := c.pickRoom(ctx, cl, w.room)
			if err != nil {
				return err
			}
			t.room = r.Room
		}
		if since >= 0 {
			if err := t.replay(ctx, uint64(since)); err != nil {
				return err
			}
		}
		if t.ended {
			return nil
		}
		for ev := range events {
			if err := t.event(ctx, ev); err != nil {
				return err
			}
			if t.ended {
				break
			}
		}
		return nil
	}
	return cmd
}

// tailer prints events. One goroutine uses it.
type tailer struct {
	c     *cli
	cl    *session
	room  mimi.RoomURI // only this one; "" = all
	jsonl bool
	left  int    // lines still to print; 0 from the start = no end
	until string // text of the message to stop after; "" = no such
	ended bool
	names map[mimi.RoomURI]string
	upTo  uint64 // messages of room up to this Seq are printed already
}

// replay prints the device's copy of the room after a place.
func (t *tailer) replay(ctx context.Context, after uint64) error {
	messages, err := t.cl.Messages(ctx, t.room, after, 100_000)
	if err != nil {
		return err
	}
	for _, m := range messages {
		if t.ended {
			break
		}
		t.upTo = max(t.upTo, m.Seq)
		t.ended = t.ended || m.Text == t.until && t.until != ""
		if err := t.print(ctx, m.Room, messageToJSON("message", m), messageLine(m)); err != nil {
			return err
		}
	}
	return nil
}

// messageLine is a message for people.
func messageLine(m client.Message) string {
	line := strings.TrimRight(fmt.Sprintf("%s: %s %s", m.Sender.Handle(), bodyText(m), remarks(m, time.Now())), " ")
	if m.State != client.Posted {
		line += "  [" + stateText(m) + "]"
	}
	return line
}

// eventJSON is any other event in the JSON output.
type eventJSON struct {
	Event   string           `json:"event"`
	Room    mimi.RoomURI     `json:"room,omitempty"`
	Seq     uint64           `json:"seq,omitempty"`
	Epoch   uint64           `json:"epoch,omitempty"`
	Actor   mimi.UserURI     `json:"actor,omitempty"`
	Added   []mimi.UserURI   `json:"added,omitempty"`
	Removed []mimi.UserURI   `json:"removed,omitempty"`
	Joined  []mimi.ClientURI `json:"joined,omitempty"`
	Left    []mimi.ClientURI `json:"left,omitempty"`
	Member  *bool            `json:"member,omitempty"`
	Error   string           `json:"error,omitempty"`
}

func (t *tailer) event(ctx context.Context, ev client.Event) error {
	switch e := ev.(type) {
	case client.MessageReceived:
		if e.Message.Room == t.room && e.Message.Seq != 0 && e.Message.Seq <= t.upTo {
			return nil
		}
		t.ended = t.ended || e.Message.Text == t.until && t.until != ""
		return t.print(ctx, e.Message.Room, messageToJSON("message", e.Message), messageLine(e.Message))
	case client.MessageChanged:
		return t.print(ctx, e.Message.Room, messageToJSON("state", e.Message), "own "+string(e.Message.Act)+" "+stateText(e.Message))
	case client.MessageUpdated:
		return t.print(ctx, e.Message.Room, updateToJSON(e), updateLine(e))
	case client.RoomAdded:
		return t.print(ctx, e.Room, eventJSON{Event: "room_added", Room: e.Room, Member: &e.Member}, "new chat")
	case client.RoomRemoved:
		return t.print(ctx, e.Room, eventJSON{Event: "room_removed", Room: e.Room, Seq: e.Seq, Actor: e.By}, "removed from the chat by "+handle(e.By))
	case client.MembershipChanged:
		return t.print(ctx, e.Room, eventJSON{Event: "membership", Room: e.Room, Seq: e.Seq, Epoch: e.Epoch,
			Actor: e.Actor, Added: e.Added, Removed: e.Removed, Joined: e.Joined, Left: e.Left}, membershipLine(e))
	case client.RoomSuspicious:
		return t.print(ctx, e.Room, eventJSON{Event: "suspicious", Room: e.Room, Seq: e.Seq, Error: errText(e.Err)}, "NOT TRUSTED any more: "+errText(e.Err))
	case client.Connected:
		return t.print(ctx, "", eventJSON{Event: "connected"}, "connected")
	case client.Disconnected:
		return t.print(ctx, "", eventJSON{Event: "disconnected", Error: errText(e.Err)}, "connection lost, trying again: "+errText(e.Err))
	}
	return nil
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func handle(u mimi.UserURI) string {
	if u == "" {
		return "somebody"
	}
	return u.Handle()
}

// membershipLine says in words who came and went.
func membershipLine(e client.MembershipChanged) string {
	line := handle(e.Actor)
	say := func(verb string, users []mimi.UserURI) {
		for _, u := range users {
			line += " " + verb + " " + u.Handle()
		}
	}
	say("added", e.Added)
	say("removed", e.Removed)
	if len(e.Added) == 0 && len(e.Removed) == 0 {
		for _, d := range e.Joined {
			line += " brought in a device: " + term.Printable(d.Device())
		}
		for _, d := range e.Left {
			line += " took out a device: " + term.Printable(d.Device())
		}
	}
	return line
}

// print writes one line in the form wanted. Events that belong to no room, such
// as a lost connection, are shown whatever --room says.
func (t *tailer) print(ctx context.Context, room mimi.RoomURI, doc any, line string) error {
	if t.room != "" && room != "" && room != t.room {
		return nil
	}
	if t.left > 0 {
		if t.left--; t.left == 0 {
			t.ended = true
		}
	}
	if t.jsonl {
		return term.JSONLine(t.c.out, doc)
	}
	where := ""
	if t.room == "" && room != "" {
		where = "[" + term.Printable(t.nameOf(ctx, room)) + "] "
	}
	_, err := fmt.Fprintf(t.c.out, "%s  %s%s\n", time.Now().Format("15:04:05"), where, line)
	return err
}

func (t *tailer) nameOf(ctx context.Context, room mimi.RoomURI) string {
	if n := t.names[room]; n != "" {
		return n
	}
	r, err := t.cl.Room(ctx, room)
	if err != nil {
		return string(room)
	}
	t.names[room] = roomName(r)
	return t.names[room]
}
