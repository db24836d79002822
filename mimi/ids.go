package mimi

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// ErrBadURI is wrapped by every error about an identifier that does not have
// the form its kind demands.
var ErrBadURI = errors.New("mimi: bad identifier")

// MaxURIBytes is the longest identifier accepted, in octets.
const MaxURIBytes = 1024

const uriScheme = "mimi://"

// A Domain is a provider's domain name: lower-case A-labels joined by dots, no
// port, no trailing dot, 1 to 253 octets. It names the provider, not one of its
// servers (ID-2).
type Domain string

// A UserURI names a user: mimi://<domain>/u/<name>. Two identifiers are the same
// if their octets are (ID-3).
type UserURI string

// A ClientURI names a client of a user: mimi://<domain>/d/<user>/<device>, or,
// where a provider hides whose client it is, mimi://<domain>/d/<opaque>.
type ClientURI string

// A RoomURI names a room: mimi://<domain>/r/<id>. Its domain is the room's hub.
type RoomURI string

// A GroupURI names a room's MLS group: mimi://<domain>/g/<id>. Its octets are the
// group_id (ID-4).
type GroupURI string

// ParseDomain checks a provider domain. The error wraps [ErrBadURI].
func ParseDomain(s string) (Domain, error) {
	if err := checkHost(s); err != nil {
		return "", err
	}
	if s != lowerASCII(s) {
		return "", fmt.Errorf("%w: domain is not in lower case", ErrBadURI)
	}
	return Domain(s), nil
}

// ParseUser checks a user identifier of at most [MaxURIBytes] octets. The error
// wraps [ErrBadURI].
func ParseUser(s string) (UserURI, error) { return parse[UserURI](s, 'u', 1) }

// ParseClient checks a client identifier of at most [MaxURIBytes] octets. The
// error wraps [ErrBadURI].
func ParseClient(s string) (ClientURI, error) { return parse[ClientURI](s, 'd', 2) }

// ParseRoom checks a room identifier of at most [MaxURIBytes] octets. The error
// wraps [ErrBadURI].
func ParseRoom(s string) (RoomURI, error) { return parse[RoomURI](s, 'r', 1) }

// ParseGroup checks a group identifier of at most [MaxURIBytes] octets. The error
// wraps [ErrBadURI].
func ParseGroup(s string) (GroupURI, error) { return parse[GroupURI](s, 'g', 1) }

// ParseProvider checks a provider identifier, mimi://<domain>, and gives its
// domain. The error wraps [ErrBadURI].
func ParseProvider(s string) (Domain, error) {
	host, ok := strings.CutPrefix(s, uriScheme)
	if !ok {
		return "", fmt.Errorf("%w: scheme is not mimi", ErrBadURI)
	}
	return ParseDomain(host)
}

// ParseHandle reads a user as people write one, bob@b.example. The name may not
// hold a slash, and the domain is folded to lower case. The error wraps
// [ErrBadURI].
func ParseHandle(s string) (UserURI, error) {
	i := strings.LastIndexByte(s, '@')
	if i < 1 {
		return "", fmt.Errorf("%w: a handle is name@domain", ErrBadURI)
	}
	d, err := ParseDomain(lowerASCII(s[i+1:]))
	if err != nil {
		return "", err
	}
	return NewUser(d, s[:i])
}

// NewUser makes mimi://<domain>/u/<name>. Characters of name that may not stand in
// a path segment are refused, not encoded. The error wraps [ErrBadURI].
func NewUser(d Domain, name string) (UserURI, error) {
	return ParseUser(uriScheme + string(d) + "/u/" + name)
}

// NewClient makes mimi://<domain>/d/<user>/<device> for a client of user. The
// error wraps [ErrBadURI].
func NewClient(user UserURI, device string) (ClientURI, error) {
	if _, err := ParseUser(string(user)); err != nil {
		return "", err
	}
	return ParseClient(uriScheme + string(user.Domain()) + "/d/" + user.Name() + "/" + device)
}

