package follower_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"hubbub/internal/follower"
	"hubbub/internal/room"
	"hubbub/internal/room/roomtest"
	"hubbub/internal/store"
	"hubbub/internal/store/sqlstore"
	"hubbub/mimi"
	"hubbub/mls"
)

// office is an outbox over a real store, with hubs that answer as told.
type office struct {
	*testing.T
	dir      string
	store    store.Store
	follower *follower.Follower
	stop     func()

	mu     sync.Mutex
	asked  []question
	answer func(q question) ([]byte, error)
	flying map[string]int

	updates func() ([]byte, error) // answers to handshakes
	quota   follower.Quota         // from the next start on
}

type question struct {
	at   time.Time
	hub  mimi.Domain
	text string // ciphertext of the message
}

func newOffice(t *testing.T) *office {
	o := &office{T: t, dir: t.TempDir(), flying: map[string]int{}}
	o.start()
	t.Cleanup(func() { o.kill() })
	o.update(func(tx store.Tx) error {
		for _, h := range []mimi.Domain{"a.localhost", "c.localhost"} {
			uri := mimi.RoomURI("mimi://" + string(h) + "/r/1")
			err := tx.CreateRoom(store.RoomRecord{URI: uri, Hub: h, Head: room.StartPos(uri), Start: room.StartPos(uri), State: []byte{1}}, nil, nil, nil)
			if err != nil {
				return err
			}
		}
		return nil
	})
	o.enrol("bob", 1)
	o.enrol("ben", 2)
	return o
}

func (o *office) start() {
	o.Helper()
	s, err := sqlstore.Open(o.dir)
	if err != nil {
		o.Fatal(err)
	}
	o.store = s
	o.follower = follower.New(follower.Config{
		Domain: "b.localhost", Store: s, Env: roomtest.Env(), Remote: o, Quota: o.quota,
		Jitter: func(max time.Duration) time.Duration { return max },
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := o.follower.Run(ctx); err != nil {
			o.Error(err)
		}
	}()
	o.stop = func() { cancel(); <-done }
}

func (o *office) kill() {
	o.stop()
	if err := o.store.Close(); err != nil {
		o.Error(err)
	}
}

func (o *office) update(fn func(store.Tx) error) {
	o.Helper()
	if err := o.store.Update(context.Background(), fn); err != nil {
		o.Fatal(err)
	}
}

func device1(name string) mimi.ClientURI {
	return mimi.ClientURI("mimi://b.localhost/d/" + name + "/1")
}

func (o *office) enrol(name string, n byte) {
	o.Helper()
	user := mimi.UserURI("mimi://b.localhost/u/" + name)
	o.update(func(tx store.Tx) error {
		return errors.Join(tx.CreateUser(user, time.Now()),
			tx.PutEnrolment([32]byte{n}, user, time.Now().Add(time.Hour)),
			tx.Enrol([32]byte{n}, store.Client{URI: device1(name), User: user, TokenHash: [32]byte{n}, CreatedAt: time.Now()}, time.Now()))
	})
}

func (o *office) SubmitMessage(_ context.Context, hub mimi.Domain, _ mimi.RoomURI, body []byte) ([]byte, error) {
	req, err := mimi.ParseSubmitMessageRequest(body)
	if err != nil {
		return nil, err
	}
	q := question{time.Now(), hub, string(req.Message.Private.Ciphertext)}
	lane := string(req.Sender) + string(hub)
	o.mu.Lock()
	o.asked = append(o.asked, q)
	if o.flying[lane]++; o.flying[lane] > 1 {
		o.Errorf("two requests of one lane in flight")
	}
	answer := o.answer
	o.mu.Unlock()
	defer func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.flying[lane]--
	}()
	if answer == nil {
		return accept()
	}
	return answer(q)
}

func (o *office) Update(context.Context, mimi.Domain, mimi.RoomURI, []byte) ([]byte, error) {
	if o.updates == nil {
		o.Error("unexpected update")
		return nil, errNetwork
	}
	return o.updates()
}

func (o *office) Snapshot(context.Context, mimi.Domain, mimi.RoomURI, uint64) ([]byte, error) {
	o.Error("unexpected snapshot")
	return nil, errNetwork
}

func accept() ([]byte, error) {
	return (&mimi.SubmitMessageResponse{Code: mimi.SubmitAccepted, Timestamp: 7}).Marshal()
}

func (o *office) answers(f func(question) ([]byte, error)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.answer = f
}

func (o *office) questions() []question {
	o.mu.Lock()
	defer o.mu.Unlock()
	list := o.asked
	o.asked = nil
	return list
}

func texts(list []question) (out []string) {
	for _, q := range list {
		out = append(out, q.text)
	}
	return out
}

