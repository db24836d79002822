package client

import (
	"context"
	"fmt"
	"time"

	"connectrpc.com/connect"

	"hubbub/client/clientpb"
	"hubbub/mimi/policy"
	"hubbub/mls"
	"hubbub/mls/wire"
)

const (
	keyPackageLife  = 60 * 24 * time.Hour
	keyPackageGrace = 30 * 24 * time.Hour // secrets of expired ones are kept, for Welcomes on their way
	choresEvery     = 30 * time.Minute
)

// restock brings the KeyPackages at the provider up to the stock wanted. Their
// secrets are on disk before they are published; if an answer is lost a few
// secrets too many are kept until they expire.
func (c *Client) restock(ctx context.Context) error {
	res, err := c.t.api.KeyPackageStatus(ctx, connect.NewRequest(&clientpb.KeyPackageStatusRequest{}))
	if err != nil {
		return err
	}
	missing := c.opts.KeyPackages - int(res.Msg.GetAvailable())
	if missing <= 0 {
		return nil
	}
	bodies, err := c.makeKeyPackages(missing)
	if err != nil {
		return err
	}
	_, err = c.t.api.PublishKeyPackages(ctx, connect.NewRequest(&clientpb.PublishKeyPackagesRequest{KeyPackages: bodies}))
	return err
}

func (c *Client) makeKeyPackages(n int) ([][]byte, error) {
	now := c.opts.Now()
	bodies := make([][]byte, 0, n)
	err := c.step(func(b *batch) error {
		if _, err := b.tx.Exec("DELETE FROM key_package WHERE not_after < ?", now.Add(-keyPackageGrace).Unix()); err != nil {
			return err
		}
		for range n {
			kp, err := mls.NewKeyPackage(mls.KeyPackageOptions{Suite: suite, Signer: c.key, Credential: c.credential(),
				NotBefore: now.Add(-time.Hour), NotAfter: now.Add(keyPackageLife), Now: c.opts.Now,
				LeafExtensions: mls.Extensions{policy.LeafExtension()}})
			if err != nil {
				return fmt.Errorf("making key package: %w", err)
			}
			ref, err := kp.KeyPackage.Ref()
			if err != nil {
				return err
			}
			secret, err := kp.MarshalBinary()
			if err != nil {
				return err
			}
			body, err := wire.Marshal(kp.KeyPackage)
			if err != nil {
				return err
			}
			if _, err := b.tx.Exec("INSERT INTO key_package (ref, secret, not_after) VALUES (?, ?, ?)",
				ref, secret, now.Add(keyPackageLife).Unix()); err != nil {
				return err
			}
			bodies = append(bodies, body)
		}
		return nil
	})
	return bodies, err
}

// runChores does what is due beside sending and receiving: rooms whose making
// was interrupted, the stock of KeyPackages, commits that proposals wait for.
func (c *Client) runChores(ctx context.Context) {
	t := time.NewTicker(choresEvery)
	defer t.Stop()
	failures := 0
	var retry <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			c.stockDue.Store(true)
			c.proofDue.Store(true)
		case <-c.kickChores:
			if retry != nil {
				continue // a pause is on
			}
		case <-retry:
		}
		retry = nil
		if err := c.chores(ctx); err != nil && ctx.Err() == nil {
			failures++
			retry = time.After(jitter(failures, 100*time.Millisecond, 30*time.Second))
		} else {
			failures = 0
		}
	}
}

func (c *Client) chores(ctx context.Context) error {
	c.mu.Lock()
	online := c.online && c.fatal == nil
	var creating, due []*room
	for _, r := range c.rooms {
		switch {
		case r.phase == phaseCreating:
			creating = append(creating, r)
		case r.member() == nil && r.pending == nil && r.mayCommit():
			due = append(due, r)
		}
	}
	c.mu.Unlock()
	if !online {
		return nil
	}
	cctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if c.refreshDue.Swap(false) {
		if err := c.refresh(cctx); err != nil {
			c.refreshDue.Store(true)
			return err
		}
	}
	if c.bringDue.Swap(false) {
		if err := c.bringAll(cctx); err != nil {
			c.bringDue.Store(true)
			return err
		}
	}
	if c.stockDue.Swap(false) {
		if err := c.restock(cctx); err != nil {
			c.stockDue.Store(true)
			return err
		}
	}
	for _, r := range creating {
		if err := c.announceRoom(cctx, r.uri); err != nil {
			return err
		}
	}
	for _, r := range due {
		c.commitLater(r)
	}
	if c.proofDue.Swap(false) {
		if err := c.checkAll(cctx); err != nil {
			c.proofDue.Store(true)
			return err
		}
	}
	return nil
}
