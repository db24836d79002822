package fakepeer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"

	"hubbub/client"
	"hubbub/internal/room"
	"hubbub/mimi"
)

// A hub whose answers are no answers (F25 – F29): what a follower's user wrote
// stays queued, is not said to be posted, goes nowhere else, and is posted once
// when the hub is itself again.
func TestAnswersThatAreNone(t *testing.T) {
	w := newWorld(t, a, b)
	alice, bob := w.device("alice@a.localhost"), w.device("bob@b.localhost")
	uri := w.club(alice, bob)
	m := w.send(bob, uri, "before")
	w.at(bob, uri, m.Seq)
	w.ok(alice.Close())
	w.stop(a)
	hub := w.fake(a)
	accepted, err := (&mimi.SubmitMessageResponse{Code: mimi.SubmitAccepted, Timestamp: ms(w.last(bob, uri)) + 1}).Marshal()
	w.ok(err)
	elsewhere := "https://" + string(a) + "/elsewhere/"
	var sent []client.Message
	for _, tc := range []struct {
		name   string
		defect http.HandlerFunc
		again  bool // b has to start again before it asks once more
	}{
		{"301", Redirect(http.StatusMovedPermanently, elsewhere), false},
		{"307", Redirect(http.StatusTemporaryRedirect, elsewhere), false},
		{"201", Answer(http.StatusCreated, nil, accepted), false},
		{"200 and nothing", Status(http.StatusOK), false},
		{"200 and half an answer", Answer(http.StatusOK, nil, accepted[:len(accepted)-1]), false},
		{"200 and more than an answer", Answer(http.StatusOK, nil, append(bytes.Clone(accepted), 0)), false},
		{"a reset", Abort(), false},
		{"500", Status(http.StatusInternalServerError), false},
		{"503, ten years ago", RetryAfter("-315360000"), false},
		{"503, in ten years", RetryAfter("315360000"), true},
		{"silence", Never(), false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			count := len(hub.Received(mimi.EndpointSubmitMessage))
			hub.On(mimi.EndpointSubmitMessage, tc.defect)
			m, err := bob.Send(t.Context(), uri, tc.name)
			w.ok(err)
			sent = append(sent, m)
			w.until("an attempt", func(ctx context.Context) error {
				if len(hub.Received(mimi.EndpointSubmitMessage)) > count {
					return nil
				}
				// A word from the hub ends the wait for the next attempt.
				_, err := hub.Notify(ctx, b, uri, nil, nil)
				return errors.Join(errors.New("none yet"), err)
			})
			w.queued(bob, uri, sent)
			if tc.again {
				w.stop(b)
				w.start(b)
			}
		})
	}
	if list := hub.Received("elsewhere"); len(list) != 0 {
		t.Errorf("a redirect was followed: %+v", list)
	}
	hub.Close()
	w.start(a)
	for _, m := range sent {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		got, err := bob.WaitPosted(ctx, uri, m.ID)
		cancel()
		if err != nil || got.State != client.Posted {
			t.Errorf("%q: %+v, %v", m.Text, got.State, err)
		}
	}
	log, err := bob.Log(t.Context(), uri, m.Seq, 100)
	w.ok(err)
	if len(log) != len(sent) {
		t.Errorf("%d entries for %d messages", len(log), len(sent))
	}
}

func (w *world) last(dev *client.Client, uri mimi.RoomURI) client.Entry {
	w.Helper()
	log, err := dev.Log(w.Context(), uri, 0, 100)
	w.ok(err)
	return log[len(log)-1]
}

// queued checks that none of the messages is said to be more than queued.
func (w *world) queued(dev *client.Client, uri mimi.RoomURI, sent []client.Message) {
	w.Helper()
	list, err := dev.Messages(w.Context(), uri, 0, 1000)
	w.ok(err)
	states := map[client.MessageID]client.State{}
	for _, m := range list {
		states[m.ID] = m.State
	}
	for _, m := range sent {
		if s := states[m.ID]; s != client.Queued && s != client.Sending {
			w.Errorf("%q is %s", m.Text, s)
		}
	}
}

