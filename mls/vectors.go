package mls

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strings"
)

// ErrVectors: a file is not one of the official test vector formats, or is
// damaged as a whole. Faults of single cases are counted in a VectorReport.
var ErrVectors = errors.New("mls: not a test vector file")

// maxVectorFailures is how many failures a report describes.
const maxVectorFailures = 5

// VectorReport says how the cases of a test vector file fared.
type VectorReport struct {
	Kind    string          `json:"kind"` // official name of the format, such as "tree-math"
	Passed  int             `json:"passed"`
	Failed  int             `json:"failed"`
	Skipped []VectorSkip    `json:"skipped,omitempty"`  // by reason, in order of appearance
	First   []VectorFailure `json:"failures,omitempty"` // the first failures; Failed counts all
}

// VectorSkip counts cases that could not be run.
type VectorSkip struct {
	Reason string `json:"reason"`
	Cases  int    `json:"cases"`
}

// VectorFailure describes a failed case.
type VectorFailure struct {
	Case   int    `json:"case"` // place in the file, from 0
	Reason string `json:"reason"`
}

// SkippedCases returns the number of cases that were skipped.
func (r *VectorReport) SkippedCases() int {
	n := 0
	for _, s := range r.Skipped {
		n += s.Cases
	}
	return n
}

func (r *VectorReport) skip(reason string) {
	for i := range r.Skipped {
		if r.Skipped[i].Reason == reason {
			r.Skipped[i].Cases++
			return
		}
	}
	r.Skipped = append(r.Skipped, VectorSkip{reason, 1})
}

func (r *VectorReport) fail(at int, err error) {
	r.Failed++
	if len(r.First) < maxVectorFailures {
		r.First = append(r.First, VectorFailure{at, err.Error()})
	}
}

// RunVectors runs a file of test vectors in one of the sixteen formats that the
// MLS working group has agreed on (mlswg/mls-implementations, test-vectors.md).
// The format is recognised by the content; name, a file name with or without
// directories, only decides between the three passive-client formats, which
// look alike. Where a format allows it, both directions are checked: what the
// file holds is opened, verified or decoded, and the same is made anew and
// opened again.
//
// data is a JSON array of cases, or one case. Cases of a cipher suite that this
// package does not implement are skipped. An error is returned, wrapping
// ErrVectors, only if no case can be told from data. Nothing in data makes the
// call panic; the time it takes is bounded by the lengths in data, of which
// those of secret trees and tree math are checked against 2^16.
func RunVectors(name string, data []byte) (VectorReport, error) {
	var report VectorReport
	cases, err := vectorCases(data)
	if err != nil {
		return report, err
	}
	kind, err := recogniseVectors(cases)
	if err != nil {
		return report, err
	}
	report.Kind = kind.name
	if kind.name == passiveKind {
		report.Kind = passiveName(name, cases)
	}
	for i, c := range cases {
		if suite, has := vectorSuite(c); has && !suite.Supported() {
			report.skip(fmt.Sprintf("cipher suite %v is not supported", suite))
			continue
		}
		if err := kind.check(c); err != nil {
			report.fail(i, err)
			continue
		}
		report.Passed++
	}
	return report, nil
}

// vectorFields is a case whose fields are not decoded yet.
type vectorFields map[string]json.RawMessage

// vectorCases splits a file into its cases. A case that is no JSON object stays
// nil, to fail later.
func vectorCases(data []byte) ([]vectorFields, error) {
	data = bytes.TrimPrefix(bytes.TrimSpace(data), []byte("\xef\xbb\xbf"))
	if len(data) > 0 && data[0] == '{' {
		data = append(append([]byte{'['}, data...), ']')
	}
	var raw []json.RawMessage
	if err := json.Unmarshal(data, &raw); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrVectors, err)
	}
	if len(raw) == 0 {
		return nil, fmt.Errorf("%w: no cases", ErrVectors)
	}
	cases := make([]vectorFields, len(raw))
	for i := range raw {
		if json.Unmarshal(raw[i], &cases[i]) != nil {
			cases[i] = nil
		}
	}
	return cases, nil
}

// vectorKind is one of the formats.
type vectorKind struct {
	name string
	// fields are those every case must have. They differ between formats.
	fields string
	run    func(vectorFields) error
}

// passiveKind stands for the three formats of passive clients.
const passiveKind = "passive-client"

// vectorKinds lists the formats.
func vectorKinds() []vectorKind {
	const suite = "cipher_suite "
	return []vectorKind{
		{"tree-math", "n_leaves n_nodes root left right parent sibling", caseOf((*treeMathVector).run)},
		{"crypto-basics", suite + "ref_hash expand_with_label derive_secret derive_tree_secret sign_with_label encrypt_with_label", caseOf((*cryptoVector).run)},
		{"deserialization", "vlbytes_header length", caseOf((*headerVector).run)},
		{"secret-tree", suite + "sender_data encryption_secret leaves", caseOf((*secretTreeVector).run)},
		{"message-protection", suite + "group_id epoch tree_hash confirmed_transcript_hash signature_priv signature_pub encryption_secret sender_data_secret membership_key proposal proposal_pub proposal_priv commit commit_pub commit_priv application application_priv", caseOf((*protectionVector).run)},
		{"key-schedule", suite + "group_id initial_init_secret epochs", caseOf((*scheduleVector).run)},
		{"psk_secret", suite + "psks psk_secret", caseOf((*pskVector).run)},
		{"transcript-hashes", suite + "confirmation_key authenticated_content interim_transcript_hash_before confirmed_transcript_hash_after interim_transcript_hash_after", caseOf((*transcriptVector).run)},
		{"welcome", suite + "init_priv signer_pub key_package welcome", caseOf((*welcomeVector).run)},
		{"tree-operations", suite + "tree_before proposal proposal_sender tree_hash_before tree_after tree_hash_after", caseOf((*treeOperationVector).run)},
		{"tree-validation", suite + "tree group_id resolutions tree_hashes", caseOf((*treeValidationVector).run)},
		{"treekem", suite + "group_id epoch confirmed_transcript_hash ratchet_tree leaves_private update_paths", caseOf((*treeKEMVector).run)},
		{"messages", "mls_welcome mls_group_info mls_key_package ratchet_tree group_secrets commit private_message", runMessagesVector},
		{passiveKind, suite + "key_package signature_priv encryption_priv init_priv welcome initial_epoch_authenticator epochs", caseOf((*passiveVector).run)},
	}
}

