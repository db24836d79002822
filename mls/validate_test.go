package mls

import (
	"bytes"
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"hubbub/mls/wire"
)

// negative is an input that one rule forbids. try returns the error of the
// operation under test; reason is a part of the message that only this rule
// produces.
type negative struct {
	name   string
	reason string
	try    func(f *fixture) error
}

// runNegatives tries each case on a fresh group of five. Every case must fail
// for its own reason, or the test would pass by accident.
func runNegatives(t *testing.T, cfg *Config, cases []negative) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t, 5, cfg, nil)
			group := f.group
			err := c.try(f)
			if err == nil {
				t.Fatal("accepted")
			}
			if !strings.Contains(err.Error(), c.reason) {
				t.Fatalf("refused for another reason: %v", err)
			}
			if group.Epoch() != 1 || len(group.Cached()) != 0 {
				t.Error("the refused input changed the group")
			}
		})
	}
}

// list tries a list in a regular commit by member 0. Its path is that of an
// empty commit: the list is judged first.
func list(entries func(f *fixture) []ProposalOrRef) func(f *fixture) error {
	return func(f *fixture) error {
		l := entries(f)
		path := f.path(member(0), *f.group.Leaf(0), f.keys[0], nil)
		_, err := f.group.Commit(f.message(member(0), f.keys[0], nil, &Commit{Proposals: l, Path: path}))
		return err
	}
}

// valued is list for proposals by value.
func valued(p func(f *fixture) []Proposal) func(f *fixture) error {
	return list(func(f *fixture) []ProposalOrRef { return values(p(f)...) })
}

// alone tries a proposal message of member 1.
func alone(p func(f *fixture) Proposal) func(f *fixture) error {
	return func(f *fixture) error {
		_, err := f.propose(member(1), f.keys[1], p(f))
		return err
	}
}

// TestExternalSenderRules covers MLSD-5.
func TestExternalSenderRules(t *testing.T) {
	external := func(p func(f *fixture) Proposal) func(f *fixture) error {
		return func(f *fixture) error {
			_, err := f.propose(Sender{Type: SenderTypeExternal}, f.external, p(f))
			return err
		}
	}
	runNegatives(t, nil, []negative{
		{"update", "update from an external sender", external(func(f *fixture) Proposal { return f.update(1, nil) })},
		{"self_remove", "self_remove from an external sender", external(func(*fixture) Proposal { return selfRemove() })},
		{"external_init", "external_init from an external sender", external(func(*fixture) Proposal { return externalInit() })},
		{"unknown index", "unknown external sender", func(f *fixture) error {
			_, err := f.propose(Sender{Type: SenderTypeExternal, SenderIndex: 1}, f.external, removeOf(1))
			return err
		}},
		{"wrong key", "bad signature", func(f *fixture) error {
			_, err := f.propose(Sender{Type: SenderTypeExternal}, f.keys[0], removeOf(1))
			return err
		}},
		{"new member removes", "own addition only", func(f *fixture) error {
			_, err := f.propose(Sender{Type: SenderTypeNewMemberProposal}, f.keys[0], removeOf(1))
			return err
		}},
		{"new member adds another", "bad signature", func(f *fixture) error {
			_, err := f.propose(Sender{Type: SenderTypeNewMemberProposal}, f.keys[0], addOf(f.keyPackage(nil)))
			return err
		}},
		{"private message", "not public", func(f *fixture) error {
			p := removeOf(1)
			a := f.message(Sender{Type: SenderTypeExternal}, f.external, &p, nil).Authenticated()
			a.WireFormat = WireFormatPrivateMessage
			_, err := f.group.checkProposal(a)
			return err
		}},
		{"commit", "unknown external sender", func(f *fixture) error {
			_, err := f.group.Commit(f.message(Sender{Type: SenderTypeExternal}, f.external, nil, &Commit{Proposals: values(removeOf(1))}))
			return err
		}},
	})
}

// TestRegularListRules covers MLSD-6.
func TestRegularListRules(t *testing.T) {
	runNegatives(t, nil, []negative{
		{"own update by value", "update of the committer", valued(func(f *fixture) []Proposal { return []Proposal{f.update(0, nil)} })},
		{"own update by reference", "update of the committer", list(func(f *fixture) []ProposalOrRef {
			return []ProposalOrRef{f.mustPropose(0, f.update(0, nil))}
		})},
		{"self removal", "removal of the committer", valued(func(*fixture) []Proposal { return []Proposal{removeOf(0)} })},
		{"own self_remove", "self_remove by value or of the committer", list(func(f *fixture) []ProposalOrRef {
			return []ProposalOrRef{f.mustPropose(0, selfRemove())}
		})},
		{"self_remove by value", "self_remove by value or of the committer", valued(func(*fixture) []Proposal { return []Proposal{selfRemove()} })},
		{"two removes", "several updates or removals of leaf 2", valued(func(*fixture) []Proposal { return []Proposal{removeOf(2), removeOf(2)} })},
		{"two updates", "several updates or removals of leaf 2", list(func(f *fixture) []ProposalOrRef {
			return []ProposalOrRef{f.mustPropose(2, f.update(2, nil)), f.mustPropose(2, f.update(2, nil))}
		})},
		{"update and remove", "several updates or removals of leaf 2", list(func(f *fixture) []ProposalOrRef {
			return []ProposalOrRef{f.mustPropose(2, f.update(2, nil)), byValue(removeOf(2))}
		})},
		{"remove and self_remove", "several updates or removals of leaf 2", list(func(f *fixture) []ProposalOrRef {
			return []ProposalOrRef{byValue(removeOf(2)), f.mustPropose(2, selfRemove())}
		})},
		{"one reference twice", "referred to twice", list(func(f *fixture) []ProposalOrRef {
			ref := f.mustPropose(2, appData(0x22, "x"))
			return []ProposalOrRef{ref, ref}
		})},
		{"one client twice", "added client is a member already", valued(func(f *fixture) []Proposal {
			a := f.keyPackage(nil)
			b := f.keyPackage(func(o *KeyPackageOptions) { o.Signer = a.Signer })
			return []Proposal{addOf(a), addOf(b)}
		})},
		{"member added", "added client is a member already", valued(func(f *fixture) []Proposal {
			return []Proposal{addOf(f.keyPackage(func(o *KeyPackageOptions) { o.Signer = f.keys[3] }))}
		})},
		{"psk twice", "pre-shared key referred to twice", valued(func(*fixture) []Proposal { return []Proposal{pskOf("p", 32), pskOf("p", 32)} })},
		{"two group_context_extensions", "several group_context_extensions", valued(func(f *fixture) []Proposal {
			p := contextExtensions(f.group.Context().Extensions)
			return []Proposal{p, p}
		})},
		{"reinit with another", "reinit together with other", valued(func(*fixture) []Proposal { return []Proposal{reInit(), pskOf("p", 32)} })},
		{"another with reinit", "reinit together with other", valued(func(*fixture) []Proposal { return []Proposal{pskOf("p", 32), reInit()} })},
		{"external_init", "external_init in a regular commit", valued(func(*fixture) []Proposal { return []Proposal{externalInit()} })},
		{"unknown type", "not supported", valued(func(*fixture) []Proposal { return []Proposal{{Type: 0xf123, Raw: []byte{1}}} })},
		{"everything removed below", "removal of a blank leaf", func(f *fixture) error {
			// A proposal that was valid when it was cached.
			ref := f.mustPropose(1, removeOf(2))
			s, err := f.group.resolve([]ProposalOrRef{ref}, member(0))
			if err != nil {
				return err
			}
			p := *f.group
			p.tree = p.tree.set(2, nil, blankAbove)
			st := &staged{base: f.group, proposed: p.tree, proposals: s}
			return st.applyRemove(2)
		}},
	})
}

