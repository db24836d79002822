package policy

import (
	"bytes"
	"encoding/hex"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"hubbub/mimi"
	"hubbub/mimi/content"
	"hubbub/mls"
	"hubbub/mls/wire"
)

func assets() *AssetPolicy {
	png := mls.MediaType{Type: "image/png"}
	gfm := mls.MediaType{Type: "text/markdown", Parameters: []mls.MediaTypeParameter{{Name: "variant", Value: "GFM-MIMI"}}}
	return &AssetPolicy{Location: UploadLocal, Domains: []UploadDomain{{"a.example", []string{"assets.a.example"}}, {"b.example", []string{"b.example", "cdn.b.example"}}},
		Allowed: []DownloadType{DownloadHubProxy, DownloadOHTTP}, Forbidden: []DownloadType{DownloadDirect}, Default: DownloadHubProxy,
		MaxImage: 1000, MaxVideo: 5000, MaxAttachment: 100,
		ForbiddenTypes: []mls.MediaType{{Type: "text/html"}}, PermittedTypes: &[]mls.MediaType{png, gfm, {Type: "video/mp4"}, {Type: "audio/ogg"}}}
}

// TestFeatureCodecs encodes one value of each component, field by field.
func TestFeatureCodecs(t *testing.T) {
	str := func(s string) string { return hex.EncodeToString(append([]byte{byte(len(s))}, s...)) }
	for _, tc := range []struct {
		name, hex string
		id        mls.ComponentID
		value     codec
	}{
		{"join link", "00" + str("") + "01" + "00015180", mimi.ComponentJoinLinkPolicy, &JoinLinkPolicy{MultiUser: true, Expiration: 86400}},
		{"join link on request", "01" + str("https://a.example/j/x") + "00" + "00000000", mimi.ComponentJoinLinkPolicy,
			&JoinLinkPolicy{OnRequest: true, JoinLink: "https://a.example/j/x"}},
		{"previews", "00010201" + "14" + str("https://p.example/x"), mimi.ComponentLinkPreviewPolicy,
			&LinkPreviewPolicy{SendPreviews: Required, AutomaticPreviews: Forbidden, ProxyUse: Required, Proxy: "https://p.example/x"}},
		{"previews without proxy", "02020202", mimi.ComponentLinkPreviewPolicy, &LinkPreviewPolicy{Forbidden, Forbidden, Forbidden, Forbidden, ""}},
		{"logging", "01" + "1b" + str("mimi://a.example/d/log/ger") + str("m") + str("h"), mimi.ComponentLoggingPolicy,
			&LoggingPolicy{Required, []string{"mimi://a.example/d/log/ger"}, "m", "h"}},
		{"no logging", "02", mimi.ComponentLoggingPolicy, &LoggingPolicy{Logging: Forbidden}},
		{"history", "00" + "080000000200000003" + "01" + "00000e10", mimi.ComponentChatHistoryPolicy, &HistoryPolicy{Optional, []uint32{2, 3}, true, 3600}},
		{"no history", "02", mimi.ComponentChatHistoryPolicy, &HistoryPolicy{Sharing: Forbidden}},
		{"no bots", "00", mimi.ComponentBotPolicy, &BotPolicy{}},
		{"bot", "14" + str("echo") + str("d") + str("h://x") + "00" + "00000002" + "0001", mimi.ComponentBotPolicy,
			&BotPolicy{[]Bot{{Name: "echo", Description: "d", Homepage: "h://x", Role: 2, PerUserContent: true}}}},
		{"operational", strings.Repeat("00", 30) + "00" + "0000" + "00" + strings.Repeat("00", 24) + "03" + "0100" + "0000000a" +
			strings.Repeat("00", 24) + strings.Repeat("00", 24) + "00000005" + strings.Repeat("00", 24) + "00000006", mimi.ComponentOperationalPolicy,
			&OperationalParameters{EpochTolerance: 3, PadToSize: 256, MaxGenerationsSkipahead: 10, MaxKeypairs: 5, MaxBufferedMessages: 6}},
	} {
		want, err := hex.DecodeString(tc.hex)
		if err != nil {
			t.Fatal(tc.name, err)
		}
		got, err := wire.Marshal(tc.value)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: encoded to\n%x, %v, want\n%x", tc.name, got, err, want)
			continue
		}
		back := reflect.New(reflect.TypeOf(tc.value).Elem()).Interface().(codec)
		if err := wire.Unmarshal(want, back); err != nil || !reflect.DeepEqual(back, tc.value) {
			t.Errorf("%s: decoded to %+v, %v", tc.name, back, err)
		}
		if known, err := CheckComponent(tc.id, want); !known || err != nil {
			t.Errorf("%s: known=%v, %v", tc.name, known, err)
		}
		for n := range want {
			if _, err := CheckComponent(tc.id, want[:n]); !errors.Is(err, ErrMalformed) {
				t.Errorf("%s: cut at %d: %v", tc.name, n, err)
			}
		}
	}
	b, err := wire.Marshal(assets())
	if err != nil {
		t.Fatal(err)
	}
	if back, err := ParseAssetPolicy(b); err != nil || !reflect.DeepEqual(back, assets()) {
		t.Errorf("assets: %+v, %v", back, err)
	}
	if known, err := CheckComponent(mimi.ComponentJoinLinks, []byte{2, 1, 'x'}); !known || err != nil {
		t.Errorf("join links: %v, %v", known, err)
	}
}

