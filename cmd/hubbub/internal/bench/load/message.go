package load

import (
	"errors"
	"fmt"

	"hubbub/client/clientpb"
	"hubbub/mimi"
	"hubbub/mimi/content"
	"hubbub/mls"
)

// padTo pads messages as the SDK does.
const padTo = 64

// Post is a message that is ready to be submitted.
type Post struct {
	txn  string
	room mimi.RoomURI
	body []byte
}

// Txn is the post's own id.
func (p Post) Txn() string { return p.txn }

// Encrypt makes a post of text. Posts of a room must be submitted in the order
// they were made.
func (d *Device) Encrypt(room mimi.RoomURI, text string) (Post, error) {
	plain, err := content.NewText(d.user, room, text).Encode()
	if err != nil {
		return Post{}, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	g := d.groups[room]
	if g == nil {
		return Post{}, fmt.Errorf("%s is not in %s", d.user.Handle(), room)
	}
	next, octets, err := g.Encrypt(plain, mls.EncryptOptions{PadTo: padTo})
	if err != nil {
		return Post{}, err
	}
	m, err := mls.ParseMessage(octets)
	if err != nil {
		return Post{}, err
	}
	body, err := (&mimi.SubmitMessageRequest{Message: *m, Sender: d.user}).Marshal()
	if err != nil {
		return Post{}, err
	}
	d.groups[room] = next
	return Post{newID(), room, body}, nil
}

var errContent = errors.New("the content of a message is not what was sent")

// Read takes in the next entry of a room the device is in, and gives who wrote
// what if it is a message of somebody else; from is empty otherwise.
func (d *Device) Read(room mimi.RoomURI, e *clientpb.Entry) (from mimi.UserURI, text string, err error) {
	f, err := mimi.ParseFanoutMessage(e.GetBody())
	if err != nil {
		return "", "", err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.groups[room] == nil {
		return "", "", fmt.Errorf("%s is not in %s", d.user.Handle(), room)
	}
	if f.Kind() == mimi.FanoutApplication {
		return d.open(room, f)
	}
	messages := f.Proposals()
	if f.Kind() == mimi.FanoutCommit {
		messages = append([]*mls.Message{&f.Message}, messages...)
	}
	for _, m := range messages {
		if err := d.follow(room, m.Raw); err != nil {
			return "", "", err
		}
	}
	return "", "", nil
}

// open decrypts a message and checks that it says whose and for which room it is.
func (d *Device) open(room mimi.RoomURI, f *mimi.FanoutMessage) (mimi.UserURI, string, error) {
	p, err := d.groups[room].Process(f.Message.Raw)
	if err != nil {
		return "", "", err
	}
	app, ok := p.(*mls.Application)
	if !ok {
		return "", "", nil // its own
	}
	d.groups[room] = app.Next
	id, err := mimi.ClaimedIdentity(&app.Credential)
	if err != nil {
		return "", "", err
	}
	msg, err := content.Decode(app.Data)
	if err != nil {
		return "", "", err
	}
	text, ok := msg.Text()
	if !ok || msg.Extensions.Sender() != id.User || msg.Extensions.Room() != room {
		return "", "", errContent
	}
	return id.User, text, nil
}

// follow takes in a handshake message of somebody else; its own commits have
// been merged when the hub took them.
func (d *Device) follow(room mimi.RoomURI, octets []byte) error {
	p, err := d.groups[room].Process(octets)
	if err != nil {
		return err
	}
	switch p := p.(type) {
	case *mls.CommitReceived:
		if p.Removed {
			delete(d.groups, room)
			return nil
		}
		d.groups[room] = p.Merge()
	case *mls.ProposalReceived:
		d.groups[room] = p.Next
	}
	return nil
}
