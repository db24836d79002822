package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"hubbub/mimi"
	"hubbub/mimi/content"
	"hubbub/mimi/policy"
)

const (
	maxFileNameBytes = 200
	// uploadPiece is how much is sent at once. What a piece brought is kept when the
	// connection breaks.
	uploadPiece = 1 << 20
	// maxFruitless is how many attempts in a row may bring nothing.
	maxFruitless = 8
)

// File describes what is to be attached.
type File struct {
	Name        string // shown to others, without directories; may be empty
	Description string // what it shows, for those who do not see it; may be empty
	// ContentType is a media type such as "image/png"; empty: by the ending of Name,
	// else application/octet-stream.
	ContentType string
}

// Attach encrypts octets under a key of their own and uploads them to the user's
// provider, for a message of a room: the result goes into [Draft].Attachments. Memory
// does not grow with the length; the encrypted octets pass through a file in the
// device's directory. A connection that breaks is taken up again where it broke.
//
// Errors: [ErrUnknownRoom], [ErrNotMember], [ErrDenied] (the room's policy allows no such
// type, size or place), an *[Error] with reason "too_large" or "quota", ctx's, those of
// src. Nothing is sent to the room. Safe for concurrent use. mimi-protocol-06, Download
// Files; mimi-content-08 §4.3.
func (c *Client) Attach(ctx context.Context, room mimi.RoomURI, f File, src io.Reader) (*content.ExternalPart, error) {
	p := &content.ExternalPart{Disposition: content.Attachment, ContentType: f.ContentType, Filename: safeName(f.Name), Description: f.Description}
	if p.ContentType == "" {
		p.ContentType, _, _ = strings.Cut(mime.TypeByExtension(strings.ToLower(filepath.Ext(f.Name))), ";")
	}
	if p.ContentType == "" {
		p.ContentType = "application/octet-stream"
	}
	rules, err := c.assetPolicy(room)
	if err != nil {
		return nil, err
	}
	if rules != nil && !rules.Permits(p.ContentType) {
		return nil, fmt.Errorf("%w: it takes no attachments of type %s", ErrDenied, p.ContentType)
	}
	if rules != nil && rules.Location == policy.UploadHub && room.Domain() != c.domain {
		return nil, fmt.Errorf("%w: attachments have to lie at %s, where only its own users can put them", ErrDenied, room.Domain())
	}
	sealed, err := os.CreateTemp(c.dir(), "attachment-*")
	if err != nil {
		return nil, fmt.Errorf("attaching: %w", err)
	}
	defer os.Remove(sealed.Name())
	defer sealed.Close()
	if err := p.Seal(sealed, src); err != nil {
		return nil, err
	}
	if rules != nil && p.Size > rules.MaxBytes(p.ContentType) {
		return nil, fmt.Errorf("%w: it takes attachments of type %s up to %d octets, and this one has %d", ErrDenied, p.ContentType, rules.MaxBytes(p.ContentType), p.Size)
	}
	p.URL, err = c.upload(ctx, sealed, int64(p.Size))
	if err == nil && rules != nil && !rules.AllowsURL(c.domain, p.URL) {
		err = fmt.Errorf("%w: it does not list the place where %s keeps attachments", ErrDenied, c.domain)
	}
	if err != nil {
		return nil, err
	}
	return p, nil
}

// dir is the device's directory.
func (c *Client) dir() string { return filepath.Dir(c.lock.Name()) }

// assetPolicy is what a room says about attachments, nil if it says nothing.
func (c *Client) assetPolicy(uri mimi.RoomURI) (*policy.AssetPolicy, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.rooms[uri]
	switch {
	case c.fatal != nil:
		return nil, c.fatal
	case r == nil:
		return nil, fmt.Errorf("%w: %s", ErrUnknownRoom, uri)
	case r.group == nil:
		return nil, fmt.Errorf("%w: %s", ErrNotMember, uri)
	}
	data, ok := r.group.Public().Dictionary().Get(mimi.ComponentAssetPolicy)
	if !ok {
		return nil, nil
	}
	p, err := policy.ParseAssetPolicy(data)
	if err != nil {
		return nil, fmt.Errorf("%w: its rules about attachments cannot be read: %w", ErrDenied, err)
	}
	return p, nil
}

