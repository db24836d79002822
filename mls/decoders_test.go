package mls

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"hubbub/mls/wire"
)

// codec is a wire type seen from a test.
type codec interface {
	wire.Encoder
	wire.Decoder
}

// samples returns a value of every type with a decoder.
func samples(t testing.TB) []codec {
	t.Helper()
	c, msgs := seedMessages(t)
	parse := func(b []byte) *Message {
		m, err := ParseMessage(b)
		c.ok(err)
		return m
	}
	public, private, welcome, gi, kp := parse(msgs[2]), parse(msgs[1]), parse(msgs[3]), parse(msgs[4]), parse(msgs[5])
	commit := public.Public.Content.Commit
	if commit.Path == nil {
		pending, err := c.members["alice"].Commit(CommitOptions{Proposals: []Proposal{appData(7, "x")}, ForcePath: true})
		c.ok(err)
		commit = parse(pending.Message()).Public.Content.Commit
	}
	leaf := kp.KeyPackage.LeafNode
	tree := c.members["alice"].Tree()
	dictionary := &AppDataDictionary{Entries: []ComponentData{{1, []byte("a")}, {2, nil}}}
	cipher := HPKECiphertext{KEMOutput: []byte("enc"), Ciphertext: []byte("ct")}
	semi := &SemiPrivateMessage{GroupID: []byte("g"), Epoch: 1, ContentType: ContentTypeCommit, PartialContextHash: []byte("h"),
		Keys: []KeyForExternalReceiver{{Receiver: []byte("r"), EncryptedKeysAndNonces: cipher}}, Ciphertext: []byte("c")}
	binding, err := NewCredentialBinding(BasicCredential([]byte("b")), c.signers["alice"], []byte("key"))
	c.ok(err)
	x509 := certificate(t, c.signers["alice"])
	return []codec{
		public, private, welcome, gi, kp, NewMessage(semi),
		kp.KeyPackage, &leaf, &leaf.Credential, &x509, &leaf.Capabilities, &leaf.Lifetime, &leaf.Extensions,
		&ParentNode{EncryptionKey: []byte("e"), UnmergedLeaves: []LeafIndex{1, 2}}, &Node{Leaf: &leaf}, &tree,
		welcome.Welcome, &welcome.Welcome.Secrets[0], &cipher, gi.GroupInfo, &gi.GroupInfo.GroupContext,
		&GroupSecrets{JoinerSecret: []byte("j"), PathSecret: []byte("p"), PSKs: []PreSharedKeyID{*pskOf("p", 32).PSK}},
		public.Public, private.Private, semi, &semi.Keys[0], public.Public.Authenticated(), &public.Public.Content, &public.Public.Content.Sender,
		commit, commit.Path, &commit.Path.Nodes[0], &commit.Proposals[0], commit.Proposals[0].Proposal, pskOf("p", 32).PSK,
		&RequiredCapabilities{Extensions: []ExtensionType{6}}, &ExternalSenders{{SignatureKey: []byte("k"), Credential: leaf.Credential}},
		&ExternalReceivers{{PublicKey: []byte("k"), Credential: leaf.Credential}}, &ExternalPub{Key: []byte("k")},
		dictionary, &dictionary.Entries[0], &SafeAAD{Items: dictionary.Entries}, &ComponentsList{1, 2}, &WireFormats{1, 0xf001},
		&RatchetTreeSourceDomains{"a.example"}, &MediaTypeList{contentGFM}, &contentPlain,
		&ApplicationFraming{MediaType: contentGFM, Content: []byte("x")}, &AppAck{Received: []MessageRange{{1, 2, 3}}}, binding,
	}
}

// fresh returns an empty value of the type of c.
func fresh(c codec) codec { return reflect.New(reflect.TypeOf(c).Elem()).Interface().(codec) }

