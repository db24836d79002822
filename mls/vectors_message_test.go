package mls

import (
	"crypto/rand"
	"testing"
)

// TestPrivateMessagePadding: padding hides the length and must be zero
// (RFC 9420 §6.3.1).
func TestPrivateMessagePadding(t *testing.T) {
	suite := SuiteX25519AES128SHA256Ed25519
	signer := must[*SignatureKey](t)(NewSignatureKey(suite, nil))
	secret := make([]byte, suite.HashSize())
	_, key, err := newSecretTree(suite, secret, 1).next(0, ContentTypeApplication)
	if err != nil {
		t.Fatal(err)
	}
	a := &AuthenticatedContent{WireFormat: WireFormatPrivateMessage, Content: FramedContent{
		ContentType: ContentTypeApplication, Sender: Sender{Type: SenderTypeMember}, ApplicationData: []byte("hi")}}
	if err := a.Sign(suite, signer.Private, &GroupContext{}); err != nil {
		t.Fatal(err)
	}
	m, err := sealPrivate(suite, secret, a, key, 256, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Ciphertext) != 256+16 {
		t.Fatalf("ciphertext of %d octets", len(m.Ciphertext))
	}
	sd, err := openSenderData(suite, secret, m)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := openPrivate(suite, m, sd, key); err != nil {
		t.Fatal(err)
	}
	// Encrypt the same content with one stray bit in the padding.
	_, aad, _ := m.aads()
	plaintext, err := suite.open(key.key, guardNonce(key.nonce, sd.reuseGuard), aad, m.Ciphertext)
	if err != nil {
		t.Fatal(err)
	}
	plaintext[255] = 1
	m.Ciphertext, err = suite.seal(key.key, guardNonce(key.nonce, sd.reuseGuard), aad, plaintext)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := openPrivate(suite, m, sd, key); err == nil {
		t.Fatal("non-zero padding accepted")
	}
}
