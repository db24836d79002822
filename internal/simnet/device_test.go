package simnet

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"time"

	"hubbub/internal/room"
	"hubbub/internal/room/roomtest"
	"hubbub/internal/store"
	"hubbub/mimi"
	"hubbub/mls"
	"hubbub/mls/wire"
)

// device is a client of one user, at home at one provider, with one room.
type device struct {
	*roomtest.Client
	sim  *sim
	home *provider
	room *roomView
	name string
	boss bool // it made the room

	read    uint64 // Seq up to which it followed the log
	since   uint64 // Seq at which it last came in or went out
	writes  []*write
	retry   *write // it does not know whether its provider has this one
	commit  *write // its commit or proposal on the way
	ask     *request
	fresh   int  // KeyPackages published
	excused bool // its provider may have lost a Welcome of its
	last    int  // the newest of its writes in the log
}

// write is something a device wants in the log.
type write struct {
	device *device
	kind   store.SubmissionKind
	n      int // 1 is the device's first
	txn    string
	text   string // "" = a handshake
	body   []byte
	hash   [32]byte

	told    bool                  // its provider promised to keep it
	lost    bool                  // its provider lost it after a restore
	tries   int                   // refusals of it since
	refused string                // its provider would not take it
	row     *store.Submission     // as last seen
	answer  []byte                // the hub's, when it accepted
	no      bool                  // the hub refused
	seq     uint64                // place in the log, 0 = not there
	last    store.SubmissionState // the newest state seen, which never goes back
}

func (w *write) String() string { return w.device.name + " #" + w.txn }

// request is something a device asked its provider and waits for.
type request struct {
	then func(reply)

	mu  sync.Mutex
	got *reply
}

// enrol makes a device known to its provider, with KeyPackages.
func (s *sim) enrol(r *roomView, handle, name string) *device {
	c := s.clients.Client(handle, name)
	d := &device{Client: c, sim: s, home: s.providers[c.User.Domain()], room: r, name: c.String()}
	d.boss = len(s.devices) == 0 || s.devices[len(s.devices)-1].room != r
	code := sha256.Sum256([]byte(d.URI))
	now := time.Now()
	s.must(d.home.engine.Update(context.Background(), func(tx store.Tx) error {
		if err := tx.CreateUser(c.User, now); err != nil && !errors.Is(err, store.ErrExists) {
			return err
		}
		if err := tx.PutEnrolment(code, c.User, now.Add(time.Hour)); err != nil {
			return err
		}
		return tx.Enrol(code, store.Client{URI: c.URI, User: c.User, TokenHash: code, SignatureKey: c.Key().Public, CreatedAt: now}, now)
	}))
	s.must(d.home.life.keys.Publish(context.Background(), c.URI, d.packages(4)))
	s.devices = append(s.devices, d)
	return d
}

func (d *device) packages(n int) (list [][]byte) {
	for range n {
		b, err := wire.Marshal(d.KeyPackage())
		d.sim.must(err)
		list = append(list, b)
	}
	d.fresh += n
	return list
}

// request asks the device's provider; then runs when the answer is there.
func (d *device) request(what string, do func(context.Context, *life) (any, error), then func(reply)) {
	a := &request{then: then}
	d.ask = a
	m := &message{from: d.name, to: d.home.domain, key: what, do: do}
	go func() {
		v, err := d.sim.net.call(d.sim.ctx, nil, m)
		a.mu.Lock()
		defer a.mu.Unlock()
		a.got = &reply{v, err}
	}()
}

// hear takes the answer to what the device asked, if it has come.
func (d *device) hear() {
	a := d.ask
	if a == nil {
		return
	}
	a.mu.Lock()
	got := a.got
	a.mu.Unlock()
	if got != nil {
		d.ask = nil
		a.then(*got)
	}
}

// submit makes a new write and sends it.
func (d *device) submit(kind store.SubmissionKind, text string, body []byte) {
	w := &write{device: d, kind: kind, n: len(d.writes) + 1, txn: fmt.Sprint(len(d.writes) + 1), text: text, body: body}
	if kind == store.SubmitUpdate {
		in, err := room.ParseHandshake(d.home.domain, bytes.Clone(body))
		d.sim.must(err)
		w.hash, d.commit = in.MessageHash(), w
	} else {
		in, err := room.ParseSubmission(d.home.domain, bytes.Clone(body))
		d.sim.must(err)
		w.hash = in.MessageHash()
	}
	d.writes = append(d.writes, w)
	d.sim.mu.Lock()
	d.sim.byBody[sha256.Sum256(body)] = w
	d.sim.mu.Unlock()
	d.room.writes[w.hash] = w
	d.send(w)
}

