package mimi

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"hubbub/mls"
	"hubbub/mls/wire"
)

var update = flag.Bool("update", false, "write testdata/wire anew")

// noter walks octets by a description of their layout and writes one line for each field:
// the octets, then what they are. The descriptions below are a second account of the wire
// format, independent of the codecs.
type noter struct {
	rest   []byte
	out    *strings.Builder
	indent int
	err    error
}

func (n *noter) take(k int) []byte {
	if k > len(n.rest) {
		n.err, k = fmt.Errorf("cut short"), len(n.rest)
	}
	b := n.rest[:k]
	n.rest = n.rest[k:]
	return b
}

// line writes octets, 32 to a line, and a comment at the first.
func (n *noter) line(b []byte, comment string) {
	const most = 32
	for first := true; first || len(b) > 0; first = false {
		k := min(len(b), most)
		octets := fmt.Sprintf("%s%-*s", strings.Repeat("  ", n.indent), 20-2*n.indent, hex.EncodeToString(b[:k]))
		if first {
			octets += " # " + comment
		}
		n.out.WriteString(strings.TrimRight(octets, " ") + "\n")
		b = b[k:]
	}
}

// number writes an integer of k octets; names say what its values mean.
func (n *noter) number(k int, name string, names ...string) uint64 {
	b := n.take(k)
	var v uint64
	for _, c := range b {
		v = v<<8 | uint64(c)
	}
	if v < uint64(len(names)) {
		name += ": " + names[v]
	}
	n.line(b, name)
	return v
}

// length reads a vector length of one, two or four octets.
func (n *noter) length() (prefix []byte, v int) {
	if len(n.rest) == 0 {
		n.err = fmt.Errorf("cut short")
		return nil, 0
	}
	prefix = n.take(1 << (n.rest[0] >> 6))
	for i, c := range prefix {
		if i == 0 {
			c &= 0x3f
		}
		v = v<<8 | int(c)
	}
	return prefix, v
}

// bytes writes octets behind their length.
func (n *noter) bytes(name string) {
	prefix, k := n.length()
	b := n.take(k)
	if k == 0 {
		n.line(prefix, name+": empty")
		return
	}
	n.line(prefix, fmt.Sprintf("%s: %d octets", name, k))
	text := ""
	if utf8.Valid(b) && !strings.ContainsFunc(string(b), func(r rune) bool { return r < ' ' || r > '~' }) {
		text = fmt.Sprintf("%q", b)
	}
	n.indent++
	n.line(b, strings.TrimSpace(name+" "+text))
	n.indent--
}

func (n *noter) raw(k int, name string) { n.line(n.take(k), name) }

// vector writes what each of its elements is.
func (n *noter) vector(name string, element func(n *noter)) {
	prefix, k := n.length()
	n.line(prefix, fmt.Sprintf("%s: vector of %d octets", name, k))
	in := &noter{rest: n.take(k), out: n.out, indent: n.indent + 1}
	for len(in.rest) > 0 && in.err == nil {
		element(in)
	}
	if n.err == nil {
		n.err = in.err
	}
}

func (n *noter) optional(name string, value func(n *noter)) {
	if n.number(1, name, "absent", "present") == 1 {
		n.indent++
		value(n)
		n.indent--
	}
}

// object writes an object of MLS whole; its own layout is RFC 9420's.
func (n *noter) object(name string, d wire.Decoder) {
	r := wire.NewReader(n.rest)
	d.Decode(r)
	if r.Err() != nil {
		n.err = r.Err()
		return
	}
	n.line(n.take(r.Offset()), name)
}

func (n *noter) message(name string)    { n.object(name+": MLSMessage", new(mls.Message)) }
func (n *noter) credential(name string) { n.object(name+": Credential", new(mls.Credential)) }
func (n *noter) u16s(name, of string)   { n.vector(name, func(n *noter) { n.number(2, of) }) }
func (n *noter) dictionary(name string) {
	n.vector(name, func(n *noter) { n.number(2, "component_id"); n.bytes("data") })
}

