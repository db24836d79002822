package fsck_test

import (
	"crypto/ed25519"

	"hubbub/mls"
)

// ed25519Key is a hub's key in the form that signs checkpoints.
func ed25519Key(k *mls.SignatureKey) ed25519.PrivateKey { return ed25519.NewKeyFromSeed(k.Private) }
