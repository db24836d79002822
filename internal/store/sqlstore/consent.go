package sqlstore

import (
	"hubbub/internal/store"
	"hubbub/mimi"
)

const selectConsent = "SELECT requester, target, room, state, serial, at, out, error FROM consents "

func scanConsent(row row) (c store.Consent, err error) {
	err = row.Scan(&c.Requester, &c.Target, &c.Room, &c.State, &c.Serial, &c.At, &c.Out, &c.Error)
	return c, err
}

func (t *readTx) Consents(requester, target mimi.UserURI) ([]store.Consent, error) {
	return list(t.s, scanConsent, selectConsent+"WHERE requester = $1 AND target = $2 ORDER BY serial, room, decision",
		string(requester), string(target))
}

func (t *readTx) ConsentsOf(user mimi.UserURI) ([]store.Consent, error) {
	return list(t.s, scanConsent, selectConsent+"WHERE requester = $1 OR target = $1 ORDER BY at, requester, target, room, decision",
		string(user))
}

func (t *readTx) ConsentsUnsent() ([]store.Consent, error) {
	return list(t.s, scanConsent, selectConsent+"WHERE out IS NOT NULL ORDER BY at, requester, target, room, decision")
}

func (t *tx) PutConsent(c store.Consent) error {
	_, err := t.write(`INSERT INTO consents (requester, target, room, decision, state, serial, at, out, error)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
		ON CONFLICT (requester, target, room, decision) DO UPDATE SET state = excluded.state, serial = excluded.serial,
			at = excluded.at, out = excluded.out, error = excluded.error`,
		string(c.Requester), string(c.Target), string(c.Room), number(c.State.Decision()), int64(c.State),
		ordinal(c.Serial), ordinal(c.At), orNull(c.Out), c.Error)
	return err
}

func (t *tx) DeleteConsent(scope store.ConsentScope, decision bool) error {
	_, err := t.write("DELETE FROM consents WHERE requester = $1 AND target = $2 AND room = $3 AND decision = $4",
		string(scope.Requester), string(scope.Target), string(scope.Room), number(decision))
	return err
}

// number is a truth value as a column holds it.
func number(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

func (t *readTx) GrantedPackages(requester, target mimi.UserURI) ([]store.GrantedPackage, error) {
	return list(t.s, func(row row) (p store.GrantedPackage, err error) {
		var until int64
		err = row.Scan(&p.Ref, &p.Requester, &p.Target, &p.Room, &p.Client, &until, &p.Body)
		p.NotAfter = fromMillis(until)
		return p, err
	}, `SELECT ref, requester, target, room, client, not_after, body FROM granted_packages
		WHERE requester = $1 AND target = $2 AND length(body) > 0 ORDER BY client, ref`, string(requester), string(target))
}

func (t *tx) PutGrantedPackage(p store.GrantedPackage) error {
	_, err := t.write(`INSERT INTO granted_packages (ref, requester, target, room, client, not_after, body)
		VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (ref) DO NOTHING`,
		bytesOf(p.Ref), string(p.Requester), string(p.Target), string(p.Room), string(p.Client), millis(p.NotAfter), bytesOf(p.Body))
	return err
}

func (t *tx) SpendGrantedPackage(ref []byte) error {
	_, err := t.write("UPDATE granted_packages SET body = $1 WHERE ref = $2", []byte{}, bytesOf(ref))
	return err
}