// A follower that takes the log badly (F27 – F29, P10): the hub repeats the same
// octets in the same order until they are taken, and follows nobody elsewhere.
func TestFollowerTakesItBadly(t *testing.T) {
	w := newWorld(t, a, b)
	alice, bob := w.device("alice@a.localhost"), w.device("bob@b.localhost")
	uri := w.club(alice, bob)
	w.at(bob, uri, w.send(alice, uri, "before").Seq)
	w.rest(a)
	w.ok(bob.Close())
	w.stop(b)
	follower := w.fake(b)
	posted := uint64(0)
	for _, tc := range []struct {
		name   string
		defect http.HandlerFunc
		taken  bool // it counts as stored (D-13)
	}{
		{"201", Status(http.StatusCreated), true},
		{"200", Status(http.StatusOK), true},
		{"204", Status(http.StatusNoContent), true},
		{"301", Redirect(http.StatusMovedPermanently, "https://b.localhost/v1/elsewhere/x"), false},
		{"308", Redirect(http.StatusPermanentRedirect, "https://b.localhost/v1/elsewhere/x"), false},
		{"500", Status(http.StatusInternalServerError), false},
		{"503, ten years ago", RetryAfter("-1"), false},
		{"a reset", abortAtOnce, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			seen := len(follower.Received(mimi.EndpointNotify))
			follower.On(mimi.EndpointNotify, tc.defect)
			posted = w.send(alice, uri, tc.name).Seq
			w.until("an attempt", func(context.Context) error {
				if len(follower.Received(mimi.EndpointNotify)) <= seen {
					return errors.New("none yet")
				}
				return nil
			})
			first := follower.Received(mimi.EndpointNotify)[seen]
			if tc.taken {
				return
			}
			follower.On(mimi.EndpointNotify, nil)
			var again Request
			w.until("the same again", func(context.Context) error {
				list := follower.Received(mimi.EndpointNotify)
				if again = list[len(list)-1]; again.Body == nil {
					return fmt.Errorf("%d requests", len(list))
				}
				return nil
			})
			if again.Header.Get("Room-Log-Seq") != first.Header.Get("Room-Log-Seq") ||
				again.Header.Get("Room-Log-Hash") != first.Header.Get("Room-Log-Hash") {
				t.Errorf("first %v, then %v", first.Header, again.Header)
			}
		})
	}
	if list := follower.Received("elsewhere"); len(list) != 0 {
		t.Errorf("a redirect was followed: %+v", list)
	}
	w.contiguous(follower, alice, uri, posted)
}

// abortAtOnce resets the stream without an answer.
func abortAtOnce(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// contiguous checks that what a follower was given in the end is the hub's log.
func (w *world) contiguous(follower *Peer, dev *client.Client, uri mimi.RoomURI, head uint64) {
	w.Helper()
	w.until("the whole log", func(context.Context) error {
		list := follower.Received(mimi.EndpointNotify)
		if seq := list[len(list)-1].Header.Get("Room-Log-Seq"); seq != fmt.Sprint(head) {
			return errors.New(seq)
		}
		return nil
	})
	log, err := dev.Log(w.Context(), uri, 0, 100)
	w.ok(err)
	at := map[string]room.Pos{}
	for _, e := range log {
		at[fmt.Sprint(e.Seq)] = room.Pos{Seq: e.Seq, Hash: e.Hash}
	}
	for _, r := range follower.Received(mimi.EndpointNotify) {
		seq := r.Header.Get("Room-Log-Seq")
		if got := r.Header.Get("Room-Log-Hash"); got != fmt.Sprintf("%x", at[seq].Hash) {
			w.Errorf("entry %s was announced with %s", seq, got)
		}
		if r.Body != nil && !bytes.HasSuffix(bytesUpTo(log, seq), r.Body) {
			w.Errorf("what was announced as %s is not what the log holds", seq)
		}
	}
}

// bytesUpTo is the log up to and with an entry.
func bytesUpTo(log []client.Entry, seq string) (b []byte) {
	for _, e := range log {
		b = append(b, e.Body...)
		if fmt.Sprint(e.Seq) == seq {
			break
		}
	}
	return b
}
