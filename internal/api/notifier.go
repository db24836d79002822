package api

import (
	"sync"

	"hubbub/mimi"
)

// Notifier tells sync streams that something of theirs changed in the store.
// It carries no data and may be told too much, never too little: whoever made a
// change durable calls it afterwards. It is safe for concurrent use and never
// blocks.
type Notifier struct {
	mu      sync.Mutex
	streams map[mimi.ClientURI]*wakeup
	byUser  map[mimi.UserURI]map[*wakeup]struct{}
	byRoom  map[mimi.RoomURI]map[*wakeup]struct{}
	watch   map[mimi.RoomURI]struct{} // rooms whose membership is to be looked at
	kick    chan struct{}             // has a value if watch is not empty

	// changed says whether more than the log of a room may have changed since it
	// was asked last.
	changed func(mimi.RoomURI) bool
}

// NewNotifier makes a notifier nobody listens to yet.
func NewNotifier() *Notifier {
	return &Notifier{
		streams: map[mimi.ClientURI]*wakeup{},
		byUser:  map[mimi.UserURI]map[*wakeup]struct{}{},
		byRoom:  map[mimi.RoomURI]map[*wakeup]struct{}{},
		watch:   map[mimi.RoomURI]struct{}{},
		kick:    make(chan struct{}, 1),
		changed: func(mimi.RoomURI) bool { return true },
	}
}

// watchOnly has the membership looked at only of rooms of which changed says that
// more than their log may have changed.
func (n *Notifier) watchOnly(changed func(mimi.RoomURI) bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.changed = changed
}

// Wake says that a room's log or projections changed.
func (n *Notifier) Wake(room mimi.RoomURI) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.streams) == 0 {
		return
	}
	for w := range n.byRoom[room] {
		w.add(room)
	}
	if n.changed(room) {
		n.watch[room] = struct{}{}
		signal(n.kick)
	}
}

// WakeClient says that something of one client changed: a Welcome, a
// submission, its memberships.
func (n *Notifier) WakeClient(client mimi.ClientURI) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if w := n.streams[client]; w != nil {
		w.addMine()
	}
}

// wakeUser wakes all streams of a user completely.
func (n *Notifier) wakeUser(user mimi.UserURI) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for w := range n.byUser[user] {
		w.addAll()
	}
}

// takeWatched hands over the rooms to look at.
func (n *Notifier) takeWatched() []mimi.RoomURI {
	n.mu.Lock()
	defer n.mu.Unlock()
	out := make([]mimi.RoomURI, 0, len(n.watch))
	for r := range n.watch {
		out = append(out, r)
	}
	clear(n.watch)
	return out
}

// subscribe registers the stream of a client. An older stream of the same client is
// told to end.
func (n *Notifier) subscribe(w *wakeup) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if old := n.streams[w.client]; old != nil {
		go old.end(errReplaced)
		n.drop(old)
	}
	n.streams[w.client] = w
	if n.byUser[w.user] == nil {
		n.byUser[w.user] = map[*wakeup]struct{}{}
	}
	n.byUser[w.user][w] = struct{}{}
}

// Streams is the number of clients that are connected. What those that are not
// have acknowledged is stored.
func (n *Notifier) Streams() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.streams)
}

// endAll tells all streams to end, each on a goroutine of its own.
func (n *Notifier) endAll(reason error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, w := range n.streams {
		go w.end(reason)
	}
}

// follow adds rooms whose changes the stream wants to hear of.
func (n *Notifier) follow(w *wakeup, rooms ...mimi.RoomURI) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.streams[w.client] != w {
		return
	}
	for _, r := range rooms {
		if n.byRoom[r] == nil {
			n.byRoom[r] = map[*wakeup]struct{}{}
		}
		n.byRoom[r][w] = struct{}{}
		w.rooms = append(w.rooms, r)
	}
}

func (n *Notifier) unsubscribe(w *wakeup) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.streams[w.client] == w {
		delete(n.streams, w.client)
		n.drop(w)
	}
}

// drop forgets w everywhere but in streams. The caller holds mu.
func (n *Notifier) drop(w *wakeup) {
	for _, r := range w.rooms {
		delete(n.byRoom[r], w)
		if len(n.byRoom[r]) == 0 {
			delete(n.byRoom, r)
		}
	}
	delete(n.byUser[w.user], w)
	if len(n.byUser[w.user]) == 0 {
		delete(n.byUser, w.user)
	}
}

// wakeup is one stream's bell: what has changed since the stream looked last. When
// it begins to ring it starts a sender, which ends when it is silent again.
type wakeup struct {
	client mimi.ClientURI
	user   mimi.UserURI
	pump   func()      // the sender
	end    func(error) // ends the stream

	rooms []mimi.RoomURI // owned by Notifier.mu

	mu      sync.Mutex
	pumping bool // a sender runs
	ring
}

// ring is what a bell rang for.
type ring struct {
	all   bool // everything, the user's rooms among it
	mine  bool // Welcomes and submissions of the client
	dirty map[mimi.RoomURI]struct{}
}

func (r ring) empty() bool { return !r.all && !r.mine && len(r.dirty) == 0 }

func (w *wakeup) add(room mimi.RoomURI) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.dirty == nil {
		w.dirty = map[mimi.RoomURI]struct{}{}
	}
	w.dirty[room] = struct{}{}
	w.start()
}

func (w *wakeup) addMine() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mine = true
	w.start()
}

func (w *wakeup) addAll() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all = true
	w.start()
}

// start starts a sender unless one runs. w.mu is held.
func (w *wakeup) start() {
	if !w.pumping {
		w.pumping = true
		go w.pump()
	}
}

// take empties the bell. false: it is silent, and the sender that asked is none any
// more.
func (w *wakeup) take() (ring, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.ring
	w.ring = ring{}
	w.pumping = !r.empty()
	return r, w.pumping
}

// signal rings a bell that may ring already.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
