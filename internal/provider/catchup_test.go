package provider

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"hubbub/client/clientpb"
	"hubbub/mimi"
)

// A follower started on an old copy of its database fetches what it lacks over
// the network, without a new entry; its operator can ask for it, too.
func TestOldDatabaseOfAFollower(t *testing.T) {
	w, room, alice, bob := twoProviders(t)
	cfg := w.cfgs["b.localhost"]
	w.stop("b.localhost")
	old := keep(t, cfg.DataDir)
	w.start("b.localhost")
	for i := range 5 {
		posted(t, alice, room, send(t, alice, room, fmt.Sprint(i)))
	}
	at := equalReplicas(t, room, alice, bob)
	w.stop("b.localhost")
	old()
	w.start("b.localhost")
	if got := equalReplicas(t, room, alice, bob); got != at {
		t.Errorf("both are at %v, want %v", got, at)
	}
	posted(t, bob, room, send(t, bob, room, "on"))
	at = equalReplicas(t, room, alice, bob)
	if status, body := w.resync("b.localhost", room); status != http.StatusOK || !strings.Contains(body, fmt.Sprintf(`"seq":%d`, at.Seq)) {
		t.Errorf("resync at the follower: %d %s", status, body)
	}
	if status, body := w.resync("a.localhost", room); status != http.StatusConflict {
		t.Errorf("resync at the hub: %d %s", status, body)
	}
	if status, body := w.resync("b.localhost", "mimi://a.localhost/r/none"); status != http.StatusBadGateway {
		t.Errorf("resync of a room nobody knows: %d %s", status, body)
	}
}

// resync asks at a provider's operator socket.
func (w *world) resync(d mimi.Domain, room mimi.RoomURI) (int, string) {
	w.t.Helper()
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", w.cfgs[d].AdminSocket)
	}}
	defer tr.CloseIdleConnections()
	res, err := (&http.Client{Transport: tr}).Post("http://admin"+clientpb.ResyncPath+"?room="+url.QueryEscape(string(room)), "", nil)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return res.StatusCode, string(body)
}
