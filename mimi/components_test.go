package mimi

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"hubbub/mls"
)

func user(name string) UserURI { return UserURI("mimi://a.example/u/" + name) }

func listOf(names ...string) *ParticipantListData {
	l := new(ParticipantListData)
	for _, n := range names {
		l.Participants = append(l.Participants, Participant{user(n), 2})
	}
	return l
}

func TestApplyParticipants(t *testing.T) {
	type update = ParticipantListUpdate
	change := func(i, role uint32) update { return update{ChangedRoles: []RoleChange{{i, role}}} }
	remove := func(i ...uint32) update { return update{Removed: i} }
	add := func(names ...string) update { return update{Added: listOf(names...).Participants} }
	all := func(us ...update) update {
		var sum update
		for _, u := range us {
			sum.ChangedRoles = append(sum.ChangedRoles, u.ChangedRoles...)
			sum.Removed = append(sum.Removed, u.Removed...)
			sum.Added = append(sum.Added, u.Added...)
		}
		return sum
	}
	for _, tc := range []struct {
		name    string
		updates []update
		want    string // names with roles, empty: refused
	}{
		{"nothing", []update{{}}, "a2 b2 c2 d2 e2"},
		{"all three", []update{all(change(4, 3), remove(1, 3), add("f"))}, "a2 c2 e3 f2"},
		{"three updates", []update{add("f"), remove(1, 3), change(4, 3)}, "a2 c2 e3 f2"},
		{"appends in commit order", []update{add("g"), add("f")}, "a2 b2 c2 d2 e2 g2 f2"},
		{"remove everybody", []update{remove(4, 0, 2, 1, 3)}, " "},
		{"change and remove", []update{all(change(1, 3), remove(1))}, ""},
		{"two changes", []update{change(1, 3), change(1, 3)}, ""},
		{"removed twice", []update{remove(1), remove(1)}, ""},
		{"removed and added", []update{remove(1), add("b")}, ""},
		{"added while listed", []update{add("b")}, ""},
		{"added twice", []update{add("f"), add("f")}, ""},
		{"index out of range", []update{remove(5)}, ""},
		{"largest index", []update{change(0xffffffff, 2)}, ""},
		{"role 0 given", []update{change(0, 0)}, ""},
		{"role 0 added", []update{{Added: []Participant{{user("f"), 0}}}}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			before := listOf("a", "b", "c", "d", "e")
			var octets [][]byte
			for _, u := range tc.updates {
				octets = append(octets, must(u.Marshal()))
			}
			got, err := Components{}.Update(ComponentParticipantList, must(before.Marshal()), true, octets)
			if tc.want == "" {
				if !errors.Is(err, ErrBadUpdate) {
					t.Fatalf("got %x, %v", got, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			list, err := ParseParticipantList(got)
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, p := range list.Participants {
				names = append(names, fmt.Sprintf("%s%d", p.User.Name(), p.Role))
			}
			if s := strings.Join(names, " "); s != strings.TrimSpace(tc.want) {
				t.Errorf("got %s, want %s", s, tc.want)
			}
		})
	}
}

func TestApplyLimit(t *testing.T) {
	var u ParticipantListUpdate
	for i := range maxParticipantChanges + 1 {
		u.Added = append(u.Added, Participant{user(fmt.Sprint(i)), 2})
	}
	if _, err := new(ParticipantListData).Apply(&u); !errors.Is(err, ErrBadUpdate) {
		t.Errorf("%d additions: %v", len(u.Added), err)
	}
	u.Added = u.Added[1:]
	if l, err := new(ParticipantListData).Apply(&u); err != nil || l.Role(user("1000")) != 2 || l.Role(user("0")) != 0 {
		t.Errorf("%d additions: %v", len(u.Added), err)
	}
}

func TestParticipantListForm(t *testing.T) {
	twice := listOf("a", "a")
	if _, err := ParseParticipantList(must(twice.Marshal())); !errors.Is(err, ErrMalformed) {
		t.Errorf("user listed twice: %v", err)
	}
	none := &ParticipantListData{Participants: []Participant{{user("a"), 0}}}
	if _, err := ParseParticipantList(must(none.Marshal())); !errors.Is(err, ErrMalformed) {
		t.Errorf("role 0: %v", err)
	}
}

func TestMetadata(t *testing.T) {
	valid := RoomMetaData{Room: room, Name: "Clubhouse", Avatar: "https://a.example/x.png"}
	for name, change := range map[string]func(m *RoomMetaData){
		"NUL in name":       func(m *RoomMetaData) { m.Name = "a\x00" },
		"subject not UTF-8": func(m *RoomMetaData) { m.Subject = "\xff" },
		"http avatar":       func(m *RoomMetaData) { m.Avatar = "http://a.example/x.png" },
		"avatar no host":    func(m *RoomMetaData) { m.Avatar = "https:x" },
		"no room":           func(m *RoomMetaData) { m.Room = "" },
	} {
		m := valid
		change(&m)
		if b, err := m.Marshal(); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: encoded to %x, %v", name, b, err)
		}
	}
	nul := bytes.Replace(must(valid.Marshal()), []byte("Clubhouse"), []byte("Club\x00ouse"), 1)
	if _, err := ParseRoomMetaData(nul); !errors.Is(err, ErrMalformed) {
		t.Errorf("NUL read: %v", err)
	}
	old := must(valid.Marshal())
	renamed, moved := valid, valid
	renamed.Name, renamed.Avatar, moved.Room = "Den", "", "mimi://a.example/r/other"
	next, err := Components{}.Update(ComponentRoomMetadata, old, true, [][]byte{must(renamed.Marshal())})
	if err != nil || !bytes.Equal(next, must(renamed.Marshal())) {
		t.Errorf("renamed to %x, %v", next, err)
	}
	for name, updates := range map[string][][]byte{
		"another room": {must(moved.Marshal())}, "two updates": {next, next}, "none": nil,
	} {
		if _, err := (Components{}).Update(ComponentRoomMetadata, old, true, updates); !errors.Is(err, ErrBadUpdate) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOtherComponents(t *testing.T) {
	known := []mls.ComponentID{ComponentRolesList, ComponentPreauthList, ComponentBaseRoomPolicy, ComponentAssetPolicy}
	for id := range mls.ComponentID(0x60) {
		if id == ComponentParticipantList || id == ComponentRoomMetadata {
			continue
		}
		_, err := Components{Policy: func(id mls.ComponentID, _ []byte) (bool, error) {
			return slices.Contains(known, id), nil
		}}.Update(id, nil, true, [][]byte{{1}})
		if slices.Contains(known, id) != (err == nil) {
			t.Errorf("component %v: %v", id, err)
		}
	}
	for _, id := range []mls.ComponentID{1, ComponentFrankingAgent, ComponentParticipantList, ComponentRolesList, ComponentBaseRoomPolicy} {
		if err := (Components{}).Remove(id, nil); !errors.Is(err, ErrBadUpdate) {
			t.Errorf("component %v removed: %v", id, err)
		}
	}
	if err := (Components{}).Remove(ComponentPreauthList, nil); err != nil {
		t.Errorf("preauthorisation removed: %v", err)
	}
}
