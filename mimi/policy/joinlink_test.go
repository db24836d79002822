package policy

import (
	"testing"
	"time"

	"hubbub/mimi"
)

// TestJoinCodes asks of codes and links all that POL-21 and POL-44 want to know.
func TestJoinCodes(t *testing.T) {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	made := func(single bool, notAfter time.Time) (mimi.JoinLink, []byte) {
		l := mimi.NewJoinLink(room, [mimi.JoinCodeBytes]byte{1})
		e := mimi.JoinLinkEntry{Hash: l.Hash(), Single: single}
		if !notAfter.IsZero() {
			e.NotAfter = uint64(notAfter.Unix())
		}
		return l, e.Marshal()
	}
	hashed, entry := made(false, time.Time{})
	_, single := made(true, time.Time{})
	_, brief := made(false, now.Add(10*time.Second))
	minute := JoinLinkPolicy{Expiration: 60}
	several := JoinLinkPolicy{Expiration: 60, MultiUser: true}
	use := CodeUse{Created: now}
	for _, tc := range []struct {
		name  string
		p     JoinLinkPolicy
		links [][]byte
		code  []byte
		user  mimi.UserURI
		use   CodeUse
		after time.Duration
		words string
	}{
		{"hashed", minute, [][]byte{[]byte("one"), entry}, hashed.Code(), frank, use, 59 * time.Second, ""},
		{"the entry is no code", minute, [][]byte{entry}, entry, frank, use, 0, "frank@b.example may not join by a code: the room has no such code"},
		{"plain", minute, [][]byte{[]byte("one"), []byte("two")}, []byte("two"), frank, use, 0, ""},
		{"wrong", minute, [][]byte{[]byte("one"), entry}, []byte("three"), frank, use, 0, "no such code"},
		{"none shown", minute, [][]byte{[]byte("one")}, nil, frank, use, 0, "no such code"},
		{"none made", minute, nil, []byte("one"), frank, use, 0, "no such code"},
		{"expired", minute, [][]byte{entry}, hashed.Code(), frank, use, time.Minute, "expired"},
		{"before its time", minute, [][]byte{brief}, hashed.Code(), frank, use, 9 * time.Second, ""},
		{"expired by its author's wish", minute, [][]byte{brief}, hashed.Code(), frank, use, 10 * time.Second, "expired"},
		{"never valid", JoinLinkPolicy{}, [][]byte{entry}, hashed.Code(), frank, use, 0, "expired"},
		{"shown by the same user", minute, [][]byte{entry}, hashed.Code(), frank, CodeUse{Created: now, By: frank}, 0, ""},
		{"shown by another", minute, [][]byte{entry}, hashed.Code(), dave, CodeUse{Created: now, By: frank}, 0, "somebody else has used it"},
		{"used", minute, [][]byte{entry}, hashed.Code(), frank, CodeUse{Created: now, By: frank, Joined: true}, 0, "it has been used"},
		{"used, for several", several, [][]byte{entry}, hashed.Code(), dave, CodeUse{Created: now, By: frank, Joined: true}, 0, ""},
		{"used, for one among several", several, [][]byte{single}, hashed.Code(), dave, CodeUse{Created: now, By: frank, Joined: true}, 0, "it has been used"},
		{"that stays", JoinLinkPolicy{OnRequest: true, JoinLink: "persistent", MultiUser: true, Expiration: 60}, nil, []byte("persistent"), dave, use, 0, ""},
		{"that stays, expired", JoinLinkPolicy{OnRequest: true, JoinLink: "persistent", MultiUser: true, Expiration: 60}, nil, []byte("persistent"), dave, use, time.Hour, "expired"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			link := tc.p.Find(room, &mimi.JoinLinks{Links: tc.links}, tc.code)
			checkDenied(t, tc.p.Admits(link, tc.user, tc.use, now.Add(tc.after)), tc.words)
		})
	}
	if link := minute.Find("mimi://a.example/r/other", &mimi.JoinLinks{Links: [][]byte{entry}}, hashed.Code()); link != nil {
		t.Error("a code opens another room")
	}
	var none *JoinLinkPolicy
	checkDenied(t, none.Admits(none.Find(room, new(mimi.JoinLinks), hashed.Code()), frank, use, now), "no such code")
}

// TestLinksOfARoom says how many links there may be, and where there may be any.
func TestLinksOfARoom(t *testing.T) {
	one, two := &mimi.JoinLinks{Links: [][]byte{[]byte("one")}}, &mimi.JoinLinks{Links: [][]byte{[]byte("one"), []byte("two")}}
	for _, tc := range []struct {
		name  string
		p     *JoinLinkPolicy
		links *mimi.JoinLinks
		words string
	}{
		{"several", &JoinLinkPolicy{}, two, ""},
		{"one that stays", &JoinLinkPolicy{OnRequest: true}, one, ""},
		{"two where one stays", &JoinLinkPolicy{OnRequest: true}, two, "keeps one join link at most"},
		{"one beside the one that stays", &JoinLinkPolicy{OnRequest: true, JoinLink: "mine"}, one, "keeps one join link at most"},
		{"without a policy", nil, one, "no policy on join links"},
		{"none, without a policy", nil, new(mimi.JoinLinks), ""},
	} {
		t.Run(tc.name, func(t *testing.T) { checkDenied(t, tc.p.check(tc.links), tc.words) })
	}
}

// TestLinksOfPresets says who makes links in which preset, and what others become by them.
func TestLinksOfPresets(t *testing.T) {
	for _, tc := range []struct {
		preset string
		has    bool
		role   string // of who joins
	}{
		{"default", true, "member"}, {"strict", true, "ordinary_user"}, {"moderated", true, "guest"},
		{"cooperative", false, ""}, {"multi-org", false, ""},
	} {
		s := roomOf(t, tc.preset, nil)
		p, links, err := LinksOf(s)
		if err != nil || (p != nil) != tc.has || len(links.Links) != 0 {
			t.Errorf("%s: %+v, %v, %v", tc.preset, p, links, err)
		}
		words := ""
		if !tc.has {
			words = "lacks canCreateJoinCode"
		}
		checkDenied(t, AuthorizeProposals(s, Actor{User: alice}, []Change{ChangeComponent{Component: mimi.ComponentJoinLinks, Adds: true}}), words)
		role, ok := s.JoinRole(Actor{User: frank, Code: true})
		if ok != tc.has || ok && s.Roles.Role(role).Name != tc.role {
			t.Errorf("%s: by a code %s becomes %d, %v", tc.preset, frank, role, ok)
		}
		if _, ok := s.JoinRole(Actor{User: frank}); ok {
			t.Errorf("%s: joins without a code", tc.preset)
		}
	}
}
