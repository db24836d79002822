package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hubbub/client"
	"hubbub/cmd/hubbub/internal/devenv"
	"hubbub/mimi"
)

// firstDevice is the device that hubbub dev gives every user.
const firstDevice = "phone"

// whoami are the flags by which the client verbs find a device.
type whoami struct {
	as, device, state, room string
}

// flags adds them to a verb.
func (w *whoami) flags(cmd *cobra.Command, withRoom bool) {
	cmd.Flags().StringVar(&w.as, "as", "", "user of the dev environment, such as bob@b.localhost")
	cmd.Flags().StringVar(&w.device, "device", "", "which device of the user; in a dev environment a new name is enrolled")
	cmd.Flags().StringVar(&w.state, "state", "", "directory of a device, instead of --as")
	if withRoom {
		cmd.Flags().StringVar(&w.room, "room", "", "chat, by name or URI (not needed if there is just one)")
	}
}

// open opens the device that the flags name, and waits a moment for it to catch
// up with its provider.
func (c *cli) open(ctx context.Context, w *whoami) (*session, error) {
	cl, err := c.openDevice(ctx, w)
	if err != nil {
		return nil, err
	}
	return newSession(ctx, cl), nil
}

// withDevice runs do with the device that the flags name, for no longer than a
// verb may take.
func (c *cli) withDevice(cmd *cobra.Command, w *whoami, do func(context.Context, *session) error) error {
	ctx, cancel := withTimeout(cmd.Context())
	defer cancel()
	cl, err := c.open(ctx, w)
	if err != nil {
		return err
	}
	defer cl.Close()
	return do(ctx, cl)
}

func (c *cli) openDevice(ctx context.Context, w *whoami) (*client.Client, error) {
	if w.state != "" {
		return client.Open(ctx, w.state, nil)
	}
	if w.as == "" {
		return nil, fail(exitUsage, "say --as bob@b.localhost in a dev environment, or --state DIR", "who are you?")
	}
	user, err := mimi.ParseHandle(w.as)
	if err != nil {
		return nil, err
	}
	dir := c.devDir()
	m, err := devenv.ReadManifest(dir)
	if err != nil {
		return nil, err
	}
	if _, ok := m.Find(string(user.Domain())); !ok {
		return nil, fail(exitUsage, "its providers are "+m.Names(), "%s: no provider %s", dir, user.Domain())
	}
	if w.device != "" {
		return c.openNamed(ctx, dir, m, user, w.device)
	}
	return c.openAny(ctx, dir, user)
}

// openNamed opens one device of a user and enrols it if there is none of that
// name.
func (c *cli) openNamed(ctx context.Context, dir string, m *devenv.Manifest, user mimi.UserURI, device string) (*client.Client, error) {
	if _, err := mimi.NewClient(user, device); err != nil || filepath.Base(device) != device {
		return nil, fail(exitUsage, "a device is named like laptop or phone-2", "%q cannot be the name of a device", device)
	}
	if slices.Contains(devenv.Devices(dir, user), device) {
		return client.Open(ctx, devenv.ClientDir(dir, user, device), nil)
	}
	c.progress("enrolling %s as a new device of %s", device, user.Handle())
	state, err := devenv.Enrol(ctx, dir, m, user, device)
	if err != nil {
		return nil, err
	}
	cl, err := client.Open(ctx, state, nil)
	if err != nil {
		return nil, err
	}
	if err := c.joinAll(ctx, cl); err != nil {
		cl.Close()
		return nil, err
	}
	return cl, nil
}

// joinAll lets a new device into every chat of its user.
func (c *cli) joinAll(ctx context.Context, cl *client.Client) error {
	rooms, err := cl.Rooms(ctx)
	if err != nil {
		return err
	}
	for _, r := range rooms {
		if !r.Participant || r.Member {
			continue
		}
		if err := cl.Join(ctx, r.Room); err != nil {
			c.progress("could not join %s: %v", r.Room, err)
			continue
		}
		c.progress("joined %s", r.Room)
	}
	return nil
}

// openAny opens the first device of a user that nobody else has open.
func (c *cli) openAny(ctx context.Context, dir string, user mimi.UserURI) (*client.Client, error) {
	devices := devenv.Devices(dir, user)
	slices.SortStableFunc(devices, func(a, b string) int {
		switch {
		case a == firstDevice && b != firstDevice:
			return -1
		case b == firstDevice && a != firstDevice:
			return 1
		}
		return 0
	})
	if len(devices) == 0 {
		return nil, fail(exitFailed, "--device NAME enrols one; hubbub user add makes the user first",
			"%s has no device in %s", user.Handle(), dir)
	}
	var locked error
	for _, d := range devices {
		cl, err := client.Open(ctx, devenv.ClientDir(dir, user, d), nil)
		if err == nil {
			if locked != nil {
				c.progress("%s is in use, so this is %s", devices[0], d)
			}
			return cl, nil
		}
		if !errors.Is(err, client.ErrLocked) {
			return nil, err
		}
		locked = err
	}
	return nil, fmt.Errorf("every device of %s is in use (%s): %w", user.Handle(), strings.Join(devices, ", "), locked)
}

// chooseRoom finds the chat a person means.
func chooseRoom(cl *session, rooms []client.RoomInfo, name string) (client.RoomInfo, error) {
	var hits []client.RoomInfo
	for _, r := range rooms {
		id := string(r.Room)
		if name == "" && r.Participant || name == id || name != "" && (strings.EqualFold(name, r.Name) || strings.HasSuffix(id, "/"+name)) {
			hits = append(hits, r)
		}
	}
	switch {
	case len(hits) == 1:
		return hits[0], nil
	case len(rooms) == 0:
		return client.RoomInfo{}, fail(exitFailed, "hubbub room create makes one", "%s is in no chat", cl.User().Handle())
	case len(hits) == 0:
		return client.RoomInfo{}, fail(exitFailed, "the chats are: "+roomNames(rooms), "no chat %q", name)
	}
	return client.RoomInfo{}, fail(exitUsage, "say which with --room: "+roomNames(hits), "%s is in %d chats", cl.User().Handle(), len(hits))
}

func roomNames(rooms []client.RoomInfo) string {
	var out []string
	for _, r := range rooms {
		out = append(out, fmt.Sprintf("%q", roomName(r)))
	}
	return strings.Join(out, ", ")
}

// roomName is what a person calls a room.
func roomName(r client.RoomInfo) string {
	if r.Name != "" {
		return r.Name
	}
	return string(r.Room)
}

// join enters a room if the user is in it and this device is not.
func (c *cli) join(ctx context.Context, cl *session, r client.RoomInfo) (client.RoomInfo, error) {
	if r.Member || !r.Participant || !r.AsOf.IsZero() {
		return r, nil
	}
	c.progress("this device is not in the chat yet: joining")
	if err := cl.Join(ctx, r.Room); err != nil {
		return r, err
	}
	return cl.Room(ctx, r.Room)
}

// withTimeout bounds a call that answers a person.
func withTimeout(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, 30*time.Second)
}
