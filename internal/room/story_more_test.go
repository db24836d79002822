package room_test

import (
	"bytes"
	"strings"

	"hubbub/internal/room"
	"hubbub/internal/room/roomtest"
	"hubbub/mimi"
	"hubbub/mimi/policy"
	"hubbub/mls"
	"hubbub/mls/wire"
)

// groupInfo is what the hub hands to a joiner.
func (p *stage) groupInfo() (*mls.GroupInfo, []*mls.PublicMessage) {
	p.Helper()
	gi := new(mls.GroupInfo)
	if err := wire.Unmarshal(p.hub.GroupInfo(), gi); err != nil {
		p.Fatal(err)
	}
	var pending []*mls.PublicMessage
	for _, c := range p.hub.Pending() {
		m, err := mls.ParseMessage(c.Message)
		if err != nil {
			p.Fatal(err)
		}
		if m.Public.Content.Proposal.Type == mls.ProposalTypeSelfRemove {
			pending = append(pending, m.Public)
		}
	}
	return gi, pending
}

// bad RULE CLIENT [NAME]: an input that breaks one rule.
func (p *stage) bad(f []string) {
	p.Helper()
	make := badInputs[f[0]]
	if make == nil {
		p.Fatalf("no bad input %q", f[0])
	}
	c := p.who(f[1])
	var other *roomtest.Client
	if len(f) > 2 {
		other = p.who(f[2])
	}
	p.try(make(p, c, other))
	c.Drop()
}

// bundle parses the body of an update as its own client's provider submits it.
func (p *stage) bundle(c *roomtest.Client, body []byte) room.Input {
	p.Helper()
	return p.parseHandshake(c.User.Domain(), body)
}

// tamper changes a commit's bundle.
func (p *stage) tamper(c *roomtest.Client, body []byte, change func(*mimi.HandshakeBundle)) room.Input {
	p.Helper()
	h, err := mimi.ParseHandshakeBundle(bytes.Clone(body))
	if err != nil {
		p.Fatal(err)
	}
	change(h)
	b, err := h.Marshal()
	if err != nil {
		p.Fatal(err)
	}
	return p.bundle(c, b)
}

func (p *stage) tamperMessage(c *roomtest.Client, change func(*mls.PrivateMessage)) room.Input {
	p.Helper()
	s, err := mimi.ParseSubmitMessageRequest(c.Post("x"))
	if err != nil {
		p.Fatal(err)
	}
	change(s.Message.Private)
	s.Message.Raw = nil
	b, err := s.Marshal()
	if err != nil {
		p.Fatal(err)
	}
	return p.parseMessage(c.User.Domain(), b)
}

func add(kp *mls.KeyPackage) mls.Proposal {
	return mls.Proposal{Type: mls.ProposalTypeAdd, Add: &mls.Add{KeyPackage: *kp}}
}

