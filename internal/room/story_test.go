package room_test

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"hubbub/internal/room"
	"hubbub/internal/room/roomtest"
	"hubbub/mimi"
	"hubbub/mls"
)

var update = flag.Bool("update", false, "rewrite testdata/*.txt with what happens")

// TestTranscripts plays the commands in testdata/*.txt and compares what they
// cause with what is written below them. Every accepted entry is also announced
// to a replica and to every client, which must agree. Rewrite with -update and
// review the difference.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) < 5 {
		t.Fatalf("%d transcripts (%v), want at least 5", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, want)
			if *update {
				if err := os.WriteFile(file, got, 0o644); err != nil {
					t.Fatal(err)
				}
			} else if !bytes.Equal(got, want) {
				t.Errorf("transcript differs; run with -update and review.\ngot:\n%s", got)
			}
		})
	}
}

// play runs the commands of a transcript: lines that start with neither # nor
// a blank. Indented lines are results and are written anew.
func play(t *testing.T, script []byte) []byte {
	p := newStage(t)
	var out bytes.Buffer
	for sc := bufio.NewScanner(bytes.NewReader(script)); sc.Scan(); {
		line := sc.Text()
		switch {
		case strings.HasPrefix(line, "  "):
			continue
		case line == "" || strings.HasPrefix(line, "#"):
			fmt.Fprintln(&out, line)
			continue
		}
		fmt.Fprintln(&out, line)
		p.out.Reset()
		p.run(strings.Fields(line))
		for l := range strings.Lines(p.out.String()) {
			fmt.Fprintf(&out, "  %s", l)
		}
	}
	return out.Bytes()
}

const storyRoom mimi.RoomURI = "mimi://a.localhost/r/story"

// stage is a room at its hub, one replica that starts where the second provider
// enters, and the clients.
type stage struct {
	*testing.T
	world   *roomtest.World
	env     *room.Env
	hubKey  *mls.SignatureKey
	now     time.Time
	out     strings.Builder
	clients map[string]*roomtest.Client
	names   []string

	hub, replica *room.State
	history      []room.Change
	log          [][]byte
	last         room.Input // for repeat
	held         map[string]room.Input
}

func newStage(t *testing.T) *stage {
	p := &stage{T: t, env: roomtest.Env(), now: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC),
		clients: map[string]*roomtest.Client{}, held: map[string]room.Input{}}
	p.world = &roomtest.World{T: t, Now: func() time.Time { return p.now }}
	p.hubKey = p.world.NewKey()
	p.env.Signer = p.hubKey
	return p
}

func (p *stage) nowMS() uint64 { return uint64(p.now.UnixMilli()) }

func (p *stage) run(f []string) {
	p.Helper()
	commands := map[string]func([]string){
		"client": p.client, "create": p.create, "add": p.add, "remove": p.remove, "post": p.post,
		"commit": p.commit, "leave": p.leave, "join": p.join, "hold": p.hold, "submit": p.submit,
		"repeat": func([]string) { p.try(p.last) }, "wait": p.wait, "pending": p.pending, "promote": p.promote,
		"bad": p.bad, "restart": p.restart,
	}
	c := commands[f[0]]
	if c == nil {
		p.Fatalf("unknown command %q", f[0])
	}
	c(f[1:])
}

// client NAME USER@DOMAIN DEVICE
func (p *stage) client(f []string) {
	p.clients[f[0]] = p.world.Client(f[1], f[2])
	p.names = append(p.names, f[0])
}

func (p *stage) who(name string) *roomtest.Client {
	c := p.clients[name]
	if c == nil {
		p.Fatalf("no client %q", name)
	}
	return c
}

// create CLIENT
func (p *stage) create(f []string) {
	s, eff, err := room.Create(p.env, p.who(f[0]).Create(storyRoom, p.hubKey), p.nowMS())
	if err != nil {
		p.Fatal(err)
	}
	p.print(&s, &eff, 0)
	if eff.Refusal == nil {
		p.hub, p.history = &s, eff.Changes
	}
}

// add CLIENT NAME...: a commit that adds users with their clients
func (p *stage) add(f []string) { p.handshake(f[0], p.addBody(f)) }

func (p *stage) addBody(f []string) []byte {
	var kps []*mls.KeyPackage
	for _, name := range f[1:] {
		kps = append(kps, p.who(name).KeyPackage())
	}
	return p.who(f[0]).Add(kps...)
}

// remove CLIENT NAME: a commit that removes a user with all its clients
func (p *stage) remove(f []string) {
	c := p.who(f[0])
	p.handshake(f[0], c.Commit(c.Removal(p.who(f[1]).User)...))
}

