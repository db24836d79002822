package mlspeer

import (
	"errors"
	"fmt"

	"hubbub/mls"
)

func (c *client) encrypt(m *membership, r *request) (answer, error) {
	next, msg, err := m.group.Encrypt(r.Plaintext, mls.EncryptOptions{AAD: r.AAD})
	if err != nil {
		return nil, err
	}
	m.group = next
	return m.state().with("message", msg), nil
}

func (c *client) decrypt(m *membership, r *request) (answer, error) {
	got, err := m.processed(r)
	if err != nil {
		return nil, err
	}
	app, ok := got.(*mls.Application)
	if !ok {
		return nil, errors.New("message is not application data")
	}
	m.group = app.Next
	return m.state().with("plaintext", app.Data).with("aad", app.AAD).with("sender", app.Sender), nil
}

func (m *membership) processed(r *request) (mls.Processed, error) {
	if len(r.Message) == 0 {
		return nil, fmt.Errorf("%w: message", errMissing)
	}
	return m.group.Process(r.Message)
}

func (c *client) process(m *membership, r *request) (answer, error) {
	got, err := m.processed(r)
	if err != nil {
		return nil, err
	}
	switch got := got.(type) {
	case *mls.Application:
		m.group = got.Next
		return m.state().with("kind", "application").with("plaintext", got.Data).
			with("aad", got.AAD).with("sender", got.Sender), nil
	case *mls.ProposalReceived:
		m.group = got.Next
		return m.state().with("kind", "proposal").with("proposal_type", got.Proposal.Type), nil
	case *mls.CommitReceived:
		if next := got.Merge(); next != nil {
			m.group = next
		} else {
			m.removed = true
		}
		return m.state().with("kind", "commit"), nil
	case *mls.OwnMessage:
		return m.state().with("kind", got.ContentType.String()).with("own", true), nil
	}
	return nil, errors.New("message of an unknown kind")
}
