// Package complete says how a shell completes flags, and has the flag -o of commands
// that answer with text or JSON.
package complete

import (
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/deploy/fleetctl/render"
)

// Flag registers how a flag's values are completed.
func Flag(cmd *cobra.Command, flag string, f cobra.CompletionFunc) {
	if err := cmd.RegisterFlagCompletionFunc(flag, f); err != nil {
		panic(err) // a flag that the command's own file misspells
	}
}

// File says that a flag takes a file.
func File(cmd *cobra.Command, flag string) {
	if err := cmd.MarkFlagFilename(flag); err != nil {
		panic(err) // a flag that the command's own file misspells
	}
}

// NoFiles keeps a shell from offering files for flags that take none and have
// no completion of their own.
func NoFiles(cmd *cobra.Command) {
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		_, file := f.Annotations[cobra.BashCompFilenameExt]
		if _, known := cmd.GetFlagCompletionFunc(f.Name); !known && !file && f.Value.Type() != "bool" {
			Flag(cmd, f.Name, cobra.NoFileCompletions)
		}
	})
}

// Words completes with words that are always the same.
func Words(words []string) cobra.CompletionFunc {
	return func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return words, cobra.ShellCompDirectiveNoFileComp
	}
}

// BindOutput adds -o, for a line of text or one of JSON.
func BindOutput(cmd *cobra.Command, output *string) {
	cmd.Flags().StringVarP(output, "output", "o", render.OutputText, "text or json")
	Flag(cmd, "output", Words([]string{render.OutputText, render.OutputJSON}))
}

// CheckTextOrJSON refuses other outputs than those of BindOutput.
func CheckTextOrJSON(output string) error {
	if output != render.OutputText && output != render.OutputJSON {
		return cli.Misused(fmt.Errorf("unknown output %q; -o takes text or json", output), "-o json")
	}
	return nil
}

// BindPipedOutput adds -o, which is text on a terminal, else JSON.
func BindPipedOutput(cmd *cobra.Command, output *string) {
	cmd.Flags().StringVarP(output, "output", "o", "", "json or text (default: text on a terminal, else json)")
	Flag(cmd, "output", Words([]string{render.OutputText, render.OutputJSON}))
}

// PipedAsJSON is what the flag of BindPipedOutput means.
func PipedAsJSON(s cli.Streams, output string) (asJSON bool, err error) {
	if output == "" {
		return !s.Terminal, nil
	}
	return output == render.OutputJSON, CheckTextOrJSON(output)
}
