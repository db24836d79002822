package fsck

import (
	"context"
	"fmt"

	"hubbub/internal/room"
	"hubbub/internal/store"
)

// TailEntries is how many entries of each log are checked before a provider
// serves: those that a crash may have touched.
const TailEntries = 64

// Tail checks that the last entries of every log lead to its head. It is cheap
// enough for every start.
func Tail(ctx context.Context, st store.Store) ([]Finding, error) {
	var out []Finding
	err := st.View(ctx, func(tx store.ReadTx) error {
		rooms, err := tx.Rooms()
		if err != nil {
			return err
		}
		for i := range rooms {
			if rooms[i].Former != "" {
				continue // evidence, which nobody is served from
			}
			wrong, seq, err := tail(tx, &rooms[i])
			if err != nil {
				return err
			}
			if wrong != "" {
				out = append(out, Finding{Room: rooms[i].URI, Seq: seq, What: "entry", Wrong: wrong})
			}
		}
		return ctx.Err()
	})
	return out, err
}

func tail(tx store.ReadTx, r *store.RoomRecord) (wrong string, seq uint64, err error) {
	from := r.Start.Seq
	if n := r.Head.Seq - min(r.Head.Seq, TailEntries); n > from {
		from = n
	}
	pos := r.Start
	if from > r.Start.Seq {
		base, err := tx.Entries(r.URI, from-1, 1, 0)
		if err != nil {
			return "", 0, err
		}
		if len(base) == 0 || base[0].Seq != from {
			return "is missing", from, nil
		}
		pos = room.Pos{Seq: from, Hash: base[0].Hash}
	}
	for {
		list, err := tx.Entries(r.URI, pos.Seq, TailEntries, pageBytes)
		if err != nil {
			return "", 0, err
		}
		if len(list) == 0 {
			break
		}
		for _, e := range list {
			next := pos.Next(e.Body)
			if e.Seq != next.Seq {
				return fmt.Sprintf("is missing; the next is %d", e.Seq), next.Seq, nil
			}
			if e.Hash != next.Hash {
				return "does not continue the hash chain", e.Seq, nil
			}
			pos = next
		}
	}
	if pos != r.Head {
		return fmt.Sprintf("the log ends at %s, the room's head is %s", pos, r.Head), r.Head.Seq, nil
	}
	return "", 0, nil
}