func TestFeatureRules(t *testing.T) {
	for name, tc := range map[string]struct {
		id    mls.ComponentID
		value wire.Encoder
	}{
		"detection required":         {mimi.ComponentLinkPreviewPolicy, &LinkPreviewPolicy{AutodetectLinks: Required, ProxyUse: Forbidden}},
		"proxy missing":              {mimi.ComponentLinkPreviewPolicy, &LinkPreviewPolicy{ProxyUse: Required}},
		"two places at the hub":      {mimi.ComponentAssetPolicy, &AssetPolicy{Location: UploadHub, Domains: assets().Domains}},
		"unknown place":              {mimi.ComponentAssetPolicy, &AssetPolicy{Location: 3}},
		"unknown download":           {mimi.ComponentAssetPolicy, &AssetPolicy{Default: 3}},
		"logging by nobody":          {mimi.ComponentLoggingPolicy, &LoggingPolicy{Logging: Required}},
		"two loggers of a provider":  {mimi.ComponentLoggingPolicy, &LoggingPolicy{Clients: []string{"mimi://a.example/d/x/1", "mimi://A.example/d/x/2"}}},
		"logger that is no client":   {mimi.ComponentLoggingPolicy, &LoggingPolicy{Clients: []string{"https://a.example"}}},
		"local bot with a role":      {mimi.ComponentBotPolicy, &BotPolicy{[]Bot{{Local: true, Role: 2}}}},
		"delays the wrong way round": {mimi.ComponentOperationalPolicy, &OperationalParameters{Pending: PendingRandomDelay, MinDelayMS: 2, MaxDelayMS: 1}},
		"span the wrong way round":   {mimi.ComponentOperationalPolicy, &OperationalParameters{LeafNodeUpdate: Span{3, 2, 1}}},
	} {
		b, err := wire.Marshal(tc.value)
		if err != nil {
			t.Fatal(name, err)
		}
		if _, err := CheckComponent(tc.id, b); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if b, err := wire.Marshal(&OperationalParameters{Pending: 3}); err == nil {
		t.Errorf("strategy 3 encoded to %x", b)
	}
}

func TestAssetPolicy(t *testing.T) {
	p := assets()
	for contentType, want := range map[string]bool{
		"image/png": true, "IMAGE/PNG; q=1": true, "image/jpeg": false, "text/html": false, "text/markdown;variant=GFM-MIMI": true,
		"text/markdown": false, "text/markdown;variant=CommonMark": false, "": false,
	} {
		if got := p.Permits(contentType); got != want {
			t.Errorf("%s: %v", contentType, got)
		}
	}
	open := &AssetPolicy{ForbiddenTypes: []mls.MediaType{{Type: "text/markdown"}}}
	if open.Permits("text/markdown;variant=GFM-MIMI") || !open.Permits("image/png") {
		t.Error("a forbidden type without parameters")
	}
	for address, want := range map[string]bool{
		"https://cdn.b.example/x": true, "https://CDN.B.example/x": true, "https://b.example:8443/x": true, "https://assets.a.example/x": false,
		"http://cdn.b.example/x": false, "https://cdn.b.example@evil.example/x": false, "https://evil.example/": false, "%zz": false, "": false,
	} {
		if got := p.AllowsURL("b.example", address); got != want {
			t.Errorf("%s: %v", address, got)
		}
	}
	if got := p.Hosts(); !reflect.DeepEqual(got, []string{"assets.a.example", "b.example", "cdn.b.example"}) {
		t.Errorf("hosts %v", got)
	}
	for _, tc := range []struct {
		local []DownloadType
		want  DownloadType
		ok    bool
	}{
		{[]DownloadType{DownloadOHTTP, DownloadHubProxy}, DownloadHubProxy, true}, {[]DownloadType{DownloadOHTTP}, DownloadOHTTP, true},
		{[]DownloadType{DownloadDirect}, 0, false}, {nil, 0, false},
	} {
		if got, ok := p.Download(tc.local); got != tc.want || ok != tc.ok {
			t.Errorf("%v: %v, %v", tc.local, got, ok)
		}
	}
}

func TestJoinLinksUpdate(t *testing.T) {
	links := &mimi.JoinLinks{Links: [][]byte{[]byte("one"), []byte("two")}}
	next, err := links.Apply(&mimi.JoinLinksUpdate{Removed: []uint32{0}, Added: [][]byte{[]byte("three")}})
	if err != nil || !reflect.DeepEqual(next.Links, [][]byte{[]byte("two"), []byte("three")}) {
		t.Errorf("applied: %q, %v", next, err)
	}
	for name, u := range map[string]*mimi.JoinLinksUpdate{
		"out of range": {Removed: []uint32{2}}, "twice": {Removed: []uint32{1, 1}}, "there already": {Added: [][]byte{[]byte("one")}}, "empty": {Added: [][]byte{{}}},
	} {
		if _, err := links.Apply(u); !errors.Is(err, mimi.ErrBadUpdate) {
			t.Errorf("%s: %v", name, err)
		}
	}
	octets, err := (&mimi.JoinLinksUpdate{Removed: []uint32{1}, Added: [][]byte{[]byte("x")}}).Marshal()
	if err != nil || hex.EncodeToString(octets) != "0400000001020178" {
		t.Errorf("update %x, %v", octets, err)
	}
	old, err := links.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	got, err := Components().Update(mimi.ComponentJoinLinks, old, true, [][]byte{octets})
	if err != nil || hex.EncodeToString(got) != "06036f6e650178" {
		t.Errorf("component %x, %v", got, err)
	}
}

func TestOperationalRules(t *testing.T) {
	var none *OperationalParameters
	o := &OperationalParameters{EpochTolerance: 2, HandshakeFormats: []mls.WireFormat{mls.WireFormatPublicMessage}, MaxKeyPackageLifetime: 10}
	for _, tc := range []struct {
		p              *OperationalParameters
		epoch, current uint64
		want           bool
	}{{none, 7, 7, true}, {none, 6, 7, false}, {none, 8, 7, false}, {o, 7, 7, true}, {o, 5, 7, true}, {o, 4, 7, false}, {o, 8, 7, false}, {o, 0, 1, true}} {
		if got := tc.p.AcceptsEpoch(tc.epoch, tc.current); got != tc.want {
			t.Errorf("epoch %d in %d: %v", tc.epoch, tc.current, got)
		}
	}
	if !none.AllowsHandshake(mls.WireFormatPrivateMessage) || o.AllowsHandshake(mls.WireFormatPrivateMessage) || !o.AllowsHandshake(mls.WireFormatPublicMessage) {
		t.Error("handshake formats")
	}
	if !none.AcceptsLifetime(11) || o.AcceptsLifetime(11) || !o.AcceptsLifetime(10) {
		t.Error("lifetimes")
	}
}

func TestReports(t *testing.T) {
	for _, tc := range []struct {
		o          Optionality
		wish, want bool
	}{{Optional, true, true}, {Optional, false, false}, {Required, false, true}, {Forbidden, true, false}} {
		read := &StatusNotificationPolicy{DeliveryNotifications: Forbidden, ReadReceipts: tc.o}
		if got := read.Reports(content.StatusRead, tc.wish); got != tc.want {
			t.Errorf("%v, %v: %v", tc.o, tc.wish, got)
		}
		if read.Reports(content.StatusDelivered, true) {
			t.Error("delivery reported although forbidden")
		}
	}
	var none *StatusNotificationPolicy
	if none.Reports(content.StatusRead, false) || !none.Reports(content.StatusRead, true) {
		t.Error("without a policy the user decides")
	}
}

func TestAuthorizeContent(t *testing.T) {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	text := func() *content.Message { return content.NewText(bob, room, "hi") }
	body := text().Body
	external := func(kind, url string, size uint64) *content.Message {
		return content.New(bob, room, &content.ExternalPart{Disposition: content.Attachment, ContentType: kind, URL: url, Size: size})
	}
	react, err := content.NewReaction(bob, room, content.ID{1}, "❤")
	if err != nil {
		t.Fatal(err)
	}
	without := func(c Capability) func(*State) {
		return func(s *State) {
			var left []Capability
			for _, x := range s.role(Member).Capabilities {
				if x != c {
					left = append(left, x)
				}
			}
			s.role(Member).Capabilities = left
		}
	}
	with := func(id mls.ComponentID, v wire.Encoder) func(*State) {
		return func(s *State) {
			b, err := wire.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			s.components[id] = string(b)
		}
	}
	expiring := &MessageExpiration{Expiring: Required, Min: 60, Max: 3600}
	for _, tc := range []struct {
		name  string
		m     *content.Message
		about About
		setup func(*State)
		words string
	}{
		{"text", text(), About{}, nil, ""},
		{"reply", content.NewReply(bob, room, content.ID{1}, body), About{}, nil, ""},
		{"reply without the right", content.NewReply(bob, room, content.ID{1}, body), About{}, without(CanReplyToMessage), "may not reply: role member lacks canReplyToMessage"},
		{"new topic", text().InTopic([]byte("x")), About{NewTopic: true}, without(CanStartTopic), "lacks canStartTopic"},
		{"old topic", text().InTopic([]byte("x")), About{}, without(CanStartTopic), ""},
		{"old topic without the right", text().InTopic([]byte("x")), About{}, without(CanReplyInTopic), "lacks canReplyInTopic"},
		{"reaction", react, About{Author: alice}, nil, ""},
		{"reaction without the right", react, About{Author: alice}, without(CanReactToMessage), "lacks canReactToMessage"},
		{"edit", content.NewEdit(bob, room, content.ID{1}, nil, body), About{Author: bob}, nil, ""},
		{"edit without the right", content.NewEdit(bob, room, content.ID{1}, nil, body), About{Author: bob}, without(CanEditOwnMessage), "lacks canEditOwnMessage"},
		{"edit of another's", content.NewEdit(bob, room, content.ID{1}, nil, body), About{Author: alice}, nil, "it is not theirs"},
		{"edit of the unknown", content.NewEdit(bob, room, content.ID{1}, nil, body), About{}, nil, ""},
		{"delete", content.NewDelete(bob, room, content.ID{1}, nil), About{Author: bob}, nil, ""},
		{"delete another's", content.NewDelete(bob, room, content.ID{1}, nil), About{Author: alice}, nil, "lacks canDeleteOtherMessage"},
		{"delete another's by right", content.NewDelete(bob, room, content.ID{1}, nil), About{Author: alice}, func(s *State) { s.grant(Member, CanDeleteOtherMessage) }, ""},
		{"unlike", content.NewDelete(bob, room, content.ID{1}, react), About{Author: bob}, without(CanDeleteOwnMessage), ""},
		{"unlike another's", content.NewDelete(bob, room, content.ID{1}, react), About{Author: alice}, nil, "lacks canDeleteOtherReaction"},
		{"image", external("image/png", "https://b.example/x", 10), About{}, without(CanUploadAttachment), ""},
		{"image without the right", external("image/png", "https://b.example/x", 10), About{}, without(CanUploadImage), "lacks canUploadImage"},
		{"file without the right", external("application/pdf", "https://b.example/x", 10), About{}, without(CanUploadAttachment), "lacks canUploadAttachment"},
		{"link", content.NewMarkdown(bob, room, "[x](https://x.example)"), About{}, without(CanSendLink), "lacks canSendLink"},
		{"mention", content.NewMarkdown(bob, room, content.Mention(alice, "")), About{}, without(CanSendLink), ""},
		{"image at the limit", external("image/png", "https://b.example/x", 1000), About{}, with(mimi.ComponentAssetPolicy, assets()), ""},
		{"image above it", external("image/png", "https://b.example/x", 1001), About{}, with(mimi.ComponentAssetPolicy, assets()), "too large"},
		{"audio where none is", external("audio/ogg", "https://b.example/x", 0), About{}, with(mimi.ComponentAssetPolicy, assets()), "too large"},
		{"image elsewhere", external("image/png", "https://evil.example/x", 10), About{}, with(mimi.ComponentAssetPolicy, assets()), "does not lie where"},
		{"another type", external("image/jpeg", "https://b.example/x", 10), About{}, with(mimi.ComponentAssetPolicy, assets()), "type"},
		{"must expire", text(), About{}, with(mimi.ComponentMessageExpiration, expiring), "have to expire"},
		{"expires", text().ExpireAfter(time.Minute), About{}, with(mimi.ComponentMessageExpiration, expiring), ""},
		{"expires late", text().ExpireAfter(time.Hour), About{}, with(mimi.ComponentMessageExpiration, expiring), ""},
		{"expires too early", text().ExpireAfter(59 * time.Second), About{}, with(mimi.ComponentMessageExpiration, expiring), "too early"},
		{"expires too late", text().ExpireAt(now.Add(3601 * time.Second)), About{}, with(mimi.ComponentMessageExpiration, expiring), "too late"},
		{"expires at a time", text().ExpireAt(now.Add(3600 * time.Second)), About{}, with(mimi.ComponentMessageExpiration, expiring), ""},
		{"must not expire", text().ExpireAfter(time.Hour), About{}, with(mimi.ComponentMessageExpiration, &MessageExpiration{Expiring: Forbidden}), "must not expire"},
		{"reaction need not expire", react, About{}, with(mimi.ComponentMessageExpiration, expiring), ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := clubhouse()
			if tc.setup != nil {
				tc.setup(s)
			}
			checkDenied(t, AuthorizeContent(s, bob, tc.m, tc.about, now), tc.words)
		})
	}
	m := text()
	expiring.Expire(m)
	if m.Expires == nil || m.Expires.Seconds != 3600 {
		t.Errorf("default expiry %+v", m.Expires)
	}
	s := clubhouse()
	if s.Rights(bob) != 0 || s.Rights(alice) != content.DeleteOthersMessages|content.DeleteOthersReactions {
		t.Errorf("rights %v, %v", s.Rights(bob), s.Rights(alice))
	}
}