// upload sends a file and gives its address.
func (c *Client) upload(ctx context.Context, f io.ReaderAt, size int64) (address string, err error) {
	res, err := c.askAsset(ctx, http.MethodPost, c.t.base.JoinPath("assets").String(), nil, "Upload-Length", strconv.FormatInt(size, 10))
	if err != nil {
		return "", err
	}
	res.Body.Close()
	address = res.Header.Get("Location")
	at := c.t.base.JoinPath("assets", address[strings.LastIndexByte(address, '/')+1:]).String()
	offset := int64(0)
	for fruitless := 0; offset < size; {
		now, err := c.uploadPiece(ctx, at, f, offset, min(uploadPiece, size-offset))
		if err == nil && now > offset && now <= size {
			offset, fruitless = now, 0
			continue
		}
		if fruitless++; fruitless == maxFruitless || ctx.Err() != nil || !mayPass(err) {
			return "", errors.Join(ctx.Err(), err)
		}
		if err := linger(ctx, fruitless); err != nil {
			return "", err
		}
		// Where it stands only the provider knows.
		if res, err := c.askAsset(ctx, http.MethodHead, at, nil); err == nil {
			res.Body.Close()
			if now, err := strconv.ParseInt(res.Header.Get("Upload-Offset"), 10, 63); err == nil && now <= size {
				if now > offset {
					fruitless = 0
				}
				offset = now
			}
		}
	}
	return address, nil
}

// uploadPiece sends the octets from offset and says where the upload stands then.
func (c *Client) uploadPiece(ctx context.Context, at string, f io.ReaderAt, offset, n int64) (int64, error) {
	res, err := c.askAsset(ctx, http.MethodPatch, at, io.NewSectionReader(f, offset, n),
		"Content-Type", "application/offset+octet-stream", "Upload-Offset", strconv.FormatInt(offset, 10))
	if err != nil {
		return 0, err
	}
	res.Body.Close()
	return strconv.ParseInt(res.Header.Get("Upload-Offset"), 10, 63)
}

// mayPass says whether an error may be gone at the next attempt.
func mayPass(err error) bool {
	var e *Error
	if !errors.As(err, &e) {
		return true
	}
	switch e.Reason {
	case "unavailable", "peer_unreachable", "rate_limited", "conflict":
		return true
	}
	return false
}

// linger waits longer each time.
func linger(ctx context.Context, n int) error {
	t := time.NewTimer(min(100*time.Millisecond<<min(n, 6), 5*time.Second))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// askAsset makes a request to the own provider. headers are names and values. The answer
// is one of success.
func (c *Client) askAsset(ctx context.Context, method, address string, body io.Reader, headers ...string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, address, body)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadArgument, err)
	}
	if s, ok := body.(*io.SectionReader); ok {
		req.ContentLength = s.Size()
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	req.Header.Set("Authorization", "Bearer "+c.t.token)
	res, err := c.t.calls.Do(req)
	if err != nil {
		return nil, &Error{Reason: "unavailable", Provider: c.domain, Message: "the provider does not answer", Remedy: "try again later", cause: err}
	}
	if res.StatusCode >= 300 {
		defer res.Body.Close()
		return nil, c.assetError(res)
	}
	return res, nil
}

// assetReasons are the classes of refusals, by status.
var assetReasons = map[int]struct{ reason, remedy string }{
	http.StatusUnauthorized:          {"unauthenticated", "enrol again"},
	http.StatusForbidden:             {"policy_denied", "ask the operator whether attachments of that provider may be fetched"},
	http.StatusNotFound:              {"not_found", "ask the sender to send it again"},
	http.StatusConflict:              {"conflict", "try again"},
	http.StatusRequestEntityTooLarge: {"too_large", "send less"},
	http.StatusLocked:                {"unavailable", "try again"},
	http.StatusTooManyRequests:       {"rate_limited", "wait and try again"},
	http.StatusInsufficientStorage:   {"quota", "delete attachments, or ask the operator for more"},
	http.StatusServiceUnavailable:    {"unavailable", "try again later"},
	http.StatusBadGateway:            {"peer_unreachable", "try again later"},
	http.StatusGatewayTimeout:        {"peer_unreachable", "try again later"},
}

