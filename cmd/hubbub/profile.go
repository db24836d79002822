package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"hubbub/client"
	"hubbub/cmd/hubbub/internal/term"
	"hubbub/mimi"
)

func (c *cli) profileCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "profile", Short: "what you say of yourself, and how you may be found"}
	cmd.AddCommand(c.profileShowCmd(), c.profileSetCmd())
	return cmd
}

var searchabilities = []string{"off", "exact", "partial"} // by client.Searchability

func (c *cli) profileShowCmd() *cobra.Command {
	w := &whoami{}
	cmd := &cobra.Command{Use: "show", Short: "show your own profile", Args: cobra.NoArgs}
	w.flags(cmd, false)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return c.withDevice(cmd, w, func(ctx context.Context, cl *session) error {
			fields, err := cl.Profile(ctx)
			if err != nil {
				return err
			}
			return c.showFields(fields)
		})
	}
	return cmd
}

// fieldJSON is a field of a profile in the JSON output.
type fieldJSON struct {
	Field  string `json:"field"`
	Value  string `json:"value,omitempty"`
	Search string `json:"search,omitempty"`
}

func fieldsJSON(fields []client.ProfileField, own bool) []fieldJSON {
	out := []fieldJSON{}
	for _, f := range fields {
		row := fieldJSON{Field: fieldName(f), Value: f.Value}
		if own {
			row.Search = searchabilities[min(int(f.Search), len(searchabilities)-1)]
		}
		out = append(out, row)
	}
	return out
}

func fieldName(f client.ProfileField) string {
	if f.Source == mimi.SearchHandle {
		return "handle"
	}
	return f.Name
}

func (c *cli) showFields(fields []client.ProfileField) error {
	list := fieldsJSON(fields, true)
	if c.wantJSON() {
		return term.JSON(c.out, list)
	}
	var rows [][]string
	for _, f := range list {
		rows = append(rows, []string{term.Printable(f.Field), term.Printable(f.Value), f.Search})
	}
	return term.Table(c.out, "", []string{"FIELD", "VALUE", "FOUND BY"}, rows)
}

func (c *cli) profileSetCmd() *cobra.Command {
	w := &whoami{}
	var search string
	cmd := &cobra.Command{Use: "set FIELD [VALUE]", Short: "set a field, or only how it may be found; an empty value drops it",
		Long: "Names in capitals are properties of vCard (FN, NICKNAME, ORG, EMAIL, TEL …), others claims of OpenID Connect\n" +
			"(given_name, nickname, email, phone_number …). handle is how you are found by your address itself.\n" +
			"--search off: not at all; exact: by the whole value; partial: also by a part, and shown to whoever finds you.",
		Args: cobra.RangeArgs(1, 2)}
	w.flags(cmd, false)
	cmd.Flags().StringVar(&search, "search", "", "off, exact or partial (a new field: off)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx, cancel := withTimeout(cmd.Context())
		defer cancel()
		if search != "" && !slices.Contains(searchabilities, search) {
			return fail(exitUsage, "--search off, exact or partial", "%q is no way to be found", search)
		}
		cl, err := c.open(ctx, w)
		if err != nil {
			return err
		}
		defer cl.Close()
		fields, err := cl.Profile(ctx)
		if err != nil {
			return err
		}
		if err := cl.SetProfile(ctx, withField(fields, args, search)); err != nil {
			return err
		}
		if fields, err = cl.Profile(ctx); err != nil {
			return err
		}
		return c.showFields(fields)
	}
	return cmd
}

// withField is a profile with one field set, changed or dropped.
func withField(fields []client.ProfileField, args []string, search string) []client.ProfileField {
	source, name := sourceOf(args[0]), args[0]
	if source == mimi.SearchHandle {
		name = ""
	}
	i := slices.IndexFunc(fields, func(f client.ProfileField) bool { return f.Source == source && f.Name == name })
	if i < 0 {
		fields = append(fields, client.ProfileField{Source: source, Name: name})
		i = len(fields) - 1
	}
	if len(args) == 2 {
		fields[i].Value = args[1]
	}
	if search != "" {
		fields[i].Search = client.Searchability(slices.Index(searchabilities, search))
	}
	if len(args) == 2 && args[1] == "" && source != mimi.SearchHandle {
		return slices.Delete(fields, i, i+1)
	}
	return fields
}