// TestProposalTypeSupport: members who stay must know a type, those who are
// removed need not (MLSD-6).
func TestProposalTypeSupport(t *testing.T) {
	f := newFixture(t, 3, nil, func(x Extensions) Extensions { return x.Without(ExtensionTypeRequiredCapabilities) })
	old := f.keyPackage(func(o *KeyPackageOptions) {
		o.Capabilities.Proposals = []ProposalType{ProposalTypeAppDataUpdate}
	})
	f.apply(f.bare(0, values(addOf(old))))
	f.keys[3] = old.Signer
	if _, err := f.propose(member(1), f.keys[1], selfRemove()); err == nil || !strings.Contains(err.Error(), "not supported by all members") {
		t.Errorf("self_remove in a group that is not capable: %v", err)
	}
	if _, err := f.group.Commit(f.bare(0, values(ephemeral(1, "")))); err == nil || !strings.Contains(err.Error(), "not supported by all members") {
		t.Errorf("app_ephemeral in a group that is not capable: %v", err)
	}
	f.apply(f.commit(0, values(ephemeral(1, ""), removeOf(3))))
	// Somebody added does not process the commit either.
	again := f.keyPackage(func(o *KeyPackageOptions) { o.Capabilities.Proposals = nil })
	f.apply(f.bare(0, values(ephemeral(1, ""), addOf(again))))
}

// TestExternalCommitRules covers MLSD-7.
func TestExternalCommitRules(t *testing.T) {
	join := func(entries func(f *fixture) []ProposalOrRef) func(f *fixture) error {
		return func(f *fixture) error {
			kp := f.keyPackage(nil)
			l := entries(f)
			path := f.path(newMember, kp.KeyPackage.LeafNode, kp.Signer, values(externalInit()))
			_, err := f.group.Commit(f.message(newMember, kp.Signer, nil, &Commit{Proposals: l, Path: path}))
			return err
		}
	}
	by := func(list ...Proposal) func(f *fixture) error {
		return join(func(*fixture) []ProposalOrRef { return values(list...) })
	}
	reference := func(p func(f *fixture) Proposal) func(f *fixture) error {
		return join(func(f *fixture) []ProposalOrRef {
			return append(values(externalInit()), f.mustPropose(2, p(f)))
		})
	}
	runNegatives(t, nil, []negative{
		{"no external_init", "with 0 external_inits", by()},
		{"two external_inits", "with 2 external_inits", by(externalInit(), externalInit())},
		{"two removes", "several removals", by(externalInit(), removeOf(1), removeOf(2))},
		{"add", "add in an external commit", join(func(f *fixture) []ProposalOrRef { return values(externalInit(), addOf(f.keyPackage(nil))) })},
		{"update", "update in an external commit", join(func(f *fixture) []ProposalOrRef { return values(externalInit(), f.update(1, nil)) })},
		{"reinit", "reinit in an external commit", by(externalInit(), reInit())},
		{"group_context_extensions", "group_context_extensions in an external commit", by(externalInit(), contextExtensions(nil))},
		{"psk twice", "referred to twice", by(externalInit(), pskOf("p", 32), pskOf("p", 32))},
		{"self_remove by value", "self_remove by the wrong means", by(externalInit(), selfRemove())},
		{"remove by reference", "remove by the wrong means", reference(func(*fixture) Proposal { return removeOf(1) })},
		{"psk by reference", "psk by the wrong means", reference(func(*fixture) Proposal { return pskOf("p", 32) })},
		{"app_data_update by reference", "app_data_update by the wrong means", reference(func(*fixture) Proposal { return appData(0x22, "x") })},
		{"self_remove twice", "several self_removes", join(func(f *fixture) []ProposalOrRef {
			ref := f.mustPropose(2, selfRemove())
			return append(values(externalInit()), ref, ref)
		})},
		{"remove after self_remove", "removal of a blank leaf", join(func(f *fixture) []ProposalOrRef {
			return append(values(externalInit(), removeOf(2)), f.mustPropose(2, selfRemove()))
		})},
		{"no path", "external commit without a path", func(f *fixture) error {
			_, err := f.group.Commit(f.message(newMember, f.external, nil, &Commit{Proposals: values(externalInit())}))
			return err
		}},
		{"signed by another key", "bad signature", func(f *fixture) error {
			kp := f.keyPackage(nil)
			m := f.join(kp, values(externalInit()))
			_, err := f.group.Commit(f.message(newMember, f.external, nil, m.Content.Commit))
			return err
		}},
		{"signature key of a member", "signature key is not unique", func(f *fixture) error {
			kp := f.keyPackage(func(o *KeyPackageOptions) { o.Signer = f.keys[2] })
			_, err := f.group.Commit(f.join(kp, values(externalInit())))
			return err
		}},
		{"leaf at another place", "leaf signature", func(f *fixture) error {
			kp := f.keyPackage(nil)
			m := f.join(kp, values(externalInit()))
			l := &m.Content.Commit.Path.LeafNode
			if err := l.sign(1, kp.Signer.Private, f.group.GroupID(), 6); err != nil {
				return err
			}
			_, err := f.group.Commit(f.message(newMember, kp.Signer, nil, m.Content.Commit))
			return err
		}},
	})
}

