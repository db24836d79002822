package conformance

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"hubbub/internal/fakepeer"
	"hubbub/internal/room"
	"hubbub/mimi"
)

var wireChecks = []check{
	{id: "WIRE-1", what: "bodies with lengths of one, two and four octets are understood", needs: []string{needDirectory}, run: understood},
	{id: "WIRE-2", what: "a length longer than need be is malformed", needs: []string{needDirectory}, run: mutation(longLength)},
	{id: "WIRE-3", what: "a length that begins with two set bits is malformed", needs: []string{needDirectory}, run: mutation(reservedLength)},
	{id: "WIRE-4", what: "presence is 0 or 1", needs: []string{needDirectory}, run: mutation(presence)},
	{id: "WIRE-5", what: "a vector ends where it says", needs: []string{needDirectory}, run: mutation(otherLength)},
	{id: "WIRE-6", what: "nothing after the body, nothing missing", needs: []string{needDirectory}, run: mutation(cutOrLonger)},
	{id: "WIRE-8", what: "unknown enumerated values are malformed", needs: []string{needDirectory}, run: mutation(unknownValues)},
	{id: "WIRE-9", what: "text is UTF-8", needs: []string{needDirectory}, run: mutation(badText)},
	{id: "WIRE-11", what: "a huge claimed length costs nothing", needs: []string{needDirectory}, run: mutation(hugeLength)},
}

// sample is a good request to an endpoint about something that is not there, and
// what is needed to spoil it.
type sample struct {
	endpoint mimi.Endpoint
	id       string
	body     []byte
	answers  []int // to the good one
	vector   int   // where the first vector begins, of a one-octet length
	enums    []int // offsets of enumerated octets
	options  []int // offsets of presence octets
	text     int   // an octet inside a text; 0 = none
}

// samples makes one for each endpoint, once.
func (s *session) samples() []sample {
	if s.bodies != nil {
		return s.bodies
	}
	c, other := s.client("wire", "phone"), s.client("wire", "laptop")
	at, nobody := s.roomURI(s.target, "none"), s.userURI(s.run+"-nobody")
	claim := s.claim(c, nobody, "", nil)

	c.Create(at, s.rooms.NewKey())
	commit := c.Add(other.KeyPackage())
	bundle, err := mimi.ParseHandshakeBundle(commit)
	must(err)
	welcome := len(bundle.Message.Raw)
	post := c.Post("nobody reads this")

	// An announcement is made by the rules, of a room of ours.
	teller := s.client("wire", "tablet")
	hub := s.rooms.NewKey()
	creation := teller.Create(s.roomURI(s.cfg.As, "none"), hub)
	env := s.env()
	state, eff, err := room.Create(env, creation, now())
	must(err)
	mustAccept(&eff)
	in, err := room.ParseSubmission(s.cfg.As, teller.Post("nobody hears this"))
	must(err)
	_, eff, err = room.Step(env, state, in, now())
	must(err)
	mustAccept(&eff)

	info, _ := s.groupInfoRequest(c, nil)
	s.bodies = []sample{
		{mimi.EndpointKeyMaterial, string(nobody), claim, []int{200}, 1, nil, nil, 12},
		{mimi.EndpointUpdate, string(at), commit, []int{404}, 4, []int{1, 3}, []int{welcome}, 0},
		{mimi.EndpointSubmitMessage, string(at), post, []int{404}, 5, []int{0, 2, 4}, nil, len(post) - 3},
		{mimi.EndpointNotify, string(state.Room), eff.Entry.Body, []int{404}, 12, []int{9, 11}, []int{len(eff.Entry.Body) - 1}, 0},
		{mimi.EndpointGroupInfo, string(at), info, []int{200}, 3, []int{0}, nil, 0},
	}
	return s.bodies
}

func now() uint64 { return uint64(time.Now().UnixMilli()) }

func mustAccept(eff *room.Effects) {
	if eff.Refusal != nil {
		must(fmt.Errorf("our own room refuses: %w", eff.Refusal))
	}
}

