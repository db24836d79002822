// Package dump prints MLS and MIMI objects for people who look into bytes.
package dump

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"hubbub/cmd/hubbub/internal/term"
	"hubbub/mimi"
	"hubbub/mimi/content"
	"hubbub/mls"
	"hubbub/mls/wire"
)

// kind is something that bytes may be.
type kind struct {
	name  string
	parse func([]byte) (any, error)
}

// of adapts a typed parser.
func of[T any](parse func([]byte) (T, error)) func([]byte) (any, error) {
	return func(b []byte) (any, error) { return parse(b) }
}

// bare parses a structure that has no envelope of its own.
func bare[T any, P interface {
	*T
	Decode(*wire.Reader)
}](b []byte) (any, error) {
	v := P(new(T))
	if err := wire.Unmarshal(b, v); err != nil {
		return nil, err
	}
	return v, nil
}

// kinds are tried in this order: those that can hardly be mistaken come first.
var kinds = []kind{
	{"mls-message", of(mls.ParseMessage)},
	{"fanout", of(mimi.ParseFanout)},
	{"update-request", of(mimi.ParseHandshakeBundle)},
	{"submit-request", of(mimi.ParseSubmitMessageRequest)},
	{"key-material-request", of(mimi.ParseKeyMaterialRequest)},
	{"key-material-response", of(mimi.ParseKeyMaterialResponse)},
	{"group-info-request", of(mimi.ParseGroupInfoRequest)},
	{"group-info-response", of(mimi.ParseGroupInfoResponse)},
	{"key-package", bare[mls.KeyPackage]},
	{"group-info", bare[mls.GroupInfo]},
	{"leaf-node", bare[mls.LeafNode]},
	{"consent", of(mimi.ParseConsentEntry)},
	{"abuse-report", of(mimi.ParseAbuseReport)},
	{"identifier-request", of(mimi.ParseIdentifierRequest)},
	{"identifier-response", of(mimi.ParseIdentifierResponse)},
	{"update-response", of(mimi.ParseUpdateRoomResponse)},
	{"submit-response", of(mimi.ParseSubmitMessageResponse)},
	{"content", of(content.Decode)},
	{"status", of(content.DecodeStatus)},
	{"derived", of(content.DecodeDerived)},
	{"participants", of(mimi.ParseParticipantList)},
	{"room-metadata", of(mimi.ParseRoomMetaData)},
}

// Kinds lists the names of what can be decoded.
func Kinds() []string {
	var out []string
	for _, k := range slices.Concat(kinds, componentKinds()) {
		out = append(out, k.name)
	}
	return out
}

// Decoded is what bytes turned out to be.
type Decoded struct {
	Kind  string
	Value any
	// Also are other kinds as which the same bytes parse.
	Also []string
}

// Decode finds out what bytes are; as forces one kind, "" tries all but those that
// nearly any bytes could be, such as components. If nothing fits the error has a line for
// each kind that was tried.
func Decode(b []byte, as string) (*Decoded, error) {
	var found *Decoded
	var failed []string
	tried := kinds
	if as != "" {
		tried = slices.Concat(kinds, componentKinds())
	}
	for _, k := range tried {
		if as != "" && k.name != as {
			continue
		}
		v, err := k.parse(b)
		switch {
		case err != nil:
			failed = append(failed, fmt.Sprintf("not %s: %v", k.name, err))
		case found == nil:
			found = &Decoded{Kind: k.name, Value: v}
		default:
			found.Also = append(found.Also, k.name)
		}
	}
	if found == nil {
		return nil, fmt.Errorf("%d bytes that are nothing we know:\n%s", len(b), strings.Join(failed, "\n"))
	}
	return found, nil
}

// Bytes reads bytes as people paste them: raw, hexadecimal or base64.
func Bytes(input []byte) []byte {
	text := strings.Join(strings.Fields(string(input)), "")
	if text == "" || !utf8.ValidString(text) {
		return input
	}
	if b, err := hex.DecodeString(strings.TrimPrefix(text, "0x")); err == nil {
		return b
	}
	for _, enc := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
		if b, err := enc.DecodeString(text); err == nil {
			return b
		}
	}
	return input
}

// maxBytesShown is how many octets of a byte string are printed.
const maxBytesShown = 32

// Print writes a value as an indented tree.
func Print(w io.Writer, d *Decoded) error {
	p := &printer{w: w}
	p.line(0, d.Kind, "")
	p.value(1, reflect.ValueOf(d.Value))
	if len(d.Also) > 0 {
		p.line(0, "(parses as "+strings.Join(d.Also, ", ")+" as well; --as KIND chooses)", "")
	}
	return p.err
}

type printer struct {
	w   io.Writer
	err error
}

func (p *printer) line(depth int, name, value string) {
	if p.err == nil {
		_, p.err = fmt.Fprintln(p.w, strings.TrimRight(strings.Repeat("  ", depth)+name+value, " "))
	}
}

// value prints what is below a line that is already written.
func (p *printer) value(depth int, v reflect.Value) {
	for v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
		if v.IsNil() {
			return
		}
		v = v.Elem()
	}
	if name, decoded, ok := inside(v); ok {
		p.line(depth, name, ":")
		p.value(depth+1, reflect.ValueOf(decoded))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() && f.Name != "Raw" {
				p.field(depth, f.Name, v.Field(i))
			}
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			p.field(depth, fmt.Sprintf("[%d]", i), v.Index(i))
		}
	case reflect.Map:
		for _, k := range v.MapKeys() {
			p.field(depth, fmt.Sprint(k), v.MapIndex(k))
		}
	default:
		p.line(depth, "", plain(v))
	}
}

func (p *printer) field(depth int, name string, v reflect.Value) {
	for v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
		if v.IsNil() {
			return
		}
		v = v.Elem()
	}
	if text, ok := leaf(v); ok {
		p.line(depth, name, ": "+text)
		return
	}
	if (v.Kind() == reflect.Slice || v.Kind() == reflect.Map) && v.Len() == 0 {
		return
	}
	p.line(depth, name, ":")
	p.value(depth+1, v)
}

// leaf prints values that fit on a line.
func leaf(v reflect.Value) (string, bool) {
	switch v.Kind() {
	case reflect.Struct, reflect.Map:
		return "", false
	case reflect.Slice, reflect.Array:
		if v.Type().Elem().Kind() != reflect.Uint8 {
			return "", false
		}
		b := make([]byte, v.Len())
		reflect.Copy(reflect.ValueOf(b), v)
		return octets(b), true
	}
	return plain(v), true
}

func plain(v reflect.Value) string {
	if !v.IsValid() {
		return "-"
	}
	if v.CanInterface() {
		return term.Printable(fmt.Sprint(v.Interface()))
	}
	return "?"
}

// octets prints a byte string as text if it is text, else in hexadecimal.
func octets(b []byte) string {
	if len(b) == 0 {
		return "(empty)"
	}
	if utf8.Valid(b) && strings.IndexFunc(string(b), func(r rune) bool { return !unicode.IsPrint(r) }) < 0 {
		return fmt.Sprintf("%q", b)
	}
	if len(b) > maxBytesShown {
		return fmt.Sprintf("%x… (%d bytes)", b[:maxBytesShown], len(b))
	}
	return fmt.Sprintf("%x", b)
}