func submission(name string, hub mimi.Domain, text string, epoch uint64) store.Submission {
	m := mls.NewMessage(&mls.PrivateMessage{GroupID: []byte("g"), Epoch: epoch, ContentType: mls.ContentTypeApplication, Ciphertext: []byte(text)})
	body, err := (&mimi.SubmitMessageRequest{Message: *m, Sender: mimi.UserURI("mimi://b.localhost/u/" + name)}).Marshal()
	if err != nil {
		panic(err)
	}
	return store.Submission{
		Client: device1(name), Txn: text, Room: mimi.RoomURI("mimi://" + string(hub) + "/r/1"), Kind: store.SubmitMessage, Body: body,
	}
}

func (o *office) enqueue(name string, hub mimi.Domain, text string) {
	o.Helper()
	s, err := o.follower.Enqueue(context.Background(), submission(name, hub, text, 1))
	if err != nil || s.State != store.Queued || s.ID == 0 {
		o.Fatalf("enqueue: %+v, %v", s, err)
	}
}

func (o *office) row(name, txn string) store.Submission {
	o.Helper()
	var s *store.Submission
	if err := o.store.View(context.Background(), func(tx store.ReadTx) (err error) {
		s, err = tx.Submission(device1(name), txn)
		return err
	}); err != nil {
		o.Fatal(err)
	}
	return *s
}

func TestOutboxIsFIFOAndDurable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		o.answers(func(question) ([]byte, error) { return nil, errNetwork })
		for i := range 5 {
			o.enqueue("bob", "a.localhost", fmt.Sprint(i))
		}
		pass(time.Minute)
		for _, text := range texts(o.questions()) {
			if text != "0" {
				t.Errorf("%q overtook", text)
			}
		}
		o.kill()
		o.answers(nil)
		o.start()
		o.enqueue("bob", "a.localhost", "5")
		synctest.Wait()
		if got := texts(o.questions()); !slices.Equal(got, []string{"0", "1", "2", "3", "4", "5"}) {
			t.Errorf("sent %q", got)
		}
		pass(2 * time.Second) // the entries do not come: the acceptances are stored
		for i := range 6 {
			if s := o.row("bob", fmt.Sprint(i)); s.State != store.Queued || s.Accepted != 7 {
				t.Errorf("%+v, want accepted and waiting for its entry", s)
			}
		}
		// What is accepted is not sent again.
		o.kill()
		o.start()
		synctest.Wait()
		if got := o.questions(); len(got) != 0 {
			t.Errorf("sent again: %v", got)
		}
	})
}

func TestOutboxDeadHubDelaysNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		o.answers(func(q question) ([]byte, error) {
			if q.hub == "a.localhost" {
				return nil, errNetwork
			}
			return accept()
		})
		o.enqueue("bob", "a.localhost", "to a")
		o.enqueue("bob", "c.localhost", "to c")
		o.enqueue("ben", "c.localhost", "from ben")
		pass(2 * time.Second)
		if s := o.row("bob", "to c"); s.Accepted == 0 {
			t.Errorf("%+v, want accepted", s)
		}
		if s := o.row("ben", "from ben"); s.Accepted == 0 {
			t.Errorf("%+v, want accepted", s)
		}
	})
}

func TestOutboxBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		o.answers(func(question) ([]byte, error) { return nil, errNetwork })
		o.enqueue("bob", "a.localhost", "x")
		o.enqueue("ben", "a.localhost", "y")
		pass(20 * time.Minute)
		list := o.questions()
		// Both lanes together ask as often as one would: the first attempts may
		// coincide, after that one probes for both.
		if len(list) < 12 || len(list) > 16 {
			t.Errorf("%d attempts in 20 minutes", len(list))
		}
		if st := o.follower.PeerStatus("a.localhost"); st.Reachable || st.Error == "" || !st.Since.Equal(list[0].at) {
			t.Errorf("status %+v", st)
		}
		o.answers(nil)
		o.follower.PeerAlive("c.localhost")
		synctest.Wait()
		if got := o.questions(); len(got) != 0 {
			t.Errorf("word from c made us ask a: %v", got)
		}
		o.follower.PeerAlive("a.localhost")
		synctest.Wait()
		if got := texts(o.questions()); len(got) != 2 {
			t.Errorf("after word from a: %q", got)
		}
		if st := o.follower.PeerStatus("a.localhost"); !st.Reachable {
			t.Errorf("status %+v", st)
		}
	})
}