func (n *noter) frank() {
	n.raw(32, "server_frank")
	n.number(2, "franking_signature_ciphersuite")
	n.bytes("franking_integrity_signature")
}

func (n *noter) groupInfoOption() {
	if n.number(1, "groupInfoOption.representation", "reserved", "full", "partial") == 1 {
		n.object("groupInfo: GroupInfo", new(mls.GroupInfo))
		return
	}
	n.number(1, "ratchet_tree_presence", "no_ratchet_tree")
	n.vector("group_info_extensions", func(n *noter) { n.number(2, "extension_type"); n.bytes("extension_data") })
	n.bytes("signature")
}

func (n *noter) treeOption() {
	switch n.number(1, "ratchetTreeOption.representation", "reserved", "full", "httpsUri", "outOfBand", "distributionService") {
	case 1:
		n.bytes("ratchet_tree")
	case 2:
		n.bytes("ratchet_tree_url")
	}
}

// layouts say what the octets of each body are.
var layouts = map[reflect.Type]func(n *noter){
	reflect.TypeFor[KeyMaterialRequest](): func(n *noter) {
		n.number(1, "protocol", "reserved", "mls10")
		n.bytes("requestingUser")
		n.bytes("targetUser")
		n.bytes("roomId")
		n.u16s("acceptableCiphersuites", "cipher suite")
		n.u16s("requiredCapabilities.extension_types", "extension")
		n.u16s("requiredCapabilities.proposal_types", "proposal")
		n.u16s("requiredCapabilities.credential_types", "credential")
		n.bytes("requesterSignatureKey")
		n.credential("requesterCredential")
		n.bytes("key_material_request_signature")
	},
	reflect.TypeFor[KeyMaterialResponse](): func(n *noter) {
		n.number(1, "protocol", "reserved", "mls10")
		n.number(1, "userStatus", "success", "partialSuccess", "incompatibleProtocol", "noCompatibleMaterial", "userUnknown", "noConsent", "noConsentForThisRoom", "userDeleted")
		n.bytes("userUri")
		n.vector("clients", func(n *noter) {
			status := n.number(1, "clientStatus", "success", "keyMaterialExhausted", "nothingCompatible")
			n.bytes("clientUri")
			switch status {
			case 0:
				n.object("keyPackage: KeyPackage", new(mls.KeyPackage))
			case 2:
				n.optional("clientCapabilities", func(n *noter) { n.object("capabilities", new(mls.Capabilities)) })
			}
		})
	},
	reflect.TypeFor[HandshakeBundle](): func(n *noter) {
		commit := isHandshake(peek(n), mls.ContentTypeCommit)
		n.message("proposalOrCommit")
		if !commit {
			n.vector("moreProposals", func(n *noter) { n.message("proposal") })
			return
		}
		n.optional("welcome", func(n *noter) { n.object("welcome: Welcome", new(mls.Welcome)) })
		n.groupInfoOption()
		n.treeOption()
	},
	reflect.TypeFor[UpdateRoomResponse](): func(n *noter) {
		code := n.number(1, "responseCode", "success", "wrongEpoch", "notAllowed", "invalidProposal")
		n.bytes("errorDescription")
		switch code {
		case 0:
			n.number(8, "accepted_timestamp")
		case 1:
			n.number(8, "currentEpoch")
		case 3:
			n.vector("invalidProposals", func(n *noter) { n.bytes("ProposalRef") })
		}
	},
	reflect.TypeFor[SubmitMessageRequest](): func(n *noter) {
		n.number(1, "protocol", "reserved", "mls10")
		n.message("appMessage")
		n.bytes("sendingUri")
	},
	reflect.TypeFor[SubmitMessageResponse](): func(n *noter) {
		n.number(1, "protocol", "reserved", "mls10")
		switch n.number(1, "statusCode", "accepted", "notAllowed", "epochTooOld") {
		case 0:
			n.number(8, "accepted_timestamp")
			n.optional("frank", (*noter).frank)
		case 2:
			n.number(8, "currentEpoch")
		}
	},
	reflect.TypeFor[FanoutMessage](): func(n *noter) {
		n.number(8, "timestamp")
		m := peek(n)
		n.message("message")
		switch {
		case m.Private != nil:
			n.optional("frank", (*noter).frank)
		case m.Welcome != nil:
			n.treeOption()
		case isHandshake(m, mls.ContentTypeCommit):
			n.vector("externalProposals", func(n *noter) { n.message("proposal") })
		default:
			n.vector("moreProposals", func(n *noter) { n.message("proposal") })
		}
	},
	reflect.TypeFor[GroupInfoRequest](): func(n *noter) {
		n.number(1, "protocol", "reserved", "mls10")
		n.number(2, "cipher_suite")
		n.bytes("requestingSignatureKey")
		n.credential("requestingCredential")
		n.bytes("groupInfoPublicKey")
		n.bytes("joiningCode")
		n.bytes("signature")
	},
	reflect.TypeFor[GroupInfoResponse](): func(n *noter) {
		n.number(1, "version", "reserved", "mls10")
		n.bytes("room_id")
		if n.number(1, "status", "reserved", "success", "notAuthorized", "noSuchRoom") != 1 {
			return
		}
		n.number(2, "cipher_suite")
		n.bytes("hub_sender.signature_key")
		n.credential("hub_sender.credential")
		n.bytes("encrypted_groupinfo_and_tree.kem_output")
		n.bytes("encrypted_groupinfo_and_tree.ciphertext")
		n.bytes("signature")
	},
	reflect.TypeFor[GroupInfoRatchetTree](): func(n *noter) {
		n.object("groupInfo: GroupInfo", new(mls.GroupInfo))
		n.treeOption()
		n.vector("pending_proposals", func(n *noter) { n.message("proposal"); n.number(8, "hub_accepted_time") })
	},
	reflect.TypeFor[ConsentEntry](): func(n *noter) {
		operation := n.number(1, "consentOperation", "cancel", "request", "grant", "revoke")
		n.bytes("requesterUri")
		n.bytes("targetUri")
		n.optional("roomId", func(n *noter) { n.bytes("roomId") })
		if operation == 2 {
			n.vector("clientKeyPackages", func(n *noter) { n.object("KeyPackage", new(mls.KeyPackage)) })
		}
		n.dictionary("consent_extensions")
	},
	reflect.TypeFor[IdentifierRequest](): func(n *noter) {
		n.vector("query_elements", func(n *noter) {
			switch n.number(1, "searchType", "reserved", "handle", "nick", "email", "phone", "partialName", "wholeProfile", "oidcStdClaim", "vcardField") {
			case 7:
				n.bytes("claimName")
			case 8:
				n.bytes("propertyName")
			}
			n.bytes("searchValue")
		})
		n.dictionary("id_request_extensions")
	},
	reflect.TypeFor[IdentifierResponse](): func(n *noter) {
		n.number(1, "responseCode", "success", "notFound", "ambiguous", "forbidden", "unsupportedField")
		n.vector("uri", func(n *noter) { n.bytes("uri") })
		n.vector("foundProfiles", func(n *noter) {
			n.bytes("stableUri")
			n.vector("fields", func(n *noter) { n.number(1, "fieldSource"); n.bytes("fieldName"); n.bytes("fieldValue") })
		})
		n.dictionary("id_response_extensions")
	},
	reflect.TypeFor[AbuseReport](): func(n *noter) {
		n.bytes("reportingUser")
		n.bytes("allegedAbuserUri")
		n.number(1, "reasonCode", "reserved")
		n.bytes("note")
		n.vector("messages", func(n *noter) { n.bytes("message_content"); n.frank(); n.number(8, "accepted_timestamp") })
		n.dictionary("abuse_extensions")
	},
	reflect.TypeFor[ParticipantListData](): func(n *noter) {
		n.vector("participants", func(n *noter) { n.bytes("user"); n.number(4, "role_index") })
	},
	reflect.TypeFor[ParticipantListUpdate](): func(n *noter) {
		n.vector("changedRoleParticipants", func(n *noter) { n.number(4, "user_index"); n.number(4, "role_index") })
		n.vector("removedIndices", func(n *noter) { n.number(4, "index") })
		n.vector("addedParticipants", func(n *noter) { n.bytes("user"); n.number(4, "role_index") })
	},
	reflect.TypeFor[RoomMetaData](): func(n *noter) {
		n.bytes("room_uri")
		n.bytes("room_name")
		n.vector("room_descriptions", func(n *noter) { n.bytes("media_type"); n.bytes("language_tag"); n.bytes("description_content") })
		n.bytes("room_avatar")
		n.bytes("room_subject")
		n.bytes("room_mood")
	},
	reflect.TypeFor[FrankingAgent](): func(n *noter) { n.bytes("franking_signature_key"); n.credential("credential") },
	reflect.TypeFor[JoinLinks]():     func(n *noter) { n.vector("join_links", func(n *noter) { n.bytes("join_link") }) },
	reflect.TypeFor[JoinLinksUpdate](): func(n *noter) {
		n.vector("removedIndices", func(n *noter) { n.number(4, "index") })
		n.vector("added_links", func(n *noter) { n.bytes("join_link") })
	},
}

