package bench

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"hubbub/client/clientpb"
	"hubbub/cmd/hubbub/internal/bench/load"
	"hubbub/mimi"
)

// soak is the cast of a long run.
type soak struct {
	st                  *stage
	alice               *load.Device // owns all rooms and makes all changes
	rooms               []*soakRoom
	changes, reconnects int // by the goroutine that disturbs

	mu     sync.Mutex
	series map[[2]string][]float64 // by provider and figure
}

// soakRoom is a room with two residents, who write to each other, and visitors.
type soakRoom struct {
	uri       mimi.RoomURI
	residents [2]*resident
	guests    []*load.Device // in the room, oldest first
	made      int
}

// resident is a member for the whole run, whose connection is cut at times.
type resident struct {
	d      *load.Device
	room   mimi.RoomURI
	sender *load.Sender
	stream *load.Stream // by the goroutine that disturbs
	joined chan struct{}

	mu       sync.Mutex
	seq      uint64            // read up to here
	waiting  map[string]string // texts of posts by txn, not known to be in the log
	posted   int
	again    int
	received map[string]bool
	err      error
}

func newSoak(ctx context.Context, st *stage, o SoakOptions) (*soak, error) {
	s := &soak{st: st, series: map[[2]string][]float64{}, rooms: make([]*soakRoom, o.Rooms)}
	var err error
	if s.alice, err = st.user(ctx, 0, "alice"); err != nil {
		return nil, err
	}
	if _, err := st.connect(ctx, s.alice, load.Handler{}); err != nil {
		return nil, err
	}
	err = each(o.Rooms, func(i int) (err error) {
		s.rooms[i], err = s.room(ctx, i)
		return err
	})
	st.later(func() {
		for _, r := range s.residents() {
			r.stream.Close()
		}
	})
	return s, err
}

func (s *soak) room(ctx context.Context, i int) (*soakRoom, error) {
	r := &soakRoom{}
	for side := range r.residents {
		m := &resident{joined: make(chan struct{}, 1), waiting: map[string]string{}, received: map[string]bool{}}
		var err error
		if m.d, err = s.st.user(ctx, side+1, fmt.Sprintf("resident%d", i)); err != nil {
			return nil, err
		}
		if m.stream, err = m.d.Connect(ctx, m.handler()); err != nil {
			return nil, err
		}
		m.sender = m.d.Sender(func(p load.Post, _ error) { m.resend(p.Txn()) })
		r.residents[side] = m
	}
	var err error
	if r.uri, err = s.st.room(ctx, s.alice, r.residents[0].d, r.residents[1].d); err != nil {
		return nil, err
	}
	for _, m := range r.residents {
		m.room = r.uri
		select {
		case <-m.joined:
		case <-time.After(patience):
			return nil, fmt.Errorf("%s did not join", m.d.User().Handle())
		}
	}
	return r, nil
}

func (s *soak) residents() (out []*resident) {
	for _, r := range s.rooms {
		if r != nil {
			out = append(out, r.residents[:]...)
		}
	}
	return out
}

// post has one of the two write.
func (r *soakRoom) post(n int) error {
	m := r.residents[n/7%2]
	m.mu.Lock()
	defer m.mu.Unlock()
	m.posted++
	return m.send(text(n))
}

// send encrypts a text and hands it over. The caller holds mu.
func (m *resident) send(text string) error {
	if m.err != nil {
		return m.err
	}
	p, err := m.d.Encrypt(m.room, text)
	if err != nil {
		return err
	}
	m.waiting[p.Txn()] = text
	m.sender.Put(p)
	return nil
}

// resend sends what was refused once more, in the epoch that is known by now.
func (m *resident) resend(txn string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	text, ok := m.waiting[txn]
	if !ok {
		return
	}
	delete(m.waiting, txn)
	m.again++
	if err := m.send(text); err != nil && m.err == nil {
		m.err = err
	}
}

func (m *resident) handler() load.Handler {
	return load.Handler{Joined: m.entered, Entry: m.entry, Submission: func(s *clientpb.Submission) {
		switch s.GetState() {
		case clientpb.SubmissionState_SUBMISSION_STATE_POSTED:
			m.mu.Lock()
			delete(m.waiting, s.GetTxn())
			m.mu.Unlock()
		case clientpb.SubmissionState_SUBMISSION_STATE_REJECTED, clientpb.SubmissionState_SUBMISSION_STATE_EXPIRED:
			m.resend(s.GetTxn())
		}
	}}
}

func (m *resident) entered(_ mimi.RoomURI, seq uint64, _ []byte) {
	m.mu.Lock()
	m.seq = seq
	m.mu.Unlock()
	m.joined <- struct{}{}
}

// entry reads an entry; after a reconnect some come again.
func (m *resident) entry(room mimi.RoomURI, e *clientpb.Entry, _ time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e.GetSeq() <= m.seq || m.err != nil {
		return
	}
	if e.GetSeq() != m.seq+1 {
		m.err = fmt.Errorf("%s: entry %d follows %d", room, e.GetSeq(), m.seq)
		return
	}
	m.seq = e.GetSeq()
	from, text, err := m.d.Read(room, e)
	switch {
	case err != nil:
		m.err = fmt.Errorf("%s: entry %d: %w", room, e.GetSeq(), err)
	case from == "":
	case m.received[short(text)]:
		m.err = fmt.Errorf("%s: %q came twice", room, short(text))
	default:
		m.received[short(text)] = true
	}
}

// short is the part of a text that tells it from others.
func short(text string) string { return strings.TrimRight(text, "x") }

// reconnect cuts the connection and opens another.
func (m *resident) reconnect(ctx context.Context) (err error) {
	m.stream.Close()
	m.stream, err = m.d.Connect(ctx, m.handler())
	return err
}

func (m *resident) counts() (posted, received, again int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.posted, len(m.received), m.again
}

// change brings a visitor into the room, or takes the oldest out.
func (r *soakRoom) change(ctx context.Context, s *soak, turn int) error {
	s.changes++
	if len(r.guests) >= visitors || len(r.guests) > 0 && turn%2 == 1 {
		guest := r.guests[0]
		r.guests = r.guests[1:]
		guest.Close()
		return s.alice.Remove(ctx, r.uri, guest.User())
	}
	r.made++
	guest, err := s.st.user(ctx, 1+r.made%2, fmt.Sprintf("guest%d-%s", r.made, string(r.uri)[len(r.uri)-8:]))
	if err != nil {
		return err
	}
	r.guests = append(r.guests, guest)
	return s.st.add(ctx, s.alice, r.uri, guest)
}

// drain waits until everything posted was received, or nothing has come for a
// while.
func (s *soak) drain(ctx context.Context) error {
	last, since := -1, time.Now()
	for {
		missing := 0
		for _, m := range s.residents() {
			m.mu.Lock()
			err := m.err
			m.mu.Unlock()
			if err != nil {
				return err
			}
			posted, received, _ := m.counts()
			missing += posted - received
		}
		if missing != last {
			last, since = missing, time.Now()
		}
		if missing == 0 || time.Since(since) > patience {
			return nil
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
}
