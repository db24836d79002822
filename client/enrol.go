package client

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"connectrpc.com/connect"

	"hubbub/client/clientpb"
	"hubbub/mimi"
	"hubbub/mls"
)

// suite is the cipher suite this SDK uses: 0x0001, which all of MIMI speaks.
const suite = mls.SuiteX25519AES128SHA256Ed25519

// EnrolOptions says which device to make, and where.
type EnrolOptions struct {
	Dir        string // made if missing; must hold no device yet
	Server     string // base URL of the provider's client API, https://host:port
	ServerName string // name in the server's certificate; empty = host of Server
	CA         []byte // PEM of the roots to trust for Server; empty = the system's
	User       mimi.UserURI
	Device     string // name of the device within the user, such as "laptop"
	Code       string // one-time code from the operator
}

// Enrol makes a device: it creates its keys in Dir, spends the code at the
// user's provider and keeps the credential it gets. The keys are safe on disk
// before the code is spent; if the answer is lost, calling Enrol again with the
// same options finishes the work.
//
// Errors: [ErrBadArgument], [ErrEnrolled], [ErrLocked], or an *[Error] with
// reason code_refused, exists (the device name is taken) or wrong_identity.
func Enrol(ctx context.Context, o EnrolOptions) error {
	if _, err := mimi.NewClient(o.User, o.Device); err != nil {
		return fmt.Errorf("%w: %w", ErrBadArgument, err)
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return fmt.Errorf("making device directory: %w", err)
	}
	lock, err := lockDir(filepath.Join(o.Dir, "lock"))
	if err != nil {
		return err
	}
	defer lock.Close()
	db, err := openDB(o.Dir)
	if err != nil {
		return err
	}
	defer db.Close()
	d, err := beginEnrol(db, o)
	if err != nil {
		return err
	}
	return finishEnrol(ctx, db, d, o)
}

// beginEnrol makes the device's keys durable, or finds those of an earlier try.
func beginEnrol(db *sql.DB, o EnrolOptions) (*device, error) {
	if done, err := getKey(db, keyDevice); err != nil || done != nil {
		if err == nil {
			err = ErrEnrolled
		}
		return nil, err
	}
	client, err := mimi.NewClient(o.User, o.Device)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadArgument, err)
	}
	d := &device{}
	if b, err := getKey(db, keyEnrolling); err != nil {
		return nil, err
	} else if b != nil && json.Unmarshal(b, d) == nil && d.Client == string(client) {
		d.Server, d.ServerName, d.CA = o.Server, o.ServerName, o.CA
		return d, nil
	}
	key, err := mls.NewSignatureKey(suite, rand.Reader)
	if err != nil {
		return nil, err
	}
	token := make([]byte, 32)
	rand.Read(token)
	*d = device{Server: o.Server, ServerName: o.ServerName, CA: o.CA, User: string(o.User), Client: string(client),
		Token: base64.RawURLEncoding.EncodeToString(token)}
	if d.Key, err = key.MarshalBinary(); err != nil {
		return nil, err
	}
	return d, d.store(db, keyEnrolling)
}

func (d *device) store(q querier, key string) error {
	b, err := json.Marshal(d)
	if err != nil {
		return err
	}
	return putKey(q, key, b)
}

func finishEnrol(ctx context.Context, db *sql.DB, d *device, o EnrolOptions) error {
	t, err := newTransport(d.Server, d.ServerName, d.CA, "")
	if err != nil {
		return err
	}
	defer t.close()
	var key mls.SignatureKey
	if err := key.UnmarshalBinary(d.Key); err != nil {
		return err
	}
	if err := d.askProvider(ctx, t); err != nil {
		return err
	}
	hash := sha256.Sum256([]byte(d.Token))
	proof := ed25519.Sign(ed25519.NewKeyFromSeed(key.Private), clientpb.EnrolTBS(d.User, o.Device, o.Code, hash[:]))
	res, err := t.api.Enrol(ctx, connect.NewRequest(&clientpb.EnrolRequest{
		Code: o.Code, User: d.User, Device: o.Device, SignatureKey: key.Public, TokenHash: hash[:], Proof: proof}))
	if err != nil {
		return err
	}
	d.Chain = res.Msg.Certificates
	tx, err := db.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if err := d.store(tx, keyDevice); err != nil {
		return err
	}
	if _, err := tx.Exec("DELETE FROM device WHERE key = ?", keyEnrolling); err != nil {
		return err
	}
	return tx.Commit()
}

// askProvider takes over what the provider says about itself.
func (d *device) askProvider(ctx context.Context, t *transport) error {
	p, err := t.api.GetProvider(ctx, connect.NewRequest(&clientpb.GetProviderRequest{}))
	if err != nil {
		return err
	}
	if want := mimi.UserURI(d.User).Domain(); p.Msg.Domain != string(want) {
		return fmt.Errorf("%w: the server is %q, the user belongs to %s", ErrBadArgument, p.Msg.Domain, want)
	}
	d.Domain, d.Roots, d.HubSender = p.Msg.Domain, p.Msg.CredentialRoots, p.Msg.HubExternalSender
	return nil
}