// env are the rules of our own rooms: everybody in them is who it says.
func (s *session) env() *room.Env {
	return &room.Env{Verifier: &mimi.Verifier{AllowBasic: true, Roots: s.cfg.Roots}}
}

func (s *session) sample(e mimi.Endpoint) sample {
	for _, b := range s.samples() {
		if b.endpoint == e {
			return b
		}
	}
	panic(stop{fmt.Errorf("no sample for %s", e)})
}

func understood(ctx context.Context, p *probe) {
	for _, b := range p.s.samples() {
		r, err := p.s.ask(ctx, b.endpoint, b.id, b.body)
		p.answered(string(b.endpoint), r, err, b.answers...)
	}
}

// spoiled is a body with a defect.
type spoiled struct {
	what string
	body []byte
}

// mutation sends what spoil makes of every sample; each has to be refused as
// malformed. A control says that it is the defect that is refused.
func mutation(spoil func(sample) []spoiled) func(context.Context, *probe) {
	return func(ctx context.Context, p *probe) {
		for _, b := range p.s.samples() {
			for _, m := range spoil(b) {
				r, err := p.s.askWith(ctx, b.endpoint, b.id, fakepeer.Outgoing{Body: m.body})
				p.answered(string(b.endpoint)+": "+m.what, r, err, 400)
			}
		}
	}
}

// with gives a copy of the body with other octets at one place.
func (b *sample) with(offset int, octets ...byte) []byte {
	body := bytes.Clone(b.body)
	copy(body[offset:], octets)
	return body
}

func (b *sample) spliced(offset, drop int, octets ...byte) []byte {
	return append(append(bytes.Clone(b.body[:offset]), octets...), b.body[offset+drop:]...)
}

func longLength(b sample) []spoiled {
	n := b.body[b.vector]
	return []spoiled{
		{"a short length in two octets", b.spliced(b.vector, 1, 0x40, n)},
		{"a short length in four octets", b.spliced(b.vector, 1, 0x80, 0, 0, n)},
	}
}

func reservedLength(b sample) []spoiled {
	return []spoiled{{"c0", b.with(b.vector, 0xc0)}, {"ff", b.with(b.vector, 0xff)}}
}

func presence(b sample) (list []spoiled) {
	for _, at := range b.options {
		list = append(list, spoiled{"presence 2", b.with(at, 2)}, spoiled{"presence ff", b.with(at, 0xff)})
	}
	return list
}

func otherLength(b sample) []spoiled {
	n := b.body[b.vector]
	return []spoiled{{"a vector one longer", b.with(b.vector, n+1)}, {"a vector one shorter", b.with(b.vector, n-1)}}
}

func cutOrLonger(b sample) []spoiled {
	list := []spoiled{{"empty", nil}, {"an octet too many", append(bytes.Clone(b.body), 0)}}
	// Every place in what has structure, some of what is one long vector.
	for i := 1; i < len(b.body); i += 1 + i/8 {
		list = append(list, spoiled{fmt.Sprintf("cut after %d of %d octets", i, len(b.body)), b.body[:i]})
	}
	return append(list, spoiled{"the last octet missing", b.body[:len(b.body)-1]})
}

func unknownValues(b sample) (list []spoiled) {
	for _, at := range b.enums {
		for _, v := range []byte{0xff, 0} {
			if b.body[at] != v {
				list = append(list, spoiled{fmt.Sprintf("%02x in place of %02x at octet %d", v, b.body[at], at), b.with(at, v)})
			}
		}
	}
	return list
}

func badText(b sample) []spoiled {
	if b.text == 0 {
		return nil
	}
	return []spoiled{{"an octet that is not UTF-8", b.with(b.text, 0xff)}, {"a NUL", b.with(b.text, 0)}}
}

func hugeLength(b sample) []spoiled {
	return []spoiled{{"a vector of 1 GiB, three octets of it", append(bytes.Clone(b.body[:b.vector]), 0xbf, 0xff, 0xff, 0xff, 1, 2, 3)}}
}