// TestPathRequired covers MLSD-9.
func TestPathRequired(t *testing.T) {
	const reason = "without the path it needs"
	pathless := func(entries func(f *fixture) []ProposalOrRef) func(f *fixture) error {
		return func(f *fixture) error {
			_, err := f.group.Commit(f.bare(0, entries(f)))
			return err
		}
	}
	runNegatives(t, nil, []negative{
		{"empty", reason, pathless(func(*fixture) []ProposalOrRef { return nil })},
		{"remove", reason, pathless(func(*fixture) []ProposalOrRef { return values(removeOf(2)) })},
		{"update", reason, pathless(func(f *fixture) []ProposalOrRef {
			return []ProposalOrRef{f.mustPropose(2, f.update(2, nil))}
		})},
		{"self_remove", reason, pathless(func(f *fixture) []ProposalOrRef {
			return []ProposalOrRef{f.mustPropose(2, selfRemove())}
		})},
		{"group_context_extensions", reason, pathless(func(f *fixture) []ProposalOrRef {
			return values(contextExtensions(f.group.Context().Extensions))
		})},
		{"add and remove", reason, pathless(func(f *fixture) []ProposalOrRef {
			return values(addOf(f.keyPackage(nil)), removeOf(2))
		})},
	})
}

// TestLeafRules covers MLSD-10 and MLSD-25, as far as they concern Adds.
func TestLeafRules(t *testing.T) {
	add := func(change func(*KeyPackageOptions), after func(f *fixture, kp *KeyPackageSecret)) func(f *fixture) error {
		return valued(func(f *fixture) []Proposal {
			kp := f.keyPackage(change)
			if after != nil {
				after(f, kp)
			}
			return []Proposal{addOf(kp)}
		})
	}
	capabilities := func(change func(*Capabilities)) func(f *fixture) error {
		return add(func(o *KeyPackageOptions) { change(o.Capabilities) }, nil)
	}
	signed := func(change func(f *fixture, k *KeyPackage)) func(f *fixture) error {
		return add(nil, func(f *fixture, kp *KeyPackageSecret) {
			change(f, kp.KeyPackage)
			resign(f.t, kp)
		})
	}
	day := 24 * time.Hour
	runNegatives(t, nil, []negative{
		{"key package signature", "key package signature", add(nil, func(_ *fixture, kp *KeyPackageSecret) { kp.KeyPackage.Signature[3] ^= 1 })},
		{"leaf signature", "leaf signature", add(nil, func(f *fixture, kp *KeyPackageSecret) {
			kp.KeyPackage.LeafNode.Signature[3] ^= 1
			if err := kp.KeyPackage.sign(kp.Signer.Private); err != nil {
				f.t.Fatal(err)
			}
		})},
		{"version", "another version or cipher suite", signed(func(_ *fixture, k *KeyPackage) { k.Version = 2 })},
		{"suite", "another version or cipher suite", add(nil, func(_ *fixture, kp *KeyPackageSecret) { kp.KeyPackage.CipherSuite = 3 })},
		{"source", "leaf of the key package has another source", signed(func(_ *fixture, k *KeyPackage) { k.LeafNode.Source = LeafNodeSourceUpdate })},
		{"init key", "init key equals", signed(func(_ *fixture, k *KeyPackage) { k.InitKey = k.LeafNode.EncryptionKey })},
		{"malformed init key", "init key", signed(func(_ *fixture, k *KeyPackage) { k.InitKey = []byte{1, 2, 3} })},
		{"malformed encryption key", "leaf encryption key", signed(func(_ *fixture, k *KeyPackage) { k.LeafNode.EncryptionKey = []byte{1, 2, 3} })},
		{"encryption key of a leaf", "encryption key of the added client is in use", signed(func(f *fixture, k *KeyPackage) {
			k.LeafNode.EncryptionKey = f.group.Leaf(1).EncryptionKey
		})},
		{"encryption key of a parent", "encryption key of the added client is in use", signed(func(f *fixture, k *KeyPackage) {
			k.LeafNode.EncryptionKey = f.group.tree.root.parent.EncryptionKey
		})},
		{"no version", "does not support the protocol version", capabilities(func(c *Capabilities) { c.Versions = nil })},
		{"own credential", "its own credential type", capabilities(func(c *Capabilities) { c.Credentials = []CredentialType{CredentialTypeX509} })},
		{"required extension", "does not support extension app_data_dictionary", add(func(o *KeyPackageOptions) { o.Capabilities.Extensions = nil }, nil)},
		{"required proposal", "required proposal self_remove", capabilities(func(c *Capabilities) {
			c.Proposals = []ProposalType{ProposalTypeAppDataUpdate}
		})},
		{"own extension", "does not list its own extension", signed(func(_ *fixture, k *KeyPackage) {
			k.LeafNode.Extensions = append(k.LeafNode.Extensions, Extension{Type: 0xf001})
		})},
		{"extension twice", "occurs twice", signed(func(_ *fixture, k *KeyPackage) {
			k.LeafNode.Extensions = Extensions{{Type: ExtensionTypeApplicationID}, {Type: ExtensionTypeApplicationID}}
		})},
		{"key package extension twice", "occurs twice", signed(func(_ *fixture, k *KeyPackage) {
			k.Extensions = Extensions{{Type: 0x0a0a}, {Type: 0x0a0a}}
		})},
		{"dictionary", "malformed extension app_data_dictionary", signed(func(_ *fixture, k *KeyPackage) {
			k.LeafNode.Extensions = Extensions{{Type: ExtensionTypeAppDataDictionary, Data: []byte{6, 0, 2, 0, 0, 1, 0}}}
		})},
		{"expired", "not valid at this time", add(func(o *KeyPackageOptions) {
			o.NotBefore, o.NotAfter = time.Now().Add(-2*day), time.Now().Add(-day)
		}, nil)},
		{"not yet", "not valid at this time", add(func(o *KeyPackageOptions) {
			o.NotBefore, o.NotAfter = time.Now().Add(day), time.Now().Add(2*day)
		}, nil)},
		{"too long", "too long", add(func(o *KeyPackageOptions) {
			o.NotBefore, o.NotAfter = time.Now().Add(-day), time.Now().Add(84*day)
		}, nil)},
		{"foreign credential type", "required credential", func(f *fixture) error {
			x := f.group.Context().Extensions.Set(ExtensionTypeRequiredCapabilities, encoded(&RequiredCapabilities{
				Credentials: []CredentialType{CredentialTypeMulti},
			}))
			p := *f.group
			p.context = &GroupContext{Version: MLS10, CipherSuite: 1, GroupID: []byte("group"), Epoch: 1, Extensions: x}
			_, err := p.stage(member(0), []ResolvedProposal{{Proposal: values(addOf(f.keyPackage(nil)))[0].Proposal, Sender: member(0), ByValue: true}})
			return err
		}},
	})
}

