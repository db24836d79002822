package federation

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"hubbub/internal/room"
	"hubbub/mimi"
	"hubbub/mimi/checkpoint"
)

// A checkpoint travels with a notification and reaches the role even if the
// notification is refused; a copy of a room is reported on request.
func TestCheckpointTravels(t *testing.T) {
	w := newWorld(t)
	roles := &fakeRoles{}
	_, addr := w.server("b.localhost", roles, nil)
	signed := []byte("signed\n\n— note\n")
	c := w.client("a.localhost", map[mimi.Domain]string{"b.localhost": addr}, func(cfg *ClientConfig) {
		cfg.Checkpoint = func(to mimi.Domain, uri mimi.RoomURI, pos room.Pos) []byte {
			if to != "b.localhost" || uri != testRoom {
				t.Errorf("asked for %s to %s", uri, to)
			}
			if pos.Seq == 8 {
				return nil
			}
			return signed
		}
	})
	pos := room.Pos{Seq: 7}
	for name, fail := range map[string]func() error{
		"taken": nil, "refused": func() error { return mimi.NewProblem(409, "log-mismatch", "x") },
	} {
		roles.failWith(fail)
		err := c.Notify(t.Context(), "b.localhost", testRoom, pos, []byte("N"))
		if (err == nil) != (fail == nil) {
			t.Errorf("%s: %v", name, err)
		}
		want := []string{fmt.Sprintf("notify a.localhost %s %v N", testRoom, &pos), fmt.Sprintf("checkpoint a.localhost %s %s", testRoom, signed)}
		if got := roles.take(); !slices.Equal(got, want) {
			t.Errorf("%s: role got %q, want %q", name, got, want)
		}
	}
	roles.failWith(nil)
	if err := c.Notify(t.Context(), "b.localhost", testRoom, room.Pos{Seq: 8}, []byte("N")); err != nil || len(roles.take()) != 1 {
		t.Errorf("without a checkpoint: %v", err)
	}
	r, err := c.Report(t.Context(), "b.localhost", testRoom)
	if err != nil || r.Seq != 7 || string(r.Signed) != "note" {
		t.Errorf("report: %+v, %v", r, err)
	}
}

func TestReadCheckpoint(t *testing.T) {
	long := strings.Repeat("AAAA", checkpoint.MaxBytes/3+1)
	for name, values := range map[string][]string{"not base64": {"*"}, "empty": {""}, "twice": {"QUE=", "QUE="}, "too long": {long}} {
		if signed, err := readCheckpoint(http.Header{HeaderCheckpoint: values}); err == nil {
			t.Errorf("%s: %q", name, signed)
		}
	}
	if signed, err := readCheckpoint(http.Header{}); signed != nil || err != nil {
		t.Errorf("none: %q, %v", signed, err)
	}
}
