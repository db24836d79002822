package api

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"strings"

	"connectrpc.com/connect"

	"hubbub/client/clientpb"
	"hubbub/internal/store"
	"hubbub/mimi"
)

// clientService is ClientService over a Server. Its methods stand in several
// files, by subject.
type clientService struct{ *Server }

var _ clientpb.ClientServiceHandler = clientService{}

func (s clientService) GetProvider(context.Context, *connect.Request[clientpb.GetProviderRequest]) (*connect.Response[clientpb.GetProviderResponse], error) {
	return connect.NewResponse(&clientpb.GetProviderResponse{
		Domain:            string(s.Domain),
		CredentialRoots:   s.CredentialRoots,
		HubExternalSender: s.HubSender,
		Software:          s.Software,
		ApiVersions:       []string{"v1"},
		Limits: &clientpb.Limits{
			MaxBodyBytes:            maxBodyBytes,
			MaxSubmissionsPerCall:   maxSubmissions,
			MaxKeyPackages:          maxKeyPackages,
			MaxLogEntriesPerCall:    maxLogEntries,
			MaxKeyPackageLifetimeMs: keyPackageLifetime.Milliseconds(),
		},
	}), nil
}

// Enrol makes a client out of a one-time code. The token is the client's own,
// so a repeat of a call whose answer was lost is answered again.
func (s clientService) Enrol(ctx context.Context, req *connect.Request[clientpb.EnrolRequest]) (*connect.Response[clientpb.EnrolResponse], error) {
	c, codeHash, err := s.newClient(req.Msg)
	if err != nil {
		return nil, err
	}
	if old, err := s.enrolled(ctx, c); err != nil {
		return nil, s.fromRole(ctx, err, "")
	} else if old != nil {
		return enrolResponse(old), nil
	}
	done, err := s.Limits.enrol(c.User, host(req.Peer().Addr))
	if err != nil {
		return nil, s.fromRole(ctx, err, "")
	}
	err = s.enrol(ctx, c, codeHash)
	done(errors.Is(err, store.ErrNotFound))
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, refuse(connect.CodePermissionDenied, clientpb.Reason_REASON_CODE_REFUSED,
			"the code is not valid for this user", "ask the operator for a new code")
	case errors.Is(err, store.ErrExists):
		return nil, refuse(connect.CodeAlreadyExists, clientpb.Reason_REASON_EXISTS,
			"the user has a device of that name", "choose another device name; the code is still good")
	case err != nil:
		return nil, s.fromRole(ctx, err, "")
	}
	return enrolResponse(c), nil
}

// host is the address without its port.
func host(addr string) string {
	if h, _, err := net.SplitHostPort(addr); err == nil {
		return h
	}
	return addr
}

// enrol certifies a client and spends its code. ErrNotFound says that the code is
// not good. Whether the user has too many devices it says to holders of a good
// code only, who may try again with it once there is room.
func (s clientService) enrol(ctx context.Context, c *store.Client, codeHash [32]byte) (err error) {
	now := s.Now()
	c.CreatedAt = now
	c.Certificates, err = s.Issuer.IssueClient(c.User, c.URI, c.SignatureKey, now.Add(credentialLifetime))
	if err != nil {
		return err
	}
	return s.Store.Update(ctx, func(tx store.Tx) error {
		if err := tx.Enrol(codeHash, *c, now); err != nil {
			return err
		}
		devices, err := tx.ClientsOfUser(c.User)
		if err != nil {
			return err
		}
		if n := s.Limits.Devices; n > 0 && len(devices) > n {
			return refuse(connect.CodeResourceExhausted, clientpb.Reason_REASON_QUOTA,
				fmt.Sprintf("the user has %d devices, which is the limit", n), "ask the operator; the code is still good")
		}
		return tx.Audit(now, string(c.URI), "enrol", "")
	})
}

func enrolResponse(c *store.Client) *connect.Response[clientpb.EnrolResponse] {
	return connect.NewResponse(&clientpb.EnrolResponse{Client: string(c.URI), Certificates: c.Certificates})
}

// newClient checks everything about an enrolment that needs no database.
func (s clientService) newClient(m *clientpb.EnrolRequest) (*store.Client, [32]byte, error) {
	var none [32]byte
	user, err := mimi.ParseUser(m.User)
	if err != nil {
		return nil, none, malformed("user is not a user URI")
	}
	if user.Domain() != s.Domain {
		return nil, none, refuse(connect.CodePermissionDenied, clientpb.Reason_REASON_WRONG_IDENTITY,
			"the user belongs to another provider", "enrol at the user's own provider")
	}
	if len(m.Device) > maxDeviceBytes {
		return nil, none, tooLarge("device", maxDeviceBytes)
	}
	uri, err := mimi.NewClient(user, m.Device)
	if err != nil || strings.Contains(m.Device, "/") {
		return nil, none, malformed("device is not a name")
	}
	switch {
	case len(m.Code) == 0 || len(m.Code) > maxDeviceBytes:
		return nil, none, malformed("code is missing or too long")
	case len(m.TokenHash) != sha256.Size:
		return nil, none, malformed("token_hash is not 32 octets")
	case len(m.SignatureKey) != ed25519.PublicKeySize:
		return nil, none, malformed("signature_key is not 32 octets")
	case !ed25519.Verify(m.SignatureKey, clientpb.EnrolTBS(m.User, m.Device, m.Code, m.TokenHash), m.Proof):
		return nil, none, refuse(connect.CodePermissionDenied, clientpb.Reason_REASON_WRONG_IDENTITY,
			"proof is not a signature with signature_key", "")
	}
	return &store.Client{URI: uri, User: user, TokenHash: [32]byte(m.TokenHash), SignatureKey: m.SignatureKey},
		hashCode(m.Code), nil
}

// enrolled finds the client of an earlier, equal enrolment; nil if there is none.
func (s clientService) enrolled(ctx context.Context, c *store.Client) (old *store.Client, err error) {
	err = s.Store.View(ctx, func(tx store.ReadTx) (err error) {
		old, err = tx.ClientByToken(c.TokenHash)
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err == nil && (old.URI != c.URI || string(old.SignatureKey) != string(c.SignatureKey)) {
		return nil, malformed("token_hash is in use")
	}
	return old, err
}

// hashCode is what is stored of an enrolment code. People may type it in
// capitals or with spaces and hyphens.
func hashCode(code string) [32]byte {
	return sha256.Sum256([]byte("hubbub enrolment code\x00" + strings.ToLower(strings.NewReplacer("-", "", " ", "").Replace(code))))
}
