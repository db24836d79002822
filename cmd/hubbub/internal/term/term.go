// Package term writes what people and programs read from the command line:
// colour only where a person looks at it, tables for people, JSON for programs.
package term

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"
)

// IsTerminal says whether a person is at the other end of w.
func IsTerminal(w any) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	st, err := f.Stat()
	return err == nil && st.Mode()&os.ModeCharDevice != 0
}

// Style colours text, or leaves it alone.
type Style struct{ on bool }

// StyleFor colours if w is a terminal that wants it: NO_COLOR and TERM=dumb say
// that it does not.
func StyleFor(w any) Style {
	return Style{IsTerminal(w) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"}
}

func (s Style) wrap(code, text string) string {
	if !s.on || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// Bold is for headings.
func (s Style) Bold(text string) string { return s.wrap("1", text) }

// Dim is for what matters less.
func (s Style) Dim(text string) string { return s.wrap("2", text) }

// Good is for what went well.
func (s Style) Good(text string) string { return s.wrap("32", text) }

// Bad is for what did not.
func (s Style) Bad(text string) string { return s.wrap("31", text) }

// Warn is for what waits.
func (s Style) Warn(text string) string { return s.wrap("33", text) }

// Table prints rows in columns under a heading; each line starts with indent.
func Table(w io.Writer, indent string, heading []string, rows [][]string) error {
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 4, 2, ' ', 0)
	for _, row := range append([][]string{heading}, rows...) {
		if row != nil {
			fmt.Fprintln(t, strings.Join(row, "\t"))
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, line := range strings.Split(strings.TrimRight(b.String(), "\n"), "\n") {
		if _, err := fmt.Fprintln(w, indent+strings.TrimRight(line, " ")); err != nil {
			return err
		}
	}
	return nil
}

// JSON prints one indented document.
func JSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// JSONLine prints one document on one line.
func JSONLine(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// Duration gives a duration with as many digits as a person wants.
func Duration(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%d µs", d.Microseconds())
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.2f s", d.Seconds())
	}
	return d.Round(time.Second).String()
}

// Printable makes text from elsewhere safe for a terminal: control characters,
// which could move the cursor or rewrite the screen, are shown as U+FFFD, and a
// line break becomes a space. So are the characters that reorder text.
func Printable(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case r < 0x20 || (r >= 0x7f && r < 0xa0), r == utf8.RuneError:
			return utf8.RuneError
		case r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069, r == 0x200e, r == 0x200f, r == 0x061c,
			r == 0x2028, r == 0x2029:
			return utf8.RuneError
		}
		return r
	}, text)
}
