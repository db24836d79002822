package api

import (
	"context"
	"crypto/sha256"
	"errors"

	"connectrpc.com/connect"

	"hubbub/client/clientpb"
	"hubbub/internal/store"
	"hubbub/mimi"
)

// Submit takes writes in order. One that is refused is answered with its error
// and the others go on, except that nothing overtakes a write to the same room
// that failed for a reason that may pass.
func (s clientService) Submit(ctx context.Context, req *connect.Request[clientpb.SubmitRequest]) (*connect.Response[clientpb.SubmitResponse], error) {
	if len(req.Msg.Submissions) == 0 {
		return nil, malformed("no submissions")
	}
	if len(req.Msg.Submissions) > maxSubmissions {
		return nil, tooMany("submissions", maxSubmissions)
	}
	out := &clientpb.SubmitResponse{}
	blocked := map[string]bool{}
	for list := req.Msg.Submissions; len(list) > 0; {
		n := 1
		if !blocked[list[0].GetRoom()] {
			if subs := s.submitTogether(ctx, list); len(subs) > 0 {
				for _, sub := range subs {
					out.Results = append(out.Results, s.taken(sub))
				}
				list = list[len(subs):]
				continue
			}
		}
		for ; n < len(list) && list[n].GetRoom() == list[0].GetRoom(); n++ {
		}
		for _, one := range list[:n] {
			out.Results = append(out.Results, s.submitAlone(ctx, one, blocked))
		}
		list = list[n:]
	}
	return connect.NewResponse(out), nil
}

func (s clientService) taken(sub store.Submission) *clientpb.SubmitResult {
	return &clientpb.SubmitResult{Outcome: &clientpb.SubmitResult_Submission{Submission: s.submissionPB(sub)}}
}

// submitAlone takes one write, unless an earlier one to its room has to come first.
func (s clientService) submitAlone(ctx context.Context, n *clientpb.NewSubmission, blocked map[string]bool) *clientpb.SubmitResult {
	if blocked[n.GetRoom()] {
		return failed(refuse(connect.CodeUnavailable, clientpb.Reason_REASON_UNAVAILABLE,
			"an earlier write to the room was not taken", "send both again"))
	}
	sub, err := s.submitOne(ctx, n)
	if err != nil {
		blocked[n.GetRoom()] = passing(err.Code())
		return failed(err)
	}
	return s.taken(sub)
}

// submitTogether takes the messages at the front of a list that go to one room,
// all in one transaction. If anything about them is not as usual it takes none,
// and they go one by one.
func (s clientService) submitTogether(ctx context.Context, list []*clientpb.NewSubmission) []store.Submission {
	together, ok := s.Rooms.(Together)
	if !ok {
		return nil
	}
	c := caller(ctx)
	var subs []store.Submission
	var first *write
	for _, n := range list {
		if n.GetRoom() != list[0].GetRoom() || n.GetKind() != clientpb.SubmissionKind_SUBMISSION_KIND_MESSAGE {
			break
		}
		sub, w, refused := newSubmission(c, n)
		if refused != nil {
			break
		}
		if first == nil {
			first = w
		}
		subs = append(subs, sub)
	}
	if len(subs) < 2 {
		return nil
	}
	// What is checked of a message is the same for all of one client and room.
	if !s.mayPost(&subs[0]) {
		err := s.Store.View(ctx, func(tx store.ReadTx) error { return checkWrite(tx, c, &subs[0], first) })
		if err != nil {
			return nil
		}
	}
	if s.Limits.Posts.Take(c.URI, len(subs)) != nil {
		return nil
	}
	stored, err := together.SubmitAll(ctx, subs)
	if err != nil {
		return nil
	}
	return stored
}

func failed(err *connect.Error) *clientpb.SubmitResult {
	return &clientpb.SubmitResult{Outcome: &clientpb.SubmitResult_Error{Error: detailOf(err)}}
}

// passing says whether the same write may succeed later.
func passing(code connect.Code) bool {
	switch code {
	case connect.CodeUnavailable, connect.CodeInternal, connect.CodeResourceExhausted:
		return true
	}
	return false
}

func (s clientService) submitOne(ctx context.Context, n *clientpb.NewSubmission) (store.Submission, *connect.Error) {
	c := caller(ctx)
	sub, w, refused := newSubmission(c, n)
	if refused != nil {
		return sub, refused
	}
	err := s.admit(ctx, c, &sub, w)
	if err == nil {
		sub, err = s.Rooms.Submit(ctx, sub)
	}
	var p *mimi.Problem
	if errors.Is(err, store.ErrExists) || errors.As(err, &p) && p.Code == "txn-conflict" {
		return sub, txnConflict()
	}
	if err != nil {
		return sub, s.fromRole(ctx, err, "")
	}
	return sub, nil
}

// admit checks a write against what this provider holds, and counts it. A repeat
// is admitted whatever the rate.
func (s clientService) admit(ctx context.Context, c *store.Client, sub *store.Submission, w *write) error {
	var over error
	if s.mayPost(sub) {
		p := s.Limits.Posts.Take(c.URI, 1)
		if p == nil {
			return nil
		}
		over = p
	}
	fresh := false
	err := s.Store.View(ctx, func(tx store.ReadTx) (err error) {
		fresh, err = checkState(tx, c, sub, w)
		return err
	})
	if err != nil || !fresh {
		return err
	}
	if over == nil {
		if p := s.Limits.Posts.Take(c.URI, 1); p != nil {
			over = p
		}
	}
	return over
}

