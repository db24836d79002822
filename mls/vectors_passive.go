package mls

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"hubbub/mls/wire"
)

// passiveVector is a client that only listens: it joins and follows commits.
type passiveVector struct {
	Suite          CipherSuite `json:"cipher_suite"`
	KeyPackage     octets      `json:"key_package"`
	SignaturePriv  octets      `json:"signature_priv"`
	EncryptionPriv octets      `json:"encryption_priv"`
	InitPriv       octets      `json:"init_priv"`
	Welcome        octets
	RatchetTree    octets `json:"ratchet_tree"`
	Authenticator  octets `json:"initial_epoch_authenticator"`
	PSKs           []struct {
		ID  octets `json:"psk_id"`
		PSK octets
	} `json:"external_psks"`
	Epochs []passiveEpoch
}

type passiveEpoch struct {
	Proposals     []octets
	Commit        octets
	Authenticator octets `json:"epoch_authenticator"`
}

// passiveReload is after how many epochs a client is stored and reloaded, once
// it has been in each of the first ones.
const passiveReload = 8

// run follows the scenario. Vectors do not tell when they were made, and
// lifetimes are checked, so the case passes if it does at any of several times.
func (v *passiveVector) run() error {
	kp, err := parseAs(v.KeyPackage, WireFormatKeyPackage)
	if err != nil {
		return fmt.Errorf("key_package: %w", err)
	}
	times := []int64{time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC).Unix(), time.Now().Unix()}
	if l := kp.KeyPackage.LeafNode.Lifetime; l.NotBefore < 1<<40 {
		times = append(times, int64(l.NotBefore)+3600)
	}
	var errs []error
	for _, at := range times {
		err := v.follow(kp.KeyPackage, at)
		if err == nil {
			return nil
		}
		if !slices.ContainsFunc(errs, func(e error) bool { return e.Error() == err.Error() }) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// follow runs the scenario at a time, in seconds since the Unix epoch.
func (v *passiveVector) follow(kp *KeyPackage, at int64) error {
	cfg := &Config{
		MaxLifetime:   -1,
		MaxPastEpochs: len(v.Epochs) + 1, // for resumption keys of any age
		Now:           func() time.Time { return time.Unix(at, 0) },
	}
	g, err := v.join(kp, cfg)
	if err != nil {
		return fmt.Errorf("join: %w", err)
	}
	for i := range v.Epochs {
		if i < passiveReload || i%passiveReload == 0 {
			if g, err = storedGroup(g); err != nil {
				return fmt.Errorf("epoch %d: %w", i, err)
			}
		}
		if g, err = v.Epochs[i].follow(g); err != nil {
			return fmt.Errorf("epoch %d: %w", i, err)
		}
	}
	return nil
}

// join enters the group as the vector's client.
func (v *passiveVector) join(kp *KeyPackage, cfg *Config) (*Group, error) {
	var c comparison
	c.equal("init_priv", kp.InitKey)(v.Suite.hpkePublic(v.InitPriv))
	c.equal("encryption_priv", kp.LeafNode.EncryptionKey)(v.Suite.hpkePublic(v.EncryptionPriv))
	signer := vectorSigner(v.Suite, v.SignaturePriv, kp.LeafNode.SignatureKey)
	c.equal("signature_priv", kp.LeafNode.SignatureKey)(v.Suite.SignaturePublicKey(signer))
	if c.err != nil {
		return nil, c.err
	}
	secret := &KeyPackageSecret{KeyPackage: kp, InitPrivate: v.InitPriv, EncryptionPrivate: v.EncryptionPriv,
		Signer: &SignatureKey{Suite: v.Suite, Private: signer, Public: kp.LeafNode.SignatureKey}}
	var o JoinOptions
	if len(v.RatchetTree) > 0 {
		if err := wire.Unmarshal(v.RatchetTree, &o.Tree); err != nil {
			return nil, fmt.Errorf("ratchet_tree: %w", err)
		}
	}
	for _, p := range v.PSKs {
		o.PSKs = append(o.PSKs, PSK{ID: PreSharedKeyID{Type: PSKTypeExternal, ID: p.ID}, Secret: p.PSK})
	}
	w, err := parseAs(v.Welcome, WireFormatWelcome)
	if err != nil {
		return nil, err
	}
	g, err := JoinWelcome(w.Welcome, secret, o, cfg)
	if err != nil {
		return nil, err
	}
	c.equal("initial epoch authenticator", v.Authenticator)(g.EpochAuthenticator(), nil)
	return g.WithPSKs(o.PSKs...), c.err
}

// follow processes the messages of an epoch and returns the group in the next.
func (e *passiveEpoch) follow(g *Group) (*Group, error) {
	for i, p := range e.Proposals {
		got, err := g.Process(p)
		if err != nil {
			return nil, fmt.Errorf("proposal %d: %w", i, err)
		}
		received, ok := got.(*ProposalReceived)
		if !ok {
			return nil, fmt.Errorf("proposal %d is none", i)
		}
		g = received.Next
	}
	got, err := g.Process(e.Commit)
	if err != nil {
		return nil, fmt.Errorf("commit: %w", err)
	}
	commit, ok := got.(*CommitReceived)
	if !ok {
		return nil, errors.New("the commit is none")
	}
	next := commit.Merge()
	if next == nil {
		return nil, errors.New("the commit removes the client")
	}
	var c comparison
	c.equal("epoch authenticator", e.Authenticator)(next.EpochAuthenticator(), nil)
	return next, c.err
}

// storedGroup stores and reloads a group.
func storedGroup(g *Group) (*Group, error) {
	b, err := g.MarshalBinary()
	if err != nil {
		return nil, err
	}
	return UnmarshalGroup(b, g.config())
}
