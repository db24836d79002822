package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"hubbub/cmd/hubbub/internal/term"
	"hubbub/mls"
)

// vectorFile is the outcome of one file of test vectors.
type vectorFile struct {
	File string `json:"file"`
	mls.VectorReport
	// Error says why the file could not be run at all; it counts as a failure.
	Error string `json:"error,omitempty"`
}

// vectorTotal sums up the files.
type vectorTotal struct {
	Files   []vectorFile `json:"files"`
	Passed  int          `json:"passed"`
	Failed  int          `json:"failed"`
	Skipped int          `json:"skipped"`
}

func (c *cli) debugMLSVectorsCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "mls-vectors FILE_OR_DIR...",
		Short: "run official MLS test vector files",
		Long: "Runs files in the sixteen test vector formats of the MLS working group. The format\n" +
			"is recognised by the content. Directories are searched for *.json, all the way down.\n" +
			"A file that holds no vectors counts as one failure.",
		Args: cobra.MinimumNArgs(1),
	}
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		names, err := vectorNames(args)
		if err != nil {
			return err
		}
		total := vectorTotal{Files: []vectorFile{}}
		for _, name := range names {
			f := runVectorFile(name)
			total.add(f)
			if !c.json {
				f.print(c.out)
			}
		}
		if c.json {
			if err := term.JSON(c.out, total); err != nil {
				return err
			}
		} else {
			fmt.Fprintf(c.out, "%d passed, %d failed\n", total.Passed, total.Failed)
		}
		if total.Failed > 0 {
			return &failure{code: exitFailed, cause: errors.New("")}
		}
		return nil
	}
	return cmd
}

// vectorNames lists the files that the arguments stand for.
func vectorNames(args []string) ([]string, error) {
	var names []string
	for _, arg := range args {
		info, err := os.Stat(arg)
		if err != nil {
			return nil, err
		}
		if !info.IsDir() {
			names = append(names, arg)
			continue
		}
		err = filepath.WalkDir(arg, func(name string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() && strings.EqualFold(filepath.Ext(name), ".json") {
				names = append(names, name)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	if len(names) == 0 {
		return nil, fail(exitUsage, "vector files are named *.json", "no vector files found")
	}
	return names, nil
}

func runVectorFile(name string) vectorFile {
	f := vectorFile{File: name}
	data, err := os.ReadFile(name)
	if err == nil {
		f.VectorReport, err = mls.RunVectors(name, data)
	}
	if err != nil {
		f.Error = err.Error()
		f.Kind, f.Failed = "unknown", 1
	}
	return f
}

func (t *vectorTotal) add(f vectorFile) {
	t.Files = append(t.Files, f)
	t.Passed += f.Passed
	t.Failed += f.Failed
	t.Skipped += f.SkippedCases()
}

// print writes a line for the file, and one below it for each failure told.
func (f *vectorFile) print(w io.Writer) {
	fmt.Fprintf(w, "%s: %s: %d passed, %d failed, %d skipped", f.File, f.Kind, f.Passed, f.Failed, f.SkippedCases())
	for i, s := range f.Skipped {
		fmt.Fprintf(w, "%s%s: %d", map[bool]string{true: " (", false: "; "}[i == 0], s.Reason, s.Cases)
	}
	if len(f.Skipped) > 0 {
		fmt.Fprint(w, ")")
	}
	fmt.Fprintln(w)
	if f.Error != "" {
		fmt.Fprintf(w, "  %s\n", f.Error)
	}
	for _, x := range f.First {
		fmt.Fprintf(w, "  case %d: %s\n", x.Case, strings.ReplaceAll(x.Reason, "\n", "; "))
	}
	if more := f.Failed - len(f.First); more > 0 && f.Error == "" {
		fmt.Fprintf(w, "  and %d more\n", more)
	}
}