// peek reads the MLSMessage that comes next.
func peek(n *noter) *mls.Message {
	m := new(mls.Message)
	m.Decode(wire.NewReader(n.rest))
	return m
}

// dump is a body with its name.
type dump struct {
	name  string
	value codec
}

// dumps are the bodies shown in testdata/wire. Signatures and ciphertexts that are not
// vectors of section 31 stand for themselves.
func dumps(t *testing.T) []dump {
	t.Helper()
	request := keyMaterialRequest()
	groupRequest := &GroupInfoRequest{Credential: mls.BasicCredential([]byte("mimi://c.example/d/cathy/C3")), PublicKey: bytes.Repeat([]byte{0x33}, 32)}
	for _, err := range []error{request.Sign(testKey(t)), groupRequest.Sign(testKey(t))} {
		if err != nil {
			t.Fatal(err)
		}
	}
	frank := &Frank{Suite: 1, Signature: must(hex.DecodeString(frankSignature)),
		ServerFrank: [32]byte(must(hex.DecodeString("a796f2087743fdfb66da947c9eb6536b9e0bd41a8913ce3306af6a3a44f21aaa")))}
	full := RatchetTreeOption{Representation: TreeFull}
	list := []dump{
		{"keymaterial-request", request},
		{"update-request-commit", &HandshakeBundle{Message: *commit(), Welcome: welcome(), GroupInfo: GroupInfoOption{Full: groupInfo(nil)}, RatchetTree: full}},
		{"update-request-partial", &HandshakeBundle{Message: *commit(), RatchetTree: RatchetTreeOption{Representation: TreeDistributionService},
			GroupInfo: GroupInfoOption{Partial: &PartialGroupInfo{Extensions: mls.Extensions{{Type: mls.ExtensionTypeExternalPub, Data: []byte{0}}}, Signature: []byte("s")}}}},
		{"update-request-proposals", &HandshakeBundle{Message: *removal(1), MoreProposals: []mls.Message{*removal(2)}}},
		{"submit-request", &SubmitMessageRequest{Message: *private(mls.ContentTypeApplication), Sender: bob}},
		{"notify-application", &FanoutMessage{Timestamp: stamp, Message: *private(mls.ContentTypeApplication), Frank: frank}},
		{"notify-welcome", &FanoutMessage{Timestamp: stamp, Message: *mls.NewMessage(welcome()), RatchetTree: full}},
		{"notify-proposals", &FanoutMessage{Timestamp: stamp, Message: *removal(1), MoreProposals: []mls.Message{*removal(2)}}},
		{"notify-commit", &FanoutMessage{Timestamp: stamp, Message: *commit(), ExternalProposals: []mls.Message{*removal(5)}}},
		{"groupinfo-request", groupRequest},
		{"groupinfo-response", &GroupInfoResponse{Room: room, Status: GroupInfoSuccess, Suite: 1, Signature: []byte("signature"),
			HubSender: mls.ExternalSender{SignatureKey: testKey(t).Public, Credential: ProviderCredential("a.example")},
			Encrypted: mls.HPKECiphertext{KEMOutput: []byte("kem output"), Ciphertext: []byte("ciphertext")}}},
		{"groupinfo-plaintext", &GroupInfoRatchetTree{GroupInfo: *groupInfo(nil), RatchetTree: full,
			PendingProposals: []PendingProposal{{Proposal: *removal(1), Timestamp: stamp}}}},
		{"consent-extension", &ConsentEntry{Operation: ConsentRevoke, Requester: alice, Target: bob,
			Extensions: mls.AppDataDictionary{Entries: []mls.ComponentData{{Component: 0xf000, Data: []byte("x")}}}}},
		{"abuse-report-evidence", &AbuseReport{Reporter: alice, Abuser: bob, Note: "spam",
			Messages: []AbusiveMessage{{Content: []byte("application data"), Frank: *frank, Timestamp: stamp}}}},
		{"franking-agent", &FrankingAgent{SignatureKey: testKey(t).Public, Credential: ProviderCredential("a.example")}},
		{"join-links", &JoinLinks{Links: [][]byte{[]byte("https://a.example/j/1")}}},
		{"join-links-update", &JoinLinksUpdate{Removed: []uint32{0}, Added: [][]byte{[]byte("https://a.example/j/2")}}},
	}
	for _, v := range vectors {
		if layouts[reflect.TypeOf(v.value).Elem()] != nil {
			list = append(list, dump{strings.ToLower(strings.ReplaceAll(v.name, " ", "-")), v.value})
		}
	}
	return list
}

