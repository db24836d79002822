package sqlstore

import (
	"errors"
	"fmt"
	"time"

	"hubbub/internal/store"
	"hubbub/mimi"
)

func (t *readTx) KeyPackageCount(client mimi.ClientURI, now time.Time) (n int, err error) {
	err = t.s.one([]any{&n}, `SELECT count(*) FROM key_packages
		WHERE client = $1 AND claimed_at = 0 AND not_after >= $2`, string(client), millis(now))
	return n, err
}

func (t *readTx) KeyPackageClient(ref []byte) (client mimi.ClientURI, err error) {
	if err = t.s.one([]any{&client}, "SELECT client FROM key_packages WHERE ref = $1", bytesOf(ref)); err != nil {
		return "", fmt.Errorf("key package: %w", err)
	}
	return client, nil
}

func (t *tx) PutKeyPackages(kps []store.KeyPackage) error {
	seen := make(map[string]bool, len(kps))
	for _, kp := range kps {
		_, err := t.KeyPackageClient(kp.Ref)
		if err == nil || seen[string(kp.Ref)] {
			return fmt.Errorf("store key packages: reference %x: %w", kp.Ref, store.ErrExists)
		}
		if !errors.Is(err, store.ErrNotFound) {
			return err
		}
		seen[string(kp.Ref)] = true
	}
	for _, kp := range kps {
		if _, err := t.write(`INSERT INTO key_packages (ref, client, user_uri, suite, not_before, not_after, body, claimed_at, claimed_by)
			VALUES ($1, $2, $3, $4, $5, $6, $7, 0, '')`,
			bytesOf(kp.Ref), string(kp.Client), string(kp.User), int64(kp.Suite),
			millis(kp.NotBefore), millis(kp.NotAfter), bytesOf(kp.Body)); err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) ClaimKeyPackage(client mimi.ClientURI, now time.Time, by string,
	accept func(store.KeyPackage) bool) (kp *store.KeyPackage, any bool, err error) {
	var id int64
	err = t.s.each(func(row row) (bool, error) {
		any = true
		candidate, err := scanKeyPackage(row, &id)
		if err != nil || !accept(candidate) {
			return err == nil, err
		}
		kp = &candidate
		return false, nil
	}, `SELECT id, ref, client, user_uri, suite, not_before, not_after, body FROM key_packages
		WHERE client = $1 AND claimed_at = 0 AND not_before <= $2 AND not_after >= $2 ORDER BY id`,
		string(client), millis(now))
	if err == nil && kp == nil {
		err = store.ErrNotFound
	}
	if err != nil {
		return nil, any, fmt.Errorf("claim key package: %w", err)
	}
	_, err = t.write("UPDATE key_packages SET claimed_at = $1, claimed_by = $2, body = $3 WHERE id = $4",
		max(millis(now), 1), by, []byte{}, id)
	if err != nil {
		return nil, any, err
	}
	return kp, any, nil
}

func scanKeyPackage(row row, id *int64) (kp store.KeyPackage, err error) {
	var from, until int64
	err = row.Scan(id, &kp.Ref, &kp.Client, &kp.User, &kp.Suite, &from, &until, &kp.Body)
	kp.NotBefore, kp.NotAfter = fromMillis(from), fromMillis(until)
	return kp, err
}

func (t *readTx) Route(ref []byte) (provider mimi.Domain, err error) {
	if err = t.s.one([]any{&provider}, "SELECT provider FROM routes WHERE ref = $1", bytesOf(ref)); err != nil {
		return "", fmt.Errorf("route: %w", err)
	}
	return provider, nil
}

func (t *tx) PutRoute(ref []byte, provider mimi.Domain, notAfter time.Time) error {
	_, err := t.write(`INSERT INTO routes (ref, provider, not_after) VALUES ($1, $2, $3)
		ON CONFLICT (ref) DO UPDATE SET provider = excluded.provider, not_after = excluded.not_after`,
		bytesOf(ref), string(provider), millis(notAfter))
	return err
}
