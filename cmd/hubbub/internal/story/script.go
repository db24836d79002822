package story

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"hubbub/client"
	"hubbub/mimi"
)

// The names of the two chats.
const (
	lunchName = "Lunch"
	pairName  = "Alice and Bob"
)

// script is the story for n providers. With two, Cathy lives at b as well; with
// more than three, one more user lives at each further provider and takes part
// until the end.
func script(n int) []step {
	last := "c"
	if n == 2 {
		last = "b"
	}
	return []step{
		{fmt.Sprintf("%d providers start, each a process of its own", n), "operator", (*stage).start},
		{"users get their first devices", "operator", (*stage).cast},
		{"Alice asks the others whether she may add them; they agree", "Alice", (*stage).consent},
		{"Alice creates a chat and adds the others", "Alice", (*stage).create},
		{"Bob posts; a, the hub, decides; everybody gets it", "Bob", (*stage).firstPost},
		{"each provider is asked for the chat", "everybody", (*stage).askLunch},
		{"Bob opens a 1-1 chat with Alice: the same resource, hosted at b", "Bob", (*stage).oneToOne},
		{"the hub is killed; Bob and Cathy post all the same", "operator", (*stage).hubDies},
		{"the hub comes back", "operator", (*stage).hubReturns},
		{"Alice removes Cathy (" + last + ")", "Alice", (*stage).removeCathy},
		{"Bob adds a second device, which joins by external commit", "Bob", (*stage).secondDevice},
		{"each provider is asked again", "everybody", (*stage).askAgain},
		{"the providers' data is searched for what was said", "operator", (*stage).searchData},
	}
}

func (s *stage) start(ctx context.Context) error {
	if err := s.env.StartAll(ctx); err != nil {
		return err
	}
	pids := map[int]bool{}
	for _, st := range s.env.States() {
		s.note("%s  process %d  clients at %s", st.Domain, st.PID, st.API)
		pids[st.PID] = true
	}
	delete(pids, os.Getpid())
	delete(pids, 0)
	s.expect("processes besides this one", fmt.Sprint(len(s.env.Providers)), fmt.Sprint(len(pids)))
	return nil
}

// names of the cast beyond the three of the seed.
var furtherNames = []string{"Dave", "Erin"}

func (s *stage) cast(ctx context.Context) error {
	providers := s.env.Providers
	domain := func(i int) mimi.Domain { return providers[min(i, len(providers)-1)].Domain }
	roles := []struct {
		name string
		at   mimi.Domain
		to   **device
	}{{"Alice", domain(0), &s.alice}, {"Bob", domain(1), &s.bob}, {"Cathy", domain(2), &s.cathy}}
	for _, r := range roles {
		d, err := s.newcomer(ctx, r.name, r.at)
		if err != nil {
			return err
		}
		*r.to = d
	}
	for i := 3; i < len(providers); i++ {
		d, err := s.newcomer(ctx, furtherNames[i-3], domain(i))
		if err != nil {
			return err
		}
		s.others = append(s.others, d)
	}
	for _, d := range s.open {
		if err := s.stocked(ctx, d); err != nil {
			return err
		}
	}
	return nil
}

func (s *stage) newcomer(ctx context.Context, name string, at mimi.Domain) (*device, error) {
	user, err := mimi.ParseHandle(lower(name) + "@" + string(at))
	if err != nil {
		return nil, err
	}
	d, err := s.enrol(ctx, user, name, "phone", true)
	if err != nil {
		return nil, err
	}
	s.note("%s  device %s", user.Handle(), d.URI().Device())
	return d, nil
}

func lower(name string) string { return string(name[0]|0x20) + name[1:] }

// stocked waits until a device's KeyPackages are at its provider: before that
// nobody can add it.
func (s *stage) stocked(ctx context.Context, d *device) error {
	admin, err := s.env.Admin(d.User().Domain())
	if err != nil {
		return err
	}
	return d.until(ctx, "its KeyPackages to be published", func() (bool, error) {
		users, err := admin.ListUsers(ctx)
		for _, u := range users {
			for _, c := range u.GetClients() {
				if c.GetClient() == string(d.URI()) && c.GetKeyPackages() > 0 {
					return true, nil
				}
			}
		}
		return false, err
	})
}

func (s *stage) create(ctx context.Context) error {
	var members []mimi.UserURI
	for _, d := range s.open[1:] {
		members = append(members, d.User())
	}
	room, added, err := s.alice.CreateRoom(ctx, client.RoomOptions{Name: lunchName, Members: members})
	if err != nil {
		return err
	}
	s.lunch, s.cathyIn = room, true
	s.note("%s is %s, its hub is %s", lunchName, room, room.Domain())
	if err := addErrors(added); err != nil {
		return err
	}
	values := []Value{{"created", string(room)}}
	for _, d := range s.open[1:] {
		ev, err := untilEvent(ctx, d, "news of the chat", func(e client.RoomAdded) bool { return e.Room == room && e.Member })
		if err != nil {
			return err
		}
		values = append(values, Value{d.name, string(ev.Room)})
	}
	s.check("notified of a new chat: "+names(s.open[1:]), values...)
	return s.converge(ctx, room)
}

