package fleetctl

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/deploy/fleetctl/complete"
	"fleet.nationtech.io/deploy/fleetctl/render"
	"fleet.nationtech.io/deploy/lint"
)

// manifestExtensions are what a folder's files end in that are read, as by kubectl.
var manifestExtensions = []string{".json", ".yaml", ".yml"}

// fromStdin is the file name that means standard input.
const fromStdin = "-"

// lintFlags are the flags of lint.
type lintFlags struct {
	files     []string
	recursive bool
	output    string
}

func newLint(s cli.Streams) *cobra.Command {
	var f lintFlags
	cmd := &cobra.Command{
		Use:   "lint -f FILE",
		Short: "Check files before they are applied",
		Long: `Check files before they are applied, without a connection to anything.

What is found in Deployments, Devices and DisruptionBudgets:

  Invalid  what the API server, the operator or each device would refuse, in the
           words in which they would
  Unknown  a field of a score that this version does not know, and the known one
           that it may have been meant for. The API server keeps such fields, and
           devices that do not know them ignore them

Objects of other kinds are left alone.

Exit codes: 0 nothing was found, 1 something was, or a file could not be read.`,
		Example: `  fleetctl lint -f web.yaml
  fleetctl lint -R -f fleet/
  kustomize build . | fleetctl lint -f -`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return lintFiles(s, cmd.InOrStdin(), f) },
	}
	flags := cmd.Flags()
	flags.StringSliceVarP(&f.files, "filename", "f", nil, "file or folder to check, or - for standard input; may be given several times")
	flags.BoolVarP(&f.recursive, "recursive", "R", false, "check the folders in a folder too")
	flags.StringVarP(&f.output, "output", "o", render.OutputText, "text or json")
	_ = cmd.MarkFlagRequired("filename")
	_ = cmd.MarkFlagFilename("filename", "json", "yaml", "yml")
	complete.Flag(cmd, "output", complete.Words([]string{render.OutputText, render.OutputJSON}))
	return cmd
}

func lintFiles(s cli.Streams, stdin io.Reader, f lintFlags) error {
	if f.output != render.OutputText && f.output != render.OutputJSON {
		return cli.Misused(fmt.Errorf("unknown output %q; -o takes text or json", f.output), "-o text")
	}
	r := lint.Report{Findings: []lint.Finding{}}
	for _, name := range f.files {
		if err := lintOne(&r, stdin, name, f.recursive); err != nil {
			return cli.Failed(err, s.Program()+" lint -f FILE")
		}
	}
	if f.output == render.OutputJSON {
		b, err := json.MarshalIndent(r, "", "    ")
		if err != nil {
			return cli.Failed(fmt.Errorf("encode the findings: %w", err), "")
		}
		s.Tell("%s\n", b)
	} else {
		for _, found := range r.Findings {
			s.Tell("%s: %s: %s\n", render.Printable(found.File), render.Printable(found.Object), render.Printable(found.Message))
		}
		if len(r.Findings) == 0 {
			s.Tell("nothing found in %d Deployments, Devices and DisruptionBudgets\n", r.Objects)
		}
	}
	if len(r.Findings) > 0 {
		return cli.ExitCode(cli.ExitFailed)
	}
	return nil
}

// lintOne checks a file, a folder or standard input.
func lintOne(r *lint.Report, stdin io.Reader, name string, recursive bool) error {
	if name == fromStdin {
		return r.Add("stdin", stdin)
	}
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return lintFile(r, name)
	}
	read := 0
	err = filepath.WalkDir(name, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != name && !recursive:
			return fs.SkipDir
		case entry.IsDir() || !slices.Contains(manifestExtensions, filepath.Ext(path)):
			return nil
		}
		read++
		return lintFile(r, path)
	})
	if err == nil && read == 0 {
		err = errors.New(name + ": the folder has no file that ends in .yaml, .yml or .json")
	}
	return err
}

func lintFile(r *lint.Report, name string) error {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	return r.Add(name, file)
}
