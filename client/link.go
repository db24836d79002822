package client

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"hubbub/mimi"
	"hubbub/mimi/policy"
	"hubbub/mls"
)

// LinkOptions say what a new join link is good for; the zero value is all that the room's
// policy allows.
type LinkOptions struct {
	// Once has the link let in one person. In some rooms all links do.
	Once bool
	// Expires is for how long it is good, in whole seconds, at most what the room's policy
	// says; 0 = that.
	Expires time.Duration
}

// LinkInfo is a join link of a room, as everybody in it sees it: without its code.
type LinkInfo struct {
	ID      string    // eight or more hexadecimal digits; names the link in its room
	Once    bool      // it lets in one person
	Expires time.Time // zero for links made by other programs, which go by the room's policy
	Foreign bool      // made by another program, so that the room holds the code itself
}

// linkPolicy is what a room says of links, and those it has as committed, which indices
// refer to.
func (r *room) linkPolicy() (*policy.JoinLinkPolicy, *mimi.JoinLinks, error) {
	s, err := policy.StateOf(r.uri, r.group.Public())
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrSuspicious, err)
	}
	p, links, err := policy.LinksOf(s)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrSuspicious, err)
	}
	return p, links, nil
}

// CreateLink makes a join link for a room and waits until the hub has accepted it. Who has
// the link can join with [Client.JoinByLink], from any provider, until it expires, is used
// up or is revoked. The room holds what the link's code hashes to: the link is given here
// and nowhere else, so show it to the user now ([mimi.JoinLink.Text]).
//
// Errors: [ErrUnknownRoom], [ErrNotMember], [ErrBadArgument] (it would be good for longer
// than the room allows), [ErrDenied] (the room has no links, or this user may not make
// them), [ErrRejected], [ErrBusy], ctx's; after ctx ended there may be a link that nobody
// knows.
func (c *Client) CreateLink(ctx context.Context, uri mimi.RoomURI, o LinkOptions) (mimi.JoinLink, error) {
	if o.Expires < 0 || o.Expires%time.Second != 0 {
		return mimi.JoinLink{}, fmt.Errorf("%w: a link expires after whole seconds", ErrBadArgument)
	}
	var code [mimi.JoinCodeBytes]byte
	rand.Read(code[:])
	link := mimi.NewJoinLink(uri, code)
	err := c.alter(ctx, uri, func(r *room, s *policy.State) ([]policy.Change, []mls.Proposal, error) {
		p, _, err := policy.LinksOf(s)
		if err != nil {
			return nil, nil, fmt.Errorf("%w: %w", ErrSuspicious, err)
		}
		entry, err := c.linkEntry(p, link, o)
		if err != nil {
			return nil, nil, err
		}
		return changeLinks(&mimi.JoinLinksUpdate{Added: [][]byte{entry.Marshal()}})
	})
	if err != nil {
		return mimi.JoinLink{}, err
	}
	return link, nil
}

// linkEntry is what the room is to hold of a new link.
func (c *Client) linkEntry(p *policy.JoinLinkPolicy, link mimi.JoinLink, o LinkOptions) (*mimi.JoinLinkEntry, error) {
	switch {
	case p == nil:
		return nil, fmt.Errorf("%w: this room has no join links: its policy does not provide for them", ErrDenied)
	case p.Expiration == 0:
		return nil, fmt.Errorf("%w: by this room's policy no join link is ever good", ErrDenied)
	}
	longest := time.Duration(p.Expiration) * time.Second
	if o.Expires > longest {
		return nil, fmt.Errorf("%w: links of this room are good for %s at most", ErrBadArgument, longest)
	}
	if o.Expires == 0 {
		o.Expires = longest
	}
	return &mimi.JoinLinkEntry{Hash: link.Hash(), Single: o.Once || !p.MultiUser, NotAfter: uint64(c.opts.Now().Add(o.Expires).Unix())}, nil
}

