package federation

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"hubbub/mimi"
)

// fakePeople answers with what fakeRoles would.
type fakePeople struct{ *fakeRoles }

func (f fakePeople) RequestConsent(_ context.Context, peer mimi.Domain, body []byte) error {
	_, err := f.note("requestConsent %s %s", peer, body)
	return err
}

func (f fakePeople) UpdateConsent(_ context.Context, peer mimi.Domain, body []byte) error {
	_, err := f.note("updateConsent %s %s", peer, body)
	return err
}

func (f fakePeople) IdentifierQuery(_ context.Context, peer mimi.Domain, body []byte) ([]byte, error) {
	return f.note("identifierQuery %s %s", peer, body)
}

// Consent and queries go straight to the provider that the path names, with the
// proven sender (CON-1, IDQ-1, DIR-9); elsewhere they are refused.
func TestPeople(t *testing.T) {
	w := newWorld(t)
	roles := &fakeRoles{body: []byte("answer")}
	_, addr := w.server("a.localhost", roles, func(c *ServerConfig) { c.People = fakePeople{roles} })
	_, without := w.server("c.localhost", roles, nil)
	c := w.client("b.localhost", map[mimi.Domain]string{"a.localhost": addr, "c.localhost": without}, nil)
	calls := map[mimi.Endpoint]func(to mimi.Domain) error{
		mimi.EndpointRequestConsent: func(to mimi.Domain) error { return c.RequestConsent(t.Context(), to, []byte("x")) },
		mimi.EndpointUpdateConsent:  func(to mimi.Domain) error { return c.UpdateConsent(t.Context(), to, []byte("x")) },
		mimi.EndpointIdentifierQuery: func(to mimi.Domain) error {
			answer, err := c.IdentifierQuery(t.Context(), to, []byte("x"))
			if err == nil && string(answer) != "answer" {
				err = errors.New("another answer")
			}
			return err
		},
	}
	for e, call := range calls {
		if err := call("a.localhost"); err != nil {
			t.Errorf("%s: %v", e, err)
		}
		if got, want := roles.take(), string(e)+" b.localhost x"; len(got) != 1 || got[0] != want {
			t.Errorf("%s: role got %q, want %q", e, got, want)
		}
		var p *mimi.Problem
		if err := call("c.localhost"); !errors.As(err, &p) || p.Status != 404 {
			t.Errorf("%s where it is not offered: %v", e, err)
		}
		path := outgoing{e, http.MethodPost, "c.localhost", "", nil, []byte("x")}
		if _, _, err := c.do(t.Context(), "a.localhost", path); !errors.As(err, &p) || p.Status != 400 || p.Code != mimi.CodeIDMismatch {
			t.Errorf("%s for another provider: %v", e, err)
		}
	}
	if got := roles.take(); len(got) != 0 {
		t.Errorf("roles got %q", got)
	}
}
