package provider

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
	"google.golang.org/protobuf/proto"

	"hubbub/client"
	"hubbub/client/clientpb"
	"hubbub/internal/room"
	"hubbub/internal/store"
	"hubbub/mimi"
	"hubbub/mls"
)

// BenchmarkWay measures what an entry costs on its way from the hub to a client of
// a follower, with everything durable: three providers in one process, and a
// receiver that reads and acknowledges but does not decrypt. What carries a post to
// the hub is left out; the bodies are of the room's group and hold noise.
func BenchmarkWay(b *testing.B) {
	w := newWorld(b, "a.localhost", "b.localhost", "c.localhost")
	w.log = slog.New(slog.NewTextHandler(io.Discard, nil))
	for d := range w.cfgs {
		w.start(d)
	}
	alice, bob, cathy := w.device("alice@a.localhost", "phone"), w.device("bob@b.localhost", "phone"), w.device("cathy@c.localhost", "phone")
	const rooms = 50
	y := &way{b: b, hub: w.running["a.localhost"].Provider, sender: bob.User()}
	for range rooms {
		uri, _, err := alice.CreateRoom(b.Context(), client.RoomOptions{Members: []mimi.UserURI{bob.User(), cathy.User()}})
		if err != nil {
			b.Fatal(err)
		}
		for _, c := range []*client.Client{bob, cathy} {
			until(b, "membership", func(ctx context.Context) error {
				if info, err := c.Room(ctx, uri); err != nil || !info.Member {
					return fmt.Errorf("%+v, %w", info, err)
				}
				return nil
			})
		}
		y.rooms = append(y.rooms, y.hub.groupOf(b, uri))
	}
	equalReplicas(b, y.rooms[rooms-1].uri, alice, bob, cathy)
	for _, c := range []*client.Client{alice, bob, cathy} {
		c.Close()
	}
	y.listen(w, w.devices[2], "c.localhost")
	b.Run("one", func(b *testing.B) { y.one(b) })
	b.Run("room", func(b *testing.B) { y.many(b, 1, 64) })
	b.Run("rooms", func(b *testing.B) { y.many(b, rooms, 4) })
}

// way is the hub's end of the way and the client's.
type way struct {
	b       *testing.B
	hub     *Provider
	sender  mimi.UserURI
	rooms   []group
	arrived chan int // entries, per message of the stream
}

type group struct {
	uri   mimi.RoomURI
	id    []byte
	epoch uint64
}

