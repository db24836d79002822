package mimi

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	"hubbub/mls"
	"hubbub/mls/wire"
)

// Errors about franks. A tag that is not of the message, or a message that names another
// sender or room, could not be reported later and is to be discarded; a message whose frank
// merely does not verify is shown and marked (D-36).
var (
	// ErrBadFrankTag means that a message is not the one its sender committed to.
	ErrBadFrankTag = errors.New("mimi: franking tag is not of this message")
	// ErrBadFrank means that a frank is not the hub's word about a message.
	ErrBadFrank = errors.New("mimi: bad frank")
	// ErrNoFrankKey means that the key of the time in question is gone.
	ErrNoFrankKey = errors.New("mimi: no franking key of that time")
)

const frankingLabel = "FrankingIntegrityTBS"

// FrankTagBytes is the length of a franking tag, in octets.
const FrankTagBytes = sha256.Size

// A FrankTag commits a sender to the application data of a message without showing it.
type FrankTag [FrankTagBytes]byte

// NewFrankTag makes the tag: HMAC-SHA256 of the whole application data, framing included,
// keyed by the salt of its content (FRK-1).
func NewFrankTag(salt [16]byte, applicationData []byte) FrankTag {
	mac := hmac.New(sha256.New, salt[:])
	mac.Write(applicationData)
	return FrankTag(mac.Sum(nil))
}

// Item gives the tag as the item of the authenticated data of a message that carries it
// (FRK-2). Other items of the message go into the same [mls.SafeAAD], in the order of
// their components.
func (t FrankTag) Item() mls.ComponentData {
	return mls.ComponentData{Component: ComponentFrankAAD, Data: t[:]}
}

// FrankTagOf takes the tag out of the authenticated data of a message in a group that has
// safe_aad. It says false if there is none, or one of another length (D-35).
func FrankTagOf(authenticatedData []byte) (FrankTag, bool) {
	var aad mls.SafeAAD
	if wire.Unmarshal(authenticatedData, &aad) != nil {
		return FrankTag{}, false
	}
	data, ok := aad.Get(ComponentFrankAAD)
	if !ok || len(data) != FrankTagBytes {
		return FrankTag{}, false
	}
	return FrankTag(data), true
}

// A FrankingContext is what a hub vouches for: who sent a message, where, and when it was
// accepted, in Unix ms (mimi-protocol-06, Hub processing).
type FrankingContext struct {
	Sender    UserURI
	Room      RoomURI
	Timestamp uint64
}

// Encode writes the context to w.
func (c *FrankingContext) Encode(w *wire.Writer) {
	encodeString(w, c.Sender)
	encodeString(w, c.Room)
	w.Uint64(c.Timestamp)
}

// Decode reads the context from r.
func (c *FrankingContext) Decode(r *wire.Reader) {
	*c = FrankingContext{decodeURI(r, ParseUser), decodeURI(r, ParseRoom), r.Uint64()}
}

// FrankingAgent is the content of component 0x0021 and equally an update of it: the key
// with which a hub signs franks, and the hub's credential. It is added once; another takes
// a new group (FRK-14).
type FrankingAgent struct {
	SignatureKey []byte
	Credential   mls.Credential
}

// ParseFrankingAgent reads the component. The error wraps [ErrMalformed].
func ParseFrankingAgent(b []byte) (*FrankingAgent, error) {
	a := new(FrankingAgent)
	if err := parseBody(b, a); err != nil {
		return nil, err
	}
	return a, nil
}

// Marshal gives the component's octets.
func (a *FrankingAgent) Marshal() ([]byte, error) { return wire.Marshal(a) }

// Encode writes the agent to w.
func (a *FrankingAgent) Encode(w *wire.Writer) {
	w.Opaque(a.SignatureKey)
	a.Credential.Encode(w)
}

// Decode reads the agent from r.
func (a *FrankingAgent) Decode(r *wire.Reader) {
	a.SignatureKey = r.Opaque()
	a.Credential.Decode(r)
}

// AgentOf gives the franking agent of a group, nil if it has none or does not require its
// members to put tags where a hub finds them: then nothing can be franked (FRK-5, FRK-15).
// The error wraps [ErrMalformed].
func AgentOf(d *mls.AppDataDictionary) (*FrankingAgent, error) {
	data, ok := d.Get(ComponentFrankingAgent)
	if !ok {
		return nil, nil
	}
	required, ok := d.Get(mls.ComponentSafeAAD)
	if !ok {
		return nil, nil
	}
	var list mls.ComponentsList
	if err := parseBody(required, &list); err != nil {
		return nil, err
	}
	if !slices.Contains(list, ComponentFrankAAD) {
		return nil, nil
	}
	return ParseFrankingAgent(data)
}

