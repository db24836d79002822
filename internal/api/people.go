package api

import (
	"context"
	"net/http"

	"connectrpc.com/connect"

	"hubbub/client/clientpb"
	"hubbub/internal/store"
	"hubbub/mimi"
)

// People is what users have to do with each other outside of rooms. Errors are
// *mimi.Problem for refusals, anything else is our own failure.
type People interface {
	Request(ctx context.Context, user, target mimi.UserURI, room mimi.RoomURI) error
	Cancel(ctx context.Context, user, target mimi.UserURI, room mimi.RoomURI) error
	Decide(ctx context.Context, user, requester mimi.UserURI, room mimi.RoomURI, grant bool) error
	List(ctx context.Context, user mimi.UserURI) ([]store.Consent, error)

	Find(ctx context.Context, user mimi.UserURI, at mimi.Domain, q *mimi.IdentifierRequest) (*mimi.IdentifierResponse, error)
	Profile(ctx context.Context, user mimi.UserURI) ([]store.ProfileField, error)
	SetProfile(ctx context.Context, user mimi.UserURI, fields []store.ProfileField) error
}

// peopleService serves ConsentService and DiscoveryService.
type peopleService struct{ *Server }

// handlePeople adds both to the API, if there is somebody who answers.
func (s *Server) handlePeople(mux *http.ServeMux, options ...connect.HandlerOption) {
	if s.People == nil {
		return
	}
	mux.Handle(clientpb.NewConsentServiceHandler(peopleService{s}, options...))
	mux.Handle(clientpb.NewDiscoveryServiceHandler(peopleService{s}, options...))
}

// scopeOf reads a user and a room, which may be empty.
func scopeOf(user, room string) (u mimi.UserURI, r mimi.RoomURI, err error) {
	if u, err = mimi.ParseUser(user); err != nil {
		return "", "", malformed("the person is not a user URI")
	}
	if room != "" {
		if r, err = mimi.ParseRoom(room); err != nil {
			return "", "", malformed("room is not a room URI")
		}
	}
	return u, r, nil
}

func (s peopleService) RequestConsent(ctx context.Context, req *connect.Request[clientpb.RequestConsentRequest]) (*connect.Response[clientpb.RequestConsentResponse], error) {
	target, room, err := scopeOf(req.Msg.Target, req.Msg.Room)
	if err == nil {
		err = s.People.Request(ctx, caller(ctx).User, target, room)
	}
	return answer(ctx, s, &clientpb.RequestConsentResponse{}, err)
}

func (s peopleService) CancelConsent(ctx context.Context, req *connect.Request[clientpb.CancelConsentRequest]) (*connect.Response[clientpb.CancelConsentResponse], error) {
	target, room, err := scopeOf(req.Msg.Target, req.Msg.Room)
	if err == nil {
		err = s.People.Cancel(ctx, caller(ctx).User, target, room)
	}
	return answer(ctx, s, &clientpb.CancelConsentResponse{}, err)
}

func (s peopleService) DecideConsent(ctx context.Context, req *connect.Request[clientpb.DecideConsentRequest]) (*connect.Response[clientpb.DecideConsentResponse], error) {
	requester, room, err := scopeOf(req.Msg.Requester, req.Msg.Room)
	if err == nil {
		err = s.People.Decide(ctx, caller(ctx).User, requester, room, req.Msg.Grant)
	}
	return answer(ctx, s, &clientpb.DecideConsentResponse{}, err)
}

func (s peopleService) ListConsents(ctx context.Context, _ *connect.Request[clientpb.ListConsentsRequest]) (*connect.Response[clientpb.ListConsentsResponse], error) {
	list, err := s.People.List(ctx, caller(ctx).User)
	out := &clientpb.ListConsentsResponse{}
	for _, c := range list {
		out.Consents = append(out.Consents, &clientpb.Consent{Requester: string(c.Requester), Target: string(c.Target), Room: string(c.Room),
			State: consentStates[c.State], At: c.At, Undelivered: c.Out != nil, Error: c.Error})
	}
	return answer(ctx, s, out, err)
}

var consentStates = map[store.ConsentState]clientpb.ConsentState{
	store.ConsentAsked:    clientpb.ConsentState_CONSENT_STATE_ASKED,
	store.ConsentAnswered: clientpb.ConsentState_CONSENT_STATE_ANSWERED,
	store.ConsentGranted:  clientpb.ConsentState_CONSENT_STATE_GRANTED,
	store.ConsentRevoked:  clientpb.ConsentState_CONSENT_STATE_REVOKED,
}

func (s peopleService) Find(ctx context.Context, req *connect.Request[clientpb.FindRequest]) (*connect.Response[clientpb.FindResponse], error) {
	at := s.Domain
	if req.Msg.Provider != "" {
		var err error
		if at, err = mimi.ParseDomain(req.Msg.Provider); err != nil {
			return nil, malformed("provider is not a domain")
		}
	}
	q := &mimi.IdentifierRequest{}
	for _, c := range req.Msg.Conditions {
		q.Elements = append(q.Elements, mimi.QueryElement{Type: mimi.SearchType(c.Type), Field: c.Field, Value: c.Value})
	}
	found, err := s.People.Find(ctx, caller(ctx).User, at, q)
	if err != nil {
		return nil, s.fromRole(ctx, err, at)
	}
	// The outcomes of the wire begin with 0, ours with 1.
	out := &clientpb.FindResponse{Outcome: clientpb.FindOutcome(found.Code) + clientpb.FindOutcome_FIND_OUTCOME_FOUND}
	for _, u := range found.Users {
		row := &clientpb.FoundUser{User: string(u)}
		for _, p := range found.Profiles {
			if p.User != u {
				continue
			}
			for _, f := range p.Fields {
				row.Fields = append(row.Fields, &clientpb.ProfileField{Source: clientpb.SearchType(f.Source), Name: f.Name, Value: f.Value})
			}
		}
		out.Users = append(out.Users, row)
	}
	return connect.NewResponse(out), nil
}

func (s peopleService) GetProfile(ctx context.Context, _ *connect.Request[clientpb.GetProfileRequest]) (*connect.Response[clientpb.GetProfileResponse], error) {
	fields, err := s.People.Profile(ctx, caller(ctx).User)
	out := &clientpb.GetProfileResponse{}
	for _, f := range fields {
		out.Fields = append(out.Fields, &clientpb.ProfileField{Source: clientpb.SearchType(f.Source), Name: f.Name, Value: f.Value,
			Searchable: clientpb.Searchable(f.Search)})
	}
	return answer(ctx, s, out, err)
}

func (s peopleService) SetProfile(ctx context.Context, req *connect.Request[clientpb.SetProfileRequest]) (*connect.Response[clientpb.SetProfileResponse], error) {
	var fields []store.ProfileField
	for _, f := range req.Msg.Fields {
		if f.Source < 0 || f.Source > 255 || f.Searchable < 0 || f.Searchable > 255 {
			return nil, malformed("a field of an unknown kind")
		}
		fields = append(fields, store.ProfileField{Source: mimi.SearchType(f.Source), Name: f.Name, Value: f.Value,
			Search: store.Searchable(f.Searchable)})
	}
	err := s.People.SetProfile(ctx, caller(ctx).User, fields)
	return answer(ctx, s, &clientpb.SetProfileResponse{}, err)
}

// answer is the end of a call: what went well, or the error as a client sees it.
func answer[T any](ctx context.Context, s peopleService, msg *T, err error) (*connect.Response[T], error) {
	if err != nil {
		return nil, s.fromRole(ctx, err, "")
	}
	return connect.NewResponse(msg), nil
}
