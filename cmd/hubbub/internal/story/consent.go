package story

import (
	"context"
	"fmt"
	"slices"

	"hubbub/client"
	"hubbub/mimi"
)

// consent has everybody agree with everybody: the providers let nobody of another
// one be added who has not. Alice asks and is answered; the others say so unasked.
func (s *stage) consent(ctx context.Context) error {
	others := s.open[1:]
	for _, d := range others {
		if err := s.alice.RequestConsent(ctx, d.User(), ""); err != nil {
			return err
		}
	}
	for _, d := range others {
		if err := s.told(ctx, d, s.alice.User(), d.User(), client.ConsentAsked); err != nil {
			return err
		}
		s.note("%s is asked by %s and agrees", d.name, s.alice.User().Handle())
	}
	for _, target := range s.open {
		for _, requester := range s.open {
			if target == requester {
				continue
			}
			if err := target.GrantConsent(ctx, requester.User(), ""); err != nil {
				return err
			}
		}
	}
	agreed := 0
	for _, target := range s.open {
		for _, requester := range s.open {
			if target == requester {
				continue
			}
			if err := s.told(ctx, requester, requester.User(), target.User(), client.ConsentGranted); err != nil {
				return err
			}
			agreed++
		}
	}
	n := len(s.open)
	s.expect("people who know that they may add another", fmt.Sprint(n*(n-1)), fmt.Sprint(agreed))
	return nil
}

// told waits until a device hears of a request or a decision.
func (s *stage) told(ctx context.Context, d *device, requester, target mimi.UserURI, state client.ConsentState) error {
	return d.until(ctx, fmt.Sprintf("%s of %s by %s", state, requester.Handle(), target.Handle()), func() (bool, error) {
		list, err := d.Consents(ctx)
		return slices.ContainsFunc(list, func(c client.Consent) bool {
			return c.Requester == requester && c.Target == target && c.State == state
		}), err
	})
}