// promote CLIENT NAME ROLE
func (p *stage) promote(f []string) {
	c := p.who(f[0])
	role, _ := strconv.Atoi(f[2])
	index := c.Participants().Index(p.who(f[1]).User)
	p.handshake(f[0], c.Commit(roomtest.ListUpdate(p, &mimi.ParticipantListUpdate{
		ChangedRoles: []mimi.RoleChange{{UserIndex: uint32(index), Role: uint32(role)}},
	})))
}

// commit CLIENT: a commit of what is pending, or of nothing
func (p *stage) commit(f []string) { p.handshake(f[0], p.who(f[0]).Commit()) }

// leave CLIENT: the proposals by which its user leaves
func (p *stage) leave(f []string) { p.handshake(f[0], p.who(f[0]).Leave()) }

// join CLIENT: an external commit
func (p *stage) join(f []string) { p.handshake(f[0], p.joinBody(f[0])) }

func (p *stage) joinBody(name string) []byte {
	gi, pending := p.groupInfo()
	return p.who(name).JoinExternal(gi, p.hub.Group().Tree(), pending...)
}

// post CLIENT TEXT...
func (p *stage) post(f []string) {
	c := p.who(f[0])
	p.message(c.User.Domain(), c.Post(strings.Join(f[1:], " ")))
}

// hold NAME COMMAND...: make the input now, submit it later
func (p *stage) hold(f []string) {
	c := p.who(f[2])
	var in room.Input
	switch f[1] {
	case "post":
		in = p.parseMessage(c.User.Domain(), c.Post(strings.Join(f[3:], " ")))
	case "commit":
		in = p.parseHandshake(c.User.Domain(), c.Commit())
	case "add":
		in = p.parseHandshake(c.User.Domain(), p.addBody(f[2:]))
	case "join":
		in = p.parseHandshake(c.User.Domain(), p.joinBody(f[2]))
	default:
		p.Fatalf("cannot hold %q", f[1])
	}
	p.held[f[0]] = in
}

// submit NAME
func (p *stage) submit(f []string) { p.try(p.held[f[0]]) }

// wait MILLISECONDS
func (p *stage) wait(f []string) {
	ms, _ := strconv.Atoi(f[0])
	p.now = p.now.Add(time.Duration(ms) * time.Millisecond)
}

// pending: the proposals that wait for a commit
func (p *stage) pending([]string) {
	for _, c := range p.hub.Pending() {
		fmt.Fprintf(&p.out, "since %d\n", c.Timestamp)
	}
}

// restart: encode and decode the hub's state and the replica's
func (p *stage) restart([]string) {
	for _, s := range []**room.State{&p.hub, &p.replica} {
		b, err := (*s).Encode()
		if err != nil {
			p.Fatal(err)
		}
		again, err := room.Decode(p.env, b)
		if err != nil {
			p.Fatal(err)
		}
		*s = &again
	}
}

func (p *stage) handshake(name string, body []byte) {
	p.Helper()
	p.try(p.parseHandshake(p.who(name).User.Domain(), body))
}

func (p *stage) message(peer mimi.Domain, body []byte) {
	p.Helper()
	p.try(p.parseMessage(peer, body))
}

func (p *stage) parseHandshake(peer mimi.Domain, body []byte) room.Input {
	p.Helper()
	in, err := room.ParseHandshake(peer, body)
	if err != nil {
		p.Fatal(err)
	}
	return in
}

func (p *stage) parseMessage(peer mimi.Domain, body []byte) room.Input {
	p.Helper()
	in, err := room.ParseSubmission(peer, body)
	if err != nil {
		p.Fatal(err)
	}
	return in
}

// try steps the hub and, if it accepts, everybody else.
func (p *stage) try(in room.Input) {
	p.Helper()
	p.last = in
	before := p.hub.Pos
	next, eff, err := room.Step(p.env, *p.hub, in, p.nowMS())
	if err != nil {
		p.Fatal(err)
	}
	p.print(&next, &eff, len(p.hub.Members()))
	if eff.Entry == nil {
		if p.hub.Pos != before || next.Pos != before {
			p.Errorf("a refused input moved the room")
		}
		return
	}
	p.hub = &next
	p.history = append(p.history, eff.Changes...)
	p.log = append(p.log, eff.Entry.Body)
	p.announce(&eff)
	p.deliver(&eff)
}