func changeLinks(u *mimi.JoinLinksUpdate) ([]policy.Change, []mls.Proposal, error) {
	data, err := u.Marshal()
	if err != nil {
		return nil, nil, err
	}
	change := policy.ChangeComponent{Component: mimi.ComponentJoinLinks, Adds: len(u.Added) > 0, Removes: len(u.Removed) > 0}
	return []policy.Change{change}, []mls.Proposal{{Type: mls.ProposalTypeAppDataUpdate,
		AppDataUpdate: &mls.AppDataUpdate{Component: mimi.ComponentJoinLinks, Op: mls.AppDataUpdateOpUpdate, Data: data}}}, nil
}

// Links lists the join links of a room, in the order in which they came, as this device
// knows them: expired ones, and those that have been used up, among them until somebody
// revokes them.
//
// Errors: [ErrUnknownRoom], [ErrNotMember], [ErrSuspicious].
func (c *Client) Links(uri mimi.RoomURI) ([]LinkInfo, error) {
	c.mu.Lock()
	r := c.rooms[uri]
	c.mu.Unlock()
	if err := r.held(); err != nil {
		return nil, err
	}
	p, links, err := r.linkPolicy()
	if err != nil {
		return nil, err
	}
	out := []LinkInfo{}
	for _, l := range links.Links {
		info := LinkInfo{ID: linkID(l), Foreign: true, Once: p != nil && !p.MultiUser}
		if e, ok := mimi.ParseJoinLinkEntry(l); ok {
			info.Foreign, info.Once = false, info.Once || e.Single
			if e.NotAfter != 0 {
				info.Expires = time.Unix(int64(min(e.NotAfter, 1<<40)), 0)
			}
		}
		out = append(out, info)
	}
	return out, nil
}

func linkID(link []byte) string {
	sum := sha256.Sum256(link)
	return hex.EncodeToString(sum[:])[:16]
}

// RevokeLinks takes join links of a room back, by their IDs ([Client.Links], of which the
// first eight digits do) or as they were given out, and waits until the hub has accepted
// it. Who has joined by one stays in the room.
//
// Errors: as for [Client.CreateLink]; [ErrBadArgument] for what the room does not have.
func (c *Client) RevokeLinks(ctx context.Context, uri mimi.RoomURI, names ...string) error {
	return c.alter(ctx, uri, func(r *room, _ *policy.State) ([]policy.Change, []mls.Proposal, error) {
		_, links, err := r.linkPolicy()
		if err != nil {
			return nil, nil, err
		}
		u := &mimi.JoinLinksUpdate{}
		for _, name := range names {
			hits := 0
			for i, l := range links.Links {
				if isLink(l, uri, name) {
					u.Removed = append(u.Removed, uint32(i))
					hits++
				}
			}
			if hits != 1 {
				return nil, nil, fmt.Errorf("%w: %d join links of this room go by the name given", ErrBadArgument, hits)
			}
		}
		if len(u.Removed) == 0 {
			return nil, nil, nil
		}
		return changeLinks(u)
	})
}

// isLink says whether a person means a link of a room.
func isLink(link []byte, uri mimi.RoomURI, name string) bool {
	if given, err := mimi.ParseJoinLink(name); err == nil {
		e, ours := mimi.ParseJoinLinkEntry(link)
		return given.Room == uri && (ours && e.Hash == given.Hash() || !ours && string(link) == string(given.Code()))
	}
	return len(name) >= 8 && strings.HasPrefix(linkID(link), name)
}

// JoinByLink has the user join a room by a link that somebody has passed on, of whatever
// provider the user and the room are. For a user who is in the room already it is
// [Client.Join]. It waits until the hub has accepted.
//
// Errors: as for [Client.Join]; [ErrNotMember] if the hub does not take the link, of which
// it does not say why; an *[Error] with Reason "rate_limited" after too many links that
// were no good.
func (c *Client) JoinByLink(ctx context.Context, link mimi.JoinLink) error {
	return c.join(ctx, link.Room, link.Code())
}