func TestOutboxOutcomes(t *testing.T) {
	marshal := func(r mimi.SubmitMessageResponse) func(question) ([]byte, error) {
		return func(question) ([]byte, error) { return r.Marshal() }
	}
	for name, c := range map[string]struct {
		answer func(question) ([]byte, error)
		after  time.Duration
		want   store.Submission // State, Reason, Epoch
		asked  int
	}{
		"not allowed":    {marshal(mimi.SubmitMessageResponse{Code: mimi.SubmitNotAllowed}), 0, store.Submission{State: store.Rejected, Reason: "notAllowed"}, 1},
		"epoch too old":  {marshal(mimi.SubmitMessageResponse{Code: mimi.SubmitEpochTooOld, CurrentEpoch: 9}), 0, store.Submission{State: store.Rejected, Reason: "epochTooOld", Epoch: 9}, 1},
		"refused":        {func(question) ([]byte, error) { return nil, &mimi.Problem{Status: 404, Code: "no-such-room"} }, time.Minute, store.Submission{State: store.Rejected, Reason: "no-such-room"}, 3},
		"not an answer":  {func(question) ([]byte, error) { return []byte("?"), nil }, time.Minute, store.Submission{State: store.Queued}, 0},
		"busy":           {func(question) ([]byte, error) { return nil, &mimi.Problem{Status: 503, RetryAfter: time.Hour} }, 90 * time.Minute, store.Submission{State: store.Queued}, 2},
		"never answered": {func(question) ([]byte, error) { return nil, errNetwork }, 31 * 24 * time.Hour, store.Submission{State: store.Expired, Reason: "expired"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := newOffice(t)
				o.answers(c.answer)
				o.enqueue("bob", "a.localhost", "x")
				pass(c.after)
				synctest.Wait()
				s := o.row("bob", "x")
				if s.State != c.want.State || s.Reason != c.want.Reason || s.Epoch != c.want.Epoch {
					t.Errorf("%+v, want %+v", s, c.want)
				}
				if n := len(o.questions()); c.asked != 0 && n != c.asked {
					t.Errorf("asked %d times, want %d", n, c.asked)
				}
			})
		})
	}
}

// A commit that is refused takes down what was built on it, and nothing else.
func TestLostCommitFailsWhatWasBuiltOnIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		o.answers(func(question) ([]byte, error) { return nil, errNetwork })
		o.updates = func() ([]byte, error) {
			return (&mimi.UpdateRoomResponse{Code: mimi.UpdateWrongEpoch, CurrentEpoch: 9}).Marshal()
		}
		enqueue := func(s store.Submission, txn string) {
			t.Helper()
			s.Txn = txn
			if _, err := o.follower.Enqueue(t.Context(), s); err != nil {
				t.Fatal(err)
			}
		}
		o.stop() // so that all is queued before the first is sent
		w := &roomtest.World{T: t, Now: time.Now}
		bob := w.Client("bob@b.localhost", "1")
		bob.Create("mimi://a.localhost/r/1", w.NewKey())
		commit := submission("bob", "a.localhost", "", 0)
		commit.Kind, commit.Body = store.SubmitUpdate, bob.Commit()
		enqueue(commit, "commit")
		enqueue(submission("bob", "a.localhost", "before", 0), "before")
		enqueue(submission("bob", "a.localhost", "after", 1), "after")
		enqueue(submission("bob", "c.localhost", "elsewhere", 1), "elsewhere")
		enqueue(submission("ben", "a.localhost", "from ben", 1), "from ben")
		if err := o.store.Close(); err != nil {
			t.Fatal(err)
		}
		o.start()
		pass(time.Minute) // ben may come first, and his failures slow all down
		for txn, want := range map[string]store.SubmissionState{
			"commit": store.Rejected, "before": store.Queued, "after": store.Rejected, "elsewhere": store.Queued,
		} {
			if s := o.row("bob", txn); s.State != want || want == store.Rejected && (s.Reason != "wrongEpoch" || s.Epoch != 9) {
				t.Errorf("%s: state %d, reason %q, epoch %d; want state %d", txn, s.State, s.Reason, s.Epoch, want)
			}
		}
		if s := o.row("ben", "from ben"); s.State != store.Queued {
			t.Errorf("ben's has state %d", s.State)
		}
	})
}

func TestEnqueueRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		o.answers(func(question) ([]byte, error) { return nil, errNetwork })
		first := submission("bob", "a.localhost", "x", 1)
		one, err := o.follower.Enqueue(t.Context(), first)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := o.follower.Enqueue(t.Context(), first); err != nil || again.ID != one.ID {
			t.Errorf("a repeat gives %+v, %v", again, err)
		}
		other := submission("bob", "a.localhost", "y", 1)
		other.Txn = "x"
		foreign := submission("ben", "a.localhost", "y", 1)
		foreign.Client = device1("bob")
		unknown := submission("bob", "a.localhost", "y", 1)
		unknown.Room = "mimi://a.localhost/r/unknown"
		own := submission("bob", "a.localhost", "y", 1)
		own.Room = "mimi://b.localhost/r/own"
		stranger := submission("bob", "a.localhost", "y", 1)
		stranger.Client = device1("stranger")
		garbage := submission("bob", "a.localhost", "y", 1)
		garbage.Body = garbage.Body[:len(garbage.Body)-1]
		for name, c := range map[string]struct {
			s      store.Submission
			status int
		}{
			"txn used for something else": {other, 409}, "another user": {foreign, 403}, "unknown room": {unknown, 404},
			"our own room": {own, 404}, "unknown client": {stranger, 403}, "garbage": {garbage, 400},
		} {
			_, err := o.follower.Enqueue(t.Context(), c.s)
			var p *mimi.Problem
			if !errors.As(err, &p) || p.Status != c.status {
				t.Errorf("%s: %v, want status %d", name, err, c.status)
			}
		}
	})
}
