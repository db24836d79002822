package mimi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
)

// DirectoryPath is where a provider publishes its [Directory] (DIR-1).
const DirectoryPath = "/.well-known/mimi-protocol-directory"

// MaxDirectoryBytes bounds the document of a peer.
const MaxDirectoryBytes = 64 << 10

// ErrBadDirectory is wrapped by the errors of [ParseDirectory].
var ErrBadDirectory = errors.New("mimi: bad directory")

// ErrNoEndpoint means that a provider does not offer an endpoint (DIR-2: that
// switches off the one feature, nothing else).
var ErrNoEndpoint = errors.New("mimi: endpoint not offered")

// ErrBadTemplate is wrapped by the errors of [Expand].
var ErrBadTemplate = errors.New("mimi: bad URL template")

// An Endpoint is a key of the directory.
type Endpoint string

// The endpoints of mimi-protocol-06, Directory (DIR-2).
const (
	EndpointKeyMaterial     Endpoint = "keyMaterial"
	EndpointUpdate          Endpoint = "update"
	EndpointNotify          Endpoint = "notify"
	EndpointSubmitMessage   Endpoint = "submitMessage"
	EndpointGroupInfo       Endpoint = "groupInfo"
	EndpointRequestConsent  Endpoint = "requestConsent"
	EndpointUpdateConsent   Endpoint = "updateConsent"
	EndpointIdentifierQuery Endpoint = "identifierQuery"
	EndpointReportAbuse     Endpoint = "reportAbuse"
	EndpointProxyDownload   Endpoint = "proxyDownload"
)

// EndpointSnapshot is an extension of ours: a participating provider fetches what
// it needs to follow a room from a given position.
const EndpointSnapshot Endpoint = "x-snapshot"

// EndpointCheckpoint is an extension of ours: a provider of a room says how far its
// copy of the log reaches, with the newest signed checkpoint of the hub that it
// holds (package checkpoint).
const EndpointCheckpoint Endpoint = "x-checkpoint"

// Variable names of URL templates (DIR-6, D-15).
const (
	VarTargetUser      = "targetUser"
	VarTargetDomain    = "targetDomain"
	VarRequesterUser   = "requesterUser"
	VarRequesterDomain = "requesterDomain"
	VarRoomID          = "roomId"
	VarDomain          = "domain"
	VarDownloadURL     = "downloadUrl"
)

// endpointVariables says which variable our own template of an endpoint ends in.
var endpointVariables = map[Endpoint]string{
	EndpointKeyMaterial:     VarTargetUser,
	EndpointUpdate:          VarRoomID,
	EndpointNotify:          VarRoomID,
	EndpointSubmitMessage:   VarRoomID,
	EndpointGroupInfo:       VarRoomID,
	EndpointRequestConsent:  VarTargetDomain,
	EndpointUpdateConsent:   VarRequesterDomain,
	EndpointIdentifierQuery: VarDomain,
	EndpointReportAbuse:     VarRoomID,
	EndpointProxyDownload:   VarDownloadURL,
	EndpointSnapshot:        VarRoomID,
	EndpointCheckpoint:      VarRoomID,
	EndpointDelivery:        VarRoomID,
	EndpointSubmitBatch:     VarDomain,
	EndpointCatchUp:         VarRoomID,
}

// Variable is the template variable this implementation publishes for e, or "" if
// e is not known.
func (e Endpoint) Variable() string { return endpointVariables[e] }

// A Directory maps endpoints to URL templates. It marshals to the JSON document of
// mimi-protocol-06, Directory.
type Directory map[Endpoint]string

// NewDirectory makes the document of a provider whose endpoints live below base,
// such as "https://mimi.a.example/v1": every template is base, the endpoint's name,
// and its one variable as last segment (DIR-5). Without endpoints it offers all.
func NewDirectory(base string, endpoints ...Endpoint) Directory {
	d := make(Directory)
	base = strings.TrimRight(base, "/")
	if len(endpoints) == 0 {
		for e := range endpointVariables {
			endpoints = append(endpoints, e)
		}
	}
	for _, e := range endpoints {
		d[e] = base + "/" + string(e) + "/{" + e.Variable() + "}"
	}
	return d
}