// TestCredentialSupport: each credential type in use must be supported by all
// (MLSD-10), in both directions.
func TestCredentialSupport(t *testing.T) {
	x509Only := func(o *KeyPackageOptions) {
		o.Credential = certificate(t, o.Signer)
		o.Capabilities.Credentials = []CredentialType{CredentialTypeX509}
	}
	f := newFixture(t, 3, nil, nil)
	if _, err := f.group.Commit(f.bare(0, values(addOf(f.keyPackage(x509Only))))); err == nil || !strings.Contains(err.Error(), "basic is not supported by all") {
		t.Errorf("newcomer does not support the members' type: %v", err)
	}
	basicOnly := func(o *KeyPackageOptions) { o.Capabilities.Credentials = []CredentialType{CredentialTypeBasic} }
	f.apply(f.bare(0, values(addOf(f.keyPackage(basicOnly)))))
	x509 := func(o *KeyPackageOptions) {
		o.Credential = certificate(t, o.Signer)
	}
	if _, err := f.group.Commit(f.bare(0, values(addOf(f.keyPackage(x509))))); err == nil || !strings.Contains(err.Error(), "x509 is not supported by all") {
		t.Errorf("a member does not support the newcomer's type: %v", err)
	}
	f.apply(f.commit(0, values(removeOf(3), addOf(f.keyPackage(x509)))))
}

// TestUpdateRules covers MLSD-10 for Updates.
func TestUpdateRules(t *testing.T) {
	cfg := &Config{Successor: func(old, new *Credential) error {
		if !bytes.HasPrefix(new.Identity, old.Identity) {
			return errors.New("another client")
		}
		return nil
	}}
	update := func(change func(f *fixture, l *LeafNode)) func(f *fixture) error {
		return alone(func(f *fixture) Proposal { return f.update(1, func(l *LeafNode) { change(f, l) }) })
	}
	runNegatives(t, cfg, []negative{
		{"same key", "encryption key is not new", update(func(f *fixture, l *LeafNode) { l.EncryptionKey = f.group.Leaf(1).EncryptionKey })},
		{"source", "leaf of the update has another source", update(func(_ *fixture, l *LeafNode) { l.Source = LeafNodeSourceCommit })},
		{"capabilities", "does not support extension", update(func(_ *fixture, l *LeafNode) {
			l.Capabilities.Extensions, l.Extensions = nil, nil
		})},
		{"credential", "credential is no successor", update(func(_ *fixture, l *LeafNode) { l.Credential = BasicCredential([]byte("mallory")) })},
		{"signature", "leaf signature", alone(func(f *fixture) Proposal {
			p := f.update(1, nil)
			p.Update.LeafNode.Signature[0] ^= 1
			return p
		})},
		{"of another leaf", "leaf signature", func(f *fixture) error {
			p := f.update(1, nil)
			if err := p.Update.LeafNode.sign(1, f.keys[1].Private, f.group.GroupID(), 2); err != nil {
				return err
			}
			_, err := f.propose(member(1), f.keys[1], p)
			return err
		}},
		{"key of another member", "encryption key is not unique", func(f *fixture) error {
			ref := f.mustPropose(1, f.update(1, func(l *LeafNode) { l.EncryptionKey = f.group.Leaf(2).EncryptionKey }))
			_, err := f.group.Commit(f.commit(0, []ProposalOrRef{ref}))
			return err
		}},
		{"signature key of another member", "signature key is not unique", func(f *fixture) error {
			f.keys[1] = f.keys[2]
			l := f.update(1, func(l *LeafNode) { l.SignatureKey = f.keys[2].Public })
			r := ResolvedProposal{Ref: []byte("ref"), Proposal: &l, Sender: member(1)}
			s, err := f.group.stage(member(0), []ResolvedProposal{r})
			if err != nil {
				return err
			}
			if _, err := s.createPath(*f.group.Leaf(0), f.keys[0].Private, rand.Reader); err != nil {
				return err
			}
			return s.check()
		}},
	})
	f := newFixture(t, 2, cfg, nil)
	if _, err := f.propose(member(1), f.keys[1], f.update(1, func(l *LeafNode) {
		l.Credential = BasicCredential(append(slices.Clone(l.Credential.Identity), '+'))
	})); err != nil {
		t.Errorf("acceptable successor: %v", err)
	}
}

