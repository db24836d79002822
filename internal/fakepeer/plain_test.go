package fakepeer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"hubbub/internal/fanout"
	"hubbub/internal/hub"
	"hubbub/internal/identity"
	"hubbub/internal/room"
	"hubbub/internal/room/roomtest"
	"hubbub/internal/store"
	"hubbub/internal/store/sqlstore"
	"hubbub/mimi"
	"hubbub/mls"
)

// PlainHub is a hub of another make: its rooms go by the rules, and it offers what MIMI
// has and nothing of ours. Its directory names no extension, its notifications carry no
// places, and what it does not know it does not say. Its users are played by the test.
type PlainHub struct {
	*Peer
	World  *roomtest.World
	domain mimi.Domain
	dir    string
	env    *room.Env
	key    *mls.SignatureKey
	issuer *identity.Issuer

	mu    sync.Mutex
	lives *plainLife // nil: it is down
}

type plainLife struct {
	st   store.Store
	hub  *hub.Hub
	stop func()
}

// NewPlainHub makes one with its data in dir, behind a peer that stands where cfg says.
// It is down until Start.
func NewPlainHub(t roomtest.TB, cfg Config, dir string) (*PlainHub, error) {
	pair, err := cfg.CA.IssueIdentityCA(cfg.Domain)
	if err != nil {
		return nil, err
	}
	h := &PlainHub{World: &roomtest.World{T: t, Now: time.Now}, domain: cfg.Domain, dir: dir,
		env: &room.Env{Verifier: &mimi.Verifier{Roots: cfg.CA.Pool()}}}
	if h.issuer, err = identity.NewIssuer(cfg.Domain, pair); err != nil {
		return nil, err
	}
	h.key = h.World.NewKey()
	h.env.Signer = h.key
	if h.Peer, err = New(cfg); err != nil {
		return nil, err
	}
	h.serves(mimi.EndpointUpdate, func(l *plainLife, ctx context.Context, from mimi.Domain, uri mimi.RoomURI, body []byte) ([]byte, error) {
		return l.hub.Update(ctx, from, uri, body)
	})
	h.serves(mimi.EndpointSubmitMessage, func(l *plainLife, ctx context.Context, from mimi.Domain, uri mimi.RoomURI, body []byte) ([]byte, error) {
		return l.hub.Submit(ctx, from, uri, body)
	})
	h.serves(mimi.EndpointGroupInfo, func(l *plainLife, ctx context.Context, from mimi.Domain, uri mimi.RoomURI, body []byte) ([]byte, error) {
		return l.hub.GroupInfo(ctx, from, uri, body)
	})
	return h, nil
}

// Start has the hub answer and announce.
func (h *PlainHub) Start() error {
	st, err := sqlstore.Open(h.dir)
	if err != nil {
		return err
	}
	f := fanout.New(fanout.Config{Store: st, Sender: h})
	life := &plainLife{st: st, hub: hub.New(hub.Config{Domain: h.domain, Store: st, Env: h.env, SignatureKey: h.key, Shipper: f, Wake: f.Wake})}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.Run(ctx)
	}()
	life.stop = func() {
		cancel()
		<-done
		st.Close()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lives = life
	return nil
}

// Stop ends what Start began; what is durable stays.
func (h *PlainHub) Stop() {
	h.mu.Lock()
	life := h.lives
	h.lives = nil
	h.mu.Unlock()
	if life != nil {
		life.stop()
	}
}

func (h *PlainHub) life() (*plainLife, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.lives == nil {
		return nil, mimi.NewProblem(http.StatusServiceUnavailable, "down", "the hub is down")
	}
	return h.lives, nil
}

// serves answers requests to an endpoint by the room's rules.
func (h *PlainHub) serves(e mimi.Endpoint, answer func(*plainLife, context.Context, mimi.Domain, mimi.RoomURI, []byte) ([]byte, error)) {
	h.On(e, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		escaped := r.URL.EscapedPath()
		id, err := url.PathUnescape(escaped[strings.LastIndexByte(escaped, '/')+1:])
		_, from, _ := strings.Cut(r.Header.Get("From"), "@")
		var out []byte
		if err == nil {
			var life *plainLife
			if life, err = h.life(); err == nil {
				out, err = answer(life, r.Context(), mimi.Domain(from), mimi.RoomURI(id), body)
			}
		}
		var p *mimi.Problem
		if errors.As(err, &p) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(p.Status)
			json.NewEncoder(w).Encode(map[string]string{"code": p.Code, "detail": p.Detail})
			return
		}
		if err != nil {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		w.Write(out)
	})
}