// send gives a write to the provider, for the first time or again.
func (d *device) send(w *write) {
	d.retry = w
	sub := store.Submission{Client: d.URI, Txn: w.txn, Room: d.room.uri, Kind: w.kind, MessageHash: w.hash}
	d.request("write "+w.txn, func(ctx context.Context, p *life) (any, error) {
		sub := sub
		sub.Body = bytes.Clone(w.body)
		return p.take(ctx, sub)
	}, func(r reply) {
		var p *mimi.Problem
		switch {
		case r.err == nil:
			d.retry, w.told = nil, true
			sub := r.value.(store.Submission)
			d.sim.saw(w, &sub)
		case errors.As(r.err, &p) && !p.Retryable() && w.lost && w.tries < 50:
			w.tries++ // the room may come back
		case errors.As(r.err, &p) && !p.Retryable():
			d.retry, w.refused = nil, p.Code
			d.dropIf(w)
		}
	})
}

// dropIf forgets a commit that will not be.
func (d *device) dropIf(w *write) {
	if d.commit == w {
		d.commit = nil
		d.Drop()
	}
}

// sync reads what the device's own provider holds.
func (d *device) sync() {
	var welcomes []store.InWelcome
	var entries []store.Entry
	d.sim.must(d.home.engine.View(context.Background(), func(tx store.ReadTx) (err error) {
		if welcomes, err = tx.InWelcomes(d.URI); err != nil {
			return err
		}
		entries, err = tx.Entries(d.room.uri, 0, 100_000, 1<<30)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		return err
	}))
	d.enter(welcomes)
	for _, e := range entries {
		if e.Seq <= d.read {
			continue
		}
		mine := d.commit != nil && e.MessageHash == d.commit.hash
		if d.Group != nil || d.Joining() && mine {
			if mine && d.Joining() {
				d.since = e.Seq
			}
			if !d.Follow(e.Body) {
				d.since = e.Seq
				d.sim.note("   %s is out at %d", d.name, e.Seq)
			}
		}
		d.read = e.Seq
		if mine {
			d.commit = nil
		}
		d.enter(welcomes)
	}
}

// enter joins by the first Welcome that is new.
func (d *device) enter(welcomes []store.InWelcome) {
	for _, w := range welcomes {
		if d.Group == nil && !d.Joining() && w.Room == d.room.uri && w.Seq > d.since {
			d.Join(w.Body)
			d.read, d.since = w.Seq, w.Seq
		}
	}
}

// act does something that suits the device's situation and says what; "" if
// there is nothing to do.
func (d *device) act() string {
	switch {
	case d.ask != nil:
		return ""
	case d.retry != nil:
		d.send(d.retry)
		return "repeats " + d.retry.txn
	}
	if d.Group == nil {
		return d.outside()
	}
	pending := len(d.Group.PendingProposals()) > 0
	switch n := d.sim.rng.IntN(100); {
	case n < 30:
		return d.look()
	case n < 37:
		return d.acknowledge()
	case d.commit != nil:
		if n < 50 && !pending {
			return d.post()
		}
		return d.look()
	case pending:
		d.submit(store.SubmitUpdate, "", d.Commit())
		return "commits what is pending"
	case n < 55 && d.missing() != nil:
		return d.invite(d.missing())
	case n < 58:
		d.submit(store.SubmitUpdate, "", d.Commit())
		return "commits"
	case n < 60 && d.boss:
		return d.expel()
	case n < 61 && !d.boss:
		d.submit(store.SubmitUpdate, "", d.Leave())
		return "leaves"
	}
	return d.post()
}

func (d *device) post() string {
	text := fmt.Sprintf("%s says %d", d.name, len(d.writes)+1)
	d.submit(store.SubmitMessage, text, d.Post(text))
	return "posts #" + d.writes[len(d.writes)-1].txn
}

// outside is what a device does that is not in the group.
func (d *device) outside() string {
	if d.commit == nil && d.sim.rng.IntN(3) == 0 && d.mayJoin() {
		d.joinExternal()
		return "asks to join by itself"
	}
	if d.fresh < 4+d.room.invited[d.User] {
		list := d.packages(2)
		d.request("publish", func(ctx context.Context, p *life) (any, error) {
			return nil, p.keys.Publish(ctx, d.URI, list)
		}, func(reply) {})
		return "publishes KeyPackages"
	}
	return d.look()
}

// look is sync, if there is anything new.
func (d *device) look() string {
	read, since := d.read, d.since
	if d.sync(); d.read == read && d.since == since {
		return ""
	}
	return fmt.Sprintf("reads up to %d", d.read)
}

