package roomtest

import (
	"hubbub/internal/room"
	"hubbub/mimi"
	"hubbub/mls"
)

// Brought is what the client has to tell its provider of the room it has a Welcome for:
// a GroupInfo without the tree. It must be asked before Join.
func (c *Client) Brought(uri mimi.RoomURI, welcome []byte) *room.Brought {
	c.T.Helper()
	f, err := mimi.ParseFanoutMessage(welcome)
	c.check(err)
	for _, kp := range c.kps {
		if gi, err := mls.WelcomeGroupInfo(f.Message.Welcome, kp, mls.JoinOptions{}); err == nil {
			return &room.Brought{Room: uri, GroupInfo: c.marshal(gi)}
		}
	}
	c.T.Fatalf("roomtest: %s has no Welcome", c.URI)
	return nil
}

// BroughtAs is what a client has to tell that is about to join by external commit.
func (c *Client) BroughtAs(uri mimi.RoomURI, info *mimi.GroupInfoRatchetTree) *room.Brought {
	c.T.Helper()
	b := &room.Brought{Room: uri, GroupInfo: c.marshal(&info.GroupInfo), Tree: c.marshal(info.RatchetTree.Tree)}
	for i := range info.PendingProposals {
		p := &info.PendingProposals[i]
		b.Pending = append(b.Pending, room.Pending{Message: p.Proposal.Raw, Timestamp: p.Timestamp})
	}
	return b
}

// Own is a GroupInfo that only the client itself vouches for.
func (c *Client) Own(uri mimi.RoomURI) *room.Brought {
	c.T.Helper()
	gi, err := c.Group.GroupInfo()
	c.check(err)
	return &room.Brought{Room: uri, GroupInfo: c.marshal(gi), Tree: c.marshal(c.Group.Tree())}
}
