package fsck

import (
	"context"
	"errors"
	"fmt"

	"hubbub/internal/record"
	"hubbub/internal/room"
	"hubbub/internal/store"
	"hubbub/mimi"
)

// Chain reads a whole log while it is in use and checks its hash chain, a page at
// a time with a pause after each, so that it disturbs nobody. It gives the first
// wrong entry, nil if there is none. A log that is replaced meanwhile is let be.
func Chain(ctx context.Context, st store.Store, uri mimi.RoomURI, pause func(context.Context) error) (*Finding, error) {
	var start, pos *room.Pos
	var aside int // copies that were set aside before
	for {
		var page []store.Entry
		replaced := false
		err := st.View(ctx, func(tx store.ReadTx) error {
			r, err := tx.Room(uri)
			if err != nil {
				return err
			}
			formers, err := record.Formers(tx, uri)
			if err != nil {
				return err
			}
			if start == nil {
				first := r.Start
				start, pos, aside = &r.Start, &first, len(formers)
			}
			if replaced = r.Start != *start || len(formers) != aside; replaced {
				return nil
			}
			page, err = tx.Entries(uri, pos.Seq, pageEntries, pageBytes)
			return err
		})
		if errors.Is(err, store.ErrNotFound) {
			return nil, nil
		}
		if err != nil || replaced || len(page) == 0 {
			return nil, err
		}
		for i := range page {
			next := pos.Next(page[i].Body)
			switch {
			case page[i].Seq != next.Seq:
				return &Finding{Room: uri, Seq: next.Seq, What: "entry", Wrong: fmt.Sprintf("is missing; the next is %d", page[i].Seq)}, nil
			case page[i].Hash != next.Hash:
				return &Finding{Room: uri, Seq: next.Seq, What: "entry", Wrong: "does not continue the hash chain"}, nil
			}
			*pos = next
		}
		if err := pause(ctx); err != nil {
			return nil, err
		}
	}
}
