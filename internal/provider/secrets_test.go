package provider

import (
	"bytes"
	"context"
	"crypto/tls"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"connectrpc.com/connect"

	"hubbub/client"
	"hubbub/client/clientpb"
	"hubbub/mimi"
	"hubbub/mls"
)

// everything collects what providers log, at the lowest level.
type everything struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (e *everything) Write(b []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.buf.Write(b)
}

func (e *everything) text() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.buf.String()
}

// secrets are texts that must be nowhere, with what each of them is.
type secrets map[string]string

// text adds a secret that is text, and what it may be turned into.
func (s secrets) text(what, secret string) {
	s[secret] = what
	s.octets(what, []byte(secret))
}

// octets adds a secret in the forms in which octets are written.
func (s secrets) octets(what string, secret []byte) {
	s[hex.EncodeToString(secret)] = what + " in hexadecimal"
	s[strings.ToUpper(hex.EncodeToString(secret))] = what + " in hexadecimal"
	for _, e := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		s[e.EncodeToString(secret)] = what + " in base64"
	}
	list := strings.Trim(fmt.Sprint(secret), "[]")
	s[list] = what + " as a list of numbers"
	s[strings.ReplaceAll(list, " ", ",")] = what + " as a list of numbers"
}

// in finds the secrets in a text.
func (s secrets) in(text string) (found []string) {
	for secret, what := range s {
		if len(secret) >= 8 && strings.Contains(text, secret) {
			found = append(found, what)
		}
	}
	return found
}

// device adds the secrets that a device's directory holds.
func (s secrets) device(t *testing.T, dir string) {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(dir, "device.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var b []byte
	if err := db.QueryRow("SELECT value FROM device WHERE key = 'device'").Scan(&b); err != nil {
		t.Fatal(err)
	}
	var d struct {
		Token string `json:"token"`
		Key   []byte `json:"key"`
	}
	if err := json.Unmarshal(b, &d); err != nil || d.Token == "" {
		t.Fatalf("no token in the device: %v", err)
	}
	s.text("the token of "+dir, d.Token)
	key := new(mls.SignatureKey)
	if err := key.UnmarshalBinary(d.Key); err != nil {
		t.Fatal(err)
	}
	s.octets("the signature key of "+dir, key.Private)
}

// Bodies, tokens, keys and codes are in no log, whatever happens, and in no answer
// to somebody who must not have them (P26).
func TestNoSecretsInLogs(t *testing.T) {
	var log everything
	w := newWorld(t, "a.localhost", "b.localhost")
	w.log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s := secrets{}
	for d := range w.cfgs {
		w.start(d)
		s.octets("the hub key of "+string(d), w.hubKey(d).Seed())
		s.octets("the hub key of "+string(d), w.hubKey(d))
	}
	s.keyFiles(t, w)
	w.codes = func(code string) { s.text("a join code", code) }
	alice, bob, cathy := w.device("alice@a.localhost", "phone"), w.device("bob@b.localhost", "phone"), w.device("cathy@b.localhost", "phone")
	for _, dir := range w.devices {
		s.device(t, dir)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	const attached = "canary-attachment-41aa41aa41aa"
	const name, first, second, code, token = "canary-room-name-7fe1", "canary-plaintext-5b0c", "canary-plaintext-9d2e",
		"canar-ycana-rycan-aryca-naryc", "canary-token-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	for _, c := range []string{first, second} {
		s.text("plaintext", c)
	}
	s.text("the name of a room", name)
	s.text("a wrong code", code)
	s.text("a wrong token", token)

	room, _, err := alice.CreateRoom(ctx, client.RoomOptions{Name: name, Members: []mimi.UserURI{bob.User()}})
	if err != nil {
		t.Fatal(err)
	}
	posted(t, alice, room, send(t, alice, room, first))
	sees(t, bob, room, first)
	var answers strings.Builder
	link, err := alice.CreateLink(ctx, room, client.LinkOptions{})
	if err != nil {
		t.Fatal(err)
	}
	wrong := mimi.NewJoinLink(room, [mimi.JoinCodeBytes]byte([]byte("canary-code-77e3")))
	for _, l := range []mimi.JoinLink{link, wrong} {
		s.text("a join link", l.Text())
		s.text("the code of a join link", string(l.Code()))
	}
	fmt.Fprintln(&answers, cathy.JoinByLink(ctx, wrong))
	if err := cathy.JoinByLink(ctx, link); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(&answers, cathy.JoinByLink(ctx, wrong))
	s.text("an attachment", attached)
	post(t, alice, room, second, "canary-file-name-3c3c.txt", []byte(attached))
	m, a := attachmentOf(t, bob, room, second)
	s.text("the name of an attachment", "canary-file-name-3c3c.txt")
	if err := bob.ReadAttachment(ctx, m, a, io.Discard); err != nil {
		t.Fatal(err)
	}
	answers.WriteString(w.operate(ctx, room))
	w.stop("a.localhost") // outages make the talkative kind of log lines
	waiting := send(t, bob, room, second)
	answers.WriteString(w.misuse(ctx, "b.localhost", code, token))
	w.start("a.localhost")
	posted(t, bob, room, waiting)
	verify(t, bob, room)
	answers.WriteString(w.misuse(ctx, "a.localhost", code, token))
	for d := range w.cfgs {
		w.stop(d)
		r, err := Fsck(ctx, w.cfgs[d])
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&answers, "%+v", r)
	}
	if n := len(log.text()); n < 1000 || !strings.Contains(log.text(), "level=DEBUG") {
		t.Errorf("only %d octets were logged, or nothing at debug level: this test tests nothing", n)
	}
	for _, found := range s.in(log.text()) {
		t.Errorf("the log holds %s", found)
	}
	for _, found := range s.in(answers.String()) {
		t.Errorf("an answer holds %s", found)
	}
	s.without("the name of a room").atRest(t, w)
	// A search that finds nothing because it cannot would be worth nothing.
	planted := s.in("x " + first + " y " + base64.StdEncoding.EncodeToString([]byte(second)) + " " + fmt.Sprint(w.hubKey("a.localhost").Seed()))
	if len(planted) < 3 {
		t.Errorf("planted secrets were not found: %v", planted)
	}
}

