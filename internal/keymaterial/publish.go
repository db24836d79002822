package keymaterial

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"hubbub/internal/store"
	"hubbub/mimi"
	"hubbub/mls"
	"hubbub/mls/wire"
)

// What a client may have in stock, and for how long.
const (
	MaxStock    = 100
	MaxLifetime = 90 * 24 * time.Hour
	ClockSkew   = time.Hour
)

// Suites we accept in a KeyPackage.
var suites = []mls.CipherSuite{mls.SuiteX25519AES128SHA256Ed25519}

// Publish stores KeyPackages of one of our clients, each a bare KeyPackage: all
// of them or, if one is unfit, none. It returns a *mimi.Problem that names the
// first unfit one by its place.
func (s *Service) Publish(ctx context.Context, client mimi.ClientURI, packages [][]byte) error {
	if len(packages) == 0 {
		return mimi.NewProblem(http.StatusBadRequest, mimi.CodeMalformed, "no key packages")
	}
	if len(packages) > MaxStock {
		return errStockFull()
	}
	owner, err := s.owner(ctx, client)
	if err != nil {
		return err
	}
	now := s.cfg.Now()
	rows := make([]store.KeyPackage, len(packages))
	refs := map[string]bool{}
	for i, b := range packages {
		row, err := s.check(owner, b, now)
		if err == nil && refs[string(row.Ref)] {
			err = errors.New("is there twice")
		}
		if err != nil {
			return mimi.NewProblem(http.StatusBadRequest, "bad-key-package", "key package %d %s", i+1, err)
		}
		refs[string(row.Ref)] = true
		rows[i] = *row
	}
	err = s.cfg.Store.Update(ctx, func(tx store.Tx) error {
		n, err := tx.KeyPackageCount(client, now)
		if err != nil {
			return err
		}
		if n+len(rows) > MaxStock {
			return errStockFull()
		}
		return tx.PutKeyPackages(rows)
	})
	if errors.Is(err, store.ErrExists) {
		return mimi.NewProblem(http.StatusConflict, mimi.CodeConflict, "a key package was published before")
	}
	return err
}

func errStockFull() error {
	return mimi.NewProblem(http.StatusConflict, "stock-full", "a client may have %d key packages in stock", MaxStock)
}

func (s *Service) owner(ctx context.Context, client mimi.ClientURI) (*store.Client, error) {
	var owner *store.Client
	err := s.cfg.Store.View(ctx, func(tx store.ReadTx) (err error) {
		owner, err = tx.Client(client)
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return nil, mimi.NewProblem(http.StatusNotFound, mimi.CodeNotFound, "no such client")
	}
	return owner, err
}

// check says whether a KeyPackage is fit to be handed out in a client's name.
func (s *Service) check(owner *store.Client, b []byte, now time.Time) (*store.KeyPackage, error) {
	var kp mls.KeyPackage
	if err := wire.Unmarshal(bytes.Clone(b), &kp); err != nil {
		return nil, errors.New("does not decode")
	}
	leaf := &kp.LeafNode
	switch {
	case kp.Version != mls.MLS10:
		return nil, errors.New("has an unknown version")
	case !slices.Contains(suites, kp.CipherSuite):
		return nil, errors.New("has a cipher suite that is not offered here")
	case leaf.Source != mls.LeafNodeSourceKeyPackage:
		return nil, errors.New("has a leaf that is not for a key package")
	case bytes.Equal(kp.InitKey, leaf.EncryptionKey):
		return nil, errors.New("uses one key twice")
	case kp.VerifySignature() != nil || leaf.VerifySignature(kp.CipherSuite, nil, 0) != nil:
		return nil, errors.New("has a bad signature")
	}
	id, err := s.cfg.Verifier.Identify(&leaf.Credential, leaf.SignatureKey, now)
	if err != nil {
		return nil, errors.New("has a credential that cannot be verified")
	}
	if id.Client != owner.URI || id.User != owner.User {
		return nil, errors.New("belongs to another client")
	}
	row := &store.KeyPackage{
		Client: owner.URI, User: owner.User, Suite: uint16(kp.CipherSuite), Body: bytes.Clone(b),
		NotBefore: unix(leaf.Lifetime.NotBefore), NotAfter: unix(leaf.Lifetime.NotAfter),
	}
	switch {
	case !row.NotAfter.After(now):
		return nil, errors.New("has expired")
	case row.NotBefore.After(now.Add(ClockSkew)):
		return nil, errors.New("is not valid yet")
	case row.NotAfter.Sub(row.NotBefore) > MaxLifetime+ClockSkew:
		return nil, fmt.Errorf("is valid for more than %d days", int(MaxLifetime.Hours()/24))
	}
	row.Ref, err = kp.Ref()
	return row, err
}

// unix reads a time of MLS, in seconds, without running off the end of Go's.
func unix(seconds uint64) time.Time {
	return time.Unix(int64(min(seconds, 1<<40)), 0)
}
