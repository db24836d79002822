package devenv

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"hubbub/client/clientpb"
	"hubbub/mimi"
)

// Place is how far a provider's copy of a room reaches.
type Place struct {
	Room mimi.RoomURI `json:"room"`
	Seq  uint64       `json:"seq"`
	Hash string       `json:"hash"` // in hexadecimal
}

// Resync has a provider fetch what its copy of a room lacks, and waits for it.
func (a *Admin) Resync(ctx context.Context, room mimi.RoomURI) (*Place, error) {
	target := "http://admin" + clientpb.ResyncPath + "?room=" + url.QueryEscape(string(room))
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, nil)
	if err != nil {
		return nil, err
	}
	res, err := a.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("asking the provider: %w", err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	if err != nil {
		return nil, fmt.Errorf("asking the provider: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		return nil, &Refusal{Reason: "resync", Message: strings.TrimSpace(string(body)),
			Remedy: "hubbub peer show says how the way to the room's hub is"}
	}
	p := &Place{}
	if err := json.Unmarshal(body, p); err != nil {
		return nil, fmt.Errorf("reading the provider's answer: %w", err)
	}
	return p, nil
}