// TestDecodersAreStrict: what is cut short, followed by an octet, or has a
// length in a longer form than needed is refused by every decoder (reliability
// H16 and H18, WIRE-2, WIRE-3, WIRE-6).
func TestDecodersAreStrict(t *testing.T) {
	for _, c := range samples(t) {
		b := encoded(c)
		name := fmt.Sprintf("%T", c)
		if len(b) == 0 {
			t.Errorf("%s: no sample", name)
		}
		got := fresh(c)
		if err := wire.Unmarshal(b, got); err != nil || !bytes.Equal(encoded(got), b) {
			t.Errorf("%s: sample does not survive: %v", name, err)
		}
		for n := range b {
			if err := wire.Unmarshal(b[:n], fresh(c)); err == nil {
				t.Fatalf("%s cut to %d of %d octets was accepted", name, n, len(b))
			}
		}
		if err := wire.Unmarshal(append(bytes.Clone(b), 0), fresh(c)); !errors.Is(err, wire.ErrTrailingData) {
			t.Errorf("%s with a trailing octet: %v", name, err)
		}
		for at := range b {
			long := bytes.Clone(b)
			long[at] |= 0xc0 // a length that starts with 11, or another value
			if got := fresh(c); wire.Unmarshal(long, got) == nil && !bytes.Equal(encoded(got), long) {
				t.Fatalf("%s: octet %d has two encodings", name, at)
			}
		}
	}
}

// allocated returns how many octets fn allocates, and for how long it runs.
func allocated(fn func()) (uint64, time.Duration) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := time.Now()
	fn()
	took := time.Since(start)
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc, took
}

// TestDecodersAllocate: a length that the input does not back costs next to
// nothing, and no arrangement of tiny elements costs more than a small multiple
// of the input (reliability H17 and H19, WIRE-11).
func TestDecodersAllocate(t *testing.T) {
	huge := []byte{0xbf, 0xff, 0xff, 0xff} // claims 2^30-1 octets
	const size = 1 << 14
	vector := append([]byte{0x80, 0x00, 0x40, 0x00}, make([]byte, size)...)
	// Elements of the fewest octets a list may hold.
	tiny := [][]byte{vector}
	for _, unit := range []string{"\x02\x00", "\x01\x00", "\x00\x01\x00", "\x00\x00\x00", "\x00\x01\x01a\x00", "\x02\x00\x00\x00\x00\x00"} {
		v := bytes.Clone(vector[:4])
		tiny = append(tiny, append(v, bytes.Repeat([]byte(unit), size/len(unit)+1)[:size]...))
	}
	for _, c := range samples(t) {
		b := encoded(c)
		name := fmt.Sprintf("%T", c)
		total, _ := allocated(func() {
			for n := range b {
				wire.Unmarshal(append(bytes.Clone(b[:n]), huge...), fresh(c))
			}
		})
		if limit := uint64(len(b)) * (8<<10 + 16*uint64(len(b))); total > limit {
			t.Errorf("%s: %d octets allocated for lengths that lie, limit %d", name, total, limit)
		}
		if len(b) > 2000 {
			b = b[:2000]
		}
		for _, tail := range tiny {
			for n := range b {
				if n%31 != 0 && n > 40 {
					continue
				}
				in := append(bytes.Clone(b[:n]), tail...)
				if total, _ := allocated(func() { wire.Unmarshal(in, fresh(c)) }); total > 128*uint64(len(in)) { // 100, and what the race detector costs
					t.Fatalf("%s: %d octets allocated for %d of input, cut at %d", name, total, len(in), n)
				}
			}
		}
	}
}

// fuzzDecoder: no input makes the decoder of T panic, and what decodes encodes
// to the same octets.
func fuzzDecoder[T any, P interface {
	*T
	codec
}](f *testing.F) {
	found := false
	for _, c := range samples(f) {
		if p, ok := c.(P); ok {
			found = true
			f.Add(encoded(p))
		}
	}
	if !found {
		f.Fatal("no sample")
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var v T
		if wire.Unmarshal(b, P(&v)) != nil {
			return
		}
		if got, err := wire.Marshal(P(&v)); err != nil || !bytes.Equal(got, b) {
			t.Fatalf("%x encodes to %x (%v)", b, got, err)
		}
	})
}

