package policy

import (
	"bytes"
	"encoding/hex"
	"errors"
	"reflect"
	"strings"
	"testing"

	"hubbub/mimi"
	"hubbub/mls"
	"hubbub/mls/wire"
)

func ptr[T any](v T) *T { return &v }

type codec interface {
	wire.Encoder
	wire.Decoder
}

// vectors are the policy rows of the requirements checklist, section 31.
var vectors = []struct {
	name, hex string
	value     codec
}{
	{"role", "000000020d6f7264696e6172795f75736572000400000100000000000000000000010000000512000000000400000002000000020400000000",
		&Role{Index: 2, Name: "ordinary_user", Capabilities: []Capability{CanAddParticipant, CanSendMessage}, MaxActive: ptr(uint32(5)),
			RoleChanges: []RoleChanges{{Outside, []uint32{2}}, {2, []uint32{Outside}}}}},
	{"base policy", "000000010001000000640001000400250026",
		&BaseRoomPolicy{MultiDevice: true, MaxUsers: ptr(uint32(100)), PersistentRoom: true,
			Components: []mls.ComponentID{mimi.ComponentRolesList, mimi.ComponentPreauthList}}},
	{"status policy", "0002", &StatusNotificationPolicy{Optional, Forbidden}},
	{"expiration forbidden", "02", &MessageExpiration{Expiring: Forbidden}},
	{"expiration required", "010000003c000151800100000e10", &MessageExpiration{Required, 60, 86400, ptr(uint32(3600))}},
}

func TestVectors(t *testing.T) {
	for _, tc := range vectors {
		want, err := hex.DecodeString(tc.hex)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := wire.Marshal(tc.value); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: encoded to %x, %v", tc.name, got, err)
		}
		decoded := reflect.New(reflect.TypeOf(tc.value).Elem()).Interface().(codec)
		if err := wire.Unmarshal(want, decoded); err != nil || !reflect.DeepEqual(decoded, tc.value) {
			t.Errorf("%s: decoded to %+v, %v", tc.name, decoded, err)
		}
		for n := range want {
			if wire.Unmarshal(want[:n], decoded) == nil {
				t.Errorf("%s: accepted when cut at %d octets", tc.name, n)
			}
		}
	}
}

