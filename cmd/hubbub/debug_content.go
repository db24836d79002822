package main

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"hubbub/cmd/hubbub/internal/dump"
	"hubbub/cmd/hubbub/internal/term"
	"hubbub/mimi"
	"hubbub/mimi/content"
	"hubbub/mls"
	"hubbub/mls/wire"
)

// contentFile is what one file holds.
type contentFile struct {
	File   string `json:"file"`
	Kind   string `json:"kind,omitempty"` // message, status, derived
	Bytes  int    `json:"bytes"`          // of the object, without framing
	Framed string `json:"framed,omitempty"`
	ID     string `json:"messageId,omitempty"`
	// Same says whether encoding it anew gives the same octets.
	Same    bool          `json:"sameBytes"`
	Message *contentShown `json:"message,omitempty"`
	Status  []statusShown `json:"statuses,omitempty"`
	Derived any           `json:"derived,omitempty"`
	Notes   []string      `json:"notes,omitempty"`
	Error   string        `json:"error,omitempty"`
}

func (c *cli) debugContentCmd() *cobra.Command {
	var sender, room string
	cmd := &cobra.Command{
		Use:   "content FILE...",
		Short: "print MIMI messages and status reports, and encode them anew",
		Long: "Decodes CBOR objects of the MIMI content format (raw, hexadecimal or base64; - reads\n" +
			"standard input), prints them with the message id, encodes them anew and compares the\n" +
			"octets. The id needs the sender and the room: those a message names in its extensions\n" +
			"are taken unless --sender and --room say otherwise. Application data with its media type\n" +
			"in front is unwrapped. The exit code is 0 if every file decodes and comes out the same.",
		Args: cobra.MinimumNArgs(1),
	}
	cmd.Flags().StringVar(&sender, "sender", "", "user URI of the authenticated sender")
	cmd.Flags().StringVar(&room, "room", "", "URI of the room it arrived in")
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		who, err := parseOrigin(sender, room)
		if err != nil {
			return err
		}
		return c.contentFiles(args, who)
	}
	return cmd
}

// origin is where a message came from, as far as the caller knows.
type origin struct {
	sender mimi.UserURI
	room   mimi.RoomURI
}

func parseOrigin(sender, room string) (o origin, err error) {
	if sender != "" {
		if o.sender, err = mimi.ParseUser(sender); err != nil {
			return o, fail(exitUsage, "such as --sender mimi://b.example/u/bob", "--sender: %w", err)
		}
	}
	if room != "" {
		if o.room, err = mimi.ParseRoom(room); err != nil {
			return o, fail(exitUsage, "such as --room mimi://a.example/r/clubhouse", "--room: %w", err)
		}
	}
	return o, nil
}

func (c *cli) contentFiles(names []string, who origin) error {
	files, failed := []*contentFile{}, 0
	for _, name := range names {
		f := &contentFile{File: name}
		input, err := c.readInput(name)
		if err == nil {
			err = f.decode(dump.Bytes(input), who)
		}
		if err != nil {
			f.Error = err.Error()
		}
		if err != nil || !f.Same {
			failed++
		}
		files = append(files, f)
		if !c.json {
			if err := f.print(c.out); err != nil {
				return err
			}
		}
	}
	if c.json {
		if err := term.JSON(c.out, map[string]any{"files": files, "failed": failed}); err != nil {
			return err
		}
	}
	if failed > 0 {
		return fail(exitFailed, "the line of each file says which rule of the format it breaks",
			"%d of %d cannot be read, or come out different", failed, len(names))
	}
	return nil
}

// decode finds out what b is. The first octets tell: a message is an array of seven whose
// first element is a salt of 16 octets, derived values one of seven beginning with an id
// of 32, a report an array of arrays.
func (f *contentFile) decode(b []byte, who origin) error {
	b = f.unwrap(b)
	f.Bytes = len(b)
	switch {
	case len(b) == 0:
		return errors.New("nothing in it")
	case bytes.HasPrefix(b, []byte{0x87, 0x58, 0x20}):
		return f.derived(b)
	case b[0] != 0x87 && b[0]>>5 == 4 && f.Framed != content.MediaType:
		return f.statuses(b)
	}
	return f.message(b, who)
}

// unwrap takes off the application framing, whose first octets cannot begin a CBOR array.
func (f *contentFile) unwrap(b []byte) []byte {
	var frame mls.ApplicationFraming
	if len(b) == 0 || b[0]>>5 == 4 || wire.Unmarshal(b, &frame) != nil {
		return b
	}
	if f.Framed = frame.MediaType.Type; f.Framed == "" {
		f.Framed = "the group's first media type"
	}
	return frame.Content
}

func (f *contentFile) message(b []byte, who origin) error {
	m, err := content.Decode(b)
	if err != nil {
		return err
	}
	f.Kind, f.Message = "message", showContent(m)
	f.compare(m.Reencode())(b)
	f.identify(m, b, who)
	if _, err := m.Encode(); err != nil {
		f.Notes = append(f.Notes, "may be read but must not be sent: "+err.Error())
	}
	return nil
}

// identify computes the message id.
func (f *contentFile) identify(m *content.Message, b []byte, who origin) {
	named := origin{m.Extensions.Sender(), m.Extensions.Room()}
	if who.sender == "" {
		who.sender = named.sender
	}
	if who.room == "" {
		who.room = named.room
	}
	if err := m.Check(content.Arrival{Sender: who.sender, Room: who.room}); err != nil {
		f.Notes = append(f.Notes, "a client would drop it: "+err.Error())
	}
	if who.sender == "" || who.room == "" {
		f.Notes = append(f.Notes, "no message id: it does not name its sender and room; say --sender and --room")
		return
	}
	id, err := content.MessageID(who.sender, who.room, b)
	if err != nil {
		f.Notes = append(f.Notes, "no message id: "+err.Error())
		return
	}
	f.ID = id.String()
}

func (f *contentFile) statuses(b []byte) error {
	r, err := content.DecodeStatus(b)
	if err != nil {
		return err
	}
	f.Kind = "status"
	for _, s := range r {
		f.Status = append(f.Status, statusShown{s.Message.String(), s.Status.String()})
	}
	f.compare(r.Encode())(b)
	return nil
}

func (f *contentFile) derived(b []byte) error {
	d, err := content.DecodeDerived(b)
	if err != nil {
		return err
	}
	f.Kind, f.ID = "derived", d.ID.String()
	f.Derived = map[string]any{"accepted": d.Accepted.UTC(), "group": fmt.Sprintf("%q", d.Group), "leaf": d.Leaf,
		"client": d.Client, "sender": d.Sender, "room": d.Room}
	f.compare(d.Encode())(b)
	return nil
}

// compare notes whether the new encoding is the old one.
func (f *contentFile) compare(again []byte, err error) func(b []byte) {
	return func(b []byte) {
		f.Same = err == nil && bytes.Equal(again, b)
		switch {
		case err != nil:
			f.Notes = append(f.Notes, "cannot be encoded: "+err.Error())
		case !f.Same:
			f.Notes = append(f.Notes, fmt.Sprintf("encodes to %x", again))
		}
	}
}