func FuzzDecodeKeyPackage(f *testing.F)         { fuzzDecoder[KeyPackage](f) }
func FuzzDecodeLeafNode(f *testing.F)           { fuzzDecoder[LeafNode](f) }
func FuzzDecodeParentNode(f *testing.F)         { fuzzDecoder[ParentNode](f) }
func FuzzDecodeRatchetTree(f *testing.F)        { fuzzDecoder[RatchetTree](f) }
func FuzzDecodeWelcome(f *testing.F)            { fuzzDecoder[Welcome](f) }
func FuzzDecodeGroupInfo(f *testing.F)          { fuzzDecoder[GroupInfo](f) }
func FuzzDecodeGroupContext(f *testing.F)       { fuzzDecoder[GroupContext](f) }
func FuzzDecodeGroupSecrets(f *testing.F)       { fuzzDecoder[GroupSecrets](f) }
func FuzzDecodePublicMessage(f *testing.F)      { fuzzDecoder[PublicMessage](f) }
func FuzzDecodePrivateMessage(f *testing.F)     { fuzzDecoder[PrivateMessage](f) }
func FuzzDecodeSemiPrivateMessage(f *testing.F) { fuzzDecoder[SemiPrivateMessage](f) }
func FuzzDecodeAuthenticated(f *testing.F)      { fuzzDecoder[AuthenticatedContent](f) }
func FuzzDecodeProposal(f *testing.F)           { fuzzDecoder[Proposal](f) }
func FuzzDecodeCommit(f *testing.F)             { fuzzDecoder[Commit](f) }
func FuzzDecodeUpdatePath(f *testing.F)         { fuzzDecoder[UpdatePath](f) }
func FuzzDecodeCredential(f *testing.F)         { fuzzDecoder[Credential](f) }
func FuzzDecodeBinding(f *testing.F)            { fuzzDecoder[CredentialBinding](f) }
func FuzzDecodeExtensions(f *testing.F)         { fuzzDecoder[Extensions](f) }
func FuzzDecodeRequired(f *testing.F)           { fuzzDecoder[RequiredCapabilities](f) }
func FuzzDecodeExternalSenders(f *testing.F)    { fuzzDecoder[ExternalSenders](f) }
func FuzzDecodeExternalReceivers(f *testing.F)  { fuzzDecoder[ExternalReceivers](f) }
func FuzzDecodeDictionary(f *testing.F)         { fuzzDecoder[AppDataDictionary](f) }
func FuzzDecodeSafeAAD(f *testing.F)            { fuzzDecoder[SafeAAD](f) }
func FuzzDecodeMediaTypeList(f *testing.F)      { fuzzDecoder[MediaTypeList](f) }
func FuzzDecodeFraming(f *testing.F)            { fuzzDecoder[ApplicationFraming](f) }
func FuzzDecodeAppAck(f *testing.F)             { fuzzDecoder[AppAck](f) }
func FuzzDecodePreSharedKeyID(f *testing.F)     { fuzzDecoder[PreSharedKeyID](f) }

// fuzzed maps the targets above to samples for the corpus.
func fuzzed(t testing.TB) map[string][][]byte {
	out := map[string][][]byte{}
	names := map[string]string{"AuthenticatedContent": "Authenticated", "CredentialBinding": "Binding",
		"RequiredCapabilities": "Required", "AppDataDictionary": "Dictionary", "ApplicationFraming": "Framing"}
	for _, c := range samples(t) {
		name := reflect.TypeOf(c).Elem().Name()
		if n, ok := names[name]; ok {
			name = n
		}
		target := "FuzzDecode" + name
		if name == "Message" {
			target = "FuzzParseMessage"
			out["FuzzProcess"] = append(out["FuzzProcess"], encoded(c))
		}
		out[target] = append(out[target], encoded(c))
	}
	return out
}

var updateCorpus = flag.Bool("update", false, "write the fuzz corpus anew")