// frankingTBS is what the hub signs.
type frankingTBS struct {
	serverFrank [32]byte
	suite       mls.CipherSuite
	context     *FrankingContext
}

func (t *frankingTBS) Encode(w *wire.Writer) {
	w.Raw(t.serverFrank[:])
	w.Uint16(uint16(t.suite))
	t.context.Encode(w)
}

// A FrankKey is a hub's secret for franks. It never leaves the hub; one set serves all its
// rooms (D-32).
type FrankKey struct {
	ID     uint32
	Since  time.Time // accepts messages from here on, until the next key does
	Secret [32]byte
}

// String names the key without its secret.
func (k FrankKey) String() string { return fmt.Sprintf("franking key %d since %v", k.ID, k.Since) }

// FrankKeys are a hub's keys, the oldest first. The slice is not safe for concurrent
// change.
type FrankKeys []FrankKey

// Rotate adds a new key for messages accepted from now on, and drops keys whose last message
// is older than keep: reports of those can no longer be checked. The receiver is not changed.
func (k FrankKeys) Rotate(now time.Time, keep time.Duration) FrankKeys {
	next := FrankKey{ID: 1, Since: now}
	if len(k) > 0 {
		next.ID = k[len(k)-1].ID + 1
	}
	rand.Read(next.Secret[:]) // never fails: crypto/rand ends the process instead
	out := append(slices.Clone(k), next)
	for len(out) > 1 && !out[1].Since.After(now.Add(-keep)) {
		out = out[1:]
	}
	return out
}

// At gives the key for a message accepted at a time in Unix ms: the newest that was in use
// by then. The error wraps [ErrNoFrankKey].
func (k FrankKeys) At(timestamp uint64) (*FrankKey, error) {
	for i := len(k) - 1; i >= 0; i-- {
		if since := k[i].Since.UnixMilli(); since < 0 || uint64(since) <= timestamp {
			return &k[i], nil
		}
	}
	return nil, ErrNoFrankKey
}

// serverFrank is what only the hub can make and check.
func (k *FrankKey) serverFrank(tag FrankTag, c *FrankingContext) ([32]byte, error) {
	b, err := wire.Marshal(c)
	if err != nil {
		return [32]byte{}, err
	}
	mac := hmac.New(sha256.New, k.Secret[:])
	mac.Write(tag[:])
	mac.Write(b)
	return [32]byte(mac.Sum(nil)), nil
}

// Frank makes a hub's proof that it accepted a message with this tag, with the key of the
// time it was accepted. The signer's suite is the group's and its key the one of the room's
// [FrankingAgent] (FRK-6, FRK-7). The error wraps [ErrNoFrankKey] where there is none yet.
func (k FrankKeys) Frank(tag FrankTag, c *FrankingContext, signer *mls.SignatureKey) (*Frank, error) {
	key, err := k.At(c.Timestamp)
	if err != nil {
		return nil, err
	}
	f := &Frank{Suite: signer.Suite}
	if f.ServerFrank, err = key.serverFrank(tag, c); err != nil {
		return nil, fmt.Errorf("mimi: franking: %w", err)
	}
	tbs, err := wire.Marshal(&frankingTBS{f.ServerFrank, f.Suite, c})
	if err != nil {
		return nil, fmt.Errorf("mimi: franking: %w", err)
	}
	if f.Signature, err = signer.Suite.SignWithLabel(signer.Private, frankingLabel, tbs); err != nil {
		return nil, fmt.Errorf("mimi: franking: %w", err)
	}
	return f, nil
}

// Verify checks the hub's signature on a frank. The error wraps [ErrBadFrank].
func (f *Frank) Verify(c *FrankingContext, signatureKey []byte) error {
	tbs, err := wire.Marshal(&frankingTBS{f.ServerFrank, f.Suite, c})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBadFrank, err)
	}
	if err := f.Suite.VerifyWithLabel(signatureKey, frankingLabel, tbs, f.Signature); err != nil {
		return fmt.Errorf("%w: %w", ErrBadFrank, err)
	}
	return nil
}