// Notify implements fanout.Sender: without a place, one message in each request.
func (h *PlainHub) Notify(ctx context.Context, to mimi.Domain, uri mimi.RoomURI, _ room.Pos, body []byte) error {
	list, err := mimi.ParseFanout(body)
	if err != nil {
		return err
	}
	for i := range list {
		reply, err := h.Peer.Notify(ctx, to, uri, nil, list[i].Raw)
		if err != nil {
			return err
		}
		if reply.Status/100 != 2 {
			return mimi.NewProblem(reply.Status, reply.Code, "%s", reply.Body)
		}
	}
	return nil
}

// Member is a user of the hub with one client.
type Member struct {
	*roomtest.Client
	hub  *PlainHub
	Room mimi.RoomURI
	read uint64
}

// Member makes a user of the hub, and the room that the user is in.
func (h *PlainHub) Member(handle string, uri mimi.RoomURI) (*Member, error) {
	m := &Member{Client: h.World.Client(handle, "phone"), hub: h, Room: uri}
	chain, err := h.issuer.IssueClient(m.User, m.URI, m.Key().Public, time.Now().Add(24*time.Hour))
	if err != nil {
		return nil, err
	}
	m.Vouched = &mls.Credential{Type: mls.CredentialTypeX509, Certificates: chain}
	life, err := h.life()
	if err != nil {
		return nil, err
	}
	in := m.Create(uri, h.key)
	return m, life.hub.Create(context.Background(), m.URI, hub.CreateRequest{Room: uri, GroupInfo: in.GroupInfo, Tree: in.Tree})
}

// Claim fetches the KeyPackages of a user of another provider.
func (m *Member) Claim(ctx context.Context, target mimi.UserURI) (list []*mls.KeyPackage, err error) {
	req := &mimi.KeyMaterialRequest{Protocol: mimi.ProtocolMLS10, RequestingUser: m.User, TargetUser: target, Room: m.Room,
		CipherSuites: []mls.CipherSuite{roomtest.Suite}, Credential: m.Credential()}
	if err := req.Sign(m.Key()); err != nil {
		return nil, err
	}
	body, err := req.Marshal()
	if err != nil {
		return nil, err
	}
	reply, err := m.hub.Send(ctx, Outgoing{To: target.Domain(), Endpoint: mimi.EndpointKeyMaterial, ID: string(target), Body: body})
	if err != nil {
		return nil, err
	}
	got, err := mimi.ParseKeyMaterialResponse(reply.Body)
	if err != nil || got.Status != mimi.KeyMaterialSuccess {
		return nil, fmt.Errorf("fakepeer: key material: %d, %w", reply.Status, errors.Join(err, errors.New("refused")))
	}
	for _, c := range got.Clients {
		list = append(list, c.KeyPackage)
	}
	return list, nil
}

// Update has the hub decide on a handshake of the member, and the member follow.
func (m *Member) Update(ctx context.Context, body []byte) error {
	life, err := m.hub.life()
	if err != nil {
		return err
	}
	answer, err := life.hub.Update(ctx, m.hub.domain, m.Room, body)
	if err != nil {
		return err
	}
	got, err := mimi.ParseUpdateRoomResponse(answer)
	if err == nil && got.Code != mimi.UpdateSuccess {
		err = fmt.Errorf("fakepeer: update: %d %s", got.Code, got.Description)
	}
	return errors.Join(err, m.CatchUp(ctx))
}

// Say posts a message of the member.
func (m *Member) Say(ctx context.Context, body []byte) error {
	life, err := m.hub.life()
	if err != nil {
		return err
	}
	answer, err := life.hub.Submit(ctx, m.hub.domain, m.Room, body)
	if err != nil {
		return err
	}
	got, err := mimi.ParseSubmitMessageResponse(answer)
	if err == nil && got.Code != mimi.SubmitAccepted {
		err = fmt.Errorf("fakepeer: submit: %d", got.Code)
	}
	return errors.Join(err, m.CatchUp(ctx))
}

// CatchUp has the member follow what is in the hub's log.
func (m *Member) CatchUp(ctx context.Context) error {
	life, err := m.hub.life()
	if err != nil {
		return err
	}
	var list []store.Entry
	err = life.st.View(ctx, func(tx store.ReadTx) (err error) {
		list, err = tx.Entries(m.Room, m.read, 10_000, 1<<30)
		return err
	})
	for _, e := range list {
		m.Follow(e.Body)
		m.read = e.Seq
	}
	return err
}
