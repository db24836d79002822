package client

import (
	"context"
	"errors"

	"connectrpc.com/connect"

	"hubbub/client/clientpb"
	"hubbub/mimi"
)

// Outcomes of [Client.FindUsers] that are errors.
var (
	// ErrSearchAmbiguous: more has to be known, such as a longer part of a name.
	ErrSearchAmbiguous = errors.New("client: search for something more exact")
	// ErrSearchForbidden: the provider does not allow such searches.
	ErrSearchForbidden = errors.New("client: the provider does not allow this search")
	// ErrSearchField: the provider does not know the claim or property.
	ErrSearchField = errors.New("client: the provider does not know this field")
)

// Searchability says how a field of a profile may be found.
type Searchability uint8

// The settings of a field. What is partly searchable is also shown to whoever
// finds the user.
const (
	SearchOff     Searchability = iota // not at all; the default
	SearchExact                        // by its whole value
	SearchPartial                      // also by a part of at least three characters
)

// A ProfileField is a line of a user's profile: a claim of OpenID Connect, a
// property of vCard, or, with neither Name nor Value, the setting of the handle.
type ProfileField struct {
	Source      mimi.SearchType // SearchHandle, SearchOIDCClaim or SearchVCardField
	Name, Value string          // such as "nickname" or "ORG"; at most 512 octets of value
	Search      Searchability
}

// A FoundUser is a user that met all conditions, with what its provider tells.
type FoundUser struct {
	User   mimi.UserURI
	Fields []ProfileField
}

// FindUsers asks a provider, or if it is empty the own one, for users that meet
// all conditions, 1 to 16 of them. Users are found only by what they have made
// searchable; none is found in the same way as none exists. At most 20 are given.
//
// Errors: [ErrSearchAmbiguous], [ErrSearchForbidden], [ErrSearchField], an
// *[Error], ctx's.
func (c *Client) FindUsers(ctx context.Context, provider mimi.Domain, conditions ...mimi.QueryElement) ([]FoundUser, error) {
	req := &clientpb.FindRequest{Provider: string(provider)}
	for _, e := range conditions {
		req.Conditions = append(req.Conditions, &clientpb.FindCondition{Type: clientpb.SearchType(e.Type), Field: e.Field, Value: e.Value})
	}
	res, err := c.discovery().Find(ctx, connect.NewRequest(req))
	if err != nil {
		return nil, err
	}
	switch res.Msg.Outcome {
	case clientpb.FindOutcome_FIND_OUTCOME_AMBIGUOUS:
		return nil, ErrSearchAmbiguous
	case clientpb.FindOutcome_FIND_OUTCOME_FORBIDDEN:
		return nil, ErrSearchForbidden
	case clientpb.FindOutcome_FIND_OUTCOME_UNSUPPORTED_FIELD:
		return nil, ErrSearchField
	}
	out := make([]FoundUser, 0, len(res.Msg.Users))
	for _, u := range res.Msg.Users {
		out = append(out, FoundUser{mimi.UserURI(u.User), profileFields(u.Fields)})
	}
	return out, nil
}

// Profile gives this user's own profile. Errors: an *[Error], ctx's.
func (c *Client) Profile(ctx context.Context) ([]ProfileField, error) {
	res, err := c.discovery().GetProfile(ctx, connect.NewRequest(&clientpb.GetProfileRequest{}))
	if err != nil {
		return nil, err
	}
	return profileFields(res.Msg.Fields), nil
}

// SetProfile replaces this user's profile, at most 64 fields, each name once per
// source. Errors: an *[Error] that names the field at fault, ctx's.
func (c *Client) SetProfile(ctx context.Context, fields []ProfileField) error {
	req := &clientpb.SetProfileRequest{}
	for _, f := range fields {
		req.Fields = append(req.Fields, &clientpb.ProfileField{Source: clientpb.SearchType(f.Source), Name: f.Name, Value: f.Value,
			Searchable: clientpb.Searchable(f.Search)})
	}
	_, err := c.discovery().SetProfile(ctx, connect.NewRequest(req))
	return err
}

func profileFields(list []*clientpb.ProfileField) []ProfileField {
	var out []ProfileField
	for _, f := range list {
		out = append(out, ProfileField{Source: mimi.SearchType(f.Source), Name: f.Name, Value: f.Value, Search: Searchability(f.Searchable)})
	}
	return out
}

func (c *Client) discovery() clientpb.DiscoveryServiceClient {
	return clientpb.NewDiscoveryServiceClient(c.t.calls, c.t.base.String(), connect.WithInterceptors(connect.UnaryInterceptorFunc(c.t.authorise)))
}
