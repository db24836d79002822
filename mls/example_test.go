package mls_test

import (
	"fmt"
	"log"

	"hubbub/mls"
)

func check[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}

const suite = mls.SuiteX25519AES128SHA256Ed25519

// keyPackage is what a client publishes so that others can add it.
func keyPackage(name string) *mls.KeyPackageSecret {
	return check(mls.NewKeyPackage(mls.KeyPackageOptions{
		Suite: suite, Signer: check(mls.NewSignatureKey(suite, nil)), Credential: mls.BasicCredential([]byte(name)),
	}))
}

func add(kp *mls.KeyPackageSecret) mls.Proposal {
	return mls.Proposal{Type: mls.ProposalTypeAdd, Add: &mls.Add{KeyPackage: *kp.KeyPackage}}
}

// Three clients make a group and talk. A real client stores every group that
// an operation returns before it sends anything, and merges its own commits
// only once they are accepted.
func Example() {
	alice := check(mls.NewGroup(mls.GroupOptions{
		Suite: suite, Signer: check(mls.NewSignatureKey(suite, nil)), Credential: mls.BasicCredential([]byte("alice")),
	}, nil))
	bobKeys, carolKeys := keyPackage("bob"), keyPackage("carol")

	// Alice adds both. The commit goes to the (still empty) group, the Welcome
	// to the newcomers.
	commit := check(alice.Commit(mls.CommitOptions{
		Proposals: []mls.Proposal{add(bobKeys), add(carolKeys)}, TreeInWelcome: true,
	}))
	alice = commit.Merge()
	bob := check(mls.JoinWelcome(commit.Welcome(), bobKeys, mls.JoinOptions{}, nil))
	carol := check(mls.JoinWelcome(commit.Welcome(), carolKeys, mls.JoinOptions{}, nil))

	bob, message, err := bob.Encrypt([]byte("hello"), mls.EncryptOptions{PadTo: 64})
	if err != nil {
		log.Fatal(err)
	}
	for _, g := range []**mls.Group{&alice, &carol} {
		got := check((*g).Process(message)).(*mls.Application)
		*g = got.Next
		fmt.Printf("%s says %s\n", got.Credential.Identity, got.Data)
	}

	// Carol renews her keys; the others look at the commit and merge it.
	commit = check(carol.Commit(mls.CommitOptions{}))
	carol = commit.Merge()
	for _, g := range []**mls.Group{&alice, &bob} {
		*g = check((*g).Process(commit.Message())).(*mls.CommitReceived).Merge()
	}
	fmt.Println("epoch", alice.Epoch(), bob.Epoch(), carol.Epoch())
	// Output:
	// bob says hello
	// bob says hello
	// epoch 2 2 2
}
