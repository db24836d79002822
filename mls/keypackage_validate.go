package mls

// Validate checks a KeyPackage as far as that is possible without a group:
// protocol version and cipher suite, both signatures, keys of the right form
// and all different, extensions listed once and in the capabilities, the
// credential's own rules and Config.Validate, and the lifetime at cfg's time
// (RFC 9420 §7.3 and §10.1). It is what a server asks of a KeyPackage it is to
// hand out; whether it suits a group is checked when it is added.
//
// It returns ErrUnsupportedSuite or a *ValidationError.
func (k *KeyPackage) Validate(cfg *Config) error {
	if !k.CipherSuite.Supported() {
		return ErrUnsupportedSuite
	}
	if k.Version != MLS10 {
		return invalid(keyPackageClause, "protocol version %v", k.Version)
	}
	if equalKey(k.InitKey, k.LeafNode.EncryptionKey) {
		return invalid(keyPackageClause, "init key equals the encryption key")
	}
	p := &PublicGroup{config: cfg, context: &GroupContext{Version: MLS10, CipherSuite: k.CipherSuite}}
	rules, err := p.leafRules(nil)
	if err != nil {
		return err
	}
	return rules.checkKeyPackage(k, false)
}
