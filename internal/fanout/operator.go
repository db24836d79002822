package fanout

import "hubbub/mimi"

// Retry ends all waiting for a peer, also pauses that the peer asked for: what an
// operator does who knows better. Parked pairs stay parked; see Resume.
func (f *Fanout) Retry(peer mimi.Domain) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, peers := range f.rooms {
		if q := peers[peer]; q != nil && q.retry != nil {
			q.status.Failures = 1 // the backoff begins anew
			close(q.retry)
			q.retry = nil
		}
	}
}

// Status says how one pair stands; the zero Status if it is not known.
func (f *Fanout) Status(uri mimi.RoomURI, peer mimi.Domain) Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	if q := f.rooms[uri][peer]; q != nil {
		return q.status
	}
	return Status{}
}
