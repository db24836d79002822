package mls

import (
	"testing"
	"time"

	"hubbub/mls/wire"
)

// passiveCase is a client that only listens: it joins and follows commits.
type passiveCase struct {
	Suite          CipherSuite `json:"cipher_suite"`
	KeyPackage     octets      `json:"key_package"`
	SignaturePriv  octets      `json:"signature_priv"`
	EncryptionPriv octets      `json:"encryption_priv"`
	InitPriv       octets      `json:"init_priv"`
	Welcome        octets
	RatchetTree    octets `json:"ratchet_tree"`
	Authenticator  octets `json:"initial_epoch_authenticator"`
	PSKs           []struct {
		ID  octets `json:"psk_id"`
		PSK octets
	} `json:"external_psks"`
	Epochs []struct {
		Proposals     []octets
		Commit        octets
		Authenticator octets `json:"epoch_authenticator"`
	}
}

// join enters the group as the vector's client.
func (c *passiveCase) join(t *testing.T, cfg *Config) *Group {
	t.Helper()
	kp := must[*Message](t)(ParseMessage(c.KeyPackage)).KeyPackage
	secret := &KeyPackageSecret{KeyPackage: kp, InitPrivate: c.InitPriv, EncryptionPrivate: c.EncryptionPriv,
		Signer: &SignatureKey{Suite: c.Suite, Private: SignaturePrivateKey(c.SignaturePriv), Public: kp.LeafNode.SignatureKey}}
	var o JoinOptions
	if len(c.RatchetTree) > 0 {
		if err := wire.Unmarshal(c.RatchetTree, &o.Tree); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range c.PSKs {
		o.PSKs = append(o.PSKs, PSK{ID: PreSharedKeyID{Type: PSKTypeExternal, ID: p.ID}, Secret: p.PSK})
	}
	g, err := JoinWelcome(must[*Message](t)(ParseMessage(c.Welcome)).Welcome, secret, o, cfg)
	if err != nil {
		t.Fatalf("join: %v", err)
	}
	wantBytes(t, "initial epoch authenticator", g.EpochAuthenticator(), c.Authenticator)
	return g.WithPSKs(o.PSKs...)
}

// reload stores and restores a group.
func reload(t *testing.T, g *Group) *Group {
	t.Helper()
	b, err := g.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	next, err := UnmarshalGroup(b, g.config())
	if err != nil {
		t.Fatal(err)
	}
	return next
}

func (c *passiveCase) run(t *testing.T, cfg *Config) (commits int) {
	t.Helper()
	g := c.join(t, cfg)
	for i, e := range c.Epochs {
		g = reload(t, g)
		for _, p := range e.Proposals {
			got, err := g.Process(p)
			if err != nil {
				t.Fatalf("epoch %d: proposal: %v", i, err)
			}
			g = got.(*ProposalReceived).Next
		}
		got, err := g.Process(e.Commit)
		if err != nil {
			t.Fatalf("epoch %d: commit: %v", i, err)
		}
		g = got.(*CommitReceived).Merge()
		wantBytes(t, "epoch authenticator", g.EpochAuthenticator(), e.Authenticator)
		commits++
	}
	return commits
}

func runPassive(t *testing.T, file string, run, skipped, commits int) {
	var cases []passiveCase
	readTreeVectors(t, file, &cases)
	// The vectors' KeyPackages are valid at different times and for ever.
	cfg := &Config{MaxLifetime: -1, Now: func() time.Time { return time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC) }}
	var n counter
	total := 0
	for i := range cases {
		if !n.supported(cases[i].Suite) {
			continue
		}
		total += cases[i].run(t, cfg)
	}
	n.check(t, run, skipped)
	if total != commits {
		t.Fatalf("followed %d commits, want %d", total, commits)
	}
}

func TestVectorsPassiveClientWelcome(t *testing.T) {
	runPassive(t, "passive-client-welcome.json", 56, 0, 0)
}

func TestVectorsPassiveClientHandlingCommit(t *testing.T) {
	runPassive(t, "passive-client-handling-commit.json", 91, 0, 182)
}

func TestVectorsPassiveClientRandom(t *testing.T) {
	runPassive(t, "passive-client-random.json", 1, 0, 200)
}

func TestVectorsPassiveInteropApplication(t *testing.T) {
	runPassive(t, "passive-interop/application.json", 42, 0, 0)
}

func TestVectorsPassiveInteropExternalJoin(t *testing.T) {
	runPassive(t, "passive-interop/external_join.json", 42, 0, 28)
}

func TestVectorsPassiveInteropExternalProposals(t *testing.T) {
	runPassive(t, "passive-interop/external_proposals.json", 196, 0, 322)
}

func TestVectorsPassiveInteropWelcomeJoin(t *testing.T) {
	runPassive(t, "passive-interop/welcome_join.json", 56, 0, 0)
}

func TestVectorsPassiveInteropBranch(t *testing.T) {
	runPassive(t, "passive-interop/branch.json", 224, 0, 0)
}
