package federation

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"hubbub/mimi"
)

// basePath is where all our endpoints live: below it come the name of the endpoint
// and one encoded identifier (DIR-5).
const basePath = "/v1/"

// Headers of ours on notify: the position after the last entry of the body.
// Strangers ignore them.
const (
	HeaderSeq  = "Room-Log-Seq"
	HeaderHash = "Room-Log-Hash"
	// HeaderCheckpoint carries, now and then, the hub's signed word about it: a
	// checkpoint in base64.
	HeaderCheckpoint = "Room-Checkpoint"
)

// HeaderPeer, on answers, says whom we take the asking provider for.
const HeaderPeer = "Peer-Domain"

const contentType = "application/octet-stream"

const (
	kib = 1 << 10
	mib = 1 << 20
)

// endpoint is one row of what this server serves.
type endpoint struct {
	method   string
	maxBytes int64 // of the request body
	serve    func(*Server, *call) ([]byte, error)
}

// call is an authenticated request on its way to Roles.
type call struct {
	req  *http.Request
	peer mimi.Domain
	id   string // the path identifier, decoded
	body []byte

	w        http.ResponseWriter // for an endpoint that streams
	streamed bool                // it has answered
}

// endpoints is the routing table; the directory is written from it, so that what
// is published and what is served cannot differ.
var endpoints = map[mimi.Endpoint]endpoint{
	mimi.EndpointKeyMaterial:   {http.MethodPost, 64 * kib, (*Server).keyMaterial},
	mimi.EndpointUpdate:        {http.MethodPost, 8 * mib, (*Server).update},
	mimi.EndpointSubmitMessage: {http.MethodPost, 128 * kib, (*Server).submitMessage},
	mimi.EndpointNotify:        {http.MethodPost, 8 * mib, (*Server).notify},
	mimi.EndpointGroupInfo:     {http.MethodPost, 64 * kib, (*Server).groupInfo},
	mimi.EndpointSnapshot:      {http.MethodGet, 0, (*Server).snapshot},
	mimi.EndpointCheckpoint:    {http.MethodGet, 0, (*Server).report},
	mimi.EndpointDelivery:      {http.MethodGet, 0, (*Server).delivery},
	mimi.EndpointSubmitBatch:   {http.MethodPost, 8 * mib, (*Server).submitBatch},
	mimi.EndpointCatchUp:       {http.MethodGet, 0, (*Server).catchUp},

	mimi.EndpointRequestConsent:  {http.MethodPost, 64 * kib, (*Server).requestConsent},
	mimi.EndpointUpdateConsent:   {http.MethodPost, 1 * mib, (*Server).updateConsent},
	mimi.EndpointIdentifierQuery: {http.MethodPost, 64 * kib, (*Server).identifierQuery},
	mimi.EndpointProxyDownload:   {http.MethodGet, 0, (*Server).proxyDownload},
	mimi.EndpointReportAbuse:     {http.MethodPost, 1 * mib, (*Server).reportAbuse},
}

// ownDirectory is the document we publish.
func ownDirectory(domain mimi.Domain) ([]byte, error) {
	names := slices.Sorted(maps.Keys(endpoints))
	b, err := json.Marshal(mimi.NewDirectory("https://"+string(domain)+basePath, names...))
	if err != nil {
		return nil, fmt.Errorf("writing the directory: %w", err)
	}
	return b, nil
}

// findEndpoint picks the endpoint for an escaped path, and the identifier that
// follows its name, still encoded.
func findEndpoint(path string) (ep endpoint, id string, ok bool) {
	rest, ok := strings.CutPrefix(path, basePath)
	if !ok {
		return endpoint{}, "", false
	}
	name, id, _ := strings.Cut(rest, "/")
	ep, ok = endpoints[mimi.Endpoint(name)]
	return ep, id, ok
}

func (s *Server) keyMaterial(c *call) ([]byte, error) {
	target, err := mimi.ParseUser(c.id)
	if err != nil {
		return nil, badURI()
	}
	return s.cfg.Roles.KeyMaterial(c.req.Context(), c.peer, target, c.body)
}

func (s *Server) update(c *call) ([]byte, error) {
	return c.withRoom(s.cfg.Roles.Update)
}

func (s *Server) submitMessage(c *call) ([]byte, error) {
	return c.withRoom(s.cfg.Roles.SubmitMessage)
}

// submitBatch serves a batch for rooms of ours, whose domain ends the path.
func (s *Server) submitBatch(c *call) ([]byte, error) {
	if c.id != string(s.cfg.Domain) {
		return nil, mimi.NewProblem(http.StatusNotFound, mimi.CodeNotFound, "the batch is meant for another hub")
	}
	return s.cfg.Roles.SubmitBatch(c.req.Context(), c.peer, c.body)
}

func (s *Server) groupInfo(c *call) ([]byte, error) {
	return c.withRoom(s.cfg.Roles.GroupInfo)
}

func (s *Server) notify(c *call) ([]byte, error) {
	uri, err := mimi.ParseRoom(c.id)
	if err != nil {
		return nil, badURI()
	}
	pos, err := readPos(c.req.Header)
	if err != nil {
		return nil, err
	}
	signed, err := readCheckpoint(c.req.Header)
	if err != nil {
		return nil, err
	}
	err = s.cfg.Roles.Notify(c.req.Context(), c.peer, uri, pos, c.body)
	if signed == nil {
		return nil, err
	}
	// What a hub signs is looked at also when its log is refused: it may be what
	// proves that the log was forked.
	if also := s.cfg.Roles.Checkpoint(c.req.Context(), c.peer, uri, signed); err == nil {
		err = also
	}
	return nil, err
}

func (s *Server) report(c *call) ([]byte, error) {
	uri, err := mimi.ParseRoom(c.id)
	if err != nil {
		return nil, badURI()
	}
	r, err := s.cfg.Roles.Report(c.req.Context(), c.peer, uri)
	if err != nil {
		return nil, err
	}
	return r.Marshal()
}

func (s *Server) snapshot(c *call) ([]byte, error) {
	uri, err := mimi.ParseRoom(c.id)
	if err != nil {
		return nil, badURI()
	}
	seq, err := readSeq(c.req.URL.RawQuery)
	if err != nil {
		return nil, err
	}
	return s.cfg.Roles.Snapshot(c.req.Context(), c.peer, uri, seq)
}

func (s *Server) delivery(c *call) ([]byte, error) {
	if s.cfg.Delivery == nil {
		return nil, mimi.NewProblem(http.StatusNotFound, mimi.CodeNotFound, "not offered")
	}
	return c.withRoom(func(ctx context.Context, peer mimi.Domain, uri mimi.RoomURI, _ []byte) ([]byte, error) {
		return s.cfg.Delivery(ctx, peer, uri)
	})
}

func (c *call) withRoom(serve roomCall) ([]byte, error) {
	uri, err := mimi.ParseRoom(c.id)
	if err != nil {
		return nil, badURI()
	}
	return serve(c.req.Context(), c.peer, uri, c.body)
}

func badURI() *mimi.Problem {
	return mimi.NewProblem(http.StatusBadRequest, mimi.CodeBadURI, "the path does not end in a valid identifier")
}
