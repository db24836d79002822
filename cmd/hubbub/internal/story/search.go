package story

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf16"
)

// found is a text that lies somewhere in a form that anybody can read.
type found struct {
	text string
	file string
	form string
}

// searched is what a search looked at and what it found.
type searched struct {
	files int
	bytes int64
	hits  []found
}

// texts says how many different texts were found.
func (s searched) texts() int {
	distinct := map[string]bool{}
	for _, h := range s.hits {
		distinct[h.text] = true
	}
	return len(distinct)
}

// forms are the ways in which a text may be written without being hidden. Of
// base64 there are three, for the three places at which a text can begin
// within a group of three octets; the outer characters, which depend on the
// neighbours, are cut off.
func forms(text string) map[string][]byte {
	out := map[string][]byte{
		"plain": []byte(text),
		"hex":   []byte(hex.EncodeToString([]byte(text))),
		"HEX":   []byte(strings.ToUpper(hex.EncodeToString([]byte(text)))),
	}
	var wide []byte
	for _, u := range utf16.Encode([]rune(text)) {
		wide = append(wide, byte(u), byte(u>>8))
	}
	out["utf-16"] = wide
	for shift := range 3 {
		padded := append(bytes.Repeat([]byte{0}, shift), text...)
		for name, enc := range map[string]*base64.Encoding{"base64": base64.RawStdEncoding, "base64url": base64.RawURLEncoding} {
			e := enc.EncodeToString(padded)
			from := []int{0, 2, 3}[shift]
			to := len(e)
			if len(padded)%3 != 0 {
				to--
			}
			out[fmt.Sprintf("%s+%d", name, shift)] = []byte(e[from:to])
		}
	}
	return out
}

// search looks for texts, in all their forms, in every file below root.
func search(root string, texts []string) (searched, error) {
	var s searched
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		s.files++
		s.bytes += int64(len(content))
		for _, text := range texts {
			for form, needle := range forms(text) {
				if bytes.Contains(content, needle) {
					s.hits = append(s.hits, found{text, path, form})
				}
			}
		}
		return nil
	})
	return s, err
}

// plant writes a text into dir once in each form, each in a file of its own in
// the middle of other octets, and returns how many files there are.
func plant(dir, text string) (int, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return 0, err
	}
	n := 0
	for _, needle := range forms(text) {
		n++
		content := append(bytes.Repeat([]byte{0xa5, 'x'}, 5000), needle...)
		content = append(content, bytes.Repeat([]byte{0, 'y'}, 5000)...)
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("planted-%d", n)), content, 0o600); err != nil {
			return 0, err
		}
	}
	return n, nil
}
