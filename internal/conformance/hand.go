package conformance

import (
	"context"
	"fmt"

	"hubbub/client"
	"hubbub/mimi"
)

// Use has a device of the test user do what a person at the target would otherwise be
// asked for. The device is the caller's to close, except where the last checks want it
// gone: then it is closed already.
func (c *Config) Use(dev *client.Client) {
	c.User = dev.User()
	c.Allow = dev.GrantConsent
	c.Revoke = dev.RevokeConsent
	c.Ask = func(ctx context.Context, whom mimi.UserURI) error { return dev.RequestConsent(ctx, whom, "") }
	c.Invite = func(ctx context.Context, guest mimi.UserURI, text string) error {
		uri, results, err := dev.CreateRoom(ctx, client.RoomOptions{Name: text, Members: []mimi.UserURI{guest}})
		if err != nil {
			return fmt.Errorf("%w: %+v", err, results)
		}
		_, err = dev.Send(ctx, uri, text)
		return err
	}
	c.Post = func(ctx context.Context, room mimi.RoomURI, text string) error {
		_, err := dev.Send(ctx, room, text)
		return err
	}
	c.Find = func(ctx context.Context, at mimi.Domain, nick string) error {
		found, err := dev.FindUsers(ctx, at, mimi.QueryElement{Type: mimi.SearchNick, Value: nick})
		if err == nil && len(found) > 0 {
			err = fmt.Errorf("%d users were found", len(found))
		}
		return err
	}
	c.Findable = func(ctx context.Context, nick string) error {
		return dev.SetProfile(ctx, []client.ProfileField{
			{Source: mimi.SearchHandle, Search: client.SearchExact},
			{Source: mimi.SearchOIDCClaim, Name: "nickname", Value: nick, Search: client.SearchExact},
			{Source: mimi.SearchOIDCClaim, Name: "given_name", Value: "Hidden " + nick, Search: client.SearchOff},
		})
	}
	c.Away = dev.Close
}
