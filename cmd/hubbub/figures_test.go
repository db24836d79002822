package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"hubbub/client"
	"hubbub/cmd/hubbub/internal/devenv"
	"hubbub/mimi"
)

// figures is a run of the draft's figures: three provider processes, what passes between
// them, and the devices of Alice at a, Bob at b and Cathy at c.
type figures struct {
	*testing.T
	env  *devenv.Env
	taps *taps
	dirs map[string]string // of devices, by "bob/phone"
	devs map[string]*client.Client
	uri  mimi.RoomURI
}

// TestFigures plays the figures of mimi-protocol-06 (FLOW-1 to FLOW-6) between three real
// processes. Every arrow is asserted: who asks whom, at which endpoint, with which body,
// what is answered, and in which order; after each figure all copies are compared.
func TestFigures(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	f := newFigures(t)
	f.create()
	f.add()
	f.followerAdds()
	f.message()
	f.newDevice()
	f.leave()
	for link := range f.taps.others {
		if !strings.HasPrefix(link, "b→a x-") && !strings.HasPrefix(link, "c→a x-") && !strings.HasPrefix(link, "a→b x-") && !strings.HasPrefix(link, "a→c x-") {
			t.Errorf("another arrow: %s", link)
		}
	}
}

func newFigures(t *testing.T) *figures {
	t.Helper()
	env, err := devenv.New(devenv.Options{Dir: shortDir(t), Providers: 3, Environ: []string{"HUBBUB_CONSENT=open"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { env.Close() })
	f := &figures{T: t, env: env, dirs: map[string]string{}, devs: map[string]*client.Client{}}
	f.taps = newTaps(t, env)
	if err := env.StartAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{"alice", "bob", "cathy"} {
		if err := env.AddUser(t.Context(), mimi.UserURI(fmt.Sprintf("mimi://%s/u/%s", env.Providers[i].Domain, name))); err != nil {
			t.Fatal(err)
		}
		f.device(name, "phone")
	}
	f.device("bob", "laptop")
	return f
}

func (f *figures) ok(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

func (f *figures) user(name string) mimi.UserURI { return f.devs[name+"/phone"].User() }

// device enrols one, opens it and waits until its provider has KeyPackages of it.
func (f *figures) device(name, device string) *client.Client {
	f.Helper()
	at := slices.Index([]string{"alice", "bob", "cathy"}, name)
	user := mimi.UserURI(fmt.Sprintf("mimi://%s/u/%s", f.env.Providers[at].Domain, name))
	dir, err := f.env.Enrol(f.Context(), user, device)
	f.ok(err)
	dev, err := client.Open(context.Background(), dir, nil)
	f.ok(err)
	f.Cleanup(func() { dev.Close() })
	f.dirs[name+"/"+device], f.devs[name+"/"+device] = dir, dev
	f.await("KeyPackages of "+name+"/"+device, func() error {
		users, err := devenv.NewAdmin(f.env.Providers[at].AdminSocket).ListUsers(f.Context())
		if err != nil {
			return err
		}
		for _, c := range users[0].GetClients() {
			if c.GetClient() == string(dev.URI()) && c.GetKeyPackages() > 0 {
				return nil
			}
		}
		return errors.New("none yet")
	})
	return dev
}

// await asks check until it is content, for at most a minute.
func (f *figures) await(what string, check func() error) {
	f.Helper()
	end := time.NewTimer(time.Minute)
	defer end.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-end.C:
			f.Fatalf("waited in vain for %s: %v", what, err)
		case <-tick.C:
		}
	}
}

// shows asserts the arrows of a figure, all of them and no others; each chain names some
// of them in the order in which they must have begun.
func (f *figures) shows(figure string, want []string, chains ...[]string) []arrow {
	f.Helper()
	list := f.taps.take(f.await, len(want))
	got := texts(list)
	sorted := func(s []string) string { s = slices.Clone(s); slices.Sort(s); return strings.Join(s, "\n  ") }
	if sorted(got) != sorted(want) {
		f.Fatalf("%s: arrows\n  %s\nwant\n  %s", figure, strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
	for _, chain := range chains {
		last := -1
		for _, text := range chain {
			at := slices.Index(got, text)
			if at <= last {
				f.Errorf("%s: %q comes too early in\n  %s", figure, text, strings.Join(got, "\n  "))
			}
			last = at
		}
	}
	for i := range list {
		if notKey := !strings.Contains(list[i].text, " keyMaterial "); notKey && list[i].room() != string(f.uri) {
			f.Errorf("%s: %s is about %s", figure, list[i].text, list[i].room())
		}
	}
	return list
}

// equal waits until the devices named are members with the same list, epoch and place, and
// compares the logs that their providers hold octet for octet.
func (f *figures) equal(figure string, names ...string) {
	f.Helper()
	var first client.RoomInfo
	f.await(figure+": equal copies", func() error {
		for i, name := range names {
			info, err := f.devs[name].Room(f.Context(), f.uri)
			switch {
			case err != nil:
				return err
			case !info.Member:
				return fmt.Errorf("%s is no member", name)
			case i == 0:
				first = info
			case info.Pos != first.Pos || info.Epoch != first.Epoch || fmt.Sprint(info.Participants) != fmt.Sprint(first.Participants):
				return fmt.Errorf("%s: %+v\n%s: %+v", names[0], first, name, info)
			}
		}
		return nil
	})
	// The copies of followers begin later.
	want, err := f.devs[names[0]].Log(f.Context(), f.uri, 0, 1000)
	f.ok(err)
	for _, name := range names[1:] {
		got, err := f.devs[name].Log(f.Context(), f.uri, 0, 1000)
		f.ok(err)
		if len(got) > len(want) {
			f.Fatalf("%s: %s has %d entries, %s %d", figure, name, len(got), names[0], len(want))
		}
		for i, e := range got {
			if w := want[len(want)-len(got)+i]; e.Seq != w.Seq || e.Timestamp != w.Timestamp || !bytes.Equal(e.Body, w.Body) {
				f.Errorf("%s: entry %d of %s is another at %s", figure, e.Seq, names[0], name)
			}
		}
	}
}

// create is "Alice Creates a Room": nothing passes between providers.
func (f *figures) create() {
	uri, _, err := f.devs["alice/phone"].CreateRoom(f.Context(), client.RoomOptions{Name: "figures"})
	f.ok(err)
	f.uri = uri
	f.equal("create", "alice/phone")
	f.shows("create", nil)
}

// add is "Alice adds Bob": the Welcome goes to b, for all of Bob's clients.
func (f *figures) add() {
	f.ok2(f.devs["alice/phone"].AddUsers(f.Context(), f.uri, f.user("bob")))
	claim, welcome := "a→b keyMaterial alice for bob: 200 success, 2 clients", "a→b notify Welcome with tree: 201"
	f.shows("add", []string{claim, welcome}, []string{claim, welcome})
	f.equal("add", "alice/phone", "bob/phone", "bob/laptop")
}

func (f *figures) ok2(results []client.AddResult, err error) {
	f.Helper()
	f.ok(errors.Join(err, notAdded(results)))
}

// followerAdds is "Bob adds Cathy": his request goes by way of the hub, unchanged; b and c
// never talk to each other.
func (f *figures) followerAdds() {
	f.ok2(f.devs["bob/phone"].AddUsers(f.Context(), f.uri, f.user("cathy")))
	claim, relay := "b→a keyMaterial bob for cathy: 200 success, 1 clients", "a→c keyMaterial bob for cathy: 200 success, 1 clients"
	update, welcome, commit := "b→a update commit with Welcome: 200 success", "a→c notify Welcome with tree: 201", "a→b notify commit: 201"
	list := f.shows("follower adds", []string{claim, relay, update, welcome, commit},
		[]string{claim, relay, update, welcome}, []string{update, commit})
	f.same("follower adds: the request relayed", list, claim, relay, func(a *arrow) []byte { return a.body })
	f.same("follower adds: the answer relayed", list, claim, relay, func(a *arrow) []byte { return a.answer })
	f.equal("follower adds", "alice/phone", "bob/phone", "bob/laptop", "cathy/phone")
}

// same asserts that two arrows carry the same octets.
func (f *figures) same(what string, list []arrow, one, other string, of func(*arrow) []byte) {
	f.Helper()
	var seen [][]byte
	for i := range list {
		if list[i].text == one || list[i].text == other {
			seen = append(seen, of(&list[i]))
		}
	}
	if len(seen) != 2 || len(seen[0]) == 0 || !bytes.Equal(seen[0], seen[1]) {
		f.Errorf("%s: %d arrows, with other octets", what, len(seen))
	}
}

// message is "Cathy Sends a Message": b and c are told the same, in the octets that c sent
// and with the time that c was answered.
func (f *figures) message() {
	m, err := f.devs["cathy/phone"].Send(f.Context(), f.uri, "hello")
	f.ok(err)
	ctx, cancel := context.WithTimeout(f.Context(), time.Minute)
	defer cancel()
	_, err = f.devs["cathy/phone"].WaitPosted(ctx, f.uri, m.ID)
	f.ok(err)
	submit, b, c := "c→a submitMessage of cathy: 200 accepted", "a→b notify application: 201", "a→c notify application: 201"
	list := f.shows("message", []string{submit, b, c}, []string{submit, b}, []string{submit, c})
	f.same("message: what b and c are told", list, b, c, func(a *arrow) []byte { return a.body })
	f.forwarded(list, submit, b)
	f.equal("message", "alice/phone", "bob/phone", "bob/laptop", "cathy/phone")
	for _, name := range []string{"alice/phone", "bob/phone", "bob/laptop"} {
		f.await(name+" reading it", func() error {
			list, err := f.devs[name].Messages(f.Context(), f.uri, 0, 100)
			if err == nil && !slices.ContainsFunc(list, func(got client.Message) bool { return got.ID == m.ID && got.Text == "hello" }) {
				err = errors.New("not yet")
			}
			return err
		})
	}
}

// forwarded asserts that what was submitted is what is announced, at the time answered.
func (f *figures) forwarded(list []arrow, submit, notify string) {
	f.Helper()
	at := func(text string) *arrow {
		return &list[slices.IndexFunc(list, func(a arrow) bool { return a.text == text })]
	}
	req, err := mimi.ParseSubmitMessageRequest(bytes.Clone(at(submit).body))
	f.ok(err)
	res, err := mimi.ParseSubmitMessageResponse(bytes.Clone(at(submit).answer))
	f.ok(err)
	told := at(notify).fanout
	if !bytes.Equal(req.Message.Raw, told.Message.Raw) || res.Timestamp != told.Timestamp || (res.Frank == nil) != (told.Frank == nil) {
		f.Errorf("announced at %d, answered with %d; the same octets: %v", told.Timestamp, res.Timestamp, bytes.Equal(req.Message.Raw, told.Message.Raw))
	}
}

// newDevice is "Cathy adds a new device", which joins by itself.
func (f *figures) newDevice() {
	dev := f.device("cathy", "laptop")
	ctx, cancel := context.WithTimeout(f.Context(), time.Minute)
	defer cancel()
	f.ok(dev.Join(ctx, f.uri))
	info, update := "c→a groupInfo request: 200 success", "c→a update external commit: 200 success"
	b, c := "a→b notify commit: 201", "a→c notify commit: 201"
	list := f.shows("new device", []string{info, update, b, c}, []string{info, update, b}, []string{update, c})
	f.same("new device: what b and c are told", list, b, c, func(a *arrow) []byte { return a.body })
	for i := range list { // c itself cannot read it (GI-7)
		if list[i].text == info && bytes.Contains(list[i].answer, []byte("mimi://"+string(f.uri.Domain())+"/g/")) {
			f.Error("new device: the group's context is readable on the way")
		}
	}
	f.equal("new device", "alice/phone", "bob/phone", "bob/laptop", "cathy/phone", "cathy/laptop")
}

// leave is "Bob Leaves the Room": his proposals are announced, a client of c commits them,
// and after that b is told nothing more.
func (f *figures) leave() {
	f.ok(f.devs["alice/phone"].Close()) // or Alice commits them
	f.ok(f.devs["cathy/laptop"].Close())
	ctx, cancel := context.WithTimeout(f.Context(), time.Minute)
	defer cancel()
	f.ok(f.devs["bob/phone"].Leave(ctx, f.uri))
	propose, commit := "b→a update proposal and 2 more: 200 success", "c→a update commit: 200 success"
	toB, toC := "a→b notify proposal and 2 more: 201", "a→c notify proposal and 2 more: 201"
	endB, endC := "a→b notify commit: 201", "a→c notify commit: 201"
	list := f.shows("leave", []string{propose, toB, toC, commit, endB, endC},
		[]string{propose, toC, commit, endC}, []string{propose, toB, endB}, []string{commit, endB})
	f.same("leave: the commit announced", list, endB, endC, func(a *arrow) []byte { return a.body })
	for _, name := range []string{"bob/phone", "bob/laptop"} {
		f.await(name+" to learn that it is out", func() error {
			rooms, err := f.devs[name].LocalRooms(f.Context())
			if err == nil && slices.ContainsFunc(rooms, func(r client.RoomInfo) bool { return r.Room == f.uri && r.Member }) {
				err = errors.New("it is a member still")
			}
			return err
		})
	}
	m, err := f.devs["cathy/phone"].Send(f.Context(), f.uri, "after Bob")
	f.ok(err)
	_, err = f.devs["cathy/phone"].WaitPosted(ctx, f.uri, m.ID)
	f.ok(err)
	submit, c := "c→a submitMessage of cathy: 200 accepted", "a→c notify application: 201"
	f.shows("after leaving", []string{submit, c}, []string{submit, c})
}
