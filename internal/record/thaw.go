package record

import (
	"errors"
	"net/http"
	"time"

	"hubbub/internal/store"
	"hubbub/mimi"
)

// Thaw lets a room go on that is frozen for the reason given, and notes it in the
// audit log. It is refused for a room that is not frozen (409) or frozen for
// another reason than the operator was shown (409): a *mimi.Problem.
func Thaw(tx store.Tx, uri mimi.RoomURI, reason string, now time.Time) error {
	rec, err := tx.Room(uri)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return mimi.NewProblem(http.StatusNotFound, mimi.CodeNoSuchRoom, "no such room")
	case err != nil:
		return err
	case rec.Frozen == "":
		return mimi.NewProblem(http.StatusConflict, mimi.CodeConflict, "the room is not frozen")
	case rec.Frozen != reason:
		return mimi.NewProblem(http.StatusConflict, mimi.CodeConflict, "the room is frozen for another reason: %s", rec.Frozen)
	}
	if err := tx.Freeze(uri, ""); err != nil {
		return err
	}
	return tx.Audit(now, "operator", "thaw", string(uri)+" was "+reason)
}
