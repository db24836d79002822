package main

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"
)

const password = "benchmark"

// patience bounds every wait for an answer of a server.
const patience = 30 * time.Second

// client is a user that is logged in. Its reader calls the hook for posts, in
// order; whatever else comes goes to the caller that waits for it, if any.
type client struct {
	conn  *tls.Conn
	split splitter
	came  [][]byte // elements read and not yet looked at; only until login returns

	mu      sync.Mutex
	post    func(n int, at time.Time) // nil: posts are ignored
	wanted  func([]byte) bool
	arrived chan []byte
	err     error         // why the reader has ended
	ended   chan struct{} // closed then
}

// login registers the user at host i, logs in, binds a resource and sends
// presence.
func login(ctx context.Context, i int, user string, ca *authority) (*client, error) {
	d := tls.Dialer{
		NetDialer: &net.Dialer{Timeout: patience},
		Config:    &tls.Config{ServerName: hosts[i], RootCAs: ca.pool},
	}
	conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort(hostIP(i).String(), strconv.Itoa(clientPort)))
	if err != nil {
		return nil, err
	}
	c := &client{conn: conn.(*tls.Conn), arrived: make(chan []byte, 1), ended: make(chan struct{})}
	if err := c.begin(i, user); err != nil {
		conn.Close()
		return nil, fmt.Errorf("log in as %s at %s: %w", user, hosts[i], err)
	}
	go c.read()
	return c, nil
}

func (c *client) begin(i int, user string) error {
	c.conn.SetDeadline(time.Now().Add(patience))
	open := "<?xml version='1.0'?><stream:stream to='" + hosts[i] +
		"' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>"
	if err := c.ask(open, "<stream:features"); err != nil {
		return err
	}
	// A user who exists already is as good as a new one: logging in will tell.
	register := "<iq type='set' id='reg'><query xmlns='jabber:iq:register'><username>" + user +
		"</username><password>" + password + "</password></query></iq>"
	if err := c.ask(register, "<iq"); err != nil {
		return err
	}
	plain := base64.StdEncoding.EncodeToString([]byte("\x00" + user + "\x00" + password))
	if err := c.ask("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>"+plain+"</auth>", "<success"); err != nil {
		return err
	}
	c.split = splitter{}
	if err := c.ask(open, "<stream:features"); err != nil {
		return err
	}
	bind := "<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>r</resource></bind></iq>"
	if err := c.ask(bind, "<jid"); err != nil {
		return err
	}
	c.conn.SetDeadline(time.Time{})
	return c.send("<presence/>")
}

// ask sends text and wants an element that holds a string for an answer.
func (c *client) ask(text, want string) error {
	if err := c.send(text); err != nil {
		return err
	}
	for len(c.came) == 0 {
		if err := c.readSome(func(s []byte) error {
			c.came = append(c.came, append([]byte{}, s...))
			return nil
		}); err != nil {
			return err
		}
	}
	got := c.came[0]
	if c.came = c.came[1:]; !has(got, want) {
		return fmt.Errorf("want %s, have %.300s", want, got)
	}
	return nil
}

func (c *client) send(text string) error {
	_, err := c.conn.Write([]byte(text))
	return err
}

func (c *client) readSome(give func([]byte) error) error {
	var buf [16 << 10]byte
	n, err := c.conn.Read(buf[:])
	return errors.Join(c.split.write(buf[:n], give), err)
}

// read hands out what comes until the connection ends.
func (c *client) read() {
	defer close(c.ended)
	for c.err == nil {
		c.err = c.readSome(c.got)
	}
}

func (c *client) got(stanza []byte) error {
	at := time.Now()
	c.mu.Lock()
	post, wanted := c.post, c.wanted
	if wanted != nil && wanted(stanza) {
		c.wanted = nil
		c.arrived <- append([]byte{}, stanza...)
	}
	c.mu.Unlock()
	if n, ok := number(stanza); ok && post != nil {
		post(n, at)
	}
	if has(stanza, "<message") && attribute(stanza, "type") == "error" {
		return fmt.Errorf("a message came back: %.400s", stanza)
	}
	return nil
}

// onPost sets the hook for posts.
func (c *client) onPost(f func(n int, at time.Time)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.post = f
}

// request sends text and returns the first stanza that comes then and is wanted.
func (c *client) request(ctx context.Context, text string, wanted func([]byte) bool) ([]byte, error) {
	c.mu.Lock()
	c.wanted = wanted
	c.mu.Unlock()
	if err := c.send(text); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	select {
	case s := <-c.arrived:
		return s, nil
	case <-c.ended:
		return nil, c.err
	case <-ctx.Done():
		return nil, fmt.Errorf("no answer to %.80s: %w", text, ctx.Err())
	}
}

// join enters a room, without its history.
func (c *client) join(ctx context.Context, room, nick string) error {
	got, err := c.request(ctx, "<presence to='"+room+"/"+nick+
		"'><x xmlns='http://jabber.org/protocol/muc'><history maxstanzas='0'/></x></presence>",
		func(s []byte) bool {
			return has(s, "<presence") && (has(s, "code='110'") || has(s, `code="110"`) || attribute(s, "type") == "error")
		})
	if err == nil && attribute(got, "type") == "error" {
		err = fmt.Errorf("%s", got)
	}
	if err != nil {
		return fmt.Errorf("%s joins %s: %w", nick, room, err)
	}
	return nil
}

// hush makes a room tell of comings and goings of moderators only.
func (c *client) hush(ctx context.Context, room string) error {
	const form = "<x xmlns='jabber:x:data' type='submit'>" +
		"<field var='FORM_TYPE'><value>http://jabber.org/protocol/muc#roomconfig</value></field>" +
		"<field var='muc#roomconfig_presencebroadcast'><value>moderator</value></field></x>"
	got, err := c.request(ctx, "<iq type='set' id='form' to='"+room+
		"'><query xmlns='http://jabber.org/protocol/muc#owner'>"+form+"</query></iq>",
		func(s []byte) bool { return has(s, "<iq") && attribute(s, "id") == "form" })
	if err == nil && attribute(got, "type") != "result" {
		err = fmt.Errorf("%s", got)
	}
	return err
}

func (c *client) close() { c.conn.Close() }
