package mls

import (
	"slices"
	"strings"

	"hubbub/mls/wire"
)

// ExtensionTypeRatchetTreeSourceDomains says in a GroupContext from which
// domains a ratchet tree may be fetched (draft-ietf-mls-ratchet-tree-options
// §3.1). No number is assigned yet; this one is from the private range.
const ExtensionTypeRatchetTreeSourceDomains ExtensionType = 0xF009

// RatchetTreeSourceDomains is the content of that extension: DNS names.
type RatchetTreeSourceDomains []string

// Encode appends the extension content.
func (d RatchetTreeSourceDomains) Encode(w *wire.Writer) {
	w.Vector(func(w *wire.Writer) {
		for _, name := range d {
			w.Opaque([]byte(name))
		}
	})
}

// Decode reads the extension content; an empty name is wire.ErrBadValue.
func (d *RatchetTreeSourceDomains) Decode(r *wire.Reader) {
	for v := r.Vector(); !v.Empty(); {
		name := string(v.Opaque())
		if name == "" {
			v.FailValue()
		}
		*d = append(*d, name)
	}
}

// AllowsTreeURL reports whether the ratchet tree may be fetched from a URL: it
// must be https, without user information, and on a domain of the extension
// ratchet_tree_source_domains if the GroupContext has that
// (draft-ietf-mls-ratchet-tree-options §3.1). Wherever a tree comes from,
// NewPublicGroup compares it with the tree hash.
func (c *GroupContext) AllowsTreeURL(url string) bool {
	rest, ok := strings.CutPrefix(strings.ToLower(url), "https://")
	if !ok {
		return false
	}
	authority := rest
	if i := strings.IndexAny(rest, `/?#\`); i >= 0 {
		authority = rest[:i]
	}
	host, _, _ := strings.Cut(authority, ":")
	if host == "" || strings.ContainsAny(authority, "@[] \t\r\n") {
		return false
	}
	data, ok := c.Extensions.Find(ExtensionTypeRatchetTreeSourceDomains)
	if !ok {
		return true
	}
	var domains RatchetTreeSourceDomains
	return wire.Unmarshal(data, &domains) == nil &&
		slices.ContainsFunc(domains, func(d string) bool { return strings.EqualFold(d, host) })
}

// GroupInfoFromPartial rebuilds the GroupInfo of the new epoch from the parts
// that only the committer knows: its extensions, without ratchet_tree, and its
// signature, which covers the extensions in the order given. Group context,
// confirmation tag and signer follow from the commit
// (draft-ietf-mls-ratchet-tree-options §4). The result is verified as by
// VerifyGroupInfo, whose errors are returned.
func (c *PublicCommit) GroupInfoFromPartial(x Extensions, signature []byte) (*GroupInfo, error) {
	gi := &GroupInfo{
		GroupContext: *c.Next.Context(), Extensions: x, ConfirmationTag: c.ConfirmationTag,
		Signer: c.CommitterLeaf, Signature: signature,
	}
	return gi, c.VerifyGroupInfo(gi)
}
