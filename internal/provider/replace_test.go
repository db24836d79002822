package provider

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"connectrpc.com/connect"

	"hubbub/client"
	"hubbub/client/clientpb"
)

// A hub was restored from a backup and wrote on before its follower could tell it
// what it had lost. The follower's operator takes the hub's log: a device that has
// read what is given up is told so and joins again; one that has not goes on.
func TestReplaceAFrozenCopy(t *testing.T) {
	w, room, alice, bob := twoProviders(t)
	tablet := w.device("bob@b.localhost", "tablet")
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	if err := tablet.Join(ctx, room); err != nil {
		t.Fatal(err)
	}
	posted(t, alice, room, send(t, alice, room, "second"))
	sees(t, tablet, room, "second")
	sees(t, bob, room, "first", "second")
	w.closed(alice, tablet)
	admin := w.admin("b.localhost")
	if _, err := admin.CompareRoom(ctx, connect.NewRequest(&clientpb.CompareRoomRequest{Room: string(room)})); connect.CodeOf(err) != connect.CodeFailedPrecondition {
		t.Errorf("compare a copy that is not frozen: %v", err)
	}

	cfg := w.cfgs["a.localhost"]
	w.stop("a.localhost")
	old := keep(t, cfg.DataDir)
	w.start("a.localhost")
	posted(t, bob, room, send(t, bob, room, "lost"))
	sees(t, bob, room, "first", "second", "lost")
	w.stop("a.localhost")
	w.stop("b.localhost")
	old()
	if err := os.Remove(cfg.HeadsFile); err != nil {
		t.Fatal(err)
	}
	w.start("a.localhost")
	alice = w.open(0)
	posted(t, alice, room, send(t, alice, room, "instead"))
	w.start("b.localhost")
	until(t, "b finds out", func(ctx context.Context) error {
		if info, err := bob.Room(ctx, room); err != nil || info.Frozen == "" {
			return fmt.Errorf("%+v, %w", info, err)
		}
		return nil
	})

	seen, err := admin.CompareRoom(ctx, connect.NewRequest(&clientpb.CompareRoomRequest{Room: string(room)}))
	if err != nil {
		t.Fatal(err)
	}
	agreed, here := seen.Msg.GetAgreed().GetSeq(), seen.Msg.GetHere().GetSeq()
	if agreed == 0 || here != agreed+1 || seen.Msg.GetThere().GetSeq() != here || seen.Msg.GetFrozen() == "" {
		t.Errorf("%v", seen.Msg)
	}
	req := &clientpb.ReplaceRoomRequest{Room: string(room), Frozen: seen.Msg.GetFrozen()}
	if _, err := admin.ReplaceRoom(ctx, connect.NewRequest(req)); connect.CodeOf(err) != connect.CodeInvalidArgument {
		t.Errorf("without a reason: %v", err)
	}
	req.Reason = "the hub was restored"
	done, err := admin.ReplaceRoom(ctx, connect.NewRequest(req))
	if err != nil || done.Msg.GetUnfinished() != "" || done.Msg.GetHead().GetSeq() != here || len(done.Msg.GetClients()) != 2 {
		t.Fatalf("%v, %v", done, err)
	}

	tablet = w.open(2)
	sees(t, tablet, room, "second", "instead") // it has read nothing that is given up
	until(t, "bob's phone is told", func(ctx context.Context) error {
		info, err := bob.Room(ctx, room)
		if err != nil || !strings.Contains(info.Suspicious, client.ErrReplaced.Error()) || len(info.Former) != 1 {
			return fmt.Errorf("%+v, %w", info, err)
		}
		return nil
	})
	if _, err := bob.Send(ctx, room, "x"); !errors.Is(err, client.ErrSuspicious) {
		t.Errorf("a device that has read what is given up goes on: %v", err)
	}
	if err := bob.Join(ctx, room); err != nil {
		t.Fatal(err)
	}
	posted(t, bob, room, send(t, bob, room, "back"))
	sees(t, alice, room, "first", "second", "instead", "back")
	equalReplicas(t, room, alice, bob)
	v := verify(t, tablet, room)
	if len(v.Problems) != 0 || len(v.Former) != 1 || v.Former[0].Agreed != agreed || v.Former[0].Pos.Seq != here ||
		v.Former[0].Reason != "the hub was restored" || string(v.Former[0].Room) != done.Msg.GetFormer() {
		t.Errorf("%+v", v)
	}
	if log, err := bob.Log(ctx, v.Former[0].Room, agreed, 0); err != nil || len(log) != 1 || log[0].Seq != here {
		t.Errorf("what is given up can be read as %+v, %v", log, err)
	}
	for range 2 { // a start leaves it alone
		w.stop("b.localhost")
		w.start("b.localhost")
	}
	posted(t, bob, room, send(t, bob, room, "after a restart"))
	equalReplicas(t, room, alice, bob)
	w.stop("a.localhost")
	w.stop("b.localhost")
	w.clean("a.localhost", "b.localhost")
}

// closed closes devices; open opens the one that was made as the nth.
func (w *world) closed(list ...*client.Client) {
	w.t.Helper()
	for _, c := range list {
		if err := c.Close(); err != nil {
			w.t.Fatal(err)
		}
	}
}

func (w *world) open(n int) *client.Client {
	w.t.Helper()
	c, err := client.Open(w.t.Context(), w.devices[n], nil)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { c.Close() })
	return c
}