var badInputs = map[string]func(p *stage, c, other *roomtest.Client) room.Input{
	// Messages.
	"message-of-another-provider": func(p *stage, c, _ *roomtest.Client) room.Input {
		return p.parseMessage("c.localhost", c.Post("x"))
	},
	"message-of-another-user": func(p *stage, c, other *roomtest.Client) room.Input {
		s, _ := mimi.ParseSubmitMessageRequest(c.Post("x"))
		s.Sender = other.User
		b, _ := s.Marshal()
		return p.parseMessage(c.User.Domain(), b)
	},
	"message-of-another-group": func(p *stage, c, _ *roomtest.Client) room.Input {
		return p.tamperMessage(c, func(m *mls.PrivateMessage) { m.GroupID = []byte("elsewhere") })
	},
	"message-of-a-future-epoch": func(p *stage, c, _ *roomtest.Client) room.Input {
		return p.tamperMessage(c, func(m *mls.PrivateMessage) { m.Epoch++ })
	},
	"message-without-content": func(p *stage, c, _ *roomtest.Client) room.Input {
		return p.tamperMessage(c, func(m *mls.PrivateMessage) { m.Ciphertext = nil })
	},
	"message-too-large": func(p *stage, c, _ *roomtest.Client) room.Input {
		return p.parseMessage(c.User.Domain(), c.Post(strings.Repeat("x", 65<<10)))
	},

	// Commits: who sends them, and in which epoch.
	"commit-of-another-provider": func(p *stage, c, _ *roomtest.Client) room.Input {
		return p.parseHandshake("c.localhost", c.Commit())
	},
	"commit-with-bad-signature": func(p *stage, c, _ *roomtest.Client) room.Input {
		return p.tamper(c, c.Commit(), func(h *mimi.HandshakeBundle) {
			h.Message.Raw = nil
			h.Message.Public.Auth.Signature[0] ^= 1
		})
	},
	"commit-of-a-future-epoch": func(p *stage, c, _ *roomtest.Client) room.Input {
		return p.tamper(c, c.Commit(), func(h *mimi.HandshakeBundle) {
			h.Message.Raw = nil
			h.Message.Public.Content.Epoch++
		})
	},
	"commit-of-another-group": func(p *stage, c, _ *roomtest.Client) room.Input {
		return p.tamper(c, c.Commit(), func(h *mimi.HandshakeBundle) {
			h.Message.Raw = nil
			h.Message.Public.Content.GroupID = []byte("elsewhere")
		})
	},
	"commit-from-no-leaf": func(p *stage, c, _ *roomtest.Client) room.Input {
		return p.tamper(c, c.Commit(), func(h *mimi.HandshakeBundle) {
			h.Message.Raw = nil
			h.Message.Public.Content.Sender.LeafIndex = 1 << 20
		})
	},
	"commit-of-unknown-proposals": func(p *stage, c, _ *roomtest.Client) room.Input {
		was := c.Group
		next, _, err := was.Propose(roomtest.ListUpdate(p, &mimi.ParticipantListUpdate{Removed: []uint32{1}}), mls.ProposeOptions{})
		if err != nil {
			p.Fatal(err)
		}
		c.Group = next
		in := p.bundle(c, c.Commit())
		c.Group = was
		return in
	},

	// Commits: what they do.
	"add-without-listing": func(p *stage, c, other *roomtest.Client) room.Input {
		return p.bundle(c, c.Commit(add(other.KeyPackage())))
	},
	"remove": func(p *stage, c, other *roomtest.Client) room.Input {
		return p.bundle(c, c.Commit(c.Removal(other.User)...))
	},
	"kick": func(p *stage, c, other *roomtest.Client) room.Input {
		return p.bundle(c, c.Commit(mls.Proposal{Type: mls.ProposalTypeRemove, Remove: &mls.Remove{Removed: c.Leaves(other.User)[0]}}))
	},
	"unlist-and-keep-leaf": func(p *stage, c, other *roomtest.Client) room.Input {
		list := c.Removal(other.User)
		return p.bundle(c, c.Commit(list[len(list)-1]))
	},
	"promote-itself": func(p *stage, c, _ *roomtest.Client) room.Input {
		return p.bundle(c, c.Commit(p.roleChange(c, c, policy.Admin)))
	},
	"role-that-is-not-defined": func(p *stage, c, other *roomtest.Client) room.Input {
		return p.bundle(c, c.Commit(p.roleChange(c, other, 77)))
	},
	"join-uninvited": func(p *stage, c, _ *roomtest.Client) room.Input {
		return p.bundle(c, p.joinBody("stranger"))
	},

	// Commits: what comes with them.
	"welcome-missing": func(p *stage, c, other *roomtest.Client) room.Input {
		return p.tamper(c, c.Add(other.KeyPackage()), func(h *mimi.HandshakeBundle) { h.Welcome = nil })
	},
	"welcome-for-nobody": func(p *stage, c, other *roomtest.Client) room.Input {
		h, _ := mimi.ParseHandshakeBundle(c.Add(other.KeyPackage()))
		return p.tamper(c, c.Commit(), func(e *mimi.HandshakeBundle) { e.Welcome = h.Welcome })
	},
	"welcome-for-one-more": func(p *stage, c, other *roomtest.Client) room.Input {
		return p.tamper(c, c.Add(other.KeyPackage()), func(h *mimi.HandshakeBundle) {
			more := h.Welcome.Secrets[0]
			more.NewMember = bytes.Repeat([]byte{1}, 32)
			h.Welcome.Secrets = append(h.Welcome.Secrets, more)
		})
	},
	"group-info-of-another-epoch": func(p *stage, c, _ *roomtest.Client) room.Input {
		gi, _ := p.groupInfo()
		return p.tamper(c, c.Commit(), func(h *mimi.HandshakeBundle) { h.GroupInfo.Full = gi })
	},
	"group-info-with-bad-signature": func(p *stage, c, _ *roomtest.Client) room.Input {
		return p.tamper(c, c.Commit(), func(h *mimi.HandshakeBundle) { h.GroupInfo.Full.Signature[0] ^= 1 })
	},
	"group-info-without-external-pub": func(p *stage, c, _ *roomtest.Client) room.Input {
		return p.tamper(c, c.Commit(), func(h *mimi.HandshakeBundle) {
			gi := h.GroupInfo.Full
			gi.Extensions = gi.Extensions.Without(mls.ExtensionTypeExternalPub)
			if err := gi.Sign(c.Key().Private); err != nil {
				p.Fatal(err)
			}
		})
	},
	"tree-elsewhere": func(p *stage, c, _ *roomtest.Client) room.Input {
		return p.tamper(c, c.Commit(), func(h *mimi.HandshakeBundle) {
			h.RatchetTree = mimi.RatchetTreeOption{Representation: mimi.TreeHTTPSURI, URL: "https://a.localhost/tree"}
		})
	},
	"tree-of-another-epoch": func(p *stage, c, _ *roomtest.Client) room.Input {
		return p.tamper(c, c.Commit(), func(h *mimi.HandshakeBundle) {
			h.RatchetTree = mimi.RatchetTreeOption{Representation: mimi.TreeFull, Tree: p.hub.Group().Tree()}
		})
	},

	// Proposals.
	"propose-removal": func(p *stage, c, other *roomtest.Client) room.Input {
		return p.bundle(c, c.Propose(c.Removal(other.User)...))
	},
	"propose-twice-the-same-user": func(p *stage, c, other *roomtest.Client) room.Input {
		list := c.Removal(other.User)
		change := p.roleChange(c, other, policy.Admin)
		return p.bundle(c, c.Propose(list[len(list)-1], change))
	},
	"bundle-of-two-senders": func(p *stage, c, other *roomtest.Client) room.Input {
		h, _ := mimi.ParseHandshakeBundle(other.Leave())
		return p.tamper(c, c.Leave(), func(e *mimi.HandshakeBundle) { e.MoreProposals = append(e.MoreProposals, h.Message) })
	},
}

func (p *stage) roleChange(c, of *roomtest.Client, role uint32) mls.Proposal {
	p.Helper()
	index := c.Participants().Index(of.User)
	return roomtest.ListUpdate(p, &mimi.ParticipantListUpdate{
		ChangedRoles: []mimi.RoleChange{{UserIndex: uint32(index), Role: role}},
	})
}