// TestFuzzCorpus: every target has a corpus in the repository, whose entries
// the ordinary tests run.
func TestFuzzCorpus(t *testing.T) {
	dir := filepath.Join("testdata", "fuzz")
	if *updateCorpus {
		writeCorpus(t, dir)
	}
	sources, err := filepath.Glob("*_test.go")
	if err != nil || len(sources) == 0 {
		t.Fatal("no test files found", err)
	}
	targets := 0
	for _, file := range sources {
		if strings.HasPrefix(file, "vectors") {
			continue // their corpus is the official vectors
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?m)^func (Fuzz\w+)`).FindAllSubmatch(text, -1) {
			targets++
			if files, err := os.ReadDir(filepath.Join(dir, string(m[1]))); err != nil || len(files) == 0 {
				t.Errorf("%s has no corpus: %v", m[1], err)
			}
		}
	}
	if targets < 30 {
		t.Errorf("%d fuzz targets found", targets)
	}
}

// writeCorpus stores the samples, and the shapes that broke other decoders.
func writeCorpus(t *testing.T, dir string) {
	corpus := fuzzed(t)
	hostile := map[string][]byte{
		"huge-length": {0xbf, 0xff, 0xff, 0xff, 0}, "long-form": {0x40, 0x25, 0}, "reserved-length": {0xc0, 0, 0, 0},
	}
	c, _ := seedMessages(t)
	alice, err := c.members["alice"].MarshalBinary()
	c.ok(err)
	pending, err := c.members["alice"].Commit(CommitOptions{})
	c.ok(err)
	stored, err := pending.MarshalBinary()
	c.ok(err)
	fx := newFixture(t, 4, nil, nil)
	group, err := fx.group.MarshalBinary()
	c.ok(err)
	gi := *pending.GroupInfo()
	gi.Extensions = gi.Extensions.Set(ExtensionTypeRatchetTree, encoded(pending.Tree()))
	remove := removeOf(1)
	corpus["FuzzUnmarshalGroup"] = [][]byte{alice}
	corpus["FuzzUnmarshalPendingCommit"] = [][]byte{stored}
	corpus["FuzzUnmarshalPublicGroup"] = [][]byte{group}
	corpus["FuzzRatchetTree"] = [][]byte{encoded(fx.group.Tree())}
	corpus["FuzzNewPublicGroup"] = [][]byte{encoded(&gi)}
	corpus["FuzzPublicGroupCommit"] = [][]byte{encoded(fx.commit(0, values(remove)).Content.Commit)}
	corpus["FuzzPublicGroupProposal"] = [][]byte{encoded(&remove)}
	for target, list := range corpus {
		two := target == "FuzzPublicGroupCommit" || target == "FuzzPublicGroupProposal"
		to := filepath.Join(dir, target)
		if err := os.MkdirAll(to, 0o755); err != nil {
			t.Fatal(err)
		}
		write := func(name string, b []byte) {
			text := fmt.Sprintf("go test fuzz v1\n[]byte(%q)\n", b)
			if two {
				text += "bool(false)\n"
			}
			if err := os.WriteFile(filepath.Join(to, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		for i, b := range list {
			write(fmt.Sprintf("sample-%d", i), b)
		}
		for name, b := range hostile {
			write(name, b)
		}
	}
}

// FuzzUnmarshalPendingCommit: no stored octets make loading panic.
func FuzzUnmarshalPendingCommit(f *testing.F) {
	c, msgs := seedMessages(f)
	pending, err := c.members["alice"].Commit(CommitOptions{})
	c.ok(err)
	b, err := pending.MarshalBinary()
	c.ok(err)
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := UnmarshalPendingCommit(b, nil)
		if err != nil {
			return
		}
		p.Tree()
		if next := p.Merge(); next != nil {
			next.Process(msgs[1])
		}
		p.MergeFrom(c.members["alice"])
	})
}

// FuzzNewPublicGroup signs whatever decodes as a GroupInfo with a tree, if its
// signer is ours: joining gives an error or a consistent group.
func FuzzNewPublicGroup(f *testing.F) {
	c, _ := seedMessages(f)
	gi, err := c.members["alice"].GroupInfo()
	c.ok(err)
	gi.Extensions = gi.Extensions.Set(ExtensionTypeRatchetTree, encoded(c.members["alice"].Tree()))
	f.Add(encoded(gi))
	f.Fuzz(func(t *testing.T, b []byte) {
		gi := new(GroupInfo)
		if len(b) > 1<<13 || wire.Unmarshal(b, gi) != nil {
			return
		}
		// Reach the code behind the tree hash.
		if nodes, err := gi.RatchetTree(); err == nil && nodes != nil && gi.GroupContext.CipherSuite.Supported() {
			if tr, err := buildTree(gi.GroupContext.CipherSuite, nodes); err == nil {
				gi.GroupContext.TreeHash, _ = tr.hash()
			}
		}
		gi.Sign(c.signers["alice"].Private)
		p, err := NewPublicGroup(gi, nil, nil)
		if err != nil {
			return
		}
		checkAgainstRebuilt(t, p.tree)
	})
}
