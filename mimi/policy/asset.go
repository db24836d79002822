package policy

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"hubbub/mimi"
	"hubbub/mls"
	"hubbub/mls/wire"
)

// An UploadLocation says where assets of a room are stored.
type UploadLocation uint8

// The places of mimi-room-policy-03, Asset policies; the sender's provider is the one
// recommended.
const (
	UploadUnspecified UploadLocation = iota
	UploadLocal
	UploadHub
)

// A DownloadType is a way to fetch an asset.
type DownloadType uint8

// The ways of mimi-protocol-06, Download Files (AST-9).
const (
	DownloadDirect DownloadType = iota
	DownloadHubProxy
	DownloadOHTTP
)

// An UploadDomain lists the hosts on which a provider stores assets.
type UploadDomain struct {
	Provider mimi.Domain
	Hosts    []string
}

// AssetPolicy is the content of component 0x002C and equally an update of it (POL-24 to
// POL-26). Sizes are in octets and taken literally: 0 allows none (D-83).
type AssetPolicy struct {
	Location      UploadLocation
	Domains       []UploadDomain
	Allowed       []DownloadType
	Forbidden     []DownloadType
	Default       DownloadType
	MaxImage      uint64
	MaxAudio      uint64
	MaxVideo      uint64
	MaxAttachment uint64 // of everything else

	ForbiddenTypes []mls.MediaType
	PermittedTypes *[]mls.MediaType // nil: all that are not forbidden (D-55)
}

// ParseAssetPolicy reads the component. The error wraps [ErrMalformed].
func ParseAssetPolicy(b []byte) (*AssetPolicy, error) {
	p := new(AssetPolicy)
	return checked(p, b, p.check)
}

func (p *AssetPolicy) check() error {
	switch {
	case p.Location > UploadHub:
		return fmt.Errorf("%w: unknown place for assets", ErrMalformed)
	case p.Location == UploadHub && len(p.Domains) != 1:
		return fmt.Errorf("%w: assets at the hub, but not exactly one provider is listed", ErrMalformed)
	case max(len(p.Domains), len(p.ForbiddenTypes)) > maxListed:
		return fmt.Errorf("%w: too many entries", ErrMalformed)
	}
	for _, t := range slices.Concat(p.Allowed, p.Forbidden, []DownloadType{p.Default}) {
		if t > DownloadOHTTP {
			return fmt.Errorf("%w: unknown way to download", ErrMalformed)
		}
	}
	return nil
}

// Encode writes the policy to w.
func (p *AssetPolicy) Encode(w *wire.Writer) {
	w.Uint8(uint8(p.Location))
	w.Vector(func(w *wire.Writer) {
		for _, d := range p.Domains {
			w.Opaque([]byte(d.Provider))
			encodeStrings(w, d.Hosts)
		}
	})
	encodeDownloads(w, p.Allowed)
	encodeDownloads(w, p.Forbidden)
	w.Uint8(uint8(p.Default))
	for _, n := range []uint64{p.MaxImage, p.MaxAudio, p.MaxVideo, p.MaxAttachment} {
		w.Uint64(n)
	}
	encodeTypes(w, p.ForbiddenTypes)
	w.Optional(p.PermittedTypes != nil)
	if p.PermittedTypes != nil {
		encodeTypes(w, *p.PermittedTypes)
	}
}

// Decode reads the policy from r.
func (p *AssetPolicy) Decode(r *wire.Reader) {
	*p = AssetPolicy{Location: UploadLocation(r.Uint8())}
	for v := r.Vector(); !v.Empty(); {
		provider, err := mimi.ParseDomain(string(v.Opaque()))
		if err != nil {
			v.FailValue()
		}
		p.Domains = append(p.Domains, UploadDomain{provider, decodeStrings(v)})
	}
	p.Allowed, p.Forbidden, p.Default = decodeDownloads(r), decodeDownloads(r), DownloadType(r.Uint8())
	p.MaxImage, p.MaxAudio, p.MaxVideo, p.MaxAttachment = r.Uint64(), r.Uint64(), r.Uint64(), r.Uint64()
	p.ForbiddenTypes = decodeTypes(r)
	if r.Optional() {
		list := decodeTypes(r)
		p.PermittedTypes = &list
	}
}

