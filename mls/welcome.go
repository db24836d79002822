package mls

import (
	"bytes"
	"fmt"

	"hubbub/mls/wire"
)

// openGroupSecrets decrypts the part of a Welcome that is meant for kp. It
// returns ErrNoMatchingKeyPackage if there is none.
func openGroupSecrets(w *Welcome, kp *KeyPackage, initPrivate []byte) (*GroupSecrets, error) {
	ref, err := kp.Ref()
	if err != nil {
		return nil, err
	}
	for i := range w.Secrets {
		if !bytes.Equal(w.Secrets[i].NewMember, ref) {
			continue
		}
		if w.CipherSuite != kp.CipherSuite {
			return nil, invalid("RFC 9420 §12.4.3.1", "welcome and key package are of different cipher suites")
		}
		plaintext, err := w.CipherSuite.DecryptWithLabel(initPrivate, "Welcome", w.EncryptedGroupInfo, w.Secrets[i].EncryptedGroupSecrets)
		if err != nil {
			return nil, fmt.Errorf("mls: group secrets: %w", err)
		}
		s := new(GroupSecrets)
		if err := wire.Unmarshal(plaintext, s); err != nil {
			return nil, fmt.Errorf("mls: group secrets: %w", err)
		}
		return s, nil
	}
	return nil, ErrNoMatchingKeyPackage
}

// openGroupInfo decrypts the GroupInfo of a Welcome. Its signature is left to
// the caller, who learns the signer's key from the tree.
func openGroupInfo(w *Welcome, joiner, psk []byte) (*GroupInfo, error) {
	key, nonce, err := welcomeKey(w.CipherSuite, joiner, psk)
	if err != nil {
		return nil, err
	}
	plaintext, err := w.CipherSuite.open(key, nonce, nil, w.EncryptedGroupInfo)
	if err != nil {
		return nil, fmt.Errorf("mls: group info: %w", err)
	}
	gi := new(GroupInfo)
	if err := wire.Unmarshal(plaintext, gi); err != nil {
		return nil, fmt.Errorf("mls: group info: %w", err)
	}
	if gi.GroupContext.CipherSuite != w.CipherSuite || gi.GroupContext.Version != MLS10 {
		return nil, invalid("RFC 9420 §12.4.3.1", "group info and welcome disagree about version or cipher suite")
	}
	return gi, nil
}

// sealGroupInfo is the inverse of openGroupInfo.
func sealGroupInfo(gi *GroupInfo, joiner, psk []byte) ([]byte, error) {
	suite := gi.GroupContext.CipherSuite
	key, nonce, err := welcomeKey(suite, joiner, psk)
	if err != nil {
		return nil, err
	}
	plaintext, err := wire.Marshal(gi)
	if err != nil {
		return nil, err
	}
	return suite.seal(key, nonce, nil, plaintext)
}

// sealGroupSecrets encrypts s for one newcomer.
func sealGroupSecrets(kp *KeyPackage, s *GroupSecrets, encryptedGroupInfo []byte) (EncryptedGroupSecrets, error) {
	ref, err := kp.Ref()
	if err != nil {
		return EncryptedGroupSecrets{}, err
	}
	plaintext, err := wire.Marshal(s)
	if err != nil {
		return EncryptedGroupSecrets{}, err
	}
	ct, err := kp.CipherSuite.EncryptWithLabel(kp.InitKey, "Welcome", encryptedGroupInfo, plaintext)
	return EncryptedGroupSecrets{NewMember: ref, EncryptedGroupSecrets: ct}, err
}
