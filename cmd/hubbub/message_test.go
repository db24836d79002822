package main

import (
	"encoding/json"
	"io"
	"strings"
	"testing"
	"time"

	"hubbub/client"
	"hubbub/mimi"
)

// TestMessages does what people do with messages, by verbs and in a chat, and looks at
// it from another provider.
func TestMessages(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	dir, _ := standingDev(t)
	ok := func(args ...string) (m messageJSON) {
		t.Helper()
		code, out, errs := call(t, "", append(args, "--dir", dir)...)
		if code != exitOK {
			t.Fatalf("%v: exit %d: %s%s", args, code, out, errs)
		}
		if out != "" {
			if err := json.Unmarshal([]byte(out), &m); err != nil {
				t.Fatalf("%v: %v: %s", args, err, out)
			}
		}
		return m
	}
	refused := func(code int, say string, args ...string) {
		t.Helper()
		if got, out, errs := call(t, "", append(args, "--dir", dir)...); got != code || !strings.Contains(errs, say) {
			t.Errorf("%v: exit %d, want %d with %q: %s%s", args, got, code, say, out, errs)
		}
	}
	const bob, alice = "bob@b.localhost", "alice@a.localhost"
	in, keyboard := io.Pipe()
	chat, left := newScreen(), make(chan int, 1)
	go func() {
		left <- run(t.Context(), func() {}, []string{"chat", "--as", alice, "--room", "Lunch", "--dir", dir}, in, chat, chat)
	}()
	chat.until(t, "hub a.localhost")

	one := ok("send", "--as", bob, "--room", "Lunch", "--topic", "menu", "--mention", alice, "--expire", "1h", "suop,", "@alice?")
	if one.Act != client.ActWrite || one.Topic != "menu" || len(one.Mentions) != 1 || one.State != client.Posted || one.ExpiresMS == 0 {
		t.Errorf("sent: %+v", one)
	}
	chat.until(t, "suop, @alice?")
	edit := ok("message", "edit", "Lunch", one.ID[:12], "soup?", "--as", bob)
	if edit.Act != client.ActEdit || edit.About != one.ID || edit.State != client.Posted {
		t.Errorf("edit: %+v", edit)
	}
	chat.until(t, "to: soup?")
	for _, line := range []string{"/react . 👍", "/reply . yes, @bob", "/edit . yes, please", "/topic menu salad?", "/expire 1h the code", "/react . xyz", "/sing"} {
		io.WriteString(keyboard, line+"\n")
	}
	chat.until(t, "no command /sing")
	chat.until(t, "one character")
	chat.until(t, "to: yes, please")
	chat.until(t, "the code")
	ok("message", "react", "Lunch", one.ID, "❤️", "--as", bob)
	chat.until(t, "❤️ 1 bob@b.localhost")
	ok("message", "react", "Lunch", one.ID, "❤️", "--remove", "--as", bob)
	refused(exitDenied, "may not", "message", "delete", "Lunch", "3", "--as", bob)
	refused(exitFailed, "no message", "message", "reply", "Lunch", "ffffffff", "x", "--as", bob)
	ok("message", "receipts", "--read", "--as", "cathy@c.localhost")

	_, out, errs := call(t, "", "tail", "--as", bob, "--room", "Lunch", "--since", "0", "--count", "1000", "--until", "the code", "--json", "--dir", dir)
	byText := map[string]messageJSON{}
	for line := range strings.Lines(out) {
		var m messageJSON
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatal(err, line, errs)
		}
		if m.Event == "message" {
			byText[m.Text] = m
		}
	}
	soup, reply := byText["soup?"], byText["yes, please"]
	if soup.ID != one.ID || !soup.Edited || len(soup.Versions) != 2 || soup.Topic != "menu" || len(soup.Reactions) != 1 ||
		soup.Reactions[0].Emoji != "👍" || soup.Reactions[0].Users[0] != mimi.UserURI("mimi://a.localhost/u/alice") {
		t.Errorf("soup: %+v", soup)
	}
	if reply.InReplyTo != edit.ID || reply.Topic != "menu" || !reply.Edited {
		t.Errorf("reply: %+v", reply)
	}
	if byText["salad?"].Topic != "menu" || byText["the code"].ExpiresAfter != time.Hour.Seconds() && byText["the code"].ExpiresMS == 0 {
		t.Errorf("tail: %s", out)
	}
	ok("message", "delete", "Lunch", one.ID, "--as", bob)
	chat.until(t, "bob@b.localhost deleted the message of bob@b.localhost")
	io.WriteString(keyboard, "/ids\n")
	chat.until(t, "┌ bob@b.localhost: [deleted]")
	ok("message", "read", "Lunch", "--as", bob)
	keyboard.Close()
	if code := <-left; code != exitOK {
		text, _ := chat.look()
		t.Errorf("chat left with %d: %s", code, text)
	}
}
