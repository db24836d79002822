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
}

// NewNotifier makes a notifier nobody listens to yet.
func NewNotifier() *Notifier {
	return &Notifier{
		streams: map[mimi.ClientURI]*wakeup{},
		byUser:  map[mimi.UserURI]map[*wakeup]struct{}{},
		byRoom:  map[mimi.RoomURI]map[*wakeup]struct{}{},
		watch:   map[mimi.RoomURI]struct{}{},
		kick:    make(chan struct{}, 1),
	}
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
	n.watch[room] = struct{}{}
	signal(n.kick)
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

// subscribe registers the stream of a client. An older stream of the same
// client is told to end.
func (n *Notifier) subscribe(client mimi.ClientURI, user mimi.UserURI) *wakeup {
	w := &wakeup{client: client, user: user, ready: make(chan struct{}, 1),
		replaced: make(chan struct{}), ring: ring{all: true, dirty: map[mimi.RoomURI]struct{}{}}}
	signal(w.ready)
	n.mu.Lock()
	defer n.mu.Unlock()
	if old := n.streams[client]; old != nil {
		close(old.replaced)
		n.drop(old)
	}
	n.streams[client] = w
	if n.byUser[user] == nil {
		n.byUser[user] = map[*wakeup]struct{}{}
	}
	n.byUser[user][w] = struct{}{}
	return w
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

// wakeup is one stream's bell: what has changed since the stream looked last.
type wakeup struct {
	client   mimi.ClientURI
	user     mimi.UserURI
	ready    chan struct{} // has a value if there is something to look at
	replaced chan struct{} // closed when a newer stream of the client took over

	rooms []mimi.RoomURI // owned by Notifier.mu

	mu sync.Mutex
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
	w.dirty[room] = struct{}{}
	w.mu.Unlock()
	signal(w.ready)
}

func (w *wakeup) addMine() {
	w.mu.Lock()
	w.mine = true
	w.mu.Unlock()
	signal(w.ready)
}

func (w *wakeup) addAll() {
	w.mu.Lock()
	w.all = true
	w.mu.Unlock()
	signal(w.ready)
}

// take empties the bell.
func (w *wakeup) take() ring {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.ring
	w.ring = ring{dirty: map[mimi.RoomURI]struct{}{}}
	return r
}

// signal rings a bell that may ring already.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