// addErrors joins what went wrong for single users.
func addErrors(added []client.AddResult) error {
	var errs []error
	for _, a := range added {
		if !a.Added {
			errs = append(errs, fmt.Errorf("%s was not added: %w", a.User.Handle(), a.Err))
		}
	}
	return errors.Join(errs...)
}

func (s *stage) firstPost(ctx context.Context) error {
	m, err := s.say(ctx, s.bob, s.lunch, "Noon at the harbour, the word of the day is "+s.canary)
	if err != nil {
		return err
	}
	first := m.State
	if m, err = s.heard(ctx, s.bob, s.lunch, m, s.listeners(s.bob)...); err != nil {
		return err
	}
	chain := ""
	for i, st := range s.bob.states(m.ID, first) {
		if i > 0 {
			chain += " → "
		}
		chain += string(st)
	}
	s.note("Bob's own copy went %s", chain)
	return s.converge(ctx, s.lunch)
}

func (s *stage) askLunch(ctx context.Context) error {
	for i, text := range []string{"I will bring the bread.", "And I the cheese, if it rains we go inside."} {
		by := []*device{s.alice, s.cathy}[i]
		if _, err := s.sayTo(ctx, by, s.lunch, text, s.listeners(by)...); err != nil {
			return err
		}
	}
	if err := s.askAll(ctx, s.lunch); err != nil {
		return err
	}
	return s.tellHistory(ctx, s.alice, s.lunch)
}

func (s *stage) oneToOne(ctx context.Context) error {
	room, added, err := s.bob.CreateRoom(ctx, client.RoomOptions{Name: pairName, Members: []mimi.UserURI{s.alice.User()}})
	if err != nil {
		return err
	}
	s.pair = room
	if err := addErrors(added); err != nil {
		return err
	}
	if _, err := untilEvent(ctx, s.alice, "news of the 1-1 chat", func(e client.RoomAdded) bool { return e.Room == room && e.Member }); err != nil {
		return err
	}
	if _, err := s.sayTo(ctx, s.alice, room, "Shall we surprise Cathy with a cake?", s.bob); err != nil {
		return err
	}
	if _, err := s.sayTo(ctx, s.bob, room, "Yes, with candles on it.", s.alice); err != nil {
		return err
	}
	s.expect("hub of the 1-1 chat", string(s.bob.User().Domain()), string(room.Domain()))
	return s.askAll(ctx, room)
}

func (s *stage) secondDevice(ctx context.Context) error {
	d, err := s.enrol(ctx, s.bob.User(), "Bob's laptop", "laptop", false)
	if err != nil {
		return err
	}
	err = d.until(ctx, "the list of Bob's chats", func() (bool, error) {
		info, err := d.Room(ctx, s.lunch)
		return err == nil && info.Participant, err
	})
	if err != nil {
		return err
	}
	if err := d.Join(ctx, s.lunch); err != nil {
		return fmt.Errorf("the laptop could not join: %w", err)
	}
	info, err := d.Room(ctx, s.lunch)
	if err != nil {
		return err
	}
	s.expect("the laptop is a member of the group", "true", fmt.Sprint(info.Member))
	s.laptop = d
	if _, err := s.sayTo(ctx, s.alice, s.lunch, "Who brings the candles?", s.listeners(s.alice)...); err != nil {
		return err
	}
	if _, err := s.sayTo(ctx, d, s.lunch, "I do, they are in the drawer.", s.listeners(d)...); err != nil {
		return err
	}
	return s.converge(ctx, s.lunch)
}

func (s *stage) askAgain(ctx context.Context) error {
	if err := s.askAll(ctx, s.lunch); err != nil {
		return err
	}
	if err := s.askAll(ctx, s.pair); err != nil {
		return err
	}
	if err := s.cathyMissed(ctx, "later still"); err != nil {
		return err
	}
	return s.tellHistory(ctx, s.alice, s.lunch)
}

func (s *stage) searchData(context.Context) error {
	control := filepath.Join(s.env.Dir, "search-control")
	defer os.RemoveAll(control)
	planted, err := plant(control, s.canary)
	if err != nil {
		return err
	}
	trial, err := search(control, []string{s.canary})
	if err != nil {
		return err
	}
	hit := map[string]bool{}
	for _, h := range trial.hits {
		hit[h.file] = true
	}
	s.expect("the search itself finds a planted text, files", fmt.Sprint(planted), fmt.Sprint(len(hit)))
	texts := append([]string{s.canary}, s.said...)
	for _, p := range s.env.Providers {
		r, err := search(p.Dir, texts)
		if err != nil {
			return err
		}
		for _, h := range r.hits {
			s.note("FOUND in %s, as %s: %s", h.file, h.form, h.text)
		}
		s.note("%s  %d files, %d KiB searched", p.Domain, r.files, r.bytes/1024)
		s.expect("texts readable at "+string(p.Domain), fmt.Sprintf("0 of %d", len(texts)), fmt.Sprintf("%d of %d", r.texts(), len(texts)))
	}
	return nil
}
