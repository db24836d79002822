package mls

// WelcomeGroupInfo is the GroupInfo inside a Welcome, for a joiner that has to show
// others what it joined: whoever holds the ratchet tree can check with it which group
// that was, and that a member vouches for it. It holds no secrets of the group. kp and
// o are as for JoinWelcome; nothing in it has been verified.
//
// It returns ErrNoMatchingKeyPackage, ErrMissingPSK, ErrDecrypt, or the error of what
// does not decode (RFC 9420 §12.4.3.1).
func WelcomeGroupInfo(w *Welcome, kp *KeyPackageSecret, o JoinOptions) (*GroupInfo, error) {
	secrets, err := openGroupSecrets(w, kp.KeyPackage, kp.InitPrivate)
	if err != nil {
		return nil, err
	}
	psk, err := welcomePSK(w.CipherSuite, secrets.PSKs, o)
	if err != nil {
		return nil, err
	}
	return openGroupInfo(w, secrets.JoinerSecret, psk)
}
