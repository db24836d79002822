package policy

import (
	"strings"
	"time"

	"hubbub/mimi"
	"hubbub/mimi/content"
)

// About is what a content message refers to, as far as its receiver knows.
type About struct {
	Author   mimi.UserURI // of the message it edits or takes back; empty if unknown
	NewTopic bool         // nobody has used its topic before
}

// AuthorizeContent says whether the room's policy lets a user send a message with this
// content: receivers hold senders to it, since the hub sees none of it (POL-54, POL-55). The
// sender of the message edited or taken back must be the authenticated one. The state is the
// one the message was accepted in, accepted its time. The error is a *[Denied].
func AuthorizeContent(s *State, sender mimi.UserURI, m *content.Message, about About, accepted time.Time) error {
	who := sender.Handle()
	for _, need := range needs(m, sender, about) {
		if need.never {
			return denyAction(who, need.action, "it is not theirs")
		}
		if !s.Can(sender, need.right) {
			return denyRight(who, need.action, s.roleName(sender), need.right)
		}
	}
	expiration, err := Policy(s, mimi.ComponentMessageExpiration, ParseMessageExpiration)
	if err != nil {
		return err
	}
	if why := expiration.refuses(m, accepted); why != "" {
		return denyAction(who, "send this message", why)
	}
	assets, err := Policy(s, mimi.ComponentAssetPolicy, ParseAssetPolicy)
	if err != nil {
		return err
	}
	if why := assets.refuses(m, sender.Domain()); why != "" {
		return denyAction(who, "send this attachment", why)
	}
	return nil
}

// need is a right that a message takes.
type need struct {
	action string
	right  Capability
	never  bool // no right allows it
}

func needs(m *content.Message, sender mimi.UserURI, about About) []need {
	other := about.Author != "" && about.Author != sender
	switch {
	case m.IsDelete():
		return []need{deletion(m.IsReaction(), other)}
	case m.Replaces != nil && other:
		return []need{{action: "edit this message", never: true}}
	case m.Replaces != nil && m.IsReaction():
		return []need{{action: "change this reaction", right: CanEditReaction}}
	case m.IsReaction():
		return []need{{action: "react", right: CanReactToMessage}}
	}
	var list []need
	switch {
	case m.Replaces != nil:
		list = append(list, need{action: "edit this message", right: CanEditOwnMessage})
	case len(m.Topic) > 0 && about.NewTopic:
		list = append(list, need{action: "start a topic", right: CanStartTopic})
	case len(m.Topic) > 0:
		list = append(list, need{action: "reply in a topic", right: CanReplyInTopic})
	case m.InReplyTo != nil:
		list = append(list, need{action: "reply", right: CanReplyToMessage})
	}
	return append(list, partNeeds(m)...)
}

func deletion(reaction, other bool) need {
	switch {
	case reaction && other:
		return need{action: "take back this reaction", right: CanDeleteOtherReaction}
	case reaction:
		return need{action: "take back this reaction", right: CanDeleteOwnReaction}
	case other:
		return need{action: "delete this message", right: CanDeleteOtherMessage}
	}
	return need{action: "delete this message", right: CanDeleteOwnMessage}
}

// uploads are rights by the first part of a content type.
var uploads = map[string]Capability{"image": CanUploadImage, "audio": CanUploadAudio, "video": CanUploadVideo}

func partNeeds(m *content.Message) []need {
	var list []need
	for _, p := range content.Parts(m.Body) {
		e, ok := p.(*content.ExternalPart)
		if !ok {
			continue
		}
		if e.Disposition == content.Preview {
			list = append(list, need{action: "send a preview of a link", right: CanSendLinkPreview})
			continue
		}
		top, _, _ := strings.Cut(strings.ToLower(e.ContentType), "/")
		right, ok := uploads[top]
		if !ok {
			right = CanUploadAttachment
		}
		list = append(list, need{action: "send this attachment", right: right})
	}
	for _, l := range m.Links() {
		if _, mention := l.User(); !mention && !strings.HasPrefix(l.Target, "cid:") {
			list = append(list, need{action: "send a link", right: CanSendLink})
			break
		}
	}
	return list
}

// refuses gives what is wrong with a message's expiry, "" for nothing (POL-30). What only
// acts on another message, and vanishes with it, is not bound to expire.
func (p *MessageExpiration) refuses(m *content.Message, accepted time.Time) string {
	switch {
	case p == nil:
		return ""
	case m.Expires == nil && p.Expiring == Required && !m.IsDelete() && !m.IsReaction() && m.Replaces == nil:
		return "messages have to expire here"
	case m.Expires == nil:
		return ""
	case p.Expiring == Forbidden:
		return "messages must not expire here"
	}
	after := int64(m.Expires.Seconds)
	if !m.Expires.Relative {
		if after -= accepted.Unix(); m.Replaces != nil {
			return "" // it repeats the expiry of the first version, which was judged
		}
	}
	if after < int64(p.Min) || after > int64(p.Max) {
		return "it would expire too early or too late"
	}
	return ""
}

// Expire lets a message expire as the policy wants it to by default, if it wants that. The
// time counts from reading.
func (p *MessageExpiration) Expire(m *content.Message) {
	if p == nil || m.Expires != nil || p.Expiring == Forbidden {
		return
	}
	switch {
	case p.Default != nil:
		m.ExpireAfter(time.Duration(*p.Default) * time.Second)
	case p.Expiring == Required:
		m.ExpireAfter(time.Duration(p.Max) * time.Second)
	}
}

// refuses gives what is wrong with the attachments of a message, "" for nothing.
func (p *AssetPolicy) refuses(m *content.Message, sender mimi.Domain) string {
	if p == nil {
		return ""
	}
	for _, e := range m.Attachments() {
		size := e.Size
		if e.EncAlg != content.NoEncryption && size >= aeadTagBytes {
			size -= aeadTagBytes
		}
		switch {
		case !p.Permits(e.ContentType):
			return "the room does not take this type"
		case size > p.MaxBytes(e.ContentType) || p.MaxBytes(e.ContentType) == 0: // a size of 0 is unknown
			return "it is too large"
		case !p.AllowsURL(sender, e.URL):
			return "it does not lie where the room keeps attachments"
		}
	}
	return ""
}

// aeadTagBytes is what encryption adds to an attachment, in octets.
const aeadTagBytes = 16

// Rights gives what a user may do to messages of others, for [content.Fold] (POL-55).
func (s *State) Rights(u mimi.UserURI) content.Rights {
	var r content.Rights
	if s.Can(u, CanDeleteOtherMessage) {
		r |= content.DeleteOthersMessages
	}
	if s.Can(u, CanDeleteOtherReaction) {
		r |= content.DeleteOthersReactions
	}
	return r
}

// Reports says whether a client tells others that it has a message (status
// [content.StatusDelivered]) or that its user has read it (every other status), given the
// user's own wish: the wish decides where the room leaves it open, which it does where it
// says nothing (POL-20, STS-3).
func (p *StatusNotificationPolicy) Reports(status content.Status, wish bool) bool {
	if p == nil {
		return wish
	}
	o := p.ReadReceipts
	if status == content.StatusDelivered {
		o = p.DeliveryNotifications
	}
	return o == Required || o == Optional && wish
}
