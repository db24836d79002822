package room_test

import (
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

// bad: inputs that break one rule each.
func (p *stage) bad(f []string) { p.Fatal("later") }