func txnConflict() *connect.Error {
	return refuse(connect.CodeAlreadyExists, clientpb.Reason_REASON_TXN_CONFLICT,
		"the txn was used for another write", "use a fresh txn for each write")
}

// newSubmission checks a write as far as that needs no database.
func newSubmission(c *store.Client, n *clientpb.NewSubmission) (store.Submission, *write, *connect.Error) {
	sub := store.Submission{Client: c.URI, Txn: n.GetTxn(), Kind: store.SubmissionKind(n.GetKind()), Body: n.GetBody()}
	if !validTxn(sub.Txn) {
		return sub, nil, malformed("txn is not 1 to %d printable ASCII characters", maxTxnBytes)
	}
	uri, err := mimi.ParseRoom(n.GetRoom())
	if err != nil {
		return sub, nil, malformed("room is not a room URI")
	}
	sub.Room, sub.Hub = uri, uri.Domain()
	w, refused := parseWrite(c, sub.Kind, sub.Body)
	if refused != nil {
		return sub, nil, refused
	}
	sub.MessageHash = sha256.Sum256(w.message.Raw)
	return sub, w, nil
}

func validTxn(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return s != "" && len(s) <= maxTxnBytes
}

// checkState checks a write against what this provider holds. A repeat of a
// write that is known passes before anything else is looked at; it is not fresh.
func checkState(tx store.ReadTx, c *store.Client, sub *store.Submission, w *write) (fresh bool, err error) {
	known, err := tx.Submission(c.URI, sub.Txn)
	if err == nil {
		if known.Room != sub.Room || known.Kind != sub.Kind || known.MessageHash != sub.MessageHash {
			return false, txnConflict()
		}
		return false, nil
	}
	if !errors.Is(err, store.ErrNotFound) {
		return false, err
	}
	if _, err := tx.EntryByMessage(sub.Room, sub.MessageHash); err == nil {
		return false, nil
	} else if !errors.Is(err, store.ErrNotFound) {
		return false, err
	}
	return true, checkWrite(tx, c, sub, w)
}

func (s clientService) GetSubmission(ctx context.Context, req *connect.Request[clientpb.GetSubmissionRequest]) (*connect.Response[clientpb.GetSubmissionResponse], error) {
	if !validTxn(req.Msg.Txn) {
		return nil, malformed("txn is not 1 to %d printable ASCII characters", maxTxnBytes)
	}
	var sub *store.Submission
	err := s.Store.View(ctx, func(tx store.ReadTx) (err error) {
		sub, err = tx.Submission(caller(ctx).URI, req.Msg.Txn)
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return nil, refuse(connect.CodeNotFound, clientpb.Reason_REASON_NOT_FOUND, "no such write",
			"submit it; settled writes are forgotten once acknowledged")
	}
	if err != nil {
		return nil, s.fromRole(ctx, err, "")
	}
	return connect.NewResponse(&clientpb.GetSubmissionResponse{Submission: s.submissionPB(*sub)}), nil
}

func (s clientService) ListSubmissions(ctx context.Context, req *connect.Request[clientpb.ListSubmissionsRequest]) (*connect.Response[clientpb.ListSubmissionsResponse], error) {
	var subs []store.Submission
	err := s.Store.View(ctx, func(tx store.ReadTx) (err error) {
		subs, err = tx.Submissions(caller(ctx).URI, req.Msg.AfterRevision)
		return err
	})
	if err != nil {
		return nil, s.fromRole(ctx, err, "")
	}
	out := &clientpb.ListSubmissionsResponse{}
	for _, sub := range subs {
		out.Submissions = append(out.Submissions, s.submissionPB(sub))
	}
	return connect.NewResponse(out), nil
}

func (s clientService) Forget(ctx context.Context, req *connect.Request[clientpb.ForgetRequest]) (*connect.Response[clientpb.ForgetResponse], error) {
	if len(req.Msg.Txns) > maxForget {
		return nil, tooMany("txns", maxForget)
	}
	for _, txn := range req.Msg.Txns {
		if !validTxn(txn) {
			return nil, malformed("txn is not 1 to %d printable ASCII characters", maxTxnBytes)
		}
	}
	if err := s.forget(ctx, caller(ctx).URI, req.Msg.Txns); err != nil {
		return nil, s.fromRole(ctx, err, "")
	}
	return connect.NewResponse(&clientpb.ForgetResponse{}), nil
}

func (s *Server) forget(ctx context.Context, client mimi.ClientURI, txns []string) error {
	if len(txns) == 0 {
		return nil
	}
	return s.Store.Update(ctx, func(tx store.Tx) error {
		for _, txn := range txns {
			if err := tx.DeleteSubmission(client, txn); err != nil && !errors.Is(err, store.ErrNotFound) {
				return err
			}
		}
		return nil
	})
}

func (s *Server) submissionPB(sub store.Submission) *clientpb.Submission {
	out := &clientpb.Submission{
		Txn: sub.Txn, Room: string(sub.Room), Kind: clientpb.SubmissionKind(sub.Kind),
		State: clientpb.SubmissionState(sub.State), Seq: sub.Seq, AcceptedTimestamp: sub.Accepted,
		Reason: sub.Reason, Detail: sub.Detail, Epoch: sub.Epoch, Revision: sub.Rev, EnqueuedAt: sub.EnqueuedAt,
	}
	if sub.State == store.Queued {
		out.WaitingFor = s.peerPB(sub.Hub)
		if out.WaitingFor != nil && sub.LastError != "" {
			out.WaitingFor.LastError = sub.LastError
		}
	}
	return out
}