func encodeDownloads(w *wire.Writer, list []DownloadType) {
	w.Vector(func(w *wire.Writer) {
		for _, t := range list {
			w.Uint8(uint8(t))
		}
	})
}

func decodeDownloads(r *wire.Reader) []DownloadType {
	var list []DownloadType
	for v := r.Vector(); !v.Empty(); {
		if list = append(list, DownloadType(v.Uint8())); len(list) > maxListed {
			v.FailValue()
		}
	}
	return list
}

func encodeTypes(w *wire.Writer, list []mls.MediaType) {
	w.Vector(func(w *wire.Writer) {
		for i := range list {
			list[i].Encode(w)
		}
	})
}

func decodeTypes(r *wire.Reader) []mls.MediaType {
	var list []mls.MediaType
	for v := r.Vector(); !v.Empty(); {
		var m mls.MediaType
		if m.Decode(v); m.Type == "" || len(list) >= maxListed {
			v.FailValue()
		}
		list = append(list, m)
	}
	return list
}

// Permits says whether assets of a content type, such as "image/png", may be in the room:
// not if a forbidden entry matches, and only if a permitted one does where there are any.
// An entry without parameters matches all (POL-25).
func (p *AssetPolicy) Permits(contentType string) bool {
	matches := func(m mls.MediaType) bool { return matchesType(&m, contentType) }
	if slices.ContainsFunc(p.ForbiddenTypes, matches) {
		return false
	}
	return p.PermittedTypes == nil || slices.ContainsFunc(*p.PermittedTypes, matches)
}

func matchesType(entry *mls.MediaType, contentType string) bool {
	kind, rest, _ := strings.Cut(contentType, ";")
	if !strings.EqualFold(strings.TrimSpace(kind), entry.Type) {
		return false
	}
	for _, want := range entry.Parameters {
		found := false
		for s := range strings.SplitSeq(rest, ";") {
			name, value, _ := strings.Cut(strings.TrimSpace(s), "=")
			found = found || strings.EqualFold(name, want.Name) && strings.Trim(value, `"`) == want.Value
		}
		if !found {
			return false
		}
	}
	return true
}

// MaxBytes is the largest asset of a content type, in octets (POL-26).
func (p *AssetPolicy) MaxBytes(contentType string) uint64 {
	top, _, _ := strings.Cut(strings.ToLower(contentType), "/")
	switch strings.TrimSpace(top) {
	case "image":
		return p.MaxImage
	case "audio":
		return p.MaxAudio
	case "video":
		return p.MaxVideo
	}
	return p.MaxAttachment
}

// AllowsURL says whether an asset sent by a user of a provider may lie at an address: it
// is https and its host is listed for the provider, or for the hub where assets are kept
// there. Where the place is unspecified every host will do (AST-11).
func (p *AssetPolicy) AllowsURL(sender mimi.Domain, address string) bool {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
		return false
	}
	if p.Location == UploadUnspecified {
		return true
	}
	for _, d := range p.Domains {
		if p.Location == UploadLocal && d.Provider != sender {
			continue
		}
		if slices.ContainsFunc(d.Hosts, func(h string) bool { return strings.EqualFold(h, u.Hostname()) }) {
			return true
		}
	}
	return false
}

// Hosts gives every host on which assets of the room may lie, for the allow-list of a
// proxy or an Oblivious HTTP gateway (AST-2, AST-7).
func (p *AssetPolicy) Hosts() []string {
	var out []string
	for _, d := range p.Domains {
		out = append(out, d.Hosts...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Download picks how to fetch an asset, given what the client's own settings allow, in
// order of preference: the room's default if both allow it, else the first of the
// client's that the room allows. It says false if there is none. What the room forbids is
// forbidden even where it is also allowed (AST-9).
func (p *AssetPolicy) Download(local []DownloadType) (DownloadType, bool) {
	may := func(t DownloadType) bool {
		return !slices.Contains(p.Forbidden, t) && (t == p.Default || slices.Contains(p.Allowed, t))
	}
	if may(p.Default) && slices.Contains(local, p.Default) {
		return p.Default, true
	}
	for _, t := range local {
		if may(t) {
			return t, true
		}
	}
	return 0, false
}
