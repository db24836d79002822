package client

import (
	"context"
	"iter"
	"time"

	"hubbub/mimi"
)

// EnrolOptions says which device to make, and where.
type EnrolOptions struct {
	Dir        string // made if missing; must hold no device yet
	Server     string // base URL of the provider's client API, https://host:port
	ServerName string // name in the server's certificate; empty = host of Server
	CA         []byte // PEM of the roots to trust for Server; empty = the system's
	User       mimi.UserURI
	Device     string // name of the device within the user, such as "laptop"
	Code       string // one-time code from the operator
}

// Options tune [Open]; the zero value and nil are good.
type Options struct {
	// KeyPackages is the stock kept at the provider; 0 = 20.
	KeyPackages int
	// Now tells the time; nil = time.Now.
	Now func() time.Time
}

// RoomOptions describe a new room.
type RoomOptions struct {
	Name    string // shown to people; up to 256 octets
	Members []mimi.UserURI
}

// Client is one device of one user.
type Client struct{}

func Enrol(ctx context.Context, o EnrolOptions) error                           { return nil }
func Open(ctx context.Context, dir string, o *Options) (*Client, error)         { return nil, nil }
func (c *Client) Close() error                                                  { return nil }
func (c *Client) User() mimi.UserURI                                            { return "" }
func (c *Client) URI() mimi.ClientURI                                           { return "" }
func (c *Client) Leave(ctx context.Context, room mimi.RoomURI) error            { return nil }
func (c *Client) Join(ctx context.Context, room mimi.RoomURI) error             { return nil }
func (c *Client) Rooms(ctx context.Context) ([]RoomInfo, error)                 { return nil, nil }
func (c *Client) Events(ctx context.Context) iter.Seq[Event]                    { return nil }
func (c *Client) Room(ctx context.Context, r mimi.RoomURI) (RoomInfo, error)    { return RoomInfo{}, nil }
func (c *Client) History(ctx context.Context, r mimi.RoomURI) ([]Change, error) { return nil, nil }
func (c *Client) CreateRoom(ctx context.Context, o RoomOptions) (mimi.RoomURI, []AddResult, error) {
	return "", nil, nil
}
func (c *Client) AddUsers(ctx context.Context, room mimi.RoomURI, users ...mimi.UserURI) ([]AddResult, error) {
	return nil, nil
}
func (c *Client) RemoveUsers(ctx context.Context, room mimi.RoomURI, users ...mimi.UserURI) error {
	return nil
}
func (c *Client) Send(ctx context.Context, room mimi.RoomURI, text string) (Message, error) {
	return Message{}, nil
}
func (c *Client) WaitPosted(ctx context.Context, room mimi.RoomURI, id MessageID) (Message, error) {
	return Message{}, nil
}
func (c *Client) Messages(ctx context.Context, room mimi.RoomURI, after uint64, limit int) ([]Message, error) {
	return nil, nil
}
func (c *Client) Log(ctx context.Context, room mimi.RoomURI, after uint64, limit int) ([]Entry, error) {
	return nil, nil
}
