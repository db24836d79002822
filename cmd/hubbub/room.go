package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hubbub/client"
	"hubbub/cmd/hubbub/internal/story"
	"hubbub/cmd/hubbub/internal/term"
	"hubbub/mimi"
	"hubbub/mimi/policy"
)

func (c *cli) roomCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "room", Short: "chats of a user, as the user's own provider holds them"}
	cmd.AddCommand(c.roomListCmd(), c.roomShowCmd(), c.roomHistoryCmd(), c.roomCreateCmd(),
		c.roomAddCmd(), c.roomAddDevicesCmd(), c.roomRemoveCmd(), c.roomLinkCmd(), c.roomWishesCmd(), c.roomJoinCmd(), c.roomLeaveCmd(),
		c.roomBanCmd(), c.roomUnbanCmd(), c.roomKickCmd(), c.roomRoleCmd(), c.roomRenameCmd(), c.roomVerifyCmd(), c.roomResyncCmd(), c.roomThawCmd())
	return cmd
}

// roomVerb makes a verb that opens a device, picks a chat and does something.
func (c *cli) roomVerb(cmd *cobra.Command, do func(context.Context, *session, client.RoomInfo, []string) error) *cobra.Command {
	w := &whoami{}
	w.flags(cmd, true)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return c.withDevice(cmd, w, func(ctx context.Context, cl *session) error {
			r, err := c.pickRoom(ctx, cl, w.room)
			if err != nil {
				return err
			}
			if !r.AsOf.IsZero() && cmd.Name() != "show" {
				return fail(exitUnreachable, hintRunning, "%s does not answer", cl.User().Domain())
			}
			return do(ctx, cl, r, args)
		})
	}
	return cmd
}

// roomJSON is a room in the JSON output.
type roomJSON struct {
	Room         mimi.RoomURI  `json:"room"`
	Name         string        `json:"name,omitempty"`
	Hub          mimi.Domain   `json:"hub"`
	HubReachable *bool         `json:"hub_reachable,omitempty"` // absent: the own provider is the hub
	HubError     string        `json:"hub_error,omitempty"`
	Seq          uint64        `json:"seq"`
	Hash         string        `json:"hash"`
	StartSeq     uint64        `json:"start_seq"`          // the provider's copy begins after it
	NoProof      bool          `json:"no_proof,omitempty"` // the hub offers none: seq and hash are those of arrival
	Epoch        uint64        `json:"epoch"`
	Participants []participant `json:"participants"`
	Member       bool          `json:"member"`      // this device is in the group
	Participant  bool          `json:"participant"` // this user is in the room
	Queued       int           `json:"queued"`
	// Providers is how far each has stored the newest entry; in room show only.
	Providers  []providerJSON `json:"providers,omitempty"`
	Rules      []string       `json:"rules,omitempty"` // in words; in room show only
	Frozen     string         `json:"frozen,omitempty"`
	Suspicious string         `json:"suspicious,omitempty"`
	Missed     int            `json:"missed,omitempty"`
	AsOfMS     int64          `json:"as_of_ms,omitempty"` // the device's own copy, as the provider does not answer
}

type participant struct {
	User     mimi.UserURI `json:"user"`
	Role     uint32       `json:"role"`
	RoleName string       `json:"role_name,omitempty"` // in room show, from a device in the group
}

func toJSON(r client.RoomInfo) roomJSON {
	out := roomJSON{Room: r.Room, Name: r.Name, Hub: r.Hub, Seq: r.Pos.Seq, Hash: fmt.Sprintf("%x", r.Pos.Hash),
		StartSeq: r.Start.Seq, NoProof: r.NoProof, Epoch: r.Epoch, Participants: []participant{}, Member: r.Member, Participant: r.Participant,
		Queued: r.Queued, Frozen: r.Frozen, Suspicious: r.Suspicious, Missed: r.Missed}
	for _, p := range r.Participants {
		out.Participants = append(out.Participants, participant{User: p.User, Role: p.Role})
	}
	if !r.AsOf.IsZero() {
		out.AsOfMS = r.AsOf.UnixMilli()
	}
	if s := r.HubStatus; s != nil {
		out.HubReachable, out.HubError = &s.Reachable, s.LastError
	}
	return out
}

func (c *cli) roomListCmd() *cobra.Command {
	w := &whoami{}
	cmd := &cobra.Command{Use: "list", Short: "list the chats of a user", Args: cobra.NoArgs}
	w.flags(cmd, false)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return c.withDevice(cmd, w, func(ctx context.Context, cl *session) error {
			rooms, err := c.rooms(ctx, cl)
			if err != nil {
				return err
			}
			if c.wantJSON() {
				out := []roomJSON{}
				for _, r := range rooms {
					out = append(out, toJSON(r))
				}
				return term.JSON(c.out, out)
			}
			var rows [][]string
			for _, r := range rooms {
				rows = append(rows, []string{term.Printable(roomName(r)), string(r.Hub), r.Pos.String(),
					fmt.Sprint(len(r.Participants)), standing(r)})
			}
			return term.Table(c.out, "", []string{"CHAT", "HUB", "POSITION", "PEOPLE", "STATE"}, rows)
		})
	}
	return cmd
}

