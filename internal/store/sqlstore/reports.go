package sqlstore

import (
	"errors"

	"hubbub/internal/store"
)

const selectReport = "SELECT id, hash, room, peer, at, body, verdicts, resolved, resolution FROM reports "

func scanReport(row row) (r store.Report, err error) {
	var sum hash
	var verdicts []byte
	if err := row.Scan(&r.ID, &sum, &r.Room, &r.Peer, &r.At, &r.Body, &verdicts, &r.Resolved, &r.Resolution); err != nil {
		return r, err
	}
	r.Hash = sum
	parts, err := splitBlobs(verdicts)
	for _, p := range parts {
		r.Verdicts = append(r.Verdicts, string(p))
	}
	return r, err
}

func (t *readTx) Report(id uint64) (*store.Report, error) {
	found, err := list(t.s, scanReport, selectReport+"WHERE id = $1", ordinal(id))
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, store.ErrNotFound
	}
	return &found[0], nil
}

func (t *readTx) ReportID(sum [32]byte) (id uint64, err error) {
	err = t.s.one([]any{&id}, "SELECT id FROM reports WHERE hash = $1", sum[:])
	return id, err
}

func (t *readTx) Reports(after uint64, all bool, limit int) ([]store.Report, error) {
	open := "AND resolved = 0 "
	if all {
		open = ""
	}
	return list(t.s, scanReport, selectReport+"WHERE id > $1 "+open+"ORDER BY id LIMIT $2", ordinal(after), int64(limit))
}

func (t *tx) AddReport(r store.Report) (id uint64, err error) {
	switch _, err := t.ReportID(r.Hash); {
	case err == nil:
		return 0, store.ErrExists
	case !errors.Is(err, store.ErrNotFound):
		return 0, err
	}
	verdicts := make([][]byte, len(r.Verdicts))
	for i, v := range r.Verdicts {
		verdicts[i] = []byte(v)
	}
	err = t.writeOne([]any{&id}, `INSERT INTO reports (hash, room, peer, at, body, verdicts, resolved, resolution)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING id`, r.Hash[:], string(r.Room), string(r.Peer), ordinal(r.At),
		bytesOf(r.Body), joinBlobs(verdicts), ordinal(r.Resolved), r.Resolution)
	return id, err
}

func (t *tx) ResolveReport(id, at uint64, resolution string) error {
	n, err := t.write("UPDATE reports SET resolved = $1, resolution = $2 WHERE id = $3", ordinal(at), resolution, ordinal(id))
	if err == nil && n == 0 {
		return store.ErrNotFound
	}
	return err
}