// groupOf reads what messages to a room must say.
func (p *Provider) groupOf(b *testing.B, uri mimi.RoomURI) group {
	var s room.State
	err := p.store.View(b.Context(), func(tx store.ReadTx) error {
		rec, err := tx.Room(uri)
		if err == nil {
			s, err = room.Decode(&room.Env{Verifier: &mimi.Verifier{}}, rec.State)
		}
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	return group{uri, s.Group().GroupID(), s.Epoch()}
}

// post makes the body of one submission.
func (y *way) post(g group) []byte {
	noise := make([]byte, 300)
	rand.Read(noise)
	m := mls.Message{Version: mls.MLS10, WireFormat: mls.WireFormatPrivateMessage, Private: &mls.PrivateMessage{GroupID: g.id, Epoch: g.epoch,
		ContentType: mls.ContentTypeApplication, EncryptedSenderData: noise[:28], Ciphertext: noise[28:]}}
	body, err := (&mimi.SubmitMessageRequest{Message: m, Sender: y.sender}).Marshal()
	if err != nil {
		y.b.Fatal(err)
	}
	return body
}

// listen opens the stream of a device whose client is closed.
func (y *way) listen(w *world, dir string, d mimi.Domain) {
	db, err := sql.Open("sqlite", filepath.Join(dir, "device.db"))
	if err != nil {
		y.b.Fatal(err)
	}
	defer db.Close()
	var data []byte
	if err := db.QueryRow("SELECT value FROM device WHERE key = 'device'").Scan(&data); err != nil {
		y.b.Fatal(err)
	}
	var device struct{ Token string }
	if err := json.Unmarshal(data, &device); err != nil {
		y.b.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(w.ca.CertPEM())
	conf := &tls.Config{RootCAs: roots, ServerName: string(d), NextProtos: []string{"http/1.1"}}
	conn, _, err := websocket.Dial(y.b.Context(), "https://"+w.cfgs[d].API.Listen+clientpb.SyncPath, &websocket.DialOptions{
		HTTPClient:   &http.Client{Transport: &http.Transport{TLSClientConfig: conf}},
		HTTPHeader:   http.Header{"Authorization": {"Bearer " + device.Token}},
		Subprotocols: []string{clientpb.SyncBatch},
	})
	if err != nil {
		y.b.Fatal(err)
	}
	y.b.Cleanup(func() { conn.CloseNow() })
	conn.SetReadLimit(16 << 20)
	y.arrived = make(chan int, 1<<20)
	live := make(chan struct{})
	go y.read(conn, live)
	<-live
}

// read counts entries and acknowledges them, as a client does once they are durable.
func (y *way) read(conn *websocket.Conn, live chan struct{}) {
	ctx := context.Background()
	for {
		_, data, err := conn.Read(ctx)
		if err != nil {
			close(y.arrived)
			return
		}
		n := 0
		acks := map[string]uint64{}
		clientpb.EachFrame(data, func(frame []byte) error {
			var f clientpb.ServerFrame
			if err := proto.Unmarshal(frame, &f); err != nil {
				return err
			}
			if e := f.GetEntry(); e != nil {
				n++
				acks[e.Room] = e.Entry.Seq
			}
			if f.GetLive() != nil {
				close(live)
			}
			return nil
		})
		var out []byte
		for room, seq := range acks {
			out, _ = clientpb.AppendFrame(out, &clientpb.ClientFrame{Frame: &clientpb.ClientFrame_Ack{Ack: &clientpb.Ack{Room: room, Seq: seq}}})
		}
		if out != nil {
			conn.Write(ctx, websocket.MessageBinary, out)
			y.arrived <- n
		}
	}
}

// wait takes n arrivals.
func (y *way) wait(b *testing.B, n int) {
	for n > 0 {
		select {
		case got, ok := <-y.arrived:
			if !ok {
				b.Fatal("the stream broke")
			}
			n -= got
		case <-time.After(patience):
			b.Fatalf("%d entries did not arrive", n)
		}
	}
}

// one posts one at a time and reports the median of the time to the client.
func (y *way) one(b *testing.B) {
	var took []time.Duration
	before := cpu()
	for b.Loop() {
		body := y.post(y.rooms[0])
		began := time.Now()
		if _, err := y.hub.hub.Submit(b.Context(), "b.localhost", y.rooms[0].uri, body); err != nil {
			b.Fatal(err)
		}
		y.wait(b, 1)
		took = append(took, time.Since(began))
	}
	b.ReportMetric(float64(cpu()-before)/1e3/float64(b.N), "cpu-µs/op")
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}

// many posts batches to rooms in turn, a few at a time.
func (y *way) many(b *testing.B, rooms, size int) {
	batch := func(i int) (items []mimi.BatchItem) {
		g := y.rooms[i%rooms]
		for range size {
			items = append(items, mimi.BatchItem{Room: g.uri, Kind: mimi.BatchMessage, Body: y.post(g)})
		}
		return items
	}
	batches := make([][]mimi.BatchItem, (b.N+size-1)/size)
	for i := range batches {
		batches[i] = batch(i)
	}
	b.ResetTimer()
	before := cpu()
	under := make(chan struct{}, 32)
	go func() {
		for _, items := range batches {
			under <- struct{}{}
			go func() {
				for _, a := range y.hub.hub.Batch("b.localhost", items) {
					if a.Status != http.StatusOK {
						b.Errorf("refused: %d %s", a.Status, a.Body)
					}
				}
				<-under
			}()
		}
	}()
	y.wait(b, len(batches)*size)
	b.ReportMetric(float64(cpu()-before)/1e3/float64(len(batches)*size), "cpu-µs/post")
	b.ReportMetric(float64(len(batches)*size)/b.Elapsed().Seconds(), "posts/s")
}

// cpu is the processor time of this process.
func cpu() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