func (c *Client) assetError(res *http.Response) *Error {
	b, _ := io.ReadAll(io.LimitReader(res.Body, 4096))
	p := mimi.ParseProblem(res.StatusCode, res.Header.Get("Retry-After"), b, c.opts.Now())
	class, ok := assetReasons[res.StatusCode]
	if !ok {
		class.reason = "peer_refused"
	}
	e := &Error{Reason: class.reason, Provider: c.domain, Message: p.Detail, Remedy: class.remedy, RetryAfter: p.RetryAfter}
	if e.Message == "" {
		e.Message = fmt.Sprintf("the provider answers %s", strings.ToLower(http.StatusText(res.StatusCode)))
	}
	return e
}

// safeName makes a file name of what a sender says: no directories, nothing that does
// not print, nothing that a shell or a file system gives a meaning (H95).
func safeName(name string) string {
	name = name[strings.LastIndexAny(name, `/\`)+1:]
	name = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) || unicode.Is(unicode.Bidi_Control, r) || strings.ContainsRune(`<>:"|?*`, r) {
			return '_'
		}
		return r
	}, name)
	name = strings.Trim(name, ". ")
	for len(name) > maxFileNameBytes { // from the front: the ending says what it is
		_, n := utf8.DecodeRuneInString(name)
		name = name[n:]
	}
	return strings.TrimLeft(name, ". -")
}

// SaveAttachment fetches an attachment of a message and writes it, decrypted and checked,
// to a new file in a directory. The file has the name that the sender gives, made safe,
// or one with a number if that is taken; it is there only when all of it is. The way to
// fetch follows the room's policy and [Options].Downloads.
//
// Errors: [ErrDenied] (the attachment lies where the room does not allow it, or may not be
// fetched in any way), [content.ErrAttachment] (it is not what was sent), an *[Error],
// ctx's, those of the disk. mimi-protocol-06, Download Files; AST-9, AST-11.
func (c *Client) SaveAttachment(ctx context.Context, m Message, a Attachment, dir string) (file string, err error) {
	if a.Part == nil {
		return "", fmt.Errorf("%w: no attachment", ErrBadArgument)
	}
	tmp, err := os.CreateTemp(dir, ".attachment-*")
	if err != nil {
		return "", fmt.Errorf("saving an attachment: %w", err)
	}
	defer os.Remove(tmp.Name())
	defer tmp.Close()
	if err := c.ReadAttachment(ctx, m, a, tmp); err != nil {
		return "", err
	}
	if err := tmp.Sync(); err != nil {
		return "", fmt.Errorf("saving an attachment: %w", err)
	}
	name := safeName(a.Part.Filename)
	if name == "" {
		name = "attachment"
	}
	ext := filepath.Ext(name)
	for n := 1; ; n++ {
		file = filepath.Join(dir, name)
		if n > 1 {
			file = filepath.Join(dir, fmt.Sprintf("%s (%d)%s", strings.TrimSuffix(name, ext), n, ext))
		}
		// A link fails where a renaming would replace.
		if err = os.Link(tmp.Name(), file); err == nil {
			return file, nil
		}
		if !errors.Is(err, os.ErrExist) || n == 1000 {
			return "", fmt.Errorf("saving an attachment: %w", err)
		}
	}
}

// ReadAttachment is [Client.SaveAttachment] to a writer. Unless it gives nil, what was
// written is not the attachment.
func (c *Client) ReadAttachment(ctx context.Context, m Message, a Attachment, dst io.Writer) error {
	if a.Part == nil {
		return fmt.Errorf("%w: no attachment", ErrBadArgument)
	}
	src, err := c.download(ctx, m, a.Part)
	if err != nil {
		return err
	}
	defer src.Close()
	return a.Part.Open(dst, src)
}

// AttachFile is [Client.Attach] for a file on the disk.
func (c *Client) AttachFile(ctx context.Context, room mimi.RoomURI, file string) (*content.ExternalPart, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("attaching: %w", err)
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return nil, errors.Join(err, fmt.Errorf("%w: %s is no file", ErrBadArgument, file))
	}
	return c.Attach(ctx, room, File{Name: filepath.Base(file)}, f)
}
