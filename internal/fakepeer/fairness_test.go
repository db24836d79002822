package fakepeer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"hubbub/internal/fanout"
	"hubbub/internal/room"
	"hubbub/internal/store"
	"hubbub/internal/store/sqlstore"
	"hubbub/mimi"
)

const (
	peers     = 20
	manyRooms = 140 // more than requests may run at once: a dead peer could take every place
	rounds    = 2
	// roundTrip is what a peer takes to answer, deadline what we wait for one that
	// does not (virtual time).
	roundTrip = 5 * time.Millisecond
	deadline  = 30 * time.Second
)

// links are the ways to peers, one of which may swallow what it is sent.
type links struct {
	hole mimi.Domain // "" = none

	mu      sync.Mutex
	posted  map[string]time.Time // by room and Seq
	delays  []time.Duration      // of all peers but the hole's
	reached map[mimi.Domain]bool
}

func (l *links) Notify(ctx context.Context, peer mimi.Domain, uri mimi.RoomURI, pos room.Pos, _ []byte) error {
	wait := roundTrip
	if peer == l.hole {
		wait = deadline
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	l.mu.Lock()
	l.reached[peer] = true
	l.mu.Unlock()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	if peer == l.hole {
		return errors.New("no answer")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if peer != peerName(0) {
		l.delays = append(l.delays, time.Since(l.posted[fmt.Sprint(uri, pos.Seq)]))
	}
	return nil
}

func peerName(i int) mimi.Domain { return mimi.Domain(fmt.Sprintf("p%d.localhost", i)) }

func roomName(i int) mimi.RoomURI {
	return mimi.RoomURI(fmt.Sprintf("mimi://a.localhost/r/%d", i))
}

// p99 is how long, in virtual time, an entry takes to a peer other than the first
// in all but one of a hundred cases.
func p99(t *testing.T, hole mimi.Domain) (p time.Duration) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s, err := sqlstore.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		l := &links{hole: hole, posted: map[string]time.Time{}, reached: map[mimi.Domain]bool{}}
		host(t, s)
		f := fanout.New(fanout.Config{Store: s, Sender: l})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			if err := f.Run(ctx); err != nil {
				t.Error(err)
			}
		}()
		defer func() { cancel(); <-done }()
		synctest.Wait()
		for range rounds {
			l.post(t, s, f)
			<-time.After(2 * time.Second) // of the bubble's clock
			synctest.Wait()
		}
		if want := rounds * manyRooms * (peers - 1); len(l.delays) != want {
			t.Fatalf("%d deliveries, want %d", len(l.delays), want)
		}
		if hole != "" && !l.reached[hole] {
			t.Error("the silent peer was never tried")
		}
		slices.Sort(l.delays)
		p = l.delays[len(l.delays)*99/100]
	})
	return p
}

// host makes the rooms, each followed by every peer.
func host(t *testing.T, s store.Store) {
	err := s.Update(t.Context(), func(tx store.Tx) error {
		for i := range manyRooms {
			uri := roomName(i)
			start := room.StartPos(uri)
			err := tx.CreateRoom(store.RoomRecord{URI: uri, Hub: "a.localhost", Head: start, Start: start, State: []byte{1}}, nil, nil, nil)
			for n := range peers {
				err = errors.Join(err, tx.PutFanout(store.FanoutState{Room: uri, Peer: peerName(n)}))
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// post appends an entry to every room.
func (l *links) post(t *testing.T, s store.Store, f *fanout.Fanout) {
	err := s.Update(t.Context(), func(tx store.Tx) error {
		for i := range manyRooms {
			r, err := tx.Room(roomName(i))
			if err != nil {
				return err
			}
			body := fmt.Appendf(nil, "%d of %s", r.Head.Seq+1, r.URI)
			next := r.Head.Next(body)
			err = tx.Append(store.Append{Room: r.URI, Prev: r.Head, Entry: store.Entry{
				Seq: next.Seq, Hash: next.Hash, Timestamp: next.Seq, Kind: room.KindApplication, Body: body, MessageHash: next.Hash,
			}})
			if err != nil {
				return err
			}
			l.mu.Lock()
			l.posted[fmt.Sprint(r.URI, next.Seq)] = time.Now()
			l.mu.Unlock()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range manyRooms {
		f.Wake(roomName(i))
	}
}

// Twenty peers, one of which swallows everything it is sent, in more rooms than
// requests may run at once: the others wait at most a fifth longer (P11).
func TestSilentPeerDelaysNobody(t *testing.T) {
	healthy := p99(t, "")
	with := p99(t, peerName(0))
	t.Logf("p99 %s, with a silent peer %s", healthy, with)
	if with > healthy*6/5 {
		t.Errorf("p99 is %s, with a silent peer %s", healthy, with)
	}
}
