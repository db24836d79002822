package provider

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

const goodConfig = `
identity = "a.localhost"
data_dir = "state"

[federation]
listen = "127.0.0.1:1"
cert_file = "tls.pem"
key_file = "/abs/tls.key"
ca_file = "ca.pem"
[federation.peers."b.localhost"]
address = "127.0.0.1:2"

[api]
listen = "127.0.0.1:3"

[identity_ca]
cert_file = "id.pem"
key_file = "id.key"
roots_file = "roots.pem"
`

func load(t *testing.T, text string) (Config, string, error) {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "hubbub.toml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(file)
	return c, dir, err
}

func TestLoad(t *testing.T) {
	t.Setenv("HUBBUB_LOG__LEVEL", "debug")
	t.Setenv("HUBBUB_FEDERATION__ALLOW", "b.localhost, c.localhost")
	t.Setenv("HUBBUB_LIMITS__DEVICES_PER_USER", "12")
	c, dir, err := load(t, goodConfig)
	if err != nil {
		t.Fatal(err)
	}
	want := Config{
		Identity: "a.localhost", DataDir: filepath.Join(dir, "state"), HeadsFile: filepath.Join(dir, "state/heads"), AdminSocket: filepath.Join(dir, "state/admin.sock"), Consent: "ask", HideUsers: "yes", Search: "partial",
		Federation: FederationConfig{
			Listen: "127.0.0.1:1", CertFile: filepath.Join(dir, "tls.pem"), KeyFile: "/abs/tls.key", CAFile: filepath.Join(dir, "ca.pem"),
			Allow: []string{"b.localhost", "c.localhost"}, Peers: map[string]PeerConfig{"b.localhost": {Address: "127.0.0.1:2"}},
		},
		API:        APIConfig{Listen: "127.0.0.1:3", CertFile: filepath.Join(dir, "tls.pem"), KeyFile: "/abs/tls.key"},
		IdentityCA: IdentityCAConfig{CertFile: filepath.Join(dir, "id.pem"), KeyFile: filepath.Join(dir, "id.key"), RootsFile: filepath.Join(dir, "roots.pem")},
		Limits: LimitsConfig{PostsPerDevice: "60 + 1/s", RoomsPerUser: "100 + 100/h", ClaimsPerTarget: "6 + 1/10m", ClaimsPerUser: "100 + 100/h",
			ClaimsPerPeer: "3000 + 3000/m", RequestsPerPeer: "400 + 200/s", WritesPerPeer: "10000 + 2000/s", EnrolmentFailures: "5 + 0.17/s",
			ConsentsPerUser: "100 + 100/h", ConsentsPerPeer: "3000 + 3000/h", SearchesPerUser: "60 + 60/h", SearchesPerPeer: "600 + 600/h",
			ReportsPerUser: "20 + 20/h", ReportsPerPeer: "600 + 600/h", JoinCodesPerUser: "5 + 5/10m",
			ClientsPerRoom: 2000, UsersPerRoom: 1000, ProposalsPerRoom: 100, ProposalsPerSender: 10, DevicesPerUser: 12,
			RunningPerPeer: 16, QueuedPerPeer: 50, OutboxPerUser: 10_000, OutboxPerPeer: 1_000_000, OutboxBytesPerPeer: 1 << 30,
			UploadBytes: 25 << 20, AssetBytesPerUser: 1 << 30, TransfersPerUser: 4},
		Assets: AssetsConfig{Host: "a.localhost"},
		Rooms:  RoomsConfig{Persistent: "any", Discoverable: "any", Pseudonyms: "any"},
		Log:    LogConfig{Level: "debug", Format: "text"},
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got  %+v\nwant %+v", c, want)
	}
	// What Encode writes, Load reads.
	b, err := c.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if again, _, err := load(t, string(b)); err != nil || !reflect.DeepEqual(again, c) {
		t.Errorf("round trip: %+v, %v\n%s", again, err, b)
	}
}

func TestLoadRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		old, new string
		want     []string
	}{
		"unknown key":         {`data_dir`, `data_dri`, []string{"line 3, column 1", "data_dri", "nearest is data_dir"}},
		"unknown nested key":  {`ca_file =`, `ca_flie =`, []string{"line 9", "federation.ca_flie", "federation.ca_file"}},
		"unknown table":       {`[api]`, `[appi]`, []string{"appi", "nearest is api"}},
		"unknown in peer":     {`address`, `adress`, []string{"line 11", "federation.peers.*.address"}},
		"not TOML":            {`[api]`, `[api`, []string{"line"}},
		"wrong type":          {`"127.0.0.1:3"`, `3`, []string{"line 14"}},
		"bad identity":        {`a.localhost`, `A.localhost`, []string{"identity", "lower case"}},
		"no identity":         {`identity = "a.localhost"`, ``, []string{"identity: is required"}},
		"no certificate":      {`cert_file = "tls.pem"`, ``, []string{"federation.cert_file: is required"}},
		"bad peer":            {`"b.localhost"`, `"b_localhost"`, []string{"federation.peers"}},
		"bad address":         {`127.0.0.1:2`, `127.0.0.1`, []string{`federation.peers."b.localhost".address: must be host:port`}},
		"bad consent":         {`data_dir`, "consent = \"shut\"\ndata_dir", []string{"consent"}},
		"room too large":      {`[api]`, "[limits]\nclients_per_room = 10001\n[api]", []string{"limits.clients_per_room: must be between 1 and 10000"}},
		"negative count":      {`[api]`, "[limits]\noutbox_per_user = -1\n[api]", []string{"limits.outbox_per_user: must be between 1 and"}},
		"bad rate":            {`[api]`, "[limits]\nenrolment_failures = \"many\"\n[api]", []string{"limits.enrolment_failures: must be like"}},
		"a third way":         {`[api]`, "[rooms]\npersistent = \"maybe\"\n[api]", []string{`rooms.persistent: must be "yes", "no" or "any"`}},
		"frozen what":         {`[api]`, "[rooms]\nfrozen = [\"logging\", \"poems\"]\n[api]", []string{`rooms.frozen: "poems" is none of assets, base`}},
		"half an API keypair": {`[api]`, "[api]\ncert_file = \"x\"", []string{"api.key_file: is required"}},
	} {
		text := strings.Replace(goodConfig, tc.old, tc.new, 1)
		_, _, err := load(t, text)
		if !errors.Is(err, ErrConfig) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, want := range tc.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: error %q lacks %q", name, err, want)
			}
		}
	}
	if _, err := Load(filepath.Join(t.TempDir(), "absent")); !errors.Is(err, ErrConfig) || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	t.Setenv("HUBBUB_LIMITS__QUEUED_PER_PEER", "many")
	if _, _, err := load(t, goodConfig); err == nil || !strings.Contains(err.Error(), "HUBBUB_LIMITS__QUEUED_PER_PEER must be a number") {
		t.Errorf("not a number: %v", err)
	}
	t.Setenv("HUBBUB_LIMITS__QUEUED_PER_PEER", "50")
	t.Setenv("HUBBUB_LOG__LEVLE", "debug")
	if _, _, err := load(t, goodConfig); err == nil || !strings.Contains(err.Error(), "HUBBUB_LOG__LEVEL") {
		t.Errorf("misspelt variable: %v", err)
	}
}

// Every field must carry a key, or the environment and the reference miss it.
func TestEveryFieldHasAKey(t *testing.T) {
	for key := range keys(reflect.ValueOf(&Config{}).Elem(), "") {
		if strings.HasSuffix(key, ".") || key == "" {
			t.Errorf("field without a toml tag near %q", key)
		}
	}
}
