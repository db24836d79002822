package mls

import (
	"slices"

	"hubbub/mls/wire"
)

// MessageRange is a run of application messages of one sender in one epoch:
// generations First to Last, both included (draft-ietf-mls-extensions §6.1).
type MessageRange struct {
	Sender LeafIndex
	First  uint32
	Last   uint32
}

// Encode appends the range.
func (m *MessageRange) Encode(w *wire.Writer) {
	w.Uint32(uint32(m.Sender))
	w.Uint32(m.First)
	w.Uint32(m.Last)
}

// Decode reads a range; one that ends before it begins is wire.ErrBadValue.
func (m *MessageRange) Decode(r *wire.Reader) {
	*m = MessageRange{Sender: LeafIndex(r.Uint32()), First: r.Uint32(), Last: r.Uint32()}
	if m.Last < m.First {
		r.FailValue()
	}
}

// AppAck tells others which application messages of the epoch its sender has
// received. It is the data of an AppEphemeral proposal of component app_ack
// (draft-ietf-mls-extensions §6.1).
type AppAck struct{ Received []MessageRange }

// Encode appends the data.
func (a *AppAck) Encode(w *wire.Writer) { encodeVector(w, a.Received) }

// Decode reads the data.
func (a *AppAck) Decode(r *wire.Reader) { a.Received = decodeVector[MessageRange](r) }

// Proposal returns the AppEphemeral proposal that carries a. It returns
// wire.ErrTooLong if there are too many ranges.
func (a *AppAck) Proposal() (Proposal, error) {
	data, err := wire.Marshal(a)
	return Proposal{Type: ProposalTypeAppEphemeral, AppEphemeral: &AppEphemeral{Component: ComponentAppAck, Data: data}}, err
}

// Add notes that a message has been received. Ranges stay sorted, apart and as
// few as can be. The cost is linear in the number of ranges.
func (a *AppAck) Add(sender LeafIndex, generation uint32) {
	i, found := slices.BinarySearchFunc(a.Received, MessageRange{Sender: sender, First: generation}, func(e, t MessageRange) int {
		if e.Sender != t.Sender {
			return int(int64(e.Sender) - int64(t.Sender))
		}
		return int(int64(e.First) - int64(t.First))
	})
	joinsBelow := i > 0 && a.Received[i-1].Sender == sender && uint64(a.Received[i-1].Last)+1 >= uint64(generation)
	joinsAbove := i < len(a.Received) && a.Received[i].Sender == sender && uint64(generation)+1 == uint64(a.Received[i].First)
	switch {
	case found:
	case joinsBelow && joinsAbove:
		a.Received[i-1].Last = a.Received[i].Last
		a.Received = slices.Delete(a.Received, i, i+1)
	case joinsBelow:
		a.Received[i-1].Last = max(a.Received[i-1].Last, generation)
	case joinsAbove:
		a.Received[i].First = generation
	default:
		a.Received = slices.Insert(a.Received, i, MessageRange{Sender: sender, First: generation, Last: generation})
	}
}

// Missing returns what other has received and a has not: messages that somebody
// keeps from the owner of a, or that are late. The ranges of a must come from
// Add; those of other may have any order.
func (a *AppAck) Missing(other *AppAck) (out []MessageRange) {
	for _, want := range other.Received {
		from := uint64(want.First)
		for _, have := range a.Received {
			if have.Sender != want.Sender || uint64(have.Last) < from {
				continue
			}
			if have.First > want.Last {
				break
			}
			if uint64(have.First) > from {
				out = append(out, MessageRange{Sender: want.Sender, First: uint32(from), Last: have.First - 1})
			}
			from = uint64(have.Last) + 1
		}
		if from <= uint64(want.Last) {
			out = append(out, MessageRange{Sender: want.Sender, First: uint32(from), Last: want.Last})
		}
	}
	return out
}
