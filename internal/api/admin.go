package api

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"connectrpc.com/connect"

	"hubbub/client/clientpb"
	"hubbub/internal/store"
	"hubbub/mimi"
)

// adminService is AdminService over a Server.
type adminService struct{ *Server }

var _ clientpb.AdminServiceHandler = adminService{}

// ListenAdmin opens the operator's socket so that only our own system user can
// reach it. A socket left by a dead process is replaced.
func ListenAdmin(path string) (net.Listener, error) {
	if fi, err := os.Lstat(path); err == nil {
		if fi.Mode()&os.ModeSocket == 0 {
			return nil, fmt.Errorf("admin socket %s: a file of another kind is in the way", path)
		}
		if c, err := net.DialTimeout("unix", path, time.Second); err == nil {
			c.Close()
			return nil, fmt.Errorf("admin socket %s: another process serves it", path)
		}
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("admin socket: %w", err)
		}
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("admin socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, fmt.Errorf("admin socket: %w", err)
	}
	return l, nil
}

// localUser reads a user of ours as a URI or as name@domain.
func (s adminService) localUser(text string) (mimi.UserURI, error) {
	user, err := mimi.ParseUser(text)
	if !strings.HasPrefix(text, "mimi:") {
		user, err = mimi.ParseHandle(text)
	}
	if err != nil {
		return "", refuse(connect.CodeInvalidArgument, clientpb.Reason_REASON_MALFORMED,
			"user is neither name@domain nor a user URI", "for example bob@"+string(s.Domain))
	}
	if user.Domain() != s.Domain {
		return "", refuse(connect.CodeInvalidArgument, clientpb.Reason_REASON_WRONG_IDENTITY,
			"the user belongs to another provider", "this provider is "+string(s.Domain))
	}
	return user, nil
}

func (s adminService) AddUser(ctx context.Context, req *connect.Request[clientpb.AddUserRequest]) (*connect.Response[clientpb.AddUserResponse], error) {
	user, err := s.localUser(req.Msg.User)
	if err != nil {
		return nil, err
	}
	now := s.Now()
	err = s.Store.Update(ctx, func(tx store.Tx) error {
		if err := tx.CreateUser(user, now); err != nil {
			return err
		}
		return tx.Audit(now, "operator", "add-user", string(user))
	})
	if errors.Is(err, store.ErrExists) {
		return nil, refuse(connect.CodeAlreadyExists, clientpb.Reason_REASON_EXISTS, "the user exists", "")
	}
	if err != nil {
		return nil, s.fromRole(ctx, err, "")
	}
	return connect.NewResponse(&clientpb.AddUserResponse{User: string(user)}), nil
}

func (s adminService) ListUsers(ctx context.Context, _ *connect.Request[clientpb.ListUsersRequest]) (*connect.Response[clientpb.ListUsersResponse], error) {
	out := &clientpb.ListUsersResponse{}
	err := s.Store.View(ctx, func(tx store.ReadTx) error {
		users, err := tx.Users()
		if err != nil {
			return err
		}
		for _, u := range users {
			row := &clientpb.User{User: string(u)}
			clients, err := tx.ClientsOfUser(u)
			if err != nil {
				return err
			}
			for _, c := range clients {
				n, err := tx.KeyPackageCount(c.URI, s.Now())
				if err != nil {
					return err
				}
				row.Clients = append(row.Clients, &clientpb.UserClient{Client: string(c.URI),
					CreatedAt: uint64(c.CreatedAt.UnixMilli()), KeyPackages: uint32(n)})
			}
			out.Users = append(out.Users, row)
		}
		return nil
	})
	if err != nil {
		return nil, s.fromRole(ctx, err, "")
	}
	return connect.NewResponse(out), nil
}

