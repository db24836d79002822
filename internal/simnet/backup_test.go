package simnet

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"hubbub/internal/store"
)

// backup is a provider's database as it once was.
type backup map[string][]byte

// files are those of a database that a backup needs.
var files = []string{"hubbub.db", "hubbub.db-wal"}

// save takes a backup. Nothing moves meanwhile.
func (p *provider) save() {
	p.backup = backup{}
	for _, name := range files {
		b, err := os.ReadFile(filepath.Join(p.dir, string(p.domain), name))
		if !errors.Is(err, fs.ErrNotExist) {
			p.sim.must(err)
			p.backup[name] = b
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
	for name, b := range p.backup {
		s.must(os.WriteFile(filepath.Join(dir, name), b, 0o600))
	}
	p.open()
	p.forgiven()
}

// forgiven takes back what cannot be asked of a provider after it lost its
// latest data: the writes it had queued since, the Welcomes its clients had not
// fetched, and which KeyPackages it had handed out. Not what is asked of its
// replicas: they become what the hub has.
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
	for _, d := range s.devices {
		if d.home != p {
			continue
		}
		d.excused = d.excused || d.Group == nil
		for _, w := range d.writes {
			var row *store.Submission
			s.view(p, func(tx store.ReadTx) (err error) {
				row, err = tx.Submission(d.URI, w.txn)
				return err
			}, store.ErrNotFound)
			if row == nil {
				w.told, w.lost = false, true
				if w == d.commit && d.ask == nil && d.retry == nil {
					d.retry = w // it is all or nothing for what it may do next
				}
			}
		}
	}
}

// mayLose says whether a provider may be restored: one that hosts no room, in
// some of the runs.
func (p *provider) mayLose() bool {
	if p.sim.seed%5 != 4 {
		return false
	}
	for _, r := range p.sim.rooms {
		if r.uri.Domain() == p.domain {
			return false
		}
	}
	return true
}

// archive takes or uses a backup of some follower.
func (s *sim) archive() {
	p := s.someone()
	if !p.mayLose() {
		return
	}
	if s.rng.IntN(3) > 0 {
		s.say("%s takes a backup", p.domain)
		p.save()
		return
	}
	s.say("%s is restored from its backup", p.domain)
	p.restore()
}
