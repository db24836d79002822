package story

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"time"

	"hubbub/client"
	"hubbub/cmd/hubbub/internal/devenv"
	"hubbub/mimi"
)

// step is one part of the story.
type step struct {
	name  string
	actor string
	do    func(*stage, context.Context) error
}

// stage is where the story plays: the environment, the cast, and what was said.
// One goroutine plays.
type stage struct {
	env *devenv.Env
	now Result // of the step that runs

	alice, bob, laptop, cathy *device
	others                    []*device // one at each further provider
	open                      []*device // everything to be closed

	lunch, pair mimi.RoomURI
	cathyIn     bool // Cathy is a participant of lunch
	pending     []waiting
	// The room as it stood before the hub was killed.
	beforeKill map[*device]snapshot
	missedByC  client.MessageID // what Alice said after Cathy was removed

	canary string
	said   []string // every text that was posted or tried
}

// waiting is a message whose hub was down when it was sent.
type waiting struct {
	by *device
	m  client.Message
}

// Watch is told what happens while the story plays; both functions may be nil.
type Watch struct {
	Begin func(number int, name, actor string)
	End   func(Result)
}

// Play plays the whole story in an environment whose providers do not run yet.
// It always returns a report; what went wrong is in it. When it returns, the
// devices are closed and the providers run.
func Play(ctx context.Context, env *devenv.Env, w Watch) *Report {
	s := &stage{env: env, canary: newCanary(), beforeKill: map[*device]snapshot{}}
	report := &Report{NotRun: []string{}}
	for _, p := range env.Providers {
		report.Providers = append(report.Providers, p.Domain)
	}
	began := time.Now()
	for i, st := range script(len(env.Providers)) {
		if n := len(report.Steps); n > 0 && report.Steps[n-1].Error != "" {
			report.NotRun = append(report.NotRun, st.name)
			continue
		}
		if w.Begin != nil {
			w.Begin(i+1, st.name, st.actor)
		}
		report.Steps = append(report.Steps, s.play(ctx, i+1, st))
		if w.End != nil {
			w.End(report.Steps[i])
		}
	}
	s.closeAll()
	report.Duration = time.Since(began)
	report.sum()
	return report
}

func (s *stage) play(ctx context.Context, number int, st step) Result {
	s.now = Result{Number: number, Name: st.name, Actor: st.actor,
		Notes: []string{}, Positions: []Position{}, Comparisons: []Comparison{}}
	began := time.Now()
	if err := st.do(s, ctx); err != nil {
		s.now.Error = err.Error()
	}
	s.now.Duration = time.Since(began)
	s.now.DurationMS = ms(s.now.Duration)
	return s.now
}

func (s *stage) closeAll() {
	for _, d := range s.open {
		d.close()
	}
	s.open = nil
}

// newCanary is a word that occurs nowhere by chance.
func newCanary() string {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return "canary-" + hex.EncodeToString(b[:])
}

// note adds a line to what the step tells.
func (s *stage) note(format string, args ...any) {
	s.now.Notes = append(s.now.Notes, fmt.Sprintf(format, args...))
}

// check records that values must be equal.
func (s *stage) check(what string, values ...Value) {
	s.now.Comparisons = append(s.now.Comparisons, compare(what, values...))
}

// expect records that something must have a certain value.
func (s *stage) expect(what, want, got string) {
	s.check(what, Value{"expected", want}, Value{"found", got})
}

// enrol makes a user (unless it exists) with a device, and opens the device.
func (s *stage) enrol(ctx context.Context, user mimi.UserURI, name, deviceName string, isNew bool) (*device, error) {
	if isNew {
		if err := s.env.AddUser(ctx, user); err != nil {
			return nil, fmt.Errorf("adding %s: %w", user.Handle(), err)
		}
	}
	dir, err := s.env.Enrol(ctx, user, deviceName)
	if err != nil {
		return nil, fmt.Errorf("enrolling %s: %w", name, err)
	}
	d, err := openDevice(name, dir)
	if err != nil {
		return nil, err
	}
	s.open = append(s.open, d)
	return d, nil
}

// say posts a text and remembers it for the search at the end.
func (s *stage) say(ctx context.Context, by *device, room mimi.RoomURI, text string) (client.Message, error) {
	s.said = append(s.said, text)
	m, err := by.Send(ctx, room, text)
	if err != nil {
		return m, fmt.Errorf("%s could not post: %w", by.name, err)
	}
	return m, nil
}

// sayTo posts a text and waits until it is posted and every listener has it.
func (s *stage) sayTo(ctx context.Context, by *device, room mimi.RoomURI, text string, listeners ...*device) (client.Message, error) {
	m, err := s.say(ctx, by, room, text)
	if err != nil {
		return m, err
	}
	return s.heard(ctx, by, room, m, listeners...)
}

// heard waits until a message is posted and every listener has it, and compares
// what they have.
func (s *stage) heard(ctx context.Context, by *device, room mimi.RoomURI, m client.Message, listeners ...*device) (client.Message, error) {
	posted, err := by.untilMessage(ctx, room, m.ID, "its message to be posted", isPosted)
	if err != nil {
		return m, err
	}
	values := []Value{{by.name, render(posted)}}
	for _, l := range listeners {
		got, err := l.untilMessage(ctx, room, m.ID, "a message of "+by.name, isPosted)
		if err != nil {
			return m, err
		}
		values = append(values, Value{l.name, render(got)})
	}
	s.check(fmt.Sprintf("Seq %d  %s: %q", posted.Seq, by.name, posted.Text), values...)
	return posted, nil
}

func isPosted(m client.Message) bool { return m.State == client.Posted }

// render is what must be equal of a message wherever it is read.
func render(m client.Message) string {
	return fmt.Sprintf("%d %s: %s", m.Seq, m.Sender.Handle(), m.Text)
}
