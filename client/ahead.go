package client

import (
	"hubbub/client/clientpb"
	"hubbub/mimi"
	"hubbub/mls"
)

// fewAhead is how many messages of one room must come together for it to pay to
// spread their decryption over the processors.
const fewAhead = 4

// opened is a message that was decrypted before its turn, by the group that was
// expected to be the room's by then.
type opened struct {
	message *mimi.FanoutMessage
	base    *mls.Group
	result  mls.Processed // nil if it is not to be had
}

// openAhead decrypts the messages at the front of what each room gets with this
// step. It changes nothing: what has become of a room when the turn of a message
// comes says whether the result holds.
func (b *batch) openAhead(list []*clientpb.ServerFrame) {
	entries := map[string][]*clientpb.Entry{}
	for _, f := range list {
		if e := f.GetEntry(); e != nil {
			entries[e.GetRoom()] = append(entries[e.GetRoom()], e.GetEntry())
		}
	}
	for uri, list := range entries {
		if r := b.c.rooms[mimi.RoomURI(uri)]; r != nil && r.group != nil && len(list) >= fewAhead {
			b.openRoom(r, list)
		}
	}
}

func (b *batch) openRoom(r *room, list []*clientpb.Entry) {
	var messages []*mimi.FanoutMessage
	var octets [][]byte
	var from []*clientpb.Entry
	for _, e := range list {
		if e.GetSeq() <= r.pos.Seq {
			continue
		}
		m, err := mimi.ParseFanoutMessage(e.GetBody())
		if err != nil || m.Kind() != mimi.FanoutApplication {
			break
		}
		messages, octets, from = append(messages, m), append(octets, m.Message.Raw), append(from, e)
	}
	base := r.group
	for i, result := range base.ProcessAll(octets) {
		b.ahead[from[i]] = opened{messages[i], base, result.Processed}
		if a, ok := result.Processed.(*mls.Application); ok {
			base = a.Next
		}
	}
}
