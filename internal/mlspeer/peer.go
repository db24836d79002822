package mlspeer

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"
)

// maxLineBytes bounds a request.
const maxLineBytes = 256 << 20

// answer is what a command returns.
type answer map[string]any

// Peer holds clients and answers requests. It is not safe for concurrent use.
type Peer struct {
	name, version string
	clients       map[string]*client
}

// New returns a peer without clients, which calls itself by name and version.
func New(name, version string) *Peer {
	return &Peer{name: name, version: version, clients: map[string]*client{}}
}

// Run answers the requests of in, a line each, on out, in order. It returns
// after the command quit or at the end of in; an error is one of reading or
// writing. Bad requests are answered, never fatal.
func (p *Peer) Run(in io.Reader, out io.Writer) error {
	r := bufio.NewReaderSize(in, 1<<16)
	w := bufio.NewWriter(out)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	for {
		line, tooLong, err := readLine(r)
		if err != nil && err != io.EOF {
			return err
		}
		if line = bytes.TrimSpace(line); len(line) > 0 || tooLong {
			a, quit := p.answer(line, tooLong)
			if err := errors.Join(enc.Encode(a), w.Flush()); err != nil {
				return err
			}
			if quit {
				return nil
			}
		}
		if err == io.EOF {
			return nil
		}
	}
}

// readLine reads a line; what exceeds the bound is skipped.
func readLine(r *bufio.Reader) (line []byte, tooLong bool, err error) {
	for {
		part, err := r.ReadSlice('\n')
		if tooLong = tooLong || len(line)+len(part) > maxLineBytes; !tooLong {
			line = append(line, part...)
		}
		if err != bufio.ErrBufferFull {
			return line, tooLong, err
		}
	}
}

// answer runs one request.
func (p *Peer) answer(line []byte, tooLong bool) (a answer, quit bool) {
	var r request
	err := json.Unmarshal(line, &r)
	if tooLong {
		err = errors.New("line too long")
	}
	id := r.ID
	if len(id) == 0 || !json.Valid(id) {
		id = json.RawMessage("null")
	}
	start := time.Now()
	if err != nil {
		err = fmt.Errorf("bad request: %w", err)
	} else {
		a, err = p.run(&r)
	}
	if a == nil || err != nil {
		a = answer{}
	}
	a["ms"] = float64(time.Since(start).Microseconds()) / 1000
	a["id"], a["ok"] = id, err == nil
	if err != nil {
		a["error"] = err.Error()
	}
	return a, r.Cmd == "quit" && err == nil
}

// run carries a command out. A panic would be a fault of the library: it is
// answered, so that a script learns of it.
func (p *Peer) run(r *request) (a answer, err error) {
	command := commands()[r.Cmd]
	if command == nil {
		return nil, fmt.Errorf("%w %q", errUnknownCommand, r.Cmd)
	}
	defer func() {
		if x := recover(); x != nil {
			err = fmt.Errorf("panic: %v", x)
		}
	}()
	return command(p, r)
}

type command func(*Peer, *request) (answer, error)

// commands lists what the peer understands.
func commands() map[string]command {
	return map[string]command{
		"info":          (*Peer).info,
		"create_client": (*Peer).createClient,
		"free":          (*Peer).free,
		"quit":          func(*Peer, *request) (answer, error) { return nil, nil },

		"key_package":   withClient((*client).keyPackage),
		"create_group":  withClient((*client).createGroup),
		"join_welcome":  withClient((*client).joinWelcome),
		"external_join": withClient((*client).externalJoin),
		"store_psk":     withClient((*client).storePSK),

		"add":               withGroup((*client).add),
		"remove":            withGroup((*client).remove),
		"update":            withGroup((*client).update),
		"propose":           withGroup((*client).propose),
		"commit":            withGroup((*client).commit),
		"process":           withGroup((*client).process),
		"encrypt":           withGroup((*client).encrypt),
		"decrypt":           withGroup((*client).decrypt),
		"export_group_info": withGroup((*client).exportGroupInfo),
		"exporter":          withGroup((*client).exporter),
		"state":             withAnyGroup((*client).state),
	}
}

func commandNames() []string { return slices.Sorted(maps.Keys(commands())) }

func withClient(fn func(*client, *request) (answer, error)) command {
	return func(p *Peer, r *request) (answer, error) {
		c := p.clients[r.Client]
		if c == nil {
			return nil, fmt.Errorf("%w %q", errUnknownClient, r.Client)
		}
		return fn(c, r)
	}
}

// withAnyGroup is for commands that also serve those removed.
func withAnyGroup(fn func(*client, *membership, *request) (answer, error)) command {
	return withClient(func(c *client, r *request) (answer, error) {
		m := c.groups[string(r.Group)]
		if m == nil {
			return nil, errUnknownGroup
		}
		return fn(c, m, r)
	})
}

func withGroup(fn func(*client, *membership, *request) (answer, error)) command {
	return withAnyGroup(func(c *client, m *membership, r *request) (answer, error) {
		if m.removed {
			return nil, errInactive
		}
		return fn(c, m, r)
	})
}
