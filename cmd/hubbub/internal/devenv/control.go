package devenv

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"time"
)

// Action is what another terminal asks of a running environment.
type Action string

// The actions.
const (
	ActionStart  Action = "start"
	ActionStop   Action = "stop" // SIGTERM
	ActionKill   Action = "kill" // SIGKILL
	ActionStatus Action = "status"
)

type controlRequest struct {
	Action   Action `json:"action"`
	Provider string `json:"provider,omitempty"`
}

// State is a provider's process as the supervisor sees it.
type State struct {
	Name    string `json:"name"`
	Domain  string `json:"domain"`
	PID     int    `json:"pid"` // 0 = not running
	API     string `json:"api"`
	Running bool   `json:"running"`
}

type controlResponse struct {
	Error     string  `json:"error,omitempty"`
	Providers []State `json:"providers"`
}

// Control asks the environment running in dir to do something and returns how
// its providers stand afterwards.
func Control(ctx context.Context, dir string, action Action, provider string) ([]State, error) {
	m, err := ReadManifest(dir)
	if err != nil {
		return nil, err
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", m.Control)
	if err != nil {
		return nil, fmt.Errorf("%s: %w (its process %d is gone)", dir, ErrNone, m.PID)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if err := json.NewEncoder(conn).Encode(controlRequest{action, provider}); err != nil {
		return nil, err
	}
	var resp controlResponse
	if err := json.NewDecoder(conn).Decode(&resp); err != nil {
		return nil, fmt.Errorf("the dev environment gave no answer: %w", err)
	}
	if resp.Error != "" {
		return nil, errors.New(resp.Error)
	}
	return resp.Providers, nil
}

// answering says whether somebody listens on a control socket.
func answering(socket string) bool {
	conn, err := net.DialTimeout("unix", socket, time.Second)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

// serveControl answers other terminals until the listener is closed.
func (e *Env) serveControl(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			var req controlRequest
			if json.NewDecoder(conn).Decode(&req) != nil {
				return
			}
			resp := controlResponse{}
			if err := e.act(req); err != nil {
				resp.Error = err.Error()
			}
			resp.Providers = e.States()
			json.NewEncoder(conn).Encode(resp)
		}()
	}
}

func (e *Env) act(req controlRequest) error {
	switch req.Action {
	case ActionStatus:
		return nil
	case ActionStart:
		return e.Start(context.Background(), req.Provider)
	case ActionStop:
		return e.Stop(req.Provider)
	case ActionKill:
		return e.Kill(req.Provider)
	}
	return fmt.Errorf("unknown action %q", req.Action)
}
