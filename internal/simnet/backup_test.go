package simnet

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing/synctest"

	"hubbub/internal/store"
	"hubbub/mimi"
)

// backup is a provider's database as it once was.
type backup struct {
	files map[string][]byte
	// knew are the followers that it names, of the rooms hosted there.
	knew map[mimi.RoomURI][]mimi.Domain
}

// files are those of a database that a backup needs.
var files = []string{"hubbub.db", "hubbub.db-wal"}

// save takes a backup. Nothing moves meanwhile.
func (p *provider) save() {
	p.backup = backup{map[string][]byte{}, map[mimi.RoomURI][]mimi.Domain{}}
	for _, r := range p.hosts() {
		p.backup.knew[r.uri] = r.state.Providers()
	}
	for _, name := range files {
		b, err := os.ReadFile(filepath.Join(p.dir, string(p.domain), name))
		if !errors.Is(err, fs.ErrNotExist) {
			p.sim.must(err)
			p.backup.files[name] = b
		}
	}
}

// restore takes a provider back to its backup. What it promised since, only
// others can know.
func (p *provider) restore() {
	s := p.sim
	p.restored = true
	p.crash(false)
	s.must(p.engine.Close())
	dir := filepath.Join(p.dir, string(p.domain))
	for _, name := range append(files, "hubbub.db-shm") {
		os.Remove(filepath.Join(dir, name))
	}
	for name, b := range p.backup.files {
		s.must(os.WriteFile(filepath.Join(dir, name), b, 0o600))
	}
	p.open()
	p.forgiven()
}

// forgiven takes back what cannot be asked of a provider after it lost its
// latest data: the writes it had queued since, the Welcomes its clients had not
// fetched or that it had not passed on, and which KeyPackages it had handed out.
// Not what is asked of its replicas: they become what the hub has; and not what is
// asked of the logs of its own rooms: it gets them back.
func (p *provider) forgiven() {
	s := p.sim
	for _, r := range s.rooms {
		delete(r.has, p.domain)
	}
	s.mu.Lock()
	for ref, owner := range s.handedOut {
		if owner == p.domain {
			delete(s.handedOut, ref)
		}
	}
	s.mu.Unlock()
	for key := range s.batches { // it may cut what it sends again in another way
		for _, r := range p.hosts() {
			if strings.HasPrefix(key, string(r.uri)) {
				delete(s.batches, key)
			}
		}
	}
	for _, d := range s.devices {
		if d.home != p {
			d.excused = d.excused || d.unread() && d.room.uri.Domain() == p.domain // its Welcome
			continue
		}
		d.excused = d.excused || d.unread()
		for _, w := range d.writes {
			var row *store.Submission
			s.view(p, func(tx store.ReadTx) (err error) {
				row, err = tx.Submission(d.URI, w.txn)
				return err
			}, store.ErrNotFound)
			if row != nil && row.State < w.last {
				w.last = row.State // it does not know that yet
			}
			if row == nil {
				w.told, w.lost, w.last = false, true, 0
				if w == d.commit && d.ask == nil && d.retry == nil {
					d.retry = w // it is all or nothing for what it may do next
				}
			}
		}
	}
}

// unread says whether a Welcome may wait for the device: it is in no group, or in
// an epoch after which it may have been removed and added again.
func (d *device) unread() bool {
	return d.Group == nil || d.Group.Epoch() != d.room.state.Epoch()
}

// mayLose says whether a provider may be restored: in some runs those that host no
// room, in others those that do.
func (p *provider) mayLose() bool {
	return p.sim.seed%5 == 4 && len(p.hosts()) == 0 || p.sim.seed%5 == 3 && len(p.hosts()) > 0
}

// hosts are the rooms of a provider.
func (p *provider) hosts() (list []*roomView) {
	for _, r := range p.sim.rooms {
		if r.uri.Domain() == p.domain {
			list = append(list, r)
		}
	}
	return list
}

// archive takes or uses a backup.
func (s *sim) archive() {
	p := s.someone()
	if s.seed%5 == 3 {
		p = s.providers[s.rooms[s.rng.IntN(len(s.rooms))].uri.Domain()]
	}
	switch {
	case !p.mayLose():
	case s.rng.IntN(3) > 0:
		s.say("%s takes a backup", p.domain)
		p.save()
	case len(p.hosts()) == 0:
		s.say("%s is restored from its backup", p.domain)
		p.restore()
	case s.covered(p):
		s.restoreHub(p)
	}
}

// covered says whether all that a hub has accepted is held by somebody whom its
// backup knows and whom it can ask. Otherwise something is lost or the history
// forks, and the room freezes: that has tests of its own.
func (s *sim) covered(p *provider) bool {
	if len(s.net.blocked) > 0 {
		return false
	}
	for _, d := range s.order {
		if q := s.providers[d]; q.life == nil || q.full.Load() || q.life.failed.Load() {
			return false
		}
	}
	for _, r := range p.hosts() {
		held := false
		for _, d := range p.backup.knew[r.uri] {
			held = held || d != p.domain && r.has[d] != nil && r.has[d].head == r.state.Pos
		}
		if !held {
			return false
		}
	}
	return true
}

// restoreHub puts an old database in a hub's place. Before it accepts anything it
// has to get back what its followers hold.
func (s *sim) restoreHub(p *provider) {
	for _, r := range p.hosts() {
		s.say("%s is restored from a backup, with %s at %d", p.domain, r.uri, r.state.Pos.Seq)
	}
	s.mu.Lock()
	faulty := s.faulty
	s.faulty = false // its followers answer
	s.mu.Unlock()
	p.restore()
	p.behind = true
	p.start()
	synctest.Wait()
	s.mu.Lock()
	s.faulty = faulty
	s.mu.Unlock()
	s.relapses++
}

// relapse restores the hubs at the end of a run, when everybody is there, so that
// nearly all runs that may have that do. A backup that knows nobody who could help
// is taken anew, and things go on for a while.
func (s *sim) relapse() {
	s.drain()
	for _, d := range s.order {
		p := s.providers[d]
		if !p.mayLose() {
			continue
		}
		if !s.covered(p) {
			s.say("%s takes a backup", p.domain)
			p.save()
			for range 60 {
				if s.rng.IntN(2) == 0 || !s.network(false) {
					s.device()
				}
				s.settle()
			}
			s.drain()
		}
		if s.covered(p) {
			s.restoreHub(p)
			s.settle()
		}
	}
}

// drain lets everything under way arrive.
func (s *sim) drain() {
	for n := 0; n < 1000 && s.network(false); n++ {
		s.settle()
	}
}
