package policy

import (
	"fmt"
	"strings"

	"hubbub/mimi"
	"hubbub/mls/wire"
)

// maxText bounds each text and address of a policy, in octets.
const maxText = 4096

// decodeAddress reads an address; the empty one is allowed.
func decodeAddress(r *wire.Reader) string {
	s := text(r)
	if len(s) > maxText {
		r.FailValue()
	}
	return s
}

func encodeStrings(w *wire.Writer, list []string) {
	w.Vector(func(w *wire.Writer) {
		for _, s := range list {
			w.Opaque([]byte(s))
		}
	})
}

func decodeStrings(r *wire.Reader) []string {
	var list []string
	for v := r.Vector(); !v.Empty(); {
		list = append(list, decodeAddress(v))
	}
	if len(list) > maxListed {
		r.FailValue()
	}
	return list
}

func encode32s(w *wire.Writer, list []uint32) {
	w.Vector(func(w *wire.Writer) {
		for _, v := range list {
			w.Uint32(v)
		}
	})
}

func decode32s(r *wire.Reader) []uint32 {
	var list []uint32
	for v := r.Vector(); !v.Empty(); {
		list = append(list, v.Uint32())
	}
	if len(list) > maxListed {
		r.FailValue()
	}
	return list
}

// LinkPreviewPolicy is the content of component 0x002B and equally an update of it
// (POL-23).
type LinkPreviewPolicy struct {
	AutodetectLinks   Optionality // of plain addresses in text; never Required
	SendPreviews      Optionality
	AutomaticPreviews Optionality
	ProxyUse          Optionality
	Proxy             string // unless ProxyUse is Forbidden: one address (D-54)
}

// ParseLinkPreviewPolicy reads the component. The error wraps [ErrMalformed].
func ParseLinkPreviewPolicy(b []byte) (*LinkPreviewPolicy, error) {
	p := new(LinkPreviewPolicy)
	return checked(p, b, p.check)
}

func (p *LinkPreviewPolicy) check() error {
	if p.AutodetectLinks == Required {
		return fmt.Errorf("%w: nobody can be made to detect links", ErrMalformed)
	}
	if (p.ProxyUse == Forbidden) != (p.Proxy == "") {
		return fmt.Errorf("%w: the proxy for previews is missing, or there although its use is forbidden", ErrMalformed)
	}
	return nil
}

// Encode writes the policy to w; nothing follows a forbidden proxy (D-62).
func (p *LinkPreviewPolicy) Encode(w *wire.Writer) {
	for _, o := range []Optionality{p.AutodetectLinks, p.SendPreviews, p.AutomaticPreviews, p.ProxyUse} {
		w.Uint8(uint8(o))
	}
	if p.ProxyUse != Forbidden {
		encodeStrings(w, []string{p.Proxy})
	}
}

// Decode reads the policy from r.
func (p *LinkPreviewPolicy) Decode(r *wire.Reader) {
	*p = LinkPreviewPolicy{AutodetectLinks: decodeOptionality(r), SendPreviews: decodeOptionality(r),
		AutomaticPreviews: decodeOptionality(r), ProxyUse: decodeOptionality(r)}
	if p.ProxyUse == Forbidden {
		return
	}
	list := decodeStrings(r)
	if len(list) != 1 {
		r.FailValue()
		return
	}
	p.Proxy = list[0]
}

// LoggingPolicy is the content of component 0x002D and equally an update of it (POL-27).
// Unless Logging is Forbidden, clients of the room may keep a log of it.
type LoggingPolicy struct {
	Logging         Optionality
	Clients         []string // identifiers of the logging clients, at most one per provider
	MachineReadable string   // address of the policy for programs
	HumanReadable   string   // address of the policy for people
}

// ParseLoggingPolicy reads the component. The error wraps [ErrMalformed].
func ParseLoggingPolicy(b []byte) (*LoggingPolicy, error) {
	p := new(LoggingPolicy)
	return checked(p, b, p.check)
}

func (p *LoggingPolicy) check() error {
	if p.Logging == Required && len(p.Clients) == 0 {
		return fmt.Errorf("%w: logging is required and nobody does it", ErrMalformed)
	}
	seen := make(map[string]bool)
	for _, c := range p.Clients {
		host, ok := hostOf(c)
		if !ok || seen[host] {
			return fmt.Errorf("%w: a logging client is not an identifier, or its provider has another", ErrMalformed)
		}
		seen[host] = true
	}
	return nil
}

