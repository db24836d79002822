package content

import (
	"net/url"
	"strings"
	"unicode"

	"hubbub/mimi"
)

// A Link is a link of a Markdown text: what the reader sees and where it leads.
type Link struct {
	Text   string
	Target string
}

// Mention writes a link to a user: a mention, if the message is Markdown (CNT-55). An
// empty name becomes the user's handle. The text is "[@Alice](mimi://a.example/u/alice)".
func Mention(user mimi.UserURI, name string) string {
	if name == "" {
		name = user.Handle()
	}
	return "[@" + escapeLinkText.Replace(name) + "](" + escapeTarget.Replace(string(user)) + ")"
}

var (
	escapeLinkText = strings.NewReplacer(`\`, `\\`, "[", `\[`, "]", `\]`, "<", `\<`, "`", "\\`", "*", `\*`, "_", `\_`, "\n", " ")
	escapeTarget   = strings.NewReplacer("(", "%28", ")", "%29")
)

// Links gives the links of all Markdown in the message, in order: inline links and those
// in angle brackets, not those inside code, and none by reference. Plain text has none,
// and a bare address is not a link (CNT-63).
func (m *Message) Links() []Link {
	var out []Link
	for _, p := range Parts(m.Body) {
		if s, ok := p.(*SinglePart); ok && strings.HasPrefix(strings.ToLower(s.ContentType), "text/markdown") && readable(s.ContentType) {
			out = append(out, markdownLinks(string(s.Content))...)
		}
	}
	return out
}

// Mentions gives the users the message mentions, each once, in order (CNT-55).
func (m *Message) Mentions() []mimi.UserURI {
	var out []mimi.UserURI
	seen := make(map[mimi.UserURI]bool)
	for _, l := range m.Links() {
		if u, ok := l.User(); ok && !seen[u] {
			seen[u] = true
			out = append(out, u)
		}
	}
	return out
}

// User gives the user a link mentions, and false if it leads elsewhere.
func (l Link) User() (mimi.UserURI, bool) {
	u, err := mimi.ParseUser(l.Target)
	return u, err == nil
}

// Deceives says whether a link reads like an address and leads to another one, or less
// safely to the same: a client warns before it follows it (CNT-55). A text that is not an
// address deceives nobody.
func (l Link) Deceives() bool {
	text := strings.TrimSpace(l.Text)
	if _, mention := l.User(); mention {
		return looksLikeAddress(text) && text != l.Target && !strings.HasPrefix(text, "@")
	}
	if !looksLikeAddress(text) {
		return false
	}
	if !strings.Contains(text, "://") {
		text = "https://" + text
	}
	seen, err1 := url.Parse(text)
	real, err2 := url.Parse(l.Target)
	if err1 != nil || err2 != nil {
		return true
	}
	return canonical(seen) != canonical(real)
}

// looksLikeAddress is generous: a host name with a dot is enough.
func looksLikeAddress(s string) bool {
	if strings.Contains(s, "://") {
		return true
	}
	host, _, _ := strings.Cut(s, "/")
	host, _, _ = strings.Cut(host, ":")
	host = strings.TrimSuffix(host, ".")
	dot := strings.LastIndexByte(host, '.')
	return !strings.ContainsAny(s, " \t\n@") && dot > 0 && len(host)-dot > 2 && strings.IndexFunc(host[dot+1:], unicode.IsDigit) < 0
}

// canonical writes an address so that equal ones are equal text.
func canonical(u *url.URL) string {
	host, port := strings.ToLower(strings.TrimSuffix(u.Hostname(), ".")), u.Port()
	if u.Scheme == "http" && port == "80" || u.Scheme == "https" && port == "443" {
		port = ""
	}
	path := u.EscapedPath()
	if path == "/" {
		path = ""
	}
	return strings.Join([]string{strings.ToLower(u.Scheme), u.User.String(), host, port, path, u.RawQuery, u.Fragment}, "\x00")
}

// markdownLinks finds [text](target), [text](<target> "title") and <target>.
func markdownLinks(s string) []Link {
	var out []Link
	for i := 0; i < len(s); {
		switch s[i] {
		case '`':
			i += codeSpan(s[i:])
		case '\\':
			i += 2
		case '<':
			end := strings.IndexAny(s[i+1:], "<> \t\n")
			if end > 0 && s[i+1+end] == '>' && hasScheme(s[i+1:i+1+end]) {
				target := s[i+1 : i+1+end]
				out = append(out, Link{target, target})
				i += end + 2
				continue
			}
			i++
		case '[':
			link, n, ok := inlineLink(s[i:])
			if ok {
				out = append(out, link)
			}
			i += n
		default:
			i++
		}
	}
	return out
}

func hasScheme(s string) bool {
	i := strings.IndexByte(s, ':')
	if i < 2 || !isLetter(s[0]) {
		return false
	}
	return strings.IndexFunc(s[:i], func(r rune) bool {
		return !(r < 0x80 && isLetter(byte(r)) || r >= '0' && r <= '9' || strings.ContainsRune("+-.", r))
	}) < 0
}

// inlineLink reads a link that starts with a bracket; n is how much of s is done with.
func inlineLink(s string) (l Link, n int, ok bool) {
	end := closing(s, '[', ']')
	if end < 0 {
		return Link{}, 1, false
	}
	if end+1 >= len(s) || s[end+1] != '(' {
		return Link{}, 1, false
	}
	rest := s[end+1:]
	stop := closing(rest, '(', ')')
	if stop < 0 {
		return Link{}, 1, false
	}
	target := strings.TrimSpace(rest[1:stop])
	if inner, found := strings.CutPrefix(target, "<"); found {
		target, _, _ = strings.Cut(inner, ">")
	} else if i := strings.IndexAny(target, " \t\n"); i >= 0 {
		target = target[:i] // what follows is a title
	}
	if target == "" {
		return Link{}, 1, false
	}
	return Link{Text: unescape(s[1:end]), Target: unescape(target)}, end + 1 + stop + 1, true
}

// maxLinkBytes bounds the search for the end of a link, so that many open brackets do not
// take quadratic time.
const maxLinkBytes = 2048

// closing finds the bracket that closes the one s starts with.
func closing(s string, open, shut byte) int {
	depth := 0
	for i := 0; i < min(len(s), maxLinkBytes); i++ {
		switch s[i] {
		case '\\':
			i++
		case open:
			depth++
		case shut:
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return -1
}

// unescape takes the backslashes off punctuation.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) && strings.IndexByte("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", s[i+1]) >= 0 {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
