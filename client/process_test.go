package client

import (
	"testing"

	"hubbub/mls"
)

// What was read while our own commit was under way cannot be read again after
// it: the keys must not come back with the state the commit was made on.
func TestOwnCommitKeepsWhatWasRead(t *testing.T) {
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	const suite = mls.SuiteX25519AES128SHA256Ed25519
	signer := func() *mls.SignatureKey {
		k, err := mls.NewSignatureKey(suite, nil)
		must(err)
		return k
	}
	alice, err := mls.NewGroup(mls.GroupOptions{Suite: suite, Signer: signer(), Credential: mls.BasicCredential([]byte("alice"))}, nil)
	must(err)
	keys, err := mls.NewKeyPackage(mls.KeyPackageOptions{Suite: suite, Signer: signer(), Credential: mls.BasicCredential([]byte("bob"))})
	must(err)
	added, err := alice.Commit(mls.CommitOptions{TreeInWelcome: true, Proposals: []mls.Proposal{
		{Type: mls.ProposalTypeAdd, Add: &mls.Add{KeyPackage: *keys.KeyPackage}}}})
	must(err)
	alice = added.Merge()
	bob, err := mls.JoinWelcome(added.Welcome(), keys, mls.JoinOptions{}, nil)
	must(err)

	r := &room{group: alice}
	own, err := r.group.Commit(mls.CommitOptions{})
	must(err)
	_, message, err := bob.Encrypt([]byte("while it was under way"), mls.EncryptOptions{})
	must(err)
	read, err := r.group.Process(message)
	must(err)
	r.group = read.(*mls.Application).Next

	next, err := r.follow(own)
	must(err)
	if next.Epoch() != alice.Epoch()+1 {
		t.Fatalf("epoch %d after the commit, want %d", next.Epoch(), alice.Epoch()+1)
	}
	if again, err := next.Process(message); err == nil {
		t.Fatalf("a replayed message was taken as %T", again)
	}
}
