package load

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"sync"
	"time"

	"connectrpc.com/connect"

	"hubbub/client/clientpb"
	"hubbub/mimi"
	"hubbub/mimi/policy"
	"hubbub/mls"
	"hubbub/mls/wire"
)

// Device is one client of one user. Safe for concurrent use.
type Device struct {
	place *Place
	user  mimi.UserURI
	uri   mimi.ClientURI
	key   *mls.SignatureKey
	chain [][]byte
	token string
	http  *http.Client
	api   clientpb.ClientServiceClient // this device's own connection

	mu       sync.Mutex
	packages map[string]*mls.KeyPackageSecret // by ref
	groups   map[mimi.RoomURI]*mls.Group
}

// Enrol makes a device of a user whose one-time code this is.
func (p *Place) Enrol(ctx context.Context, user mimi.UserURI, device, code string) (*Device, error) {
	key, err := mls.NewSignatureKey(suite, rand.Reader)
	if err != nil {
		return nil, err
	}
	var secret [32]byte
	rand.Read(secret[:])
	d := &Device{place: p, user: user, key: key, token: base64.RawURLEncoding.EncodeToString(secret[:]), http: p.plain(),
		packages: map[string]*mls.KeyPackageSecret{}, groups: map[mimi.RoomURI]*mls.Group{}}
	d.api = clientpb.NewClientServiceClient(d.http, p.base.String())
	if d.uri, err = mimi.NewClient(user, device); err != nil {
		return nil, err
	}
	hash := sha256.Sum256([]byte(d.token))
	proof := ed25519.Sign(ed25519.NewKeyFromSeed(key.Private), clientpb.EnrolTBS(string(user), device, code, hash[:]))
	res, err := p.setup.Enrol(ctx, connect.NewRequest(&clientpb.EnrolRequest{Code: code, User: string(user), Device: device,
		SignatureKey: key.Public, TokenHash: hash[:], Proof: proof}))
	if err != nil {
		return nil, fmt.Errorf("enrolling %s: %w", user.Handle(), err)
	}
	d.chain = res.Msg.Certificates
	return d, nil
}

// User names the user.
func (d *Device) User() mimi.UserURI { return d.user }

// Close ends the device's connection for calls.
func (d *Device) Close() { d.http.CloseIdleConnections() }

func (d *Device) credential() mls.Credential {
	return mls.Credential{Type: mls.CredentialTypeX509, Certificates: d.chain}
}

// request puts the device's token on a call.
func request[T any](d *Device, msg *T) *connect.Request[T] {
	r := connect.NewRequest(msg)
	r.Header().Set("Authorization", "Bearer "+d.token)
	return r
}

// maxPackages is how many KeyPackages one call publishes.
const maxPackages = 100

// Stock publishes n KeyPackages, at most 100.
func (d *Device) Stock(ctx context.Context, n int) error {
	now := time.Now()
	req := &clientpb.PublishKeyPackagesRequest{}
	for range min(n, maxPackages) {
		kp, err := mls.NewKeyPackage(mls.KeyPackageOptions{Suite: suite, Signer: d.key, Credential: d.credential(),
			NotBefore: now.Add(-time.Hour), NotAfter: now.Add(30 * 24 * time.Hour), LeafExtensions: mls.Extensions{policy.LeafExtension()}})
		if err != nil {
			return err
		}
		ref, err := kp.KeyPackage.Ref()
		if err != nil {
			return err
		}
		body, err := wire.Marshal(kp.KeyPackage)
		if err != nil {
			return err
		}
		d.mu.Lock()
		d.packages[string(ref)] = kp
		d.mu.Unlock()
		req.KeyPackages = append(req.KeyPackages, body)
	}
	if _, err := d.place.setup.PublishKeyPackages(ctx, request(d, req)); err != nil {
		return fmt.Errorf("publishing KeyPackages of %s: %w", d.user.Handle(), err)
	}
	return nil
}

// newID makes a name that nobody else has.
func newID() string {
	var b [16]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}