// standing says in words how a room is for this device.
func standing(r client.RoomInfo) string {
	switch {
	case r.Suspicious != "":
		return "not trusted: " + r.Suspicious
	case r.Frozen != "":
		return "frozen: " + r.Frozen
	case !r.Participant:
		return "no longer in it"
	case !r.Member:
		return "this device has not joined"
	case r.Queued > 0:
		return fmt.Sprintf("%d waiting for %s", r.Queued, r.Hub)
	case r.HubStatus != nil && !r.HubStatus.Reachable:
		return string(r.Hub) + " does not answer"
	}
	return "ok"
}

func (c *cli) roomShowCmd() *cobra.Command {
	return c.roomVerb(&cobra.Command{Use: "show", Short: "show one chat: people, position, epoch", Args: cobra.NoArgs},
		func(ctx context.Context, cl *session, r client.RoomInfo, _ []string) error {
			var d client.Delivery
			if r.Participant && r.AsOf.IsZero() {
				d, _ = cl.Delivery(ctx, r.Room, 0) // what is not known is left out
			}
			roles := roleNames(cl, r)
			if c.wantJSON() {
				out := toJSON(r)
				out.Providers, out.Rules = providersJSON(d), rules(cl, r.Room)
				for i := range out.Participants {
					out.Participants[i].RoleName = roles[out.Participants[i].Role]
				}
				return term.JSON(c.out, out)
			}
			fmt.Fprintf(c.out, "%s\n  %s\n  hub %s, position %s, epoch %d, %s\n", term.Printable(roomName(r)),
				r.Room, r.Hub, r.Pos, r.Epoch, standing(r))
			if r.Start.Seq > 0 {
				fmt.Fprintf(c.out, "  this provider's copy begins after Seq %d\n", r.Start.Seq)
			}
			if r.NoProof {
				fmt.Fprintf(c.out, "  %s\n", noProof(r.Room))
			}
			if r.Missed > 0 {
				fmt.Fprintf(c.out, "  %d messages could not be decrypted on this device\n", r.Missed)
			}
			var rows [][]string
			for _, p := range r.Participants {
				rows = append(rows, []string{p.User.Handle(), term.Printable(roleName(roles, p.Role))})
			}
			if err := term.Table(c.out, "  ", []string{"PERSON", "ROLE"}, rows); err != nil {
				return err
			}
			for _, p := range d.Providers {
				mark, text := deliveryLine(p, time.Now())
				fmt.Fprintf(c.out, "  %s %s\n", mark, text)
			}
			for _, line := range rules(cl, r.Room) {
				fmt.Fprintln(c.out, "  rule: "+term.Printable(line))
			}
			return nil
		})
}

// rules says what a chat wants of those in it, as far as this device is.
func rules(cl *session, room mimi.RoomURI) []string {
	p, err := cl.Policy(room)
	if err != nil {
		return nil
	}
	return p.Words()
}

// changeJSON is a line of a membership history in the JSON output.
type changeJSON struct {
	Seq    uint64         `json:"seq"`
	TimeMS int64          `json:"time_ms"`
	Actor  mimi.UserURI   `json:"actor"`
	Action string         `json:"action"`
	User   mimi.UserURI   `json:"user"`
	Client mimi.ClientURI `json:"client,omitempty"`
	Role   uint32         `json:"role"`
}

func (c *cli) roomHistoryCmd() *cobra.Command {
	return c.roomVerb(&cobra.Command{Use: "history", Short: "show who added and removed whom, when and where in the order", Args: cobra.NoArgs},
		func(ctx context.Context, cl *session, r client.RoomInfo, _ []string) error {
			history, err := cl.History(ctx, r.Room)
			if err != nil {
				return err
			}
			if c.wantJSON() {
				out := []changeJSON{}
				for _, h := range history {
					out = append(out, changeJSON{h.Seq, h.Timestamp.UnixMilli(), h.Actor, h.Action, h.User, h.Client, h.Role})
				}
				return term.JSON(c.out, out)
			}
			return term.Table(c.out, "", story.HistoryHeading, story.HistoryRows(history))
		})
}