// hostOf gives the provider of an identifier of any kind.
func hostOf(uri string) (string, bool) {
	rest, ok := strings.CutPrefix(uri, "mimi://")
	host, _, more := strings.Cut(rest, "/")
	if !ok || !more {
		return "", false
	}
	d, err := mimi.ParseDomain(strings.ToLower(host))
	return string(d), err == nil
}

// Active says whether the room is logged (POL-27).
func (p *LoggingPolicy) Active() bool { return p.Logging != Forbidden && len(p.Clients) > 0 }

// Encode writes the policy to w; nothing follows "forbidden" (D-62).
func (p *LoggingPolicy) Encode(w *wire.Writer) {
	w.Uint8(uint8(p.Logging))
	if p.Logging == Forbidden {
		return
	}
	encodeStrings(w, p.Clients)
	w.Opaque([]byte(p.MachineReadable))
	w.Opaque([]byte(p.HumanReadable))
}

// Decode reads the policy from r.
func (p *LoggingPolicy) Decode(r *wire.Reader) {
	*p = LoggingPolicy{Logging: decodeOptionality(r)}
	if p.Logging != Forbidden {
		p.Clients, p.MachineReadable, p.HumanReadable = decodeStrings(r), decodeAddress(r), decodeAddress(r)
	}
}

// HistoryPolicy is the content of component 0x002E and equally an update of it: who may
// show newcomers what was said before (POL-28).
type HistoryPolicy struct {
	Sharing       Optionality
	Roles         []uint32 // that may share
	Automatically bool
	MaxAge        uint32 // in seconds; 0 shares nothing (D-83)
}

// ParseHistoryPolicy reads the component. Whether the roles are fit for it is for
// [Transition]. The error wraps [ErrMalformed].
func ParseHistoryPolicy(b []byte) (*HistoryPolicy, error) { return checked(new(HistoryPolicy), b, nil) }

// Encode writes the policy to w; nothing follows "forbidden" (D-62).
func (p *HistoryPolicy) Encode(w *wire.Writer) {
	w.Uint8(uint8(p.Sharing))
	if p.Sharing == Forbidden {
		return
	}
	encode32s(w, p.Roles)
	encodeBool(w, p.Automatically)
	w.Uint32(p.MaxAge)
}

// Decode reads the policy from r.
func (p *HistoryPolicy) Decode(r *wire.Reader) {
	*p = HistoryPolicy{Sharing: decodeOptionality(r)}
	if p.Sharing != Forbidden {
		p.Roles, p.Automatically, p.MaxAge = decode32s(r), decodeBool(r), r.Uint32()
	}
}

// A Bot is a program that takes part in the room.
type Bot struct {
	Name, Description string
	Homepage          string
	Local             bool // runs in a client; has no role then (POL-29)
	Role              uint32
	CanTargetMessage  bool
	PerUserContent    bool
}

// BotPolicy is the content of component 0x002F and equally an update of it.
type BotPolicy struct{ Allowed []Bot }

// ParseBotPolicy reads the component. The error wraps [ErrMalformed].
func ParseBotPolicy(b []byte) (*BotPolicy, error) {
	p := new(BotPolicy)
	return checked(p, b, p.check)
}

func (p *BotPolicy) check() error {
	if len(p.Allowed) > maxListed {
		return fmt.Errorf("%w: too many bots", ErrMalformed)
	}
	for _, b := range p.Allowed {
		if b.Local && b.Role != Outside {
			return fmt.Errorf("%w: a bot inside a client has a role", ErrMalformed)
		}
	}
	return nil
}

// Encode writes the policy to w.
func (p *BotPolicy) Encode(w *wire.Writer) {
	w.Vector(func(w *wire.Writer) {
		for _, b := range p.Allowed {
			w.Opaque([]byte(b.Name))
			w.Opaque([]byte(b.Description))
			w.Opaque([]byte(b.Homepage))
			encodeBool(w, b.Local)
			w.Uint32(b.Role)
			encodeBool(w, b.CanTargetMessage)
			encodeBool(w, b.PerUserContent)
		}
	})
}

// Decode reads the policy from r.
func (p *BotPolicy) Decode(r *wire.Reader) {
	p.Allowed = nil
	for v := r.Vector(); !v.Empty(); {
		p.Allowed = append(p.Allowed, Bot{Name: text(v), Description: text(v), Homepage: decodeAddress(v), Local: decodeBool(v),
			Role: v.Uint32(), CanTargetMessage: decodeBool(v), PerUserContent: decodeBool(v)})
	}
}