// TestCredentialHook: Config.Validate is asked wherever a credential enters.
func TestCredentialHook(t *testing.T) {
	refused := errors.New("unknown issuer")
	cfg := &Config{Validate: func(c *Credential, key []byte) error {
		if bytes.Equal(c.Identity, []byte("mallory")) || len(key) == 0 {
			return refused
		}
		return nil
	}}
	mallory := func(o *KeyPackageOptions) { o.Credential = BasicCredential([]byte("mallory")) }
	for name, try := range map[string]func(f *fixture) error{
		"add": valued(func(f *fixture) []Proposal { return []Proposal{addOf(f.keyPackage(mallory))} }),
		"update": alone(func(f *fixture) Proposal {
			return f.update(1, func(l *LeafNode) { l.Credential.Identity = []byte("mallory") })
		}),
		"external sender": alone(func(f *fixture) Proposal {
			return contextExtensions(f.group.Context().Extensions.Set(ExtensionTypeExternalSenders, encoded(ExternalSenders{
				{SignatureKey: f.external.Public, Credential: BasicCredential([]byte("mallory"))},
			})))
		}),
		"path": func(f *fixture) error {
			p := *f.group
			p.config = nil
			kp := f.keyPackage(mallory)
			f.group = &p
			m := f.join(kp, values(externalInit()))
			p2 := p
			p2.config = cfg
			_, err := p2.Commit(m)
			return err
		},
		"tree": func(f *fixture) error {
			gi := &GroupInfo{GroupContext: *f.group.Context(), ConfirmationTag: f.group.ConfirmationTag()}
			if err := gi.Sign(f.keys[0].Private); err != nil {
				return err
			}
			_, err := NewPublicGroup(gi, f.group.Tree(), &Config{Validate: func(c *Credential, _ []byte) error {
				if bytes.Equal(c.Identity, f.group.Leaf(1).Credential.Identity) {
					return refused
				}
				return nil
			}})
			return err
		},
	} {
		if err := try(newFixture(t, 3, cfg, nil)); !errors.Is(err, refused) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestPathRules covers MLSD-11.
func TestPathRules(t *testing.T) {
	// path tries member 0's empty commit after a change to its path; the leaf
	// is signed again.
	path := func(change func(f *fixture, p *UpdatePath)) func(f *fixture) error {
		return func(f *fixture) error {
			c := f.commit(0, nil).Content.Commit
			change(f, c.Path)
			if err := c.Path.LeafNode.sign(1, f.keys[0].Private, f.group.GroupID(), 0); err != nil {
				return err
			}
			_, err := f.group.Commit(f.message(member(0), f.keys[0], nil, c))
			return err
		}
	}
	runNegatives(t, nil, []negative{
		{"node missing", "nodes, want", path(func(_ *fixture, p *UpdatePath) { p.Nodes = p.Nodes[1:] })},
		{"node too many", "nodes, want", path(func(_ *fixture, p *UpdatePath) { p.Nodes = append(p.Nodes, p.Nodes[0]) })},
		{"ciphertext missing", "times, want", path(func(_ *fixture, p *UpdatePath) { p.Nodes[1].EncryptedPathSecret = nil })},
		{"ciphertext too many", "times, want", path(func(_ *fixture, p *UpdatePath) {
			p.Nodes[0].EncryptedPathSecret = append(p.Nodes[0].EncryptedPathSecret, HPKECiphertext{})
		})},
		{"parent hash", "parent hash of the new leaf", path(func(_ *fixture, p *UpdatePath) { p.LeafNode.ParentHash[0] ^= 1 })},
		{"node key changed", "parent hash of the new leaf", path(func(f *fixture, p *UpdatePath) {
			_, p.Nodes[0].EncryptionKey, _ = leafSuite.GenerateHPKEKey(rand.Reader)
		})},
		{"malformed node key", "encryption key of the path", path(func(_ *fixture, p *UpdatePath) { p.Nodes[0].EncryptionKey = []byte{1} })},
		{"node key of a leaf", "key 0 of the path is already in use", path(func(f *fixture, p *UpdatePath) {
			p.Nodes[0].EncryptionKey = f.group.Leaf(3).EncryptionKey
		})},
		{"old node key", "of the path is already in use", path(func(f *fixture, p *UpdatePath) {
			p.Nodes[2].EncryptionKey = f.group.tree.root.parent.EncryptionKey
		})},
		{"leaf key of another leaf", "encryption key of the new leaf is already in use", path(func(f *fixture, p *UpdatePath) {
			p.LeafNode.EncryptionKey = f.group.Leaf(3).EncryptionKey
		})},
		{"own leaf key", "encryption key is not new", path(func(f *fixture, p *UpdatePath) {
			p.LeafNode.EncryptionKey = f.group.Leaf(0).EncryptionKey
		})},
		{"leaf source", "leaf of the path has another source", path(func(_ *fixture, p *UpdatePath) { p.LeafNode.Source = LeafNodeSourceUpdate })},
		{"leaf capabilities", "does not support extension", path(func(_ *fixture, p *UpdatePath) {
			p.LeafNode.Capabilities.Extensions, p.LeafNode.Extensions = nil, nil
		})},
		{"leaf signature", "leaf signature", func(f *fixture) error {
			c := f.commit(0, nil).Content.Commit
			c.Path.LeafNode.Signature[5] ^= 1
			_, err := f.group.Commit(f.message(member(0), f.keys[0], nil, c))
			return err
		}},
		{"one key twice", "repeated in the path", func(f *fixture) error {
			// The parent hashes fit: only the repetition is wrong.
			steps := f.group.tree.filteredPath(0)
			_, key, err := leafSuite.GenerateHPKEKey(rand.Reader)
			if err != nil {
				return err
			}
			keys := make([][]byte, len(steps))
			p := f.path(member(0), *f.group.Leaf(0), f.keys[0], nil)
			for i := range keys {
				keys[i], p.Nodes[i].EncryptionKey = key, key
			}
			if _, p.LeafNode.ParentHash, err = f.group.tree.pathParents(steps, keys); err != nil {
				return err
			}
			if err := p.LeafNode.sign(1, f.keys[0].Private, f.group.GroupID(), 0); err != nil {
				return err
			}
			_, err = f.group.Commit(f.message(member(0), f.keys[0], nil, &Commit{Path: p}))
			return err
		}},
		{"new leaf as recipient", "times, want", func(f *fixture) error {
			// A path made as if the added member were an old one.
			l := values(addOf(f.keyPackage(nil)))
			resolved, err := f.group.resolve(l, member(0))
			if err != nil {
				return err
			}
			s, err := f.group.stage(member(0), resolved)
			if err != nil {
				return err
			}
			s.addedLeaves = nil
			own, err := s.createPath(*f.group.Leaf(0), f.keys[0].Private, rand.Reader)
			if err != nil {
				return err
			}
			p, err := own.encrypt(1, nil)
			if err != nil {
				return err
			}
			_, err = f.group.Commit(f.message(member(0), f.keys[0], nil, &Commit{Proposals: l, Path: p}))
			return err
		}},
	})
}

// TestMessageRules covers MLSD-2 and MLSD-3.
func TestMessageRules(t *testing.T) {
	try := func(change func(m *PublicMessage)) func(f *fixture) error {
		return func(f *fixture) error {
			m := f.commit(0, nil)
			change(m)
			_, err := f.group.Commit(m)
			return err
		}
	}
	runNegatives(t, nil, []negative{
		{"older epoch", ErrWrongEpoch.Error(), try(func(m *PublicMessage) { m.Content.Epoch-- })},
		{"newer epoch", ErrFutureEpoch.Error(), try(func(m *PublicMessage) { m.Content.Epoch++ })},
		{"group", ErrWrongGroup.Error(), try(func(m *PublicMessage) { m.Content.GroupID = []byte("other") })},
		{"blank sender", ErrNotMember.Error(), try(func(m *PublicMessage) { m.Content.Sender.LeafIndex = 6 })},
		{"sender out of range", ErrNotMember.Error(), try(func(m *PublicMessage) { m.Content.Sender.LeafIndex = 1 << 31 })},
		{"another sender", ErrBadSignature.Error(), try(func(m *PublicMessage) { m.Content.Sender.LeafIndex = 1 })},
		{"authenticated data", ErrBadSignature.Error(), try(func(m *PublicMessage) { m.Content.AuthenticatedData = []byte{1} })},
		{"confirmation tag", "wrong length", try(func(m *PublicMessage) { m.Auth.ConfirmationTag = nil })},
		{"proposal", "not a commit", func(f *fixture) error {
			p := pskOf("p", 32)
			_, err := f.group.Commit(f.message(member(0), f.keys[0], &p, nil))
			return err
		}},
		{"commit", "not a proposal", func(f *fixture) error {
			_, err := f.group.Proposal(f.commit(0, nil))
			return err
		}},
		{"context of another epoch", ErrBadSignature.Error(), func(f *fixture) error {
			m := f.commit(0, nil)
			a := m.Authenticated()
			context := *f.group.Context()
			context.Epoch++
			if err := a.Sign(1, f.keys[0].Private, &context); err != nil {
				return err
			}
			m.Auth = a.Auth
			_, err := f.group.Commit(m)
			return err
		}},
	})
}

// TestSingleProposalRules covers what a proposal can break by itself.
func TestSingleProposalRules(t *testing.T) {
	x := func(f *fixture) Extensions { return f.group.Context().Extensions }
	gce := func(change func(f *fixture) Extensions) func(f *fixture) error {
		return alone(func(f *fixture) Proposal { return contextExtensions(change(f)) })
	}
	required := func(c RequiredCapabilities) func(f *fixture) error {
		return valued(func(f *fixture) []Proposal {
			c.Proposals = append(c.Proposals, ProposalTypeAppDataUpdate)
			return []Proposal{contextExtensions(x(f).Set(ExtensionTypeRequiredCapabilities, encoded(&c)))}
		})
	}
	psk := func(id PreSharedKeyID) func(f *fixture) error {
		return alone(func(*fixture) Proposal { return Proposal{Type: ProposalTypePSK, PSK: &id} })
	}
	nonce := make([]byte, 32)
	runNegatives(t, nil, []negative{
		{"remove of a blank leaf", "remove of a blank leaf", alone(func(*fixture) Proposal { return removeOf(6) })},
		{"remove out of range", "remove of a blank leaf", alone(func(*fixture) Proposal { return removeOf(1 << 31) })},
		{"psk nonce", "psk nonce", alone(func(*fixture) Proposal { return pskOf("p", 31) })},
		{"psk of reinit", "reinitialization or branching", psk(PreSharedKeyID{Type: PSKTypeResumption, Usage: ResumptionPSKUsageReInit, Nonce: nonce})},
		{"psk of branch", "reinitialization or branching", psk(PreSharedKeyID{Type: PSKTypeResumption, Usage: ResumptionPSKUsageBranch, Nonce: nonce})},
		{"reinit version", "reinit to an older version", alone(func(*fixture) Proposal {
			p := reInit()
			p.ReInit.Version = 0
			return p
		})},
		{"external_init", "outside of an external commit", alone(func(*fixture) Proposal { return externalInit() })},
		{"unknown type", "not supported by all members", alone(func(*fixture) Proposal { return Proposal{Type: 0xf123, Raw: []byte{}} })},
		{"extension twice", "occurs twice", gce(func(f *fixture) Extensions { return append(slices.Clone(x(f)), x(f)[0]) })},
		{"malformed required_capabilities", "malformed extension required_capabilities", gce(func(f *fixture) Extensions {
			return x(f).Set(ExtensionTypeRequiredCapabilities, []byte{9})
		})},
		{"malformed external_senders", "malformed extension external_senders", gce(func(f *fixture) Extensions {
			return x(f).Set(ExtensionTypeExternalSenders, []byte{9})
		})},
		{"unsupported extension", "does not support extension 0xf00d", valued(func(f *fixture) []Proposal {
			return []Proposal{contextExtensions(x(f).Set(0xf00d, nil))}
		})},
		{"required extension", "does not support required extension 0xf00d", required(RequiredCapabilities{Extensions: []ExtensionType{0xf00d}})},
		{"required proposal", "does not support required proposal 0xf00d", required(RequiredCapabilities{Proposals: []ProposalType{0xf00d}})},
		{"required credential", "does not support required credential multi", required(RequiredCapabilities{Credentials: []CredentialType{CredentialTypeMulti}})},
		{"dictionary changed", "changes the application data", gce(func(f *fixture) Extensions {
			var d AppDataDictionary
			d.Set(0x22, []byte("mine"))
			return x(f).Set(ExtensionTypeAppDataDictionary, encoded(&d))
		})},
		{"dictionary dropped", "changes the application data", gce(func(f *fixture) Extensions { return x(f).Without(ExtensionTypeAppDataDictionary) })},
	})
}

// TestDictionaryAdded: group_context_extensions may not even add a dictionary
// where AppDataUpdate is required (EXT-9), and may where it is not.
func TestDictionaryAdded(t *testing.T) {
	var d AppDataDictionary
	d.Set(0x22, []byte("mine"))
	data := encoded(&d)
	f := newFixture(t, 2, nil, func(x Extensions) Extensions { return x.Without(ExtensionTypeAppDataDictionary) })
	p := contextExtensions(f.group.Context().Extensions.Set(ExtensionTypeAppDataDictionary, data))
	if _, err := f.propose(member(1), f.keys[1], p); err == nil || !strings.Contains(err.Error(), "changes the application data") {
		t.Errorf("dictionary added: %v", err)
	}
	f = newFixture(t, 2, nil, func(x Extensions) Extensions { return x.Without(ExtensionTypeRequiredCapabilities) })
	p = contextExtensions(f.group.Context().Extensions.Set(ExtensionTypeAppDataDictionary, data))
	f.apply(f.commit(0, append(values(appData(0x23, "too")), f.mustPropose(1, p))))
	if got := f.group.Dictionary().Entries; len(got) != 2 || string(got[0].Data) != "mine" {
		t.Errorf("dictionary is %v", got)
	}
}

// TestAppDataRules covers EXT-5 to EXT-7 and EXT-11.
func TestAppDataRules(t *testing.T) {
	calls := new([]string)
	cfg := &Config{Components: orderLogic{calls}}
	pathless := func(list ...Proposal) func(f *fixture) error {
		return func(f *fixture) error {
			_, err := f.group.Commit(f.bare(0, values(list...)))
			return err
		}
	}
	runNegatives(t, cfg, []negative{
		{"remove of nothing", "no data to remove", pathless(appDataRemove(0x99))},
		{"remove of nothing, alone", "no data to remove", alone(func(*fixture) Proposal { return appDataRemove(0x99) })},
		{"two removes", "beside another operation", pathless(appDataRemove(0x22), appDataRemove(0x22))},
		{"update and remove", "beside another operation", pathless(appData(0x22, "a"), appDataRemove(0x22))},
		{"remove and update", "beside another operation", pathless(appDataRemove(0x22), appData(0x22, "a"))},
		{"refused", "bad update", pathless(appData(0x22, "a"), appData(0x22, "bad"), appData(0x22, "b"))},
		{"refused alone", "bad update", alone(func(*fixture) Proposal { return appData(0x22, "bad") })},
		{"ephemeral refused", "bad data", pathless(ephemeral(0x22, "bad"))},
	})
	f := newFixture(t, 2, cfg, nil)
	ref := f.mustPropose(1, appData(0x30, "ok"))
	_, err := f.group.Commit(f.bare(0, append(values(appData(0x30, "bad")), ref)))
	var v *ValidationError
	if !errors.As(err, &v) || len(v.ProposalRefs) != 1 || !bytes.Equal(v.ProposalRefs[0], ref.Ref) {
		t.Errorf("refs of a refused list: %v", err)
	}
}

// TestErrorNamesProposals: a proposal at fault that was sent before is named
// by its reference (UPD-13).
func TestErrorNamesProposals(t *testing.T) {
	f := newFixture(t, 4, nil, nil)
	ref := f.mustPropose(2, removeOf(0))
	_, err := f.group.Commit(f.bare(0, []ProposalOrRef{ref}))
	var v *ValidationError
	if !errors.As(err, &v) || v.Clause != "RFC 9420 §12.2" || len(v.ProposalRefs) != 1 || !bytes.Equal(v.ProposalRefs[0], ref.Ref) {
		t.Errorf("got %v", err)
	}
}

// TestRequiredComponents covers EXT-12 and EXT-13.
func TestRequiredComponents(t *testing.T) {
	require := func(id ComponentID, data []byte) *fixture {
		return newFixtureWith(t, SupportedComponents(0x20), func(x Extensions) Extensions {
			var d AppDataDictionary
			d.Set(id, data)
			return x.Set(ExtensionTypeAppDataDictionary, encoded(&d))
		})
	}
	const lacks = "lacks an element of component"
	f := require(ComponentAppComponents, encoded(ComponentsList{0x20}))
	able := func(o *KeyPackageOptions) { o.LeafExtensions = Extensions{SupportedComponents(0x20)} }
	f.apply(f.bare(0, values(addOf(f.keyPackage(able)))))
	if _, err := f.group.Commit(f.bare(0, values(addOf(f.keyPackage(nil))))); err == nil || !strings.Contains(err.Error(), lacks) {
		t.Errorf("client without a required component: %v", err)
	}

	f = require(ComponentSafeAAD, encoded(ComponentsList{}))
	f.apply(f.bare(0, values(addOf(f.keyPackage(nil)))))
	m := f.bare(0, values(appData(0x30, "x")))
	a := m.Authenticated()
	a.Content.AuthenticatedData = []byte("raw")
	if err := a.Sign(1, f.keys[0].Private, f.group.Context()); err != nil {
		t.Fatal(err)
	}
	m.Content, m.Auth = a.Content, a.Auth
	if _, err := f.group.Commit(m); err == nil || !strings.Contains(err.Error(), "not a SafeAAD") {
		t.Errorf("raw authenticated data: %v", err)
	}

	var w wire.Writer
	w.Vector(func(w *wire.Writer) {
		w.Opaque([]byte("text/markdown"))
		w.Opaque(nil) // parameters
	})
	markdown, _ := w.Bytes()
	f = newFixtureWith(t, mediaTypes(markdown), func(x Extensions) Extensions {
		var d AppDataDictionary
		d.Set(ComponentContentMediaTypes, markdown)
		return x.Set(ExtensionTypeAppDataDictionary, encoded(&d))
	})
	f.apply(f.bare(0, values(addOf(f.keyPackage(func(o *KeyPackageOptions) { o.LeafExtensions = Extensions{mediaTypes(markdown)} })))))
	if _, err := f.group.Commit(f.bare(0, values(addOf(f.keyPackage(nil))))); err == nil || !strings.Contains(err.Error(), lacks) {
		t.Errorf("client without a required media type: %v", err)
	}
}

func mediaTypes(data []byte) Extension {
	var d AppDataDictionary
	d.Set(ComponentContentMediaTypes, data)
	return Extension{Type: ExtensionTypeAppDataDictionary, Data: encoded(&d)}
}

// newFixtureWith makes a group of one whose leaf has an extension.
func newFixtureWith(t testing.TB, leafExtension Extension, change func(Extensions) Extensions) *fixture {
	t.Helper()
	f := &fixture{t: t, keys: map[LeafIndex]*SignatureKey{}, external: newSigner(t)}
	kp := f.keyPackage(func(o *KeyPackageOptions) { o.LeafExtensions = Extensions{leafExtension} })
	leaf := kp.KeyPackage.LeafNode
	p, err := newCreatorGroup([]byte("group"), &leaf, 1, change(fixtureExtensions(f.external)), nil)
	if err != nil {
		t.Fatal(err)
	}
	if f.group, err = p.withTag(randomTag()); err != nil {
		t.Fatal(err)
	}
	f.keys[0] = kp.Signer
	return f
}

// TestLifetimeCap: the cap is configurable and can be lifted.
func TestLifetimeCap(t *testing.T) {
	forever := func(o *KeyPackageOptions) { o.NotBefore, o.NotAfter = time.Unix(0, 0), time.Unix(1<<40, 0) }
	for _, tc := range []struct {
		limit time.Duration
		ok    bool
	}{{0, false}, {-1, true}, {time.Hour, false}} {
		cfg := &Config{MaxLifetime: tc.limit}
		f := newFixture(t, 1, cfg, nil)
		_, err := f.group.Commit(f.bare(0, values(addOf(f.keyPackage(forever)))))
		if (err == nil) != tc.ok {
			t.Errorf("cap %v: %v", tc.limit, err)
		}
	}
	// A replica judges a KeyPackage by the time at which the hub did.
	then := time.Now().Add(-1000 * time.Hour)
	f := newFixture(t, 1, &Config{Now: func() time.Time { return then }}, nil)
	old := func(o *KeyPackageOptions) { o.NotBefore, o.NotAfter = then.Add(-time.Hour), then.Add(time.Hour) }
	f.apply(f.bare(0, values(addOf(f.keyPackage(old)))))
}

// TestLongLists: lists too long to search one by one give the same answers.
func TestLongLists(t *testing.T) {
	var many []ExtensionType
	for e := range ExtensionType(100) {
		many = append(many, 0xe000+e)
	}
	wide := func(n int) func(o *KeyPackageOptions) {
		return func(o *KeyPackageOptions) { o.Capabilities.Extensions = append(o.Capabilities.Extensions, many[:n]...) }
	}
	f := newFixture(t, 1, nil, nil)
	l := *f.group.Leaf(0)
	l.Capabilities.Extensions = append(slices.Clone(l.Capabilities.Extensions), many...)
	l.Lifetime = Lifetime{}
	f.apply(f.message(member(0), f.keys[0], nil, &Commit{Path: f.path(member(0), l, f.keys[0], nil)}))
	required := contextExtensions(f.group.Context().Extensions.Set(ExtensionTypeRequiredCapabilities, encoded(&RequiredCapabilities{
		Extensions: many, Proposals: []ProposalType{ProposalTypeAppDataUpdate, ProposalTypeSelfRemove},
	})))
	f.apply(f.commit(0, values(required, addOf(f.keyPackage(wide(100))))))
	if _, err := f.group.Commit(f.bare(0, values(addOf(f.keyPackage(wide(99)))))); err == nil || !strings.Contains(err.Error(), "required extension 0xe063") {
		t.Errorf("one of a hundred is missing: %v", err)
	}
}

// TestGREASE: unknown values in capabilities and extensions are ignored
// (MLSD-20), and not taken into the GroupContext.
func TestGREASE(t *testing.T) {
	f := newFixture(t, 2, nil, nil)
	kp := f.keyPackage(func(o *KeyPackageOptions) {
		c := o.Capabilities
		c.CipherSuites = append(c.CipherSuites, 0x3a3a)
		c.Extensions = append(c.Extensions, 0x4a4a)
		c.Proposals = append(c.Proposals, 0x5a5a)
		c.Credentials = append(c.Credentials, 0x6a6a)
		o.Extensions = Extensions{{Type: 0x7a7a, Data: []byte("?")}}
		o.LeafExtensions = Extensions{{Type: 0x4a4a, Data: []byte("?")}}
	})
	f.apply(f.bare(0, values(addOf(kp))))
	if _, err := f.group.Commit(f.commit(0, nil)); err != nil {
		t.Error(err)
	}
	if err := list(func(f *fixture) []ProposalOrRef {
		return values(contextExtensions(f.group.Context().Extensions.Set(0x4a4a, nil)))
	})(f); err == nil {
		t.Error("GREASE in the GroupContext was accepted")
	}
}