// mayJoin: its user is in the room, by what its own provider knows.
func (d *device) mayJoin() bool {
	found := false
	d.sim.must(d.home.engine.View(context.Background(), func(tx store.ReadTx) error {
		list, err := tx.Participants(d.room.uri)
		for _, p := range list {
			found = found || p.User == d.User
		}
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		return err
	}))
	return found
}

// joinExternal fetches the GroupInfo through the hub, then commits.
func (d *device) joinExternal() {
	priv, pub, err := roomtest.Suite.GenerateHPKEKey(rand.Reader)
	d.sim.must(err)
	req := &mimi.GroupInfoRequest{Credential: d.Credential(), PublicKey: pub}
	d.sim.must(req.Sign(d.Key()))
	body, err := req.Marshal()
	d.sim.must(err)
	hub := d.room.uri.Domain()
	d.request("group info", func(ctx context.Context, p *life) (any, error) {
		if p.p.domain == hub {
			return p.hub.GroupInfo(ctx, hub, d.room.uri, body)
		}
		return p.octets(ctx, hub, "group info "+d.name, func(ctx context.Context, to *life) ([]byte, error) {
			return to.hub.GroupInfo(ctx, p.p.domain, d.room.uri, body)
		})
	}, func(r reply) {
		b, _ := r.value.([]byte)
		if r.err != nil || d.Group != nil {
			return
		}
		got, err := mimi.ParseGroupInfoResponse(b)
		d.sim.must(err)
		if got.Status != mimi.GroupInfoSuccess {
			return
		}
		content, err := got.Open(priv)
		d.sim.must(err)
		for _, n := range content.RatchetTree.Tree {
			if n != nil && n.Leaf != nil && bytes.Equal(n.Leaf.SignatureKey, d.Key().Public) {
				return // it is in the group: its Welcome is on the way
			}
		}
		var pending []*mls.PublicMessage
		for i := range content.PendingProposals {
			pending = append(pending, content.PendingProposals[i].Proposal.Public)
		}
		d.submit(store.SubmitUpdate, "", d.JoinExternal(&content.GroupInfo, content.RatchetTree.Tree, pending...))
	})
}

// missing is a user of the cast who is not in the room; nil if all are.
func (d *device) missing() *device {
	list := d.Participants()
	var out []*device
	for _, o := range d.sim.devices {
		if o.room == d.room && list.Index(o.User) < 0 {
			out = append(out, o)
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out[d.sim.rng.IntN(len(out))]
}

// invite fetches a user's KeyPackages through the room's hub, then adds it.
func (d *device) invite(o *device) string {
	req := &mimi.KeyMaterialRequest{
		Protocol: mimi.ProtocolMLS10, RequestingUser: d.User, TargetUser: o.User, Room: d.room.uri,
		CipherSuites: []mls.CipherSuite{roomtest.Suite}, Credential: d.Credential(),
	}
	d.sim.must(req.Sign(d.Key()))
	body, err := req.Marshal()
	d.sim.must(err)
	d.room.invited[o.User]++
	d.request("claim "+string(o.User), func(ctx context.Context, p *life) (any, error) {
		b, err := p.claim(ctx, p.p.domain, o.User, body)
		return bytes.Clone(b), err
	}, func(r reply) {
		b, _ := r.value.([]byte)
		if r.err != nil || d.Group == nil || d.commit != nil {
			return
		}
		got, err := mimi.ParseKeyMaterialResponse(b)
		d.sim.must(err)
		var list []*mls.KeyPackage
		for _, c := range got.Clients {
			if c.KeyPackage != nil {
				list = append(list, c.KeyPackage)
			}
		}
		if len(list) == 0 || len(d.Group.PendingProposals()) > 0 || d.Participants().Index(o.User) >= 0 {
			return
		}
		d.submit(store.SubmitUpdate, "", d.Add(list...))
	})
	return "invites " + o.name
}

// expel removes some other user.
func (d *device) expel() string {
	for _, o := range d.sim.devices {
		if o.room == d.room && o.User != d.User && d.Participants().Index(o.User) >= 0 && d.sim.rng.IntN(2) == 0 {
			d.submit(store.SubmitUpdate, "", d.Commit(d.Removal(o.User)...))
			return "removes " + string(o.User)
		}
	}
	return d.post()
}

// acknowledge says that the device has all it read.
func (d *device) acknowledge() string {
	read := d.read
	d.request("ack", func(ctx context.Context, p *life) (any, error) {
		return nil, p.disk.Update(ctx, func(tx store.Tx) error { return tx.Ack(d.URI, d.room.uri, read) })
	}, func(reply) {})
	return fmt.Sprintf("acknowledges %d", read)
}