// TestFeatureTransitions is about policies that speak of roles and providers.
func TestFeatureTransitions(t *testing.T) {
	for _, tc := range []struct {
		name  string
		id    mls.ComponentID
		value wire.Encoder
		words string
	}{
		{"history by members", mimi.ComponentChatHistoryPolicy, &HistoryPolicy{Roles: []uint32{Member, Admin}}, ""},
		{"history by outsiders", mimi.ComponentChatHistoryPolicy, &HistoryPolicy{Roles: []uint32{Outside}}, "role 0 cannot share"},
		{"history by the banned", mimi.ComponentChatHistoryPolicy, &HistoryPolicy{Roles: []uint32{Banned}}, "role 1 cannot share"},
		{"history by nobody", mimi.ComponentChatHistoryPolicy, &HistoryPolicy{Roles: []uint32{77}}, "role 77 cannot share"},
		{"assets at the hub", mimi.ComponentAssetPolicy, &AssetPolicy{Location: UploadHub, Domains: []UploadDomain{{"a.example", nil}}}, ""},
		{"assets at another hub", mimi.ComponentAssetPolicy, &AssetPolicy{Location: UploadHub, Domains: []UploadDomain{{"b.example", nil}}}, "lists b.example"},
		{"assets anywhere", mimi.ComponentAssetPolicy, assets(), ""},
	} {
		b, err := wire.Marshal(tc.value)
		if err != nil {
			t.Fatal(err)
		}
		after := clubhouse()
		after.Base.Components = append(after.Base.Components, tc.id)
		after.components[tc.id] = string(b)
		after.components[mimi.ComponentBaseRoomPolicy] = "changed"
		checkDenied(t, Transition(clubhouse(), after), tc.words)
	}
}