// NewRoom makes mimi://<domain>/r/<id>. The error wraps [ErrBadURI].
func NewRoom(d Domain, id string) (RoomURI, error) {
	return ParseRoom(uriScheme + string(d) + "/r/" + id)
}

// NewGroup makes mimi://<domain>/g/<id>. The error wraps [ErrBadURI].
func NewGroup(d Domain, id string) (GroupURI, error) {
	return ParseGroup(uriScheme + string(d) + "/g/" + id)
}

// String gives the domain as text.
func (d Domain) String() string { return string(d) }

// ProviderURI gives mimi://<domain>, the identity a provider's own credential
// carries.
func (d Domain) ProviderURI() string { return uriScheme + string(d) }

// String gives the identifier as carried.
func (u UserURI) String() string { return string(u) }

// Domain is the user's provider in lower case, or "" if u is not an identifier.
func (u UserURI) Domain() Domain { return hostOf(string(u)) }

// Name is the last part of the identifier, still percent-encoded.
func (u UserURI) Name() string { return lastSegment(string(u)) }

// Handle is the user as people write one: bob@b.example.
func (u UserURI) Handle() string { return u.Name() + "@" + string(u.Domain()) }

// String gives the identifier as carried.
func (c ClientURI) String() string { return string(c) }

// Domain is the client's provider in lower case, or "" if c is not an identifier.
func (c ClientURI) Domain() Domain { return hostOf(string(c)) }

// User is the owner named by mimi://<domain>/d/<user>/<device>, or "" when the
// identifier has no user part. The host is carried over as written.
func (c ClientURI) User() UserURI {
	host, segments := splitURI(string(c))
	if len(segments) != 3 || segments[0] != "d" {
		return ""
	}
	return UserURI(uriScheme + host + "/u/" + segments[1])
}

// Device is the last part of the identifier, still percent-encoded.
func (c ClientURI) Device() string { return lastSegment(string(c)) }

// String gives the identifier as carried.
func (r RoomURI) String() string { return string(r) }

// Domain is the room's hub in lower case, or "" if r is not an identifier.
func (r RoomURI) Domain() Domain { return hostOf(string(r)) }

// String gives the identifier as carried.
func (g GroupURI) String() string { return string(g) }

// Domain is the provider that named the group, in lower case, or "" if g is not
// an identifier.
func (g GroupURI) Domain() Domain { return hostOf(string(g)) }

// UnmarshalText parses the domain; the empty text stays the zero value.
func (d *Domain) UnmarshalText(b []byte) error { return unmarshal(d, b, ParseDomain) }

// UnmarshalText parses the identifier; the empty text stays the zero value.
func (u *UserURI) UnmarshalText(b []byte) error { return unmarshal(u, b, ParseUser) }

// UnmarshalText parses the identifier; the empty text stays the zero value.
func (c *ClientURI) UnmarshalText(b []byte) error { return unmarshal(c, b, ParseClient) }

// UnmarshalText parses the identifier; the empty text stays the zero value.
func (r *RoomURI) UnmarshalText(b []byte) error { return unmarshal(r, b, ParseRoom) }

// UnmarshalText parses the identifier; the empty text stays the zero value.
func (g *GroupURI) UnmarshalText(b []byte) error { return unmarshal(g, b, ParseGroup) }

func unmarshal[T ~string](to *T, b []byte, parse func(string) (T, error)) error {
	if len(b) == 0 {
		*to = ""
		return nil
	}
	v, err := parse(string(b))
	if err == nil {
		*to = v
	}
	return err
}

func parse[T ~string](s string, kind byte, most int) (T, error) {
	if err := checkURI(s, kind, most); err != nil {
		return "", err
	}
	return T(s), nil
}