// annotate writes a dump; the error says that the layout and the octets do not agree.
func annotate(d dump, b []byte) (string, error) {
	kind := reflect.TypeOf(d.value).Elem()
	var out strings.Builder
	fmt.Fprintf(&out, "# %s, %d octets\n", kind.Name(), len(b))
	n := &noter{rest: b, out: &out}
	layouts[kind](n)
	if n.err == nil && len(n.rest) > 0 {
		n.err = fmt.Errorf("%d octets left", len(n.rest))
	}
	return out.String(), n.err
}

// octetsOf takes the octets out of a dump again.
func octetsOf(text string) ([]byte, error) {
	var all strings.Builder
	for line := range strings.Lines(text) {
		octets, _, _ := strings.Cut(line, "#")
		all.WriteString(strings.Join(strings.Fields(octets), ""))
	}
	return hex.DecodeString(all.String())
}

// TestGoldenWire compares every body with its annotated dump, and reads it back from there.
func TestGoldenWire(t *testing.T) {
	dir := filepath.Join("testdata", "wire")
	seen := make(map[string]bool)
	shown := make(map[reflect.Type]bool)
	for _, d := range dumps(t) {
		file := filepath.Join(dir, d.name+".txt")
		if seen[file] {
			t.Fatalf("two dumps are called %s", d.name)
		}
		seen[file], shown[reflect.TypeOf(d.value).Elem()] = true, true
		b, err := wire.Marshal(d.value)
		if err != nil {
			t.Fatalf("%s: %v", d.name, err)
		}
		text, err := annotate(d, b)
		if err != nil {
			t.Errorf("%s: %v:\n%s", d.name, err, text)
			continue
		}
		if *update {
			if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		golden, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if string(golden) != text {
			t.Errorf("%s differs; go test -run Golden -update writes it anew, if that is meant:\n%s", file, text)
		}
		octets, err := octetsOf(string(golden))
		if err != nil || !bytes.Equal(octets, b) {
			t.Errorf("%s: holds %x, %v", file, octets, err)
		}
		back := reflect.New(reflect.TypeOf(d.value).Elem()).Interface().(codec)
		if err := parseBody(octets, back); err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		if again, err := wire.Marshal(back); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%s: encoded to %x, %v", file, again, err)
		}
	}
	for kind := range layouts {
		if !shown[kind] {
			t.Errorf("no dump of a %v", kind)
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !seen[f] {
			t.Errorf("%s belongs to nothing", f)
		}
	}
}