// A FrankedMessage is a message as its receiver got it: decrypted, with what came along.
type FrankedMessage struct {
	ApplicationData   []byte   // whole, framing included
	Salt              [16]byte // of the content
	ContentSender     UserURI  // named by content extension 1
	ContentRoom       RoomURI  // named by content extension 2
	AuthenticatedData []byte   // of the PrivateMessage
	Timestamp         uint64   // of the fanout, Unix ms
	Frank             *Frank   // nil if there is none

	Sender UserURI         // of the sender's leaf
	Room   RoomURI         // where it arrived
	Suite  mls.CipherSuite // of the group
	Agent  *FrankingAgent  // of the group, see [AgentOf]; nil for none
}

// Reportable checks a message on receipt (FRK-10 to FRK-12). It says whether the message can
// be reported to the hub with its frank, which the receiver then keeps with the message
// (FRK-13). An error wrapping [ErrBadFrankTag] means that the message is to be discarded.
// Without a frank, an agent or a tag it is not reportable and nothing is wrong; one wrapping
// [ErrBadFrank] means that the hub's part is wrong: the message is shown, and marked (D-36).
// Verify has to have checked the agent's credential, or be nil, which checks only that it
// names the hub of the room.
func (m *FrankedMessage) Reportable(verify func(*FrankingAgent) (Domain, error)) (bool, error) {
	tag, tagged := FrankTagOf(m.AuthenticatedData)
	if !tagged || m.Agent == nil {
		return false, nil
	}
	want := NewFrankTag(m.Salt, m.ApplicationData)
	if !hmac.Equal(tag[:], want[:]) {
		return false, fmt.Errorf("%w: it was made of another message", ErrBadFrankTag)
	}
	if m.ContentSender != m.Sender || m.ContentRoom != m.Room {
		return false, fmt.Errorf("%w: the content names another sender or room", ErrBadFrankTag)
	}
	if m.Frank == nil {
		return false, nil
	}
	if m.Frank.Suite != m.Suite {
		return false, fmt.Errorf("%w: of another cipher suite than the group's", ErrBadFrank)
	}
	if verify == nil {
		verify = func(a *FrankingAgent) (Domain, error) { return ProviderIdentity(&a.Credential) }
	}
	d, err := verify(m.Agent)
	if err != nil {
		return false, fmt.Errorf("%w: %w", ErrBadFrank, err)
	}
	if d != m.Room.Domain() {
		return false, fmt.Errorf("%w: the agent is not the hub's", ErrBadFrank)
	}
	if err := m.Frank.Verify(&FrankingContext{m.Sender, m.Room, m.Timestamp}, m.Agent.SignatureKey); err != nil {
		return false, err
	}
	return true, nil
}

// Evidence makes the part of a report that proves a message; without a frank there is none
// (FRK-13).
func (m *FrankedMessage) Evidence() (AbusiveMessage, bool) {
	if m.Frank == nil {
		return AbusiveMessage{}, false
	}
	return AbusiveMessage{Content: bytes.Clone(m.ApplicationData), Frank: *m.Frank, Timestamp: m.Timestamp}, true
}

// ReportedContent is what a hub finds in the application data of a reported message.
type ReportedContent struct {
	Salt   [16]byte
	Sender UserURI // content extension 1
	Room   RoomURI // content extension 2
}

// VerifyEvidence checks that the hub accepted a reported message from the alleged abuser in
// the reported room (ABU-4, ABU-5). Found is what its application data says, which package
// content reads; agentKeys are the signature keys of the room's franking agents, present and
// past. The error wraps [ErrBadFrank] or [ErrNoFrankKey]: the report is kept, this message
// proves nothing.
func (k FrankKeys) VerifyEvidence(m *AbusiveMessage, found ReportedContent, abuser UserURI, room RoomURI, agentKeys ...[]byte) error {
	if found.Sender != abuser || found.Room != room {
		return fmt.Errorf("%w: the message names another sender or room", ErrBadFrank)
	}
	key, err := k.At(m.Timestamp)
	if err != nil {
		return err
	}
	c := &FrankingContext{found.Sender, found.Room, m.Timestamp}
	want, err := key.serverFrank(NewFrankTag(found.Salt, m.Content), c)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBadFrank, err)
	}
	if !hmac.Equal(want[:], m.Frank.ServerFrank[:]) {
		return fmt.Errorf("%w: the hub did not accept this message", ErrBadFrank)
	}
	for _, k := range agentKeys {
		if m.Frank.Verify(c, k) == nil {
			return nil
		}
	}
	return fmt.Errorf("%w: the signature is of no key of the room", ErrBadFrank)
}