// ParseDirectory reads a peer's document. Members that are unknown, and templates
// that are not usable https URLs, are left out (DIR-7, DIR-8): the feature is then
// missing. The error wraps [ErrBadDirectory].
func ParseDirectory(body []byte) (Directory, error) {
	if len(body) > MaxDirectoryBytes {
		return nil, fmt.Errorf("%w: larger than %d octets", ErrBadDirectory, MaxDirectoryBytes)
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, fmt.Errorf("%w: not a JSON object", ErrBadDirectory)
	}
	d, seen := make(Directory), make(map[string]bool)
	for dec.More() {
		key, err := dec.Token()
		name, ok := key.(string)
		if err != nil || !ok || seen[name] {
			return nil, fmt.Errorf("%w: broken or repeated member", ErrBadDirectory)
		}
		seen[name] = true
		var value any
		if err := dec.Decode(&value); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrBadDirectory, err)
		}
		e := Endpoint(name)
		if template, ok := value.(string); ok && e.Variable() != "" && usableTemplate(template) {
			d[e] = template
		}
	}
	if _, err := dec.Token(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadDirectory, err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: data after the object", ErrBadDirectory)
	}
	return d, nil
}

// Expand gives the URL of an endpoint. It returns [ErrNoEndpoint] if the provider
// does not offer it, or an error wrapping [ErrBadTemplate].
func (d Directory) Expand(e Endpoint, vars map[string]string) (string, error) {
	template, ok := d[e]
	if !ok {
		return "", fmt.Errorf("%w: %s", ErrNoEndpoint, e)
	}
	return Expand(template, vars)
}

// usableTemplate tries the template with harmless values.
func usableTemplate(template string) bool {
	s, err := Expand(template, map[string]string{
		VarTargetUser: "x", VarTargetDomain: "x", VarRequesterUser: "x", VarRequesterDomain: "x",
		VarRoomID: "x", VarDomain: "x", VarDownloadURL: "x",
	})
	if err != nil || s == template {
		return false
	}
	u, err := url.Parse(s)
	return err == nil && u.Scheme == "https" && u.Hostname() != "" && u.User == nil && u.Fragment == ""
}

// Expand fills a URL template by RFC 6570 simple string expansion (DIR-4, D-12):
// {name} becomes the value with every character outside the unreserved set
// percent-encoded, so an identifier is one path segment. Operators, lists and
// variables missing from vars are refused; the error wraps [ErrBadTemplate].
func Expand(template string, vars map[string]string) (string, error) {
	var out strings.Builder
	for rest := template; rest != ""; {
		open := strings.IndexAny(rest, "{}")
		if open < 0 {
			open = len(rest)
		}
		literal := rest[:open]
		if strings.ContainsFunc(literal, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
			return "", fmt.Errorf("%w: character not allowed in a URL", ErrBadTemplate)
		}
		out.WriteString(literal)
		if open == len(rest) {
			break
		}
		name, after, ok := strings.Cut(rest[open+1:], "}")
		if rest[open] != '{' || !ok {
			return "", fmt.Errorf("%w: unbalanced brace", ErrBadTemplate)
		}
		value, ok := vars[name]
		if !ok {
			return "", fmt.Errorf("%w: unknown variable or operator", ErrBadTemplate)
		}
		escape(&out, value)
		rest = after
	}
	return out.String(), nil
}

func escape(out *strings.Builder, s string) {
	const hex = "0123456789ABCDEF"
	for i := range len(s) {
		c := s[i]
		if isAlphaNum(c) || strings.IndexByte("-._~", c) >= 0 {
			out.WriteByte(c)
			continue
		}
		out.WriteByte('%')
		out.WriteByte(hex[c>>4])
		out.WriteByte(hex[c&15])
	}
}
