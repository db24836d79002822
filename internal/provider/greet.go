package provider

import (
	"context"
	"sync"

	"hubbub/internal/store"
	"hubbub/mimi"
)

// maxGreetings is how many peers are greeted at once.
const maxGreetings = 16

// greet tells the providers we share rooms with that we are back, once. While we
// were away their queues fell into a backoff of minutes; now they drain at once.
// One that does not answer is away itself and will greet us.
func (p *Provider) greet(ctx context.Context) error {
	peers, err := p.peers(ctx)
	if err != nil {
		return err
	}
	var greetings sync.WaitGroup
	slots := make(chan struct{}, maxGreetings)
	for peer := range peers {
		if p.held(peer) {
			continue
		}
		greetings.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			if err := p.remote.Greet(ctx, peer); err != nil && ctx.Err() == nil {
				p.log.Info("a peer does not answer", "peer", peer, "err", err)
			}
		})
	}
	greetings.Wait()
	<-ctx.Done()
	return nil
}

// peers are the hubs of the rooms we follow and the followers of those we host.
func (p *Provider) peers(ctx context.Context) (map[mimi.Domain]bool, error) {
	out := map[mimi.Domain]bool{}
	err := p.store.View(ctx, func(tx store.ReadTx) error {
		list, err := tx.Rooms()
		if err != nil {
			return err
		}
		for _, r := range list {
			out[r.Hub] = true
		}
		queues, err := tx.Fanouts()
		for _, q := range queues {
			out[q.Peer] = true
		}
		return err
	})
	delete(out, p.cfg.domain())
	if ctx.Err() != nil {
		return nil, nil
	}
	return out, err
}