// CreateEnrolmentCode makes a code of 125 random bits that people can type:
// five groups of five letters and digits.
func (s adminService) CreateEnrolmentCode(ctx context.Context, req *connect.Request[clientpb.CreateEnrolmentCodeRequest]) (*connect.Response[clientpb.CreateEnrolmentCodeResponse], error) {
	user, err := s.localUser(req.Msg.User)
	if err != nil {
		return nil, err
	}
	life := defaultCodeLife
	if req.Msg.ValidMs != 0 {
		if req.Msg.ValidMs > uint64(maxCodeLife.Milliseconds()) {
			return nil, malformed("a code is good for at most %d days", int(maxCodeLife.Hours()/24))
		}
		life = time.Duration(req.Msg.ValidMs) * time.Millisecond
	}
	code := newCode()
	until := s.Now().Add(life)
	err = s.Store.Update(ctx, func(tx store.Tx) error {
		if _, err := tx.ClientsOfUser(user); err != nil {
			return err
		}
		if err := tx.PutEnrolment(hashCode(code), user, until); err != nil {
			return err
		}
		return tx.Audit(s.Now(), "operator", "create-enrolment-code", string(user))
	})
	if errors.Is(err, store.ErrNotFound) {
		return nil, refuse(connect.CodeNotFound, clientpb.Reason_REASON_NOT_FOUND, "no such user", "add the user first")
	}
	if err != nil {
		return nil, s.fromRole(ctx, err, "")
	}
	return connect.NewResponse(&clientpb.CreateEnrolmentCodeResponse{Code: code, ExpiresAt: uint64(until.UnixMilli())}), nil
}

func newCode() string {
	var b [16]byte
	rand.Read(b[:])
	text := strings.ToLower(base32.StdEncoding.EncodeToString(b[:]))[:25]
	var groups []string
	for i := 0; i < len(text); i += 5 {
		groups = append(groups, text[i:i+5])
	}
	return strings.Join(groups, "-")
}

func (s adminService) Status(ctx context.Context, _ *connect.Request[clientpb.StatusRequest]) (*connect.Response[clientpb.StatusResponse], error) {
	out := &clientpb.StatusResponse{Domain: string(s.Domain)}
	peers := map[mimi.Domain]bool{}
	err := s.Store.View(ctx, func(tx store.ReadTx) error {
		heads, err := s.roomStatus(tx, out, peers)
		if err != nil {
			return err
		}
		followers, err := tx.Fanouts()
		if err != nil {
			return err
		}
		for _, f := range followers {
			head := heads[f.Room]
			if f.Until != 0 {
				head = min(head, f.Until)
			}
			peers[f.Peer] = true
			out.Followers = append(out.Followers, &clientpb.FollowerStatus{Room: string(f.Room), Peer: string(f.Peer),
				Acked: f.Acked, Head: head, Lag: head - min(f.Acked, head), Parked: f.Parked})
		}
		queued, err := tx.QueuedSubmissions(0, 1000)
		for _, q := range queued {
			out.Outbox = append(out.Outbox, &clientpb.OutboxItem{Client: string(q.Client), Room: string(q.Room), Hub: string(q.Hub),
				EnqueuedAt: q.EnqueuedAt, Attempts: uint32(q.Attempts), LastError: q.LastError})
		}
		return err
	})
	if err != nil {
		return nil, s.fromRole(ctx, err, "")
	}
	for peer := range peers {
		if st := s.peerPB(peer); st != nil {
			out.Peers = append(out.Peers, st)
		}
	}
	return connect.NewResponse(out), nil
}

func (s adminService) roomStatus(tx store.ReadTx, out *clientpb.StatusResponse, peers map[mimi.Domain]bool) (map[mimi.RoomURI]uint64, error) {
	rooms, err := tx.Rooms()
	if err != nil {
		return nil, err
	}
	heads := map[mimi.RoomURI]uint64{}
	for _, r := range rooms {
		participants, err := tx.Participants(r.URI)
		if err != nil {
			return nil, err
		}
		heads[r.URI] = r.Head.Seq
		peers[r.Hub] = true
		out.Rooms = append(out.Rooms, &clientpb.RoomStatus{Room: string(r.URI), Hub: string(r.Hub), Head: posPB(r.Head),
			Start: posPB(r.Start), Epoch: r.Epoch, Frozen: r.Frozen, Participants: uint32(len(participants)), Former: string(r.Former)})
	}
	return heads, nil
}
