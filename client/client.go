package client

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"hubbub/client/clientpb"
	"hubbub/mimi"
	"hubbub/mimi/policy"
	"hubbub/mls"
)

// Options tune [Open]; the zero value and nil are good.
type Options struct {
	// KeyPackages is the stock kept at the provider; 0 = 20, at most 100.
	KeyPackages int
	// Downloads are the ways in which attachments may be fetched, best first; nil =
	// through the hub, or sealed through the hub's gateway. Direct fetches show the
	// user's address to whoever keeps the file.
	Downloads []policy.DownloadType
	// Now tells the time; nil = time.Now.
	Now func() time.Time

	// testingOnlyStep is asked before and after each durable step is committed;
	// an error stops the device there, as the end of the process would.
	testingOnlyStep func(committed bool) error
}

// Client is one device of one user, open. It is safe for concurrent use.
type Client struct {
	dev    device // as it was at Open
	user   mimi.UserURI
	uri    mimi.ClientURI
	domain mimi.Domain
	key    *mls.SignatureKey
	facts  atomic.Pointer[facts]
	config *mls.Config
	opts   Options

	t      *transport
	lock   *os.File
	ctx    context.Context // ends when Close is called
	cancel context.CancelFunc
	wg     sync.WaitGroup
	events *broadcaster

	// judged is the time MLS rules are judged at, Unix ms: that of the entry
	// being processed, so that a replayed log gives the same verdicts. 0 = now.
	judged atomic.Int64

	stockDue   atomic.Bool // the stock of KeyPackages is to be looked at
	refreshDue atomic.Bool // what the provider says about itself is
	proofDue   atomic.Bool // what the hubs have signed is
	bringDue   atomic.Bool // what the provider may have to know of rooms is to be told

	sends sendQueue

	kickOutbox chan struct{} // the sender has something to do
	kickChores chan struct{} // so have the chores
	kickExpiry chan struct{} // so has whatever lets messages vanish

	mu         sync.Mutex // guards all below and serialises MLS and the database
	db         *database
	rooms      map[mimi.RoomURI]*room // replaced, never changed in place
	waiters    map[string]chan outcome
	peers      map[MessageID]*PeerStatus // what queued messages wait for
	changed    chan struct{}             // closed and replaced after each change
	opLocks    map[mimi.RoomURI]chan struct{}
	online     bool
	identities map[string]mimi.Identity // of certificates seen
	outbox     outbox
	answers    []*clientpb.Submission // of the provider, not taken in yet
	holds      map[mimi.RoomURI]*hold
	policies   map[mimi.RoomURI]policyAt // as of the present epochs
	wish       ReceiptSettings
	wishes     RoomWishes
	offline    error // why the latest stream ended
	fatal      error // why the device can do nothing more
}

// Open runs the device in dir: it reads the device's state and keeps it in step
// with the provider in the background until Close. It does not wait for the
// provider; o may be nil.
//
// Errors: [ErrNotEnrolled], [ErrLocked], or one of the disk.
func Open(ctx context.Context, dir string, o *Options) (*Client, error) {
	c, err := load(dir, o)
	if err != nil {
		return nil, err
	}
	c.ctx, c.cancel = context.WithCancel(context.WithoutCancel(ctx))
	for _, part := range []func(context.Context){c.runSync, c.runOutbox, c.runChores, c.runExpiry} {
		c.wg.Go(func() { part(c.ctx) })
	}
	return c, nil
}

// load reads a device without starting anything.
func load(dir string, o *Options) (*Client, error) {
	if _, err := os.Stat(filepath.Join(dir, "device.db")); err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("%w: %s", ErrNotEnrolled, dir)
		}
		return nil, fmt.Errorf("opening device: %w", err)
	}
	lock, err := lockDir(filepath.Join(dir, "lock"))
	if err != nil {
		return nil, err
	}
	c := &Client{lock: lock, events: newBroadcaster(), waiters: map[string]chan outcome{},
		peers: map[MessageID]*PeerStatus{}, changed: make(chan struct{}), opLocks: map[mimi.RoomURI]chan struct{}{},
		holds: map[mimi.RoomURI]*hold{}, identities: map[string]mimi.Identity{},
		kickOutbox: make(chan struct{}, 1), kickChores: make(chan struct{}, 1),
		kickExpiry: make(chan struct{}, 1), policies: map[mimi.RoomURI]policyAt{}}
	if o != nil {
		c.opts = *o
	}
	if c.opts.Now == nil {
		c.opts.Now = time.Now
	}
	if c.opts.KeyPackages <= 0 {
		c.opts.KeyPackages = 20
	}
	c.opts.KeyPackages = min(c.opts.KeyPackages, 100)
	if err := c.loadDevice(dir); err != nil {
		c.abandon()
		return nil, err
	}
	return c, nil
}