func TestBroken(t *testing.T) {
	for name, tc := range map[string]struct {
		id  mls.ComponentID
		hex string
	}{
		"boolean 2":         {mimi.ComponentBaseRoomPolicy, "020000010000000000" + "00"},
		"two parent rooms":  {mimi.ComponentBaseRoomPolicy, "0001 24 11" + hex.EncodeToString([]byte("mimi://a.example/")) + "72"},
		"optionality 3":     {mimi.ComponentStatusNotification, "0003"},
		"default too short": {mimi.ComponentMessageExpiration, "010000003c00015180010000003b"},
		"no roles":          {mimi.ComponentRolesList, "00"},
		"trailing":          {mimi.ComponentPreauthList, "0000"},
	} {
		b, err := hex.DecodeString(strings.ReplaceAll(tc.hex, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		if known, err := CheckComponent(tc.id, b); !known || !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: known=%v, %v", name, known, err)
		}
	}
	if known, _ := CheckComponent(mimi.ComponentParticipantList, nil); known {
		t.Error("a component without a codec is called known")
	}
}

func TestRoleRules(t *testing.T) {
	for name, change := range map[string]func(d *RoleData){
		"index twice":     func(d *RoleData) { d.Roles[3].Index = Member },
		"open join":       func(d *RoleData) { d.Roles[2].Capabilities = append(d.Roles[2].Capabilities, CanOpenJoin) },
		"minimum above":   func(d *RoleData) { d.Roles[2].MinParticipants, d.Roles[2].MaxParticipants = 2, ptr(uint32(1)) },
		"active minimum":  func(d *RoleData) { d.Roles[1].MinActive = 1 },
		"nothing":         func(d *RoleData) { d.Roles = nil },
		"far too many":    func(d *RoleData) { d.Roles = make([]Role, maxListed+1) },
		"name not UTF-8":  func(d *RoleData) { d.Roles[2].Name = "\xff" },
		"too many rights": func(d *RoleData) { d.Roles[2].Capabilities = make([]Capability, maxListed+1) },
	} {
		d := DefaultRoles()
		change(d)
		b, err := d.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseRoleData(b); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	d := DefaultRoles()
	d.Roles[0].Capabilities = []Capability{CanOpenJoin}
	d.Roles[2].Capabilities = append(d.Roles[2].Capabilities, 0xF123, 0x0777) // kept, never granted
	d.Roles[3].Index = 77
	b, err := d.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	back, err := ParseRoleData(b)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := back.Marshal(); err != nil || !bytes.Equal(again, b) {
		t.Errorf("roles encoded to %x, %v", again, err)
	}
}

func TestCapabilityNames(t *testing.T) {
	for c, want := range map[Capability]string{0: "canAddParticipant", 0x10b: "canDeleteOtherMessage", 0x600: "canChangeMlsOperationalPolicies", 0xF123: "0xf123"} {
		if got := c.String(); got != want {
			t.Errorf("%#04x is %s, want %s", uint16(c), got, want)
		}
	}
}

// TestInitialDictionary loads what a new room starts with through the same checks that
// later commits have to pass.
func TestInitialDictionary(t *testing.T) {
	d, err := InitialDictionary(room, "Clubhouse", alice)
	if err != nil {
		t.Fatal(err)
	}
	b, err := wire.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	back := new(mls.AppDataDictionary)
	if err := wire.Unmarshal(b, back); err != nil {
		t.Fatal(err)
	}
	s, err := NewState(room, back, []mimi.Identity{device(alice, "phone")})
	if err != nil {
		t.Fatal(err)
	}
	if err := Transition(nil, s); err != nil {
		t.Error(err)
	}
	if s.Metadata.Name != "Clubhouse" || s.Participants.Role(alice) != Admin {
		t.Errorf("state %+v", s)
	}
	for _, id := range []mls.ComponentID{mimi.ComponentParticipantList, mimi.ComponentRolesList, mimi.ComponentBaseRoomPolicy} {
		less := d.Clone()
		less.Delete(id)
		if _, err := NewState(room, less, nil); !errors.Is(err, ErrMalformed) {
			t.Errorf("without component %v: %v", id, err)
		}
	}
	if _, err := InitialDictionary(room, "a\x00b", alice); !errors.Is(err, mimi.ErrMalformed) {
		t.Errorf("NUL in the name: %v", err)
	}
}

func FuzzComponents(f *testing.F) {
	kinds := []func() codec{
		func() codec { return new(Role) }, func() codec { return new(RoleData) }, func() codec { return new(PreAuthData) },
		func() codec { return new(BaseRoomPolicy) }, func() codec { return new(StatusNotificationPolicy) },
		func() codec { return new(MessageExpiration) }, func() codec { return new(OperationalParameters) },
		func() codec { return new(JoinLinkPolicy) }, func() codec { return new(LinkPreviewPolicy) }, func() codec { return new(AssetPolicy) },
		func() codec { return new(LoggingPolicy) }, func() codec { return new(HistoryPolicy) }, func() codec { return new(BotPolicy) },
	}
	for _, v := range vectors {
		for i, kind := range kinds {
			if b, err := hex.DecodeString(v.hex); err == nil && reflect.TypeOf(kind()) == reflect.TypeOf(v.value) {
				f.Add(append([]byte{byte(i)}, b...))
			}
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) == 0 {
			return
		}
		v := kinds[int(b[0])%len(kinds)]()
		if wire.Unmarshal(b[1:], v) != nil {
			return
		}
		if again, err := wire.Marshal(v); err != nil || !bytes.Equal(again, b[1:]) {
			t.Fatalf("%T: %x encodes to %x, %v", v, b[1:], again, err)
		}
	})
}