// checkURI accepts mimi://<host>/<kind>/<segment> with 1 to most segments. The
// host may be in any case (ID-3: identifiers are compared as carried), but there
// is only one way to write a path: no userinfo, port, query, fragment, dot
// segment or hidden slash can get past it (H21).
func checkURI(s string, kind byte, most int) error {
	if len(s) > MaxURIBytes {
		return fmt.Errorf("%w: longer than %d octets", ErrBadURI, MaxURIBytes)
	}
	rest, ok := strings.CutPrefix(s, uriScheme)
	if !ok {
		return fmt.Errorf("%w: scheme is not mimi", ErrBadURI)
	}
	host, rest, _ := strings.Cut(rest, "/")
	if err := checkHost(host); err != nil {
		return err
	}
	letter, path, ok := strings.Cut(rest, "/")
	if !ok || letter != string(kind) || strings.Count(path, "/") >= most {
		return fmt.Errorf("%w: not of the form mimi://<domain>/%c/…", ErrBadURI, kind)
	}
	for segment := range strings.SplitSeq(path, "/") {
		if err := checkSegment(segment); err != nil {
			return err
		}
	}
	return nil
}

// checkHost accepts a DNS name of letters, digits and hyphens in either case.
func checkHost(host string) error {
	if host == "" || len(host) > 253 {
		return fmt.Errorf("%w: domain is empty or too long", ErrBadURI)
	}
	last := ""
	for label := range strings.SplitSeq(host, ".") {
		last = label
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return fmt.Errorf("%w: bad label in domain", ErrBadURI)
		}
		for i := range len(label) {
			if c := label[i]; !isAlphaNum(c) && c != '-' {
				return fmt.Errorf("%w: domain holds a character other than letters, digits, hyphen and dot", ErrBadURI)
			}
		}
	}
	if isDigits(last) {
		return fmt.Errorf("%w: an address is not a domain", ErrBadURI)
	}
	return nil
}

// checkSegment accepts RFC 3986 pchar and printable characters beyond ASCII.
func checkSegment(s string) error {
	if s == "" || !utf8.ValidString(s) {
		return fmt.Errorf("%w: path segment is empty or not UTF-8", ErrBadURI)
	}
	if strings.IndexByte(s, '%') < 0 {
		if err := checkPlain(s); err != nil {
			return err
		}
		return checkPchars(s)
	}
	plain := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			plain = append(plain, s[i])
			continue
		}
		if i+2 >= len(s) || unhex(s[i+1]) < 0 || unhex(s[i+2]) < 0 {
			return fmt.Errorf("%w: bad percent-encoding", ErrBadURI)
		}
		plain = append(plain, byte(unhex(s[i+1])<<4|unhex(s[i+2])))
		i += 2
	}
	if err := checkPlain(string(plain)); err != nil {
		return err
	}
	return checkPchars(s)
}

// checkPchars looks at a segment as it is written.
func checkPchars(s string) error {
	for _, r := range s {
		if r < utf8.RuneSelf && !isAlphaNum(byte(r)) && !strings.ContainsRune("-._~!$&'()*+,;=:@%", r) {
			return fmt.Errorf("%w: character that must be percent-encoded", ErrBadURI)
		}
	}
	return nil
}

// checkPlain judges a segment after percent-decoding.
func checkPlain(s string) error {
	if s == "." || s == ".." || strings.Contains(s, "/") {
		return fmt.Errorf("%w: dot segment or encoded slash", ErrBadURI)
	}
	if !utf8.ValidString(s) {
		return fmt.Errorf("%w: not UTF-8 after percent-decoding", ErrBadURI)
	}
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return fmt.Errorf("%w: unprintable character", ErrBadURI)
		}
	}
	return nil
}

func splitURI(s string) (host string, segments []string) {
	rest, ok := strings.CutPrefix(s, uriScheme)
	if !ok {
		return "", nil
	}
	host, path, _ := strings.Cut(rest, "/")
	return host, strings.Split(path, "/")
}

func hostOf(s string) Domain {
	host, _ := splitURI(s)
	return Domain(lowerASCII(host))
}

func lastSegment(s string) string {
	return s[strings.LastIndexByte(s, '/')+1:]
}

// lowerASCII leaves everything beyond ASCII alone, so that no character folds
// into a letter of a domain name.
func lowerASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

func isAlphaNum(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

func isDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