func (c *Client) loadDevice(dir string) (err error) {
	pool, err := openDB(dir)
	if err != nil {
		return err
	}
	if c.db, err = newDatabase(pool); err != nil {
		return err
	}
	b, err := getKey(c.db, keyDevice)
	if err != nil {
		return fmt.Errorf("opening device: %w", err)
	}
	if b == nil {
		return fmt.Errorf("%w: %s holds an unfinished enrolment", ErrNotEnrolled, dir)
	}
	if err := json.Unmarshal(b, &c.dev); err != nil {
		return fmt.Errorf("opening device: %w", err)
	}
	c.user, c.uri, c.domain = mimi.UserURI(c.dev.User), mimi.ClientURI(c.dev.Client), mimi.Domain(c.dev.Domain)
	c.key = new(mls.SignatureKey)
	if err := c.key.UnmarshalBinary(c.dev.Key); err != nil {
		return fmt.Errorf("opening device: %w", err)
	}
	if err := c.setFacts(c.dev.Roots, c.dev.HubSender); err != nil {
		return err
	}
	c.config = &mls.Config{Validate: c.validate, Successor: mimi.SameIdentity,
		Components: policy.Components(), Now: c.judgeTime}
	if c.t, err = newTransport(c.dev.Server, c.dev.ServerName, c.dev.CA, c.dev.Token); err != nil {
		return err
	}
	if err := c.loadRooms(); err != nil {
		return err
	}
	if err := errors.Join(c.loadWish(), c.loadRoomWishes()); err != nil {
		return err
	}
	_, err = c.expireDue()
	return err
}

// facts is what the provider says about itself. It is never changed in place.
type facts struct {
	verifier  *mimi.Verifier
	roots     [][]byte
	hubSender []byte
}

// setFacts takes the certificates that credentials must chain to, and how the
// hub stands in rooms that are made here.
func (c *Client) setFacts(roots [][]byte, hubSender []byte) error {
	pool := x509.NewCertPool()
	for _, der := range roots {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return fmt.Errorf("opening device: credential root: %w", err)
		}
		pool.AddCert(cert)
	}
	c.facts.Store(&facts{&mimi.Verifier{Roots: pool}, roots, hubSender})
	return nil
}

// validate is what the MLS rules ask about each credential.
func (c *Client) validate(cred *mls.Credential, signatureKey []byte) error {
	return c.facts.Load().verifier.Validate(c.judgeTime)(cred, signatureKey)
}

// refresh takes over what the provider says about itself by now, such as a root
// that credentials chain to from now on.
func (c *Client) refresh(ctx context.Context) error {
	d := c.dev
	if err := d.askProvider(ctx, c.t); err != nil {
		return err
	}
	old := c.facts.Load()
	if reflect.DeepEqual(d.Roots, old.roots) && bytes.Equal(d.HubSender, old.hubSender) {
		return nil
	}
	return c.step(func(b *batch) error {
		if err := c.setFacts(d.Roots, d.HubSender); err != nil {
			return err
		}
		return d.store(b.tx, keyDevice)
	})
}

// judgeTime is the clock of the MLS rules.
func (c *Client) judgeTime() time.Time {
	if ms := c.judged.Load(); ms != 0 {
		return time.UnixMilli(ms)
	}
	return c.opts.Now()
}

// credential is what this device shows of itself in groups.
func (c *Client) credential() mls.Credential {
	return mls.Credential{Type: mls.CredentialTypeX509, Certificates: c.dev.Chain}
}

// User names the user this device belongs to.
func (c *Client) User() mimi.UserURI { return c.user }

// URI names this device.
func (c *Client) URI() mimi.ClientURI { return c.uri }

// WaitConnected waits until the device has caught up with its provider, as
// short-lived programs may want to before they act. Errors: [ErrClosed], or
// ctx's together with why the latest attempt to connect failed, if one did.
func (c *Client) WaitConnected(ctx context.Context) error {
	for {
		c.mu.Lock()
		online, fatal, offline, changed := c.online, c.fatal, c.offline, c.changed
		c.mu.Unlock()
		if online || fatal != nil {
			return fatal
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return errors.Join(ctx.Err(), offline)
		}
	}
}

// Close stops the background work and releases the device. What was accepted
// by Send is kept and goes out after the next Open. Further calls are harmless.
func (c *Client) Close() error {
	c.cancel()
	c.wg.Wait()
	c.settleNow() // or the writes are sent again, which does no harm
	c.events.close()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fatal == ErrClosed {
		return nil
	}
	c.fatal = ErrClosed
	c.wakeAll()
	c.t.close()
	err := c.db.Close()
	c.lock.Close()
	if err != nil {
		return fmt.Errorf("closing device: %w", err)
	}
	return nil
}

// abandon releases a device that could not be opened.
func (c *Client) abandon() {
	if c.db != nil {
		c.db.Close()
	}
	c.lock.Close()
}

// wakeAll tells everybody who waits for a change to look again. mu is held.
func (c *Client) wakeAll() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// signal rings a bell that may ring already.
func signal(bell chan struct{}) {
	select {
	case bell <- struct{}{}:
	default:
	}
}
