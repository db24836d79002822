package main

import (
	"bytes"
	"context"
	"net"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"

	"hubbub/interop/mlsgrpc/pb"
)

// dial serves a mock client in this process.
func dial(t *testing.T) *grpc.ClientConn {
	t.Helper()
	l := bufconn.Listen(1 << 20)
	s := grpc.NewServer()
	pb.RegisterMLSClientServer(s, newServer())
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	conn, err := grpc.NewClient("passthrough:mock", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		s.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return conn
}

// world is a runner with clients that all live in one mock client.
type world struct {
	t      *testing.T
	rpc    pb.MLSClientClient
	state  map[string]uint32
	suite  uint32
	secret bool
}

func must[A any](w *world) func(a A, err error) A {
	return func(a A, err error) A {
		w.t.Helper()
		if err != nil {
			w.t.Fatal(err)
		}
		return a
	}
}

func (w *world) equal(what string, a, b []byte) {
	w.t.Helper()
	if len(a) == 0 || !bytes.Equal(a, b) {
		w.t.Fatalf("%s: %x and %x", what, a, b)
	}
}

func (w *world) keyPackage(name string) *pb.CreateKeyPackageResponse {
	w.t.Helper()
	return must[*pb.CreateKeyPackageResponse](w)(w.rpc.CreateKeyPackage(w.t.Context(),
		&pb.CreateKeyPackageRequest{CipherSuite: w.suite, Identity: []byte(name)}))
}

// commit lets a member commit, the others follow, and joiners enter by their
// transactions.
func (w *world) commit(by string, q *pb.CommitRequest, joiners map[string]uint32) {
	w.t.Helper()
	ctx := w.t.Context()
	q.StateId = w.state[by]
	c := must[*pb.CommitResponse](w)(w.rpc.Commit(ctx, q))
	own := must[*pb.HandleCommitResponse](w)(w.rpc.HandlePendingCommit(ctx, &pb.HandlePendingCommitRequest{StateId: w.state[by]}))
	w.state[by] = own.StateId
	for name, id := range w.state {
		if name == by {
			continue
		}
		a := must[*pb.HandleCommitResponse](w)(w.rpc.HandleCommit(ctx, &pb.HandleCommitRequest{StateId: id, Proposal: q.ByReference, Commit: c.Commit}))
		w.equal("authenticator of "+name, a.EpochAuthenticator, own.EpochAuthenticator)
		w.state[name] = a.StateId
	}
	for name, id := range joiners {
		a := must[*pb.JoinGroupResponse](w)(w.rpc.JoinGroup(ctx, &pb.JoinGroupRequest{TransactionId: id, Welcome: c.Welcome,
			RatchetTree: c.RatchetTree, EncryptHandshake: w.secret, Identity: []byte(name)}))
		w.equal("authenticator of "+name, a.EpochAuthenticator, own.EpochAuthenticator)
		w.state[name] = a.StateId
	}
}

// pair is a group of alice and bob.
func pair(t *testing.T, suite uint32, secret bool) *world {
	t.Helper()
	w := &world{t: t, rpc: pb.NewMLSClientClient(dial(t)), state: map[string]uint32{}, suite: suite, secret: secret}
	g := must[*pb.CreateGroupResponse](w)(w.rpc.CreateGroup(t.Context(), &pb.CreateGroupRequest{GroupId: []byte("group"),
		CipherSuite: suite, EncryptHandshake: secret, Identity: []byte("alice")}))
	w.state["alice"] = g.StateId
	kp := w.keyPackage("bob")
	w.commit("alice", &pb.CommitRequest{ExternalTree: true, ByValue: []*pb.ProposalDescription{
		{ProposalType: []byte("add"), KeyPackage: kp.KeyPackage}}}, map[string]uint32{"bob": kp.TransactionId})
	return w
}

func TestProposalsAndMessages(t *testing.T) {
	for _, secret := range []bool{false, true} {
		w := pair(t, 1, secret)
		ctx := t.Context()
		for _, id := range w.state {
			must[*pb.StorePSKResponse](w)(w.rpc.StorePSK(ctx, &pb.StorePSKRequest{StateOrTransactionId: id, PskId: []byte("k"), PskSecret: []byte("s")}))
		}
		carol := w.keyPackage("carol")
		p := must[*pb.ProposalResponse](w)
		bob := w.state["bob"]
		w.commit("alice", &pb.CommitRequest{ByReference: [][]byte{
			p(w.rpc.AddProposal(ctx, &pb.AddProposalRequest{StateId: bob, KeyPackage: carol.KeyPackage})).Proposal,
			p(w.rpc.UpdateProposal(ctx, &pb.UpdateProposalRequest{StateId: bob})).Proposal,
			p(w.rpc.GroupContextExtensionsProposal(ctx, &pb.GroupContextExtensionsProposalRequest{StateId: bob,
				Extensions: []*pb.Extension{{ExtensionType: 3, ExtensionData: []byte{0, 0, 0}}}})).Proposal,
		}}, map[string]uint32{"carol": carol.TransactionId})
		delete(w.state, "carol")
		w.commit("bob", &pb.CommitRequest{ByReference: [][]byte{
			p(w.rpc.ExternalPSKProposal(ctx, &pb.ExternalPSKProposalRequest{StateId: bob, PskId: []byte("k")})).Proposal,
			p(w.rpc.ResumptionPSKProposal(ctx, &pb.ResumptionPSKProposalRequest{StateId: w.state["alice"], EpochId: 1})).Proposal,
			p(w.rpc.RemoveProposal(ctx, &pb.RemoveProposalRequest{StateId: bob, RemovedId: []byte("carol")})).Proposal,
		}}, nil)
		c := must[*pb.ProtectResponse](w)(w.rpc.Protect(ctx, &pb.ProtectRequest{StateId: bob, AuthenticatedData: []byte("a"), Plaintext: []byte("p")}))
		u := must[*pb.UnprotectResponse](w)(w.rpc.Unprotect(ctx, &pb.UnprotectRequest{StateId: w.state["alice"], Ciphertext: c.Ciphertext}))
		w.equal("plaintext", u.Plaintext, []byte("p"))
		w.equal("authenticated data", u.AuthenticatedData, []byte("a"))
		e := &pb.ExportRequest{StateId: bob, Label: "l", Context: []byte("c"), KeyLength: 20}
		first := must[*pb.ExportResponse](w)(w.rpc.Export(ctx, e)).ExportedSecret
		e.StateId = w.state["alice"]
		w.equal("exported", must[*pb.ExportResponse](w)(w.rpc.Export(ctx, e)).ExportedSecret, first)
	}
}

func TestFromOutside(t *testing.T) {
	w := pair(t, 2, true)
	ctx := t.Context()
	signer := must[*pb.CreateExternalSignerResponse](w)(w.rpc.CreateExternalSigner(ctx, &pb.CreateExternalSignerRequest{CipherSuite: 2, Identity: []byte("ds")}))
	p := must[*pb.ProposalResponse](w)
	w.commit("alice", &pb.CommitRequest{ByReference: [][]byte{
		p(w.rpc.AddExternalSigner(ctx, &pb.AddExternalSignerRequest{StateId: w.state["alice"], ExternalSender: signer.ExternalSender})).Proposal}}, nil)
	info := func(external bool) *pb.GroupInfoResponse {
		return must[*pb.GroupInfoResponse](w)(w.rpc.GroupInfo(ctx, &pb.GroupInfoRequest{StateId: w.state["alice"], ExternalTree: external}))
	}
	carol := must[*pb.NewMemberAddProposalResponse](w)(w.rpc.NewMemberAddProposal(ctx, &pb.NewMemberAddProposalRequest{GroupInfo: info(false).GroupInfo, Identity: []byte("carol")}))
	w.commit("bob", &pb.CommitRequest{ByReference: [][]byte{carol.Proposal}}, map[string]uint32{"carol": carol.TransactionId})

	gi := info(true)
	j := must[*pb.ExternalJoinResponse](w)(w.rpc.ExternalJoin(ctx, &pb.ExternalJoinRequest{GroupInfo: gi.GroupInfo, RatchetTree: gi.RatchetTree,
		EncryptHandshake: true, Identity: []byte("carol"), RemovePrior: true}))
	w.state["carol"] = j.StateId
	for _, name := range []string{"alice", "bob"} {
		a := must[*pb.HandleCommitResponse](w)(w.rpc.HandleCommit(ctx, &pb.HandleCommitRequest{StateId: w.state[name], Commit: j.Commit}))
		w.equal("authenticator", a.EpochAuthenticator, j.EpochAuthenticator)
	}

	gi = info(true)
	remove := p(w.rpc.ExternalSignerProposal(ctx, &pb.ExternalSignerProposalRequest{SignerId: signer.SignerId, GroupInfo: gi.GroupInfo,
		RatchetTree: gi.RatchetTree, Description: &pb.ProposalDescription{ProposalType: []byte("remove"), RemovedId: []byte("carol")}}))
	delete(w.state, "carol")
	w.commit("alice", &pb.CommitRequest{ByReference: [][]byte{remove.Proposal}}, nil)
}

func TestSuccessors(t *testing.T) {
	w := pair(t, 1, false)
	ctx := t.Context()
	kp := w.keyPackage("bob")
	branch := must[*pb.CreateSubgroupResponse](w)(w.rpc.CreateBranch(ctx, &pb.CreateBranchRequest{StateId: w.state["alice"],
		GroupId: []byte("branch"), KeyPackages: [][]byte{kp.KeyPackage}, ExternalTree: true}))
	b := must[*pb.HandleBranchResponse](w)(w.rpc.HandleBranch(ctx, &pb.HandleBranchRequest{StateId: w.state["bob"],
		TransactionId: kp.TransactionId, Welcome: branch.Welcome, RatchetTree: branch.RatchetTree}))
	w.equal("authenticator of the branch", b.EpochAuthenticator, branch.EpochAuthenticator)

	p := must[*pb.ProposalResponse](w)(w.rpc.ReInitProposal(ctx, &pb.ReInitProposalRequest{StateId: w.state["bob"], CipherSuite: 2, GroupId: []byte("new")}))
	c := must[*pb.CommitResponse](w)(w.rpc.ReInitCommit(ctx, &pb.CommitRequest{StateId: w.state["alice"], ByReference: [][]byte{p.Proposal}}))
	alice := must[*pb.HandleReInitCommitResponse](w)(w.rpc.HandlePendingReInitCommit(ctx, &pb.HandlePendingCommitRequest{StateId: w.state["alice"]}))
	bob := must[*pb.HandleReInitCommitResponse](w)(w.rpc.HandleReInitCommit(ctx, &pb.HandleCommitRequest{StateId: w.state["bob"], Proposal: [][]byte{p.Proposal}, Commit: c.Commit}))
	w.equal("last authenticator", alice.EpochAuthenticator, bob.EpochAuthenticator)
	next := must[*pb.CreateSubgroupResponse](w)(w.rpc.ReInitWelcome(ctx, &pb.ReInitWelcomeRequest{ReinitId: bob.ReinitId, KeyPackage: [][]byte{alice.KeyPackage}, ForcePath: true}))
	a := must[*pb.JoinGroupResponse](w)(w.rpc.HandleReInitWelcome(ctx, &pb.HandleReInitWelcomeRequest{ReinitId: alice.ReinitId, Welcome: next.Welcome}))
	auth := must[*pb.StateAuthResponse](w)(w.rpc.StateAuth(ctx, &pb.StateAuthRequest{StateId: a.StateId}))
	w.equal("authenticator of the successor", auth.StateAuthSecret, next.EpochAuthenticator)
	must[*pb.FreeResponse](w)(w.rpc.Free(ctx, &pb.FreeRequest{StateId: a.StateId}))
}

// TestEveryCall: all 34 calls exist, and an empty request to any is answered,
// by an error where something is missing.
func TestEveryCall(t *testing.T) {
	conn := dial(t)
	methods := pb.MLSClient_ServiceDesc.Methods
	if len(methods) != 34 {
		t.Errorf("%d calls", len(methods))
	}
	d, err := protoregistry.GlobalFiles.FindDescriptorByName("mls_client.MLSClient")
	if err != nil {
		t.Fatal(err)
	}
	calls := d.(protoreflect.ServiceDescriptor).Methods()
	for i := range calls.Len() {
		m := calls.Get(i)
		q, a := dynamicpb.NewMessage(m.Input()), dynamicpb.NewMessage(m.Output())
		err := conn.Invoke(t.Context(), "/mls_client.MLSClient/"+string(m.Name()), q, a)
		switch status.Code(err) {
		case codes.OK, codes.NotFound, codes.InvalidArgument:
		default:
			t.Errorf("%s: %v", m.Name(), err)
		}
	}
}