// misuse sends a provider wrong codes and tokens, and rubbish, and gives all it
// answers.
func (w *world) misuse(ctx context.Context, d mimi.Domain, code, token string) string {
	w.t.Helper()
	var out strings.Builder
	user, err := mimi.NewUser(d, "alice")
	if err != nil {
		w.t.Fatal(err)
	}
	err = client.Enrol(ctx, client.EnrolOptions{
		Dir: filepath.Join(w.t.TempDir(), "thief"), Server: "https://" + w.cfgs[d].API.Listen, ServerName: string(d),
		CA: w.ca.CertPEM(), User: user, Device: "thief", Code: code,
	})
	fmt.Fprintln(&out, err)
	hc := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: w.ca.Pool(), ServerName: string(d)}}}
	defer hc.CloseIdleConnections()
	api := clientpb.NewClientServiceClient(hc, "https://"+w.cfgs[d].API.Listen)
	req := connect.NewRequest(&clientpb.ListRoomsRequest{})
	req.Header().Set("Authorization", "Bearer "+token)
	_, err = api.ListRooms(ctx, req)
	fmt.Fprintf(&out, "%+v\n", err)
	for _, path := range []string{"/" + token, "/v1/sync?token=" + token, "/hubbub.client.v1.ClientService/Enrol"} {
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+w.cfgs[d].API.Listen+path, strings.NewReader(`{"code":"`+code+`"`))
		if err != nil {
			w.t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		r.Header.Set("Content-Type", "application/json")
		res, err := hc.Do(r)
		if err != nil {
			w.t.Fatal(err)
		}
		b, _ := io.ReadAll(res.Body)
		res.Body.Close()
		fmt.Fprintf(&out, "%d %s\n", res.StatusCode, b)
	}
	for _, addr := range []string{w.cfgs[d].API.Listen, w.cfgs[d].Federation.Listen} { // no TLS at all
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			w.t.Fatal(err)
		}
		fmt.Fprintf(conn, "GET /%s HTTP/1.1\r\nAuthorization: Bearer %s\r\n\r\n", token, token)
		b, _ := io.ReadAll(conn)
		conn.Close()
		out.Write(b)
	}
	return out.String()
}
