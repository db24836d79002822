package content

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"hubbub/mimi"
)

const (
	alice = mimi.UserURI("mimi://a.example/u/alice")
	bob   = mimi.UserURI("mimi://b.example/u/bob")
	cathy = mimi.UserURI("mimi://c.example/u/cathy")
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// script collects messages as a hub would post them, a second apart.
type script struct {
	t    *testing.T
	list []Posted
}

func (s *script) post(u mimi.UserURI, m *Message) ID {
	s.t.Helper()
	return s.postAs(u, m, 0)
}

func (s *script) postAs(u mimi.UserURI, m *Message, r Rights) ID {
	s.t.Helper()
	b, err := m.Encode()
	if err != nil {
		s.t.Fatal(err)
	}
	id, err := MessageID(u, ourRoom, b)
	if err != nil {
		s.t.Fatal(err)
	}
	back, err := Decode(b)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := back.Check(Arrival{Sender: u, Room: ourRoom}); err != nil {
		s.t.Fatal(err)
	}
	s.list = append(s.list, Posted{ID: id, Sender: u, Accepted: noon.Add(time.Duration(len(s.list)) * time.Second), Message: back, Rights: r})
	return id
}

func (s *script) text(u mimi.UserURI, text string) (ID, *Message) {
	s.t.Helper()
	m := NewText(u, ourRoom, text)
	return s.post(u, m), m
}

func (s *script) edit(u mimi.UserURI, first ID, of *Message, text string) ID {
	s.t.Helper()
	return s.post(u, NewEdit(u, ourRoom, first, of, markdownPart(text)))
}

func (s *script) remove(u mimi.UserURI, first ID, of *Message) ID {
	s.t.Helper()
	return s.post(u, NewDelete(u, ourRoom, first, of))
}

func (s *script) react(u mimi.UserURI, to ID, emoji ...string) (ID, *Message) {
	s.t.Helper()
	m, err := NewReaction(u, ourRoom, to, emoji...)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.post(u, m), m
}

// show writes a timeline as the tests compare it.
func show(t *Timeline) string {
	var lines []string
	for _, i := range t.Items {
		text, _ := i.Text()
		line := i.Sender.Name() + ": " + text
		switch {
		case i.Deleted:
			line += "(deleted by " + i.DeletedBy.Name() + ")"
		case i.Expired:
			line += "(expired)"
		case i.FirstMissing:
			line += " (edited, first missing)"
		case i.Edited():
			line += fmt.Sprintf(" (edited %d)", len(i.Versions)-1)
		}
		for _, c := range i.Reactions {
			names := make([]string, len(c.Senders))
			for j, u := range c.Senders {
				names[j] = u.Name()
			}
			line += " " + c.Reaction + strings.Join(names, ",")
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

func TestFold(t *testing.T) {
	for _, tc := range []struct {
		name string
		play func(s *script)
		want string
	}{
		{"text", func(s *script) { s.text(alice, "hi"); s.text(bob, "ho") }, "alice: hi\nbob: ho"},
		{"three edits name the first", func(s *script) {
			id, m := s.text(alice, "a")
			s.edit(alice, id, m, "b")
			s.edit(alice, id, m, "c")
			s.edit(alice, id, m, "d")
		}, "alice: d (edited 3)"},
		{"edit of an edit is none", func(s *script) {
			id, m := s.text(alice, "a")
			e := s.edit(alice, id, m, "b")
			s.edit(alice, e, m, "c")
		}, "alice: b (edited 1)"},
		{"edit by another is none", func(s *script) {
			id, m := s.text(alice, "a")
			s.edit(bob, id, m, "forged")
			s.postAs(bob, NewEdit(bob, ourRoom, id, m, markdownPart("forged")), DeleteOthersMessages|DeleteOthersReactions)
		}, "alice: a"},
		{"delete", func(s *script) { id, m := s.text(alice, "a"); s.remove(alice, id, m) }, "alice: (deleted by alice)"},
		{"delete by another is none", func(s *script) { id, m := s.text(alice, "a"); s.remove(bob, id, m) }, "alice: a"},
		{"delete by right", func(s *script) {
			id, m := s.text(alice, "a")
			s.postAs(bob, NewDelete(bob, ourRoom, id, m), DeleteOthersMessages)
		}, "alice: (deleted by bob)"},
		{"another right", func(s *script) {
			id, m := s.text(alice, "a")
			s.postAs(bob, NewDelete(bob, ourRoom, id, m), DeleteOthersReactions)
		}, "alice: a"},
		{"no way back", func(s *script) {
			id, m := s.text(alice, "a")
			s.remove(alice, id, m)
			s.edit(alice, id, m, "b")
			s.react(bob, id, "❤")
		}, "alice: (deleted by alice)"},
		{"reactions", func(s *script) {
			id, _ := s.text(alice, "a")
			s.react(bob, id, "❤")
			s.react(cathy, id, "🤞", "❤")
			s.react(bob, id, "❤")
		}, "alice: a ❤bob,cathy 🤞cathy"},
		{"reaction to a version", func(s *script) {
			id, m := s.text(alice, "a")
			e := s.edit(alice, id, m, "b")
			s.react(bob, e, "❤")
			s.react(cathy, id, "❤")
		}, "alice: b (edited 1) ❤bob,cathy"},
		{"unlike", func(s *script) {
			id, _ := s.text(alice, "a")
			r, m := s.react(bob, id, "❤")
			s.react(cathy, id, "❤")
			s.remove(bob, r, m)
		}, "alice: a ❤cathy"},
		{"unlike by another is none", func(s *script) {
			id, _ := s.text(alice, "a")
			r, m := s.react(bob, id, "❤")
			s.postAs(cathy, NewDelete(cathy, ourRoom, r, m), DeleteOthersMessages)
		}, "alice: a ❤bob"},
		{"unlike by right", func(s *script) {
			id, _ := s.text(alice, "a")
			r, m := s.react(bob, id, "❤")
			s.postAs(cathy, NewDelete(cathy, ourRoom, r, m), DeleteOthersReactions)
		}, "alice: a"},
		{"reaction changed", func(s *script) {
			id, _ := s.text(alice, "a")
			r, m := s.react(bob, id, "❤")
			s.post(bob, NewEdit(bob, ourRoom, r, m, &SinglePart{Disposition: Reaction, ContentType: PlainText, Content: []byte("🤞")}))
		}, "alice: a 🤞bob"},
		{"reaction does not become text", func(s *script) {
			id, _ := s.text(alice, "a")
			r, m := s.react(bob, id, "❤")
			s.edit(bob, r, m, "text")
		}, "alice: a ❤bob"},
		{"reaction to the unknown waits", func(s *script) { s.react(bob, ID{1, 2}, "❤") }, ""},
		{"reaction nobody can show is a reply", func(s *script) {
			id, _ := s.text(alice, "a")
			s.post(bob, NewReply(bob, ourRoom, id, &SinglePart{Disposition: Reaction, ContentType: "image/x-sticker"}))
		}, "alice: a\nbob: "},
		{"edits without the first", func(s *script) {
			s.edit(alice, ID{1, 2}, nil, "b")
			s.edit(alice, ID{1, 2}, nil, "c")
			s.edit(bob, ID{1, 2}, nil, "x")
		}, "alice: c (edited, first missing)\nbob: x (edited, first missing)"},
		{"deleted without the first", func(s *script) {
			s.edit(alice, ID{1, 2}, nil, "b")
			s.remove(alice, ID{1, 2}, nil)
			s.remove(bob, ID{1, 3}, nil)
		}, "alice: (deleted by alice)"},
		{"expired", func(s *script) {
			s.post(alice, NewText(alice, ourRoom, "gone").ExpireAt(noon.Add(30*time.Second)))
			s.post(alice, NewText(alice, ourRoom, "there").ExpireAt(noon.Add(2*time.Hour)))
			s.post(alice, NewText(alice, ourRoom, "unread").ExpireAfter(time.Second))
			s.post(alice, NewText(alice, ourRoom, "read").ExpireAfter(time.Minute))
			s.list[3].Read = noon
			s.post(alice, NewText(alice, ourRoom, "just read").ExpireAfter(time.Hour))
			s.list[4].Read = noon.Add(time.Minute)
		}, "alice: (expired)\nalice: there\nalice: unread\nalice: (expired)\nalice: just read"},
		{"an edit does not lengthen it", func(s *script) {
			m := NewText(alice, ourRoom, "gone").ExpireAt(noon.Add(30 * time.Second))
			id := s.post(alice, m)
			s.edit(alice, id, nil, "back")
		}, "alice: (expired)"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := &script{t: t}
			tc.play(s)
			if got := show(Fold(s.list, noon.Add(time.Hour))); got != tc.want {
				t.Errorf("got\n%s\nwant\n%s", got, tc.want)
			}
		})
	}
}

// TestFoldProperties plays random rooms: the order and number of deliveries make no
// difference, nobody speaks for anybody else, and nothing deleted is left.
func TestFoldProperties(t *testing.T) {
	for seed := range uint64(60) {
		dice := rand.New(rand.NewPCG(seed, 7))
		s := &script{t: t}
		authors := map[ID]mimi.UserURI{{1, 9}: ""}
		ids, said := []ID{{1, 9}}, make(map[string]mimi.UserURI)
		for n := range 30 {
			u := []mimi.UserURI{alice, bob, cathy}[dice.IntN(3)]
			to := ids[dice.IntN(len(ids))]
			text := fmt.Sprint(u.Name(), n)
			said[text] = u
			var id ID
			switch dice.IntN(6) {
			case 0, 1:
				id, _ = s.text(u, text)
			case 2:
				id = s.edit(u, to, nil, text)
			case 3:
				id = s.remove(u, to, nil)
			case 4:
				id, _ = s.react(u, to, "❤")
			default:
				id = s.post(u, NewReply(u, ourRoom, to, markdownPart(text)))
			}
			authors[id] = u
			ids = append(ids, id)
		}
		// Equal times make the id decide.
		for i := range s.list {
			s.list[i].Accepted = s.list[i].Accepted.Truncate(5 * time.Second)
		}
		want := Fold(s.list, noon)
		for range 5 {
			shuffled := append(append([]Posted(nil), s.list...), s.list[:dice.IntN(len(s.list))]...)
			dice.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
			if got := Fold(shuffled, noon); !reflect.DeepEqual(got.Items, want.Items) {
				t.Fatalf("seed %d: order matters:\n%s\nwant\n%s", seed, show(got), show(want))
			}
		}
		for _, i := range want.Items {
			if text, ok := i.Text(); ok && said[text] != i.Sender {
				t.Errorf("seed %d: %s is said to have written %q", seed, i.Sender, text)
			}
			if i.Deleted && (i.Body() != nil || i.DeletedBy != i.Sender || len(i.Reactions) > 0) {
				t.Errorf("seed %d: deleted, but %+v", seed, i)
			}
			if a, ok := authors[i.ID]; ok && a != "" && a != i.Sender {
				t.Errorf("seed %d: %s shown as %s", seed, a, i.Sender)
			}
			if len(want.Chain(i.ID)) > len(want.Items) {
				t.Errorf("seed %d: endless chain", seed)
			}
		}
	}
}

func TestChainsAndThreads(t *testing.T) {
	s := &script{t: t}
	first, _ := s.text(alice, "a")
	second := s.post(bob, NewReply(bob, ourRoom, first, markdownPart("b")).InTopic(first[:]))
	third := s.post(cathy, NewReply(cathy, ourRoom, second, markdownPart("c")).InTopic(first[:]))
	s.post(cathy, NewReply(cathy, ourRoom, ID{1, 1}, markdownPart("d")))
	tl := Fold(s.list, noon)
	chain := tl.Chain(third)
	if len(chain) != 2 || chain[0].ID != second || chain[1].ID != first {
		t.Errorf("chain %v", chain)
	}
	threads := tl.Threads()
	if len(threads) != 1 || len(threads[0].Items) != 2 || !bytes.Equal(threads[0].Topic, first[:]) {
		t.Errorf("threads %+v", threads)
	}
	if tl.Item(ID{1, 1}) != nil {
		t.Error("an unknown message was found")
	}
	// A circle cannot be made with honest ids; a client must survive one all the same.
	x, y := ID{1, 5}, ID{1, 6}
	circle := Fold([]Posted{
		{ID: x, Sender: alice, Accepted: noon, Message: NewReply(alice, ourRoom, y, markdownPart("x"))},
		{ID: y, Sender: alice, Accepted: noon, Message: NewReply(alice, ourRoom, x, markdownPart("y"))},
	}, noon)
	if got := circle.Chain(x); len(got) != 1 || got[0].ID != y {
		t.Errorf("circle: %v", got)
	}
}