// announce takes the replica along.
func (p *stage) announce(eff *room.Effects) {
	p.Helper()
	if p.replica == nil {
		if eff.Welcome != nil {
			p.startReplica()
		}
		return
	}
	list, err := room.ParseAnnouncements(eff.Entry.Body)
	if err != nil {
		p.Fatal(err)
	}
	next, same, err := room.Step(p.env, *p.replica, list[0], p.nowMS())
	if err != nil || same.Refusal != nil {
		p.Fatalf("the replica refuses what the hub accepted: %v %v", err, same.Refusal)
	}
	if next.Pos != p.hub.Pos || fmt.Sprint(same.Changes) != fmt.Sprint(eff.Changes) ||
		fmt.Sprint(next.Members()) != fmt.Sprint(p.hub.Members()) ||
		fmt.Sprint(next.Participants()) != fmt.Sprint(p.hub.Participants()) || next.Epoch() != p.hub.Epoch() {
		p.Errorf("the replica comes to another result:\n%v\n%v", same.Changes, eff.Changes)
	}
	p.replica = &next
}

func (p *stage) startReplica() {
	p.Helper()
	snap, err := room.NewSnapshot(p.hub, p.history)
	if err != nil {
		p.Fatal(err)
	}
	b, err := snap.Encode()
	if err != nil {
		p.Fatal(err)
	}
	if snap, err = room.ParseSnapshot(b); err != nil {
		p.Fatal(err)
	}
	s, err := room.StartFrom(p.env, snap)
	if err != nil {
		p.Fatal(err)
	}
	p.replica = &s
}

// deliver gives the entry to every client in the group and the Welcome to those
// it names.
func (p *stage) deliver(eff *room.Effects) {
	p.Helper()
	for _, name := range p.names {
		c := p.clients[name]
		if c.Group == nil && eff.Welcome != nil {
			for _, r := range eff.Welcome.Recipients {
				if r.Client == c.URI {
					c.Join(eff.Welcome.Body)
				}
			}
			continue
		}
		heard := len(c.Texts)
		if !c.Follow(eff.Entry.Body) {
			fmt.Fprintf(&p.out, "%s is out\n", name)
			continue
		}
		if c.Group == nil {
			continue
		}
		for _, text := range c.Texts[heard:] {
			fmt.Fprintf(&p.out, "%s reads %q\n", name, text)
		}
		if c.Group.Epoch() != p.hub.Epoch() {
			p.Errorf("%s is in epoch %d, the hub in %d", name, c.Group.Epoch(), p.hub.Epoch())
		}
	}
}

func (p *stage) print(s *room.State, eff *room.Effects, _ int) {
	if r := eff.Refusal; r != nil {
		fmt.Fprintf(&p.out, "refused %s: %s", r.Code, r.Description)
		if r.Epoch != 0 {
			fmt.Fprintf(&p.out, " (epoch %d)", r.Epoch)
		}
		if len(r.Refs) > 0 {
			fmt.Fprintf(&p.out, " (%d refs)", len(r.Refs))
		}
		fmt.Fprintln(&p.out)
		return
	}
	if eff.Repeat != 0 {
		fmt.Fprintf(&p.out, "repeat of %d\n", eff.Repeat)
		return
	}
	if e := eff.Entry; e != nil {
		kind := map[room.Kind]string{1: "message", 2: "proposal", 3: "commit"}[e.Kind]
		// Keys are random, and with them the hash: only the Seq is shown.
		fmt.Fprintf(&p.out, "%d %s at %d, epoch %d\n", s.Pos.Seq, kind, e.Timestamp, s.Epoch())
	} else {
		fmt.Fprintf(&p.out, "%d created, epoch %d\n", s.Pos.Seq, s.Epoch())
	}
	for _, c := range eff.Changes {
		fmt.Fprintf(&p.out, "%s", describe(c))
	}
	if eff.Participants != nil {
		fmt.Fprintf(&p.out, "participants")
		for _, u := range eff.Participants {
			fmt.Fprintf(&p.out, " %s=%d", u.User.Handle(), u.Role)
		}
		fmt.Fprintln(&p.out)
	}
	if eff.Welcome != nil {
		fmt.Fprintf(&p.out, "welcome to")
		for _, r := range eff.Welcome.Recipients {
			fmt.Fprintf(&p.out, " %s/%s", r.User.Handle(), r.Client.Device())
		}
		fmt.Fprintln(&p.out)
	}
}

func describe(c room.Change) string {
	what := c.User.Handle()
	if c.Client != "" {
		what += "/" + c.Client.Device()
	}
	if c.Role != 0 {
		what += fmt.Sprintf(" role %d", c.Role)
	}
	return fmt.Sprintf("%d %s: %s %s\n", c.Seq, c.Actor.Handle(), c.Action, what)
}