// caseOf decodes a case before it is run.
func caseOf[T any](run func(*T) error) func(vectorFields) error {
	return func(f vectorFields) error {
		b, err := json.Marshal(f)
		if err != nil {
			return err
		}
		v := new(T)
		if err := json.Unmarshal(b, v); err != nil {
			return err
		}
		return run(v)
	}
}

// missing lists the fields that a case lacks.
func (k *vectorKind) missing(f vectorFields) []string {
	var out []string
	for name := range strings.FieldsSeq(k.fields) {
		if _, ok := f[name]; !ok {
			out = append(out, name)
		}
	}
	return out
}

// check runs one case. A panic is a fault of this package that a vector has
// found: it fails the case and leaves the others to be run.
func (k *vectorKind) check(f vectorFields) (err error) {
	if f == nil {
		return errors.New("case is not a JSON object")
	}
	if lost := k.missing(f); len(lost) > 0 {
		return fmt.Errorf("case lacks %s", strings.Join(lost, ", "))
	}
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	return k.run(f)
}

// recogniseVectors finds the format by the first case that has all fields of
// one; failing that, the format of which the first object has the most fields.
func recogniseVectors(cases []vectorFields) (*vectorKind, error) {
	kinds := vectorKinds()
	for _, c := range cases {
		for i := range kinds {
			if c != nil && len(kinds[i].missing(c)) == 0 {
				return &kinds[i], nil
			}
		}
	}
	for _, c := range cases {
		if c == nil {
			continue
		}
		if k := closestKind(kinds, c); k != nil {
			return k, nil
		}
		break
	}
	return nil, fmt.Errorf("%w: the fields fit no known format", ErrVectors)
}

// closestKind returns the format that a damaged case resembles most, nil if
// most fields of every format are missing.
func closestKind(kinds []vectorKind, c vectorFields) *vectorKind {
	var best *vectorKind
	least := 0
	for i := range kinds {
		fields := len(strings.Fields(kinds[i].fields))
		lost := len(kinds[i].missing(c))
		if 2*lost < fields && (best == nil || lost < least) {
			best, least = &kinds[i], lost
		}
	}
	return best
}

// passiveName tells the passive-client formats apart: by the file's name, else
// by the number of epochs that the clients follow.
func passiveName(name string, cases []vectorFields) string {
	base := path.Base(strings.ReplaceAll(name, `\`, "/"))
	for _, n := range []string{"random", "handling-commit", "welcome"} {
		if strings.Contains(base, passiveKind) && strings.Contains(base, n) {
			return passiveKind + "-" + n
		}
	}
	most := 0
	for _, c := range cases {
		var epochs []json.RawMessage
		if json.Unmarshal(c["epochs"], &epochs) == nil {
			most = max(most, len(epochs))
		}
	}
	switch {
	case most == 0:
		return passiveKind + "-welcome"
	case most <= 10:
		return passiveKind + "-handling-commit"
	}
	return passiveKind + "-random"
}

// vectorSuite returns the cipher suite of a case, if it names one.
func vectorSuite(f vectorFields) (CipherSuite, bool) {
	raw, ok := f["cipher_suite"]
	if !ok {
		return 0, false
	}
	var s CipherSuite
	return s, json.Unmarshal(raw, &s) == nil
}

// octets is a hexadecimal string in a vector file; null is nil.
type octets []byte

// UnmarshalJSON reads the string.
func (o *octets) UnmarshalJSON(b []byte) error {
	var s *string
	if err := json.Unmarshal(b, &s); err != nil || s == nil {
		return err
	}
	var err error
	*o, err = hex.DecodeString(*s)
	return err
}

// comparison collects the first difference of a case.
type comparison struct{ err error }

// equal compares computed octets with those of the vector.
func (c *comparison) equal(what string, want []byte) func(got []byte, err error) {
	return func(got []byte, err error) {
		switch {
		case c.err != nil:
		case err != nil:
			c.err = fmt.Errorf("%s: %w", what, err)
		case !bytes.Equal(got, want):
			c.err = fmt.Errorf("%s differs from the vector", what)
		}
	}
}

// ok records an error.
func (c *comparison) ok(what string, err error) {
	if c.err == nil && err != nil {
		c.err = fmt.Errorf("%s: %w", what, err)
	}
}

// that records a difference unless the condition holds.
func (c *comparison) that(what string, holds bool) {
	if c.err == nil && !holds {
		c.err = errors.New(what)
	}
}