// sourceOf tells by its name what a field is.
func sourceOf(name string) mimi.SearchType {
	switch {
	case name == "handle":
		return mimi.SearchHandle
	case name == strings.ToUpper(name):
		return mimi.SearchVCardField
	}
	return mimi.SearchOIDCClaim
}

func (c *cli) findCmd() *cobra.Command {
	w := &whoami{}
	var at string
	cmd := &cobra.Command{Use: "find KIND=VALUE...", Short: "find people of a provider by what they allow",
		Long: "KIND is handle, nick, email, phone, name (a part of a name), any (a part of the profile), or the name of a claim\n" +
			"(given_name) or property (ORG). Several must all be met. Whoever does not want to be found is not.\n\n" +
			"  hubbub find --at b.localhost name=matt ORG=XYZ",
		Args: cobra.MinimumNArgs(1)}
	w.flags(cmd, false)
	cmd.Flags().StringVar(&at, "at", "", "the provider to ask (default: that of a handle, else your own)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx, cancel := withTimeout(cmd.Context())
		defer cancel()
		conditions, where, err := conditionsOf(args)
		if err != nil {
			return err
		}
		if at != "" {
			if where, err = mimi.ParseDomain(at); err != nil {
				return err
			}
		}
		cl, err := c.open(ctx, w)
		if err != nil {
			return err
		}
		defer cl.Close()
		found, err := cl.FindUsers(ctx, where, conditions...)
		if err != nil {
			return err
		}
		return c.showFound(found)
	}
	return cmd
}

var searchKinds = map[string]mimi.SearchType{"handle": mimi.SearchHandle, "nick": mimi.SearchNick, "email": mimi.SearchEmail,
	"phone": mimi.SearchPhone, "name": mimi.SearchPartialName, "any": mimi.SearchWholeProfile}

// conditionsOf reads what is searched for; a handle says at which provider.
func conditionsOf(args []string) (out []mimi.QueryElement, at mimi.Domain, err error) {
	for _, a := range args {
		kind, value, ok := strings.Cut(a, "=")
		if !ok || kind == "" || value == "" {
			return nil, "", fail(exitUsage, "hubbub find name=matt, handle=bob@b.localhost, ORG=XYZ", "%q does not say what is searched for", a)
		}
		e := mimi.QueryElement{Type: searchKinds[kind], Value: value}
		switch e.Type {
		case 0:
			e.Type, e.Field = sourceOf(kind), kind
		case mimi.SearchHandle:
			user, err := mimi.ParseHandle(strings.TrimPrefix(value, "im:"))
			if err != nil {
				return nil, "", err
			}
			e.Value, at = "im:"+user.Handle(), user.Domain()
		}
		out = append(out, e)
	}
	return out, at, nil
}

func (c *cli) showFound(found []client.FoundUser) error {
	if c.wantJSON() {
		type foundJSON struct {
			User   mimi.UserURI `json:"user"`
			Fields []fieldJSON  `json:"fields"`
		}
		out := []foundJSON{}
		for _, u := range found {
			out = append(out, foundJSON{u.User, fieldsJSON(u.Fields, false)})
		}
		return term.JSON(c.out, out)
	}
	if len(found) == 0 {
		_, err := fmt.Fprintln(c.out, "nobody, or nobody who wants to be found by that")
		return err
	}
	var rows [][]string
	for _, u := range found {
		var about []string
		for _, f := range fieldsJSON(u.Fields, false) {
			about = append(about, term.Printable(f.Field+": "+f.Value))
		}
		rows = append(rows, []string{u.User.Handle(), strings.Join(about, ", ")})
	}
	return term.Table(c.out, "", []string{"PERSON", "ABOUT"}, rows)
}
