package mls

import "slices"

// capabilitySummary is what the leaves of a subtree have in common. All lists
// are sorted. Subtrees with equal summaries share one, so in a group of like
// clients a commit allocates none.
type capabilitySummary struct {
	used        []CredentialType // types of the leaves' own credentials
	credentials []CredentialType // types that every leaf supports
	extensions  []ExtensionType  // non-default types that every leaf supports
	proposals   []ProposalType   // likewise
	formats     []WireFormat     // likewise
}

func summarize(leaf *LeafNode) *capabilitySummary {
	// A malformed list is refused by the leaf's own check.
	formats, _ := leaf.Extensions.WireFormats(ExtensionTypeSupportedWireFormats)
	return &capabilitySummary{
		used:        []CredentialType{leaf.Credential.Type},
		credentials: sortedSet(leaf.Capabilities.Credentials),
		extensions:  sortedSet(leaf.Capabilities.Extensions),
		proposals:   sortedSet(leaf.Capabilities.Proposals),
		formats:     sortedSet(formats),
	}
}

// capabilities is the summary of a subtree, nil for one without leaves.
func (n *treeNode) capabilities() *capabilitySummary {
	switch {
	case n == nil || n.leaves == 0:
		return nil
	case n.leaf != nil:
		return summarize(n.leaf)
	case n.caps == nil:
		n.caps = n.left.capabilities().join(n.right.capabilities())
	}
	return n.caps
}

// join summarizes two subtrees, reusing either side if it already says it all.
func (s *capabilitySummary) join(o *capabilitySummary) *capabilitySummary {
	if s == o || o == nil {
		return s
	}
	if s == nil {
		return o
	}
	j := &capabilitySummary{
		used:        union(s.used, o.used),
		credentials: intersection(s.credentials, o.credentials),
		extensions:  intersection(s.extensions, o.extensions),
		proposals:   intersection(s.proposals, o.proposals),
		formats:     intersection(s.formats, o.formats),
	}
	switch {
	case j.equal(s):
		return s
	case j.equal(o):
		return o
	}
	return j
}

func (s *capabilitySummary) equal(o *capabilitySummary) bool {
	return slices.Equal(s.used, o.used) && slices.Equal(s.credentials, o.credentials) &&
		slices.Equal(s.extensions, o.extensions) && slices.Equal(s.proposals, o.proposals) &&
		slices.Equal(s.formats, o.formats)
}

func sortedSet[T ~uint16](list []T) []T {
	s := slices.Clone(list)
	slices.Sort(s)
	return slices.Compact(s)
}

func contains[T ~uint16](sorted []T, v T) bool {
	_, ok := slices.BinarySearch(sorted, v)
	return ok
}

// intersection of two sorted lists; one of them itself if it equals the result.
func intersection[T ~uint16](a, b []T) []T {
	if slices.Equal(a, b) {
		return a
	}
	var out []T
	for len(a) > 0 && len(b) > 0 {
		switch {
		case a[0] < b[0]:
			a = a[1:]
		case a[0] > b[0]:
			b = b[1:]
		default:
			out = append(out, a[0])
			a, b = a[1:], b[1:]
		}
	}
	return out
}

func union[T ~uint16](a, b []T) []T {
	if slices.Equal(a, b) {
		return a
	}
	return sortedSet(slices.Concat(a, b))
}

// shareCapabilities lets leaves with equal lists share one copy. The nodes must
// be freshly decoded: nobody else may hold them.
func (t RatchetTree) shareCapabilities() {
	lists := listCache{}
	for _, n := range t {
		if n == nil || n.Leaf == nil {
			continue
		}
		c := &n.Leaf.Capabilities
		c.Versions = shared(lists, c.Versions)
		c.CipherSuites = shared(lists, c.CipherSuites)
		c.Extensions = shared(lists, c.Extensions)
		c.Proposals = shared(lists, c.Proposals)
		c.Credentials = shared(lists, c.Credentials)
	}
}

// listCache finds a list of any type by its octets.
type listCache map[string]any

// shared returns the list that was seen first among those equal to list.
func shared[T ~uint16](c listCache, list []T) []T {
	if len(list) > 64 {
		return list // not a list of an honest client
	}
	var key [128]byte
	for i, v := range list {
		key[2*i], key[2*i+1] = byte(v>>8), byte(v)
	}
	if first, ok := c[string(key[:2*len(list)])].([]T); ok {
		return first
	}
	c[string(key[:2*len(list)])] = list
	return list
}