func (c *cli) roomCreateCmd() *cobra.Command {
	w := &whoami{}
	var add, orgs []string
	var rules string
	var franking bool
	cmd := &cobra.Command{Use: "create NAME", Short: "create a chat, hosted by the user's own provider", Args: cobra.ExactArgs(1)}
	w.flags(cmd, false)
	cmd.Flags().StringSliceVar(&add, "add", nil, "people to add, such as alice@a.localhost")
	cmd.Flags().StringVar(&rules, "policy", "", "its rules: "+strings.Join(policy.Presets(), ", "))
	cmd.Flags().BoolVar(&franking, "franking", false, "have the hub vouch for each message, so that reports of abuse are proved")
	cmd.Flags().StringSliceVar(&orgs, "org", nil, "for multi-org: the providers it is for, the own one first")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx, cancel := withTimeout(cmd.Context())
		defer cancel()
		if args[0] == "" {
			return fail(exitUsage, "hubbub room create Lunch", "a chat needs a name")
		}
		members, err := handles(add)
		if err != nil {
			return err
		}
		var domains []mimi.Domain
		for _, o := range orgs {
			d, err := mimi.ParseDomain(o)
			if err != nil {
				return fail(exitUsage, "hubbub room create --policy multi-org --org a.localhost,b.localhost Lunch", "--org %q: %v", o, err)
			}
			domains = append(domains, d)
		}
		cl, err := c.open(ctx, w)
		if err != nil {
			return err
		}
		defer cl.Close()
		room, added, err := cl.CreateRoom(ctx, client.RoomOptions{Name: args[0], Members: members, Policy: rules, Orgs: domains, Franking: franking})
		if err != nil {
			return err
		}
		if c.wantJSON() {
			if err := term.JSON(c.out, map[string]any{"room": room}); err != nil {
				return err
			}
		} else {
			fmt.Fprintln(c.out, room)
		}
		return notAdded(added)
	}
	return cmd
}

func handles(args []string) ([]mimi.UserURI, error) {
	var out []mimi.UserURI
	for _, a := range args {
		u, err := mimi.ParseHandle(a)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", a, err)
		}
		out = append(out, u)
	}
	return out, nil
}

// notAdded joins what went wrong for single people.
func notAdded(added []client.AddResult) error {
	var errs []error
	var ask []string
	for _, a := range added {
		if !a.Added {
			errs = append(errs, fmt.Errorf("%s was not added: %w", a.User.Handle(), a.Err))
		}
		if client.NeedsConsent(a.Err) {
			ask = append(ask, a.User.Handle())
		}
	}
	if len(ask) > 0 {
		return fail(exitDenied, "ask first: hubbub consent request "+strings.Join(ask, " "), "%w", errors.Join(errs...))
	}
	return errors.Join(errs...)
}

func (c *cli) roomAddCmd() *cobra.Command {
	return c.roomVerb(&cobra.Command{Use: "add PERSON...", Short: "add people to a chat", Args: cobra.MinimumNArgs(1)},
		func(ctx context.Context, cl *session, r client.RoomInfo, args []string) error {
			users, err := handles(args)
			if err != nil {
				return err
			}
			added, err := cl.AddUsers(ctx, r.Room, users...)
			if err != nil {
				return err
			}
			return notAdded(added)
		})
}

func (c *cli) roomAddDevicesCmd() *cobra.Command {
	return c.roomVerb(&cobra.Command{Use: "add-devices [PERSON]", Args: cobra.MaximumNArgs(1),
		Short: "bring your further devices into a chat, or those of somebody in it who has none there"},
		func(ctx context.Context, cl *session, r client.RoomInfo, args []string) error {
			users, err := handles(args)
			if err != nil {
				return err
			}
			added, err := cl.AddDevices(ctx, r.Room, append(users, cl.User())[0])
			if err != nil {
				return err
			}
			if c.wantJSON() {
				err = term.JSON(c.out, map[string]any{"user": added.User, "added": append([]mimi.ClientURI{}, added.Clients...)})
				if err != nil {
					return err
				}
			} else {
				for _, d := range added.Clients {
					fmt.Fprintln(c.out, d.Device())
				}
			}
			var errs []error
			for _, d := range added.Missing {
				errs = append(errs, fmt.Errorf("%s/%s could not be added", added.User.Name(), d.Device()))
			}
			if len(errs) > 0 {
				return fail(exitFailed, "try again when it has been online", "%w", errors.Join(errs...))
			}
			return nil
		})
}

func (c *cli) roomRemoveCmd() *cobra.Command {
	return c.roomVerb(&cobra.Command{Use: "remove PERSON...", Short: "remove people from a chat", Args: cobra.MinimumNArgs(1)},
		func(ctx context.Context, cl *session, r client.RoomInfo, args []string) error {
			users, err := handles(args)
			if err != nil {
				return err
			}
			removed, err := cl.RemoveUsers(ctx, r.Room, users...)
			return errors.Join(err, notRemoved(removed))
		})
}

// notRemoved says who was not there to be removed.
func notRemoved(removed []client.RemoveResult) error {
	var names []string
	for _, r := range removed {
		if !r.Removed {
			names = append(names, r.User.Handle())
		}
	}
	if len(names) == 0 {
		return nil
	}
	return fail(exitFailed, "hubbub room show tells who is", "not in the chat: %s", strings.Join(names, ", "))
}

func (c *cli) roomLeaveCmd() *cobra.Command {
	return c.roomVerb(&cobra.Command{Use: "leave", Short: "leave a chat with all devices", Args: cobra.NoArgs},
		func(ctx context.Context, cl *session, r client.RoomInfo, _ []string) error {
			if err := cl.Leave(ctx, r.Room); err != nil {
				return err
			}
			c.progress("you can post no more; you are out once a device of somebody else in the chat is online")
			return nil
		})
}
