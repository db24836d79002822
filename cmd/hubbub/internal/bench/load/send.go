package load

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"hubbub/client/clientpb"
)

// MaxTogether is how many submissions one call carries, as in the SDK and as the
// API allows.
const MaxTogether = 64

// Sender submits the posts of a device in order, one call at a time, and lets
// those that wait travel together.
type Sender struct {
	d      *Device
	refuse func(Post, error)

	mu      sync.Mutex
	waiting []Post
	bell    chan struct{}
}

// Sender makes one; refuse is told of each post that the provider did not take.
func (d *Device) Sender(refuse func(Post, error)) *Sender {
	return &Sender{d: d, refuse: refuse, bell: make(chan struct{}, 1)}
}

// Put hands over posts; it does not wait.
func (s *Sender) Put(posts ...Post) {
	s.mu.Lock()
	s.waiting = append(s.waiting, posts...)
	s.mu.Unlock()
	select {
	case s.bell <- struct{}{}:
	default:
	}
}

// Run submits until ctx ends or a call fails.
func (s *Sender) Run(ctx context.Context) error {
	for {
		s.mu.Lock()
		n := min(len(s.waiting), MaxTogether)
		list := s.waiting[:n:n]
		s.waiting = s.waiting[n:]
		s.mu.Unlock()
		if n > 0 {
			if err := s.submit(ctx, list); err != nil {
				return err
			}
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.bell:
		}
	}
}

func (s *Sender) submit(ctx context.Context, list []Post) error {
	results, err := s.d.Submit(ctx, list)
	if err != nil {
		return err
	}
	for i, r := range results {
		if e := r.GetError(); e != nil {
			s.refuse(list[i], errors.New(e.GetMessage()))
		}
	}
	return nil
}

// Submit hands posts to the provider with one call and gives its answers, one
// for each.
func (d *Device) Submit(ctx context.Context, list []Post) ([]*clientpb.SubmitResult, error) {
	req := &clientpb.SubmitRequest{}
	for _, p := range list {
		req.Submissions = append(req.Submissions, &clientpb.NewSubmission{Txn: p.txn, Room: string(p.room),
			Kind: clientpb.SubmissionKind_SUBMISSION_KIND_MESSAGE, Body: p.body})
	}
	res, err := d.api.Submit(ctx, request(d, req))
	if err != nil {
		return nil, fmt.Errorf("submitting: %w", err)
	}
	if len(res.Msg.Results) != len(list) {
		return nil, fmt.Errorf("%d answers to %d posts", len(res.Msg.Results), len(list))
	}
	return res.Msg.Results, nil
}
