package main

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"fleet.nationtech.io/agent/manual"
)

func TestTheManualHasEveryCommandAndFlag(t *testing.T) {
	t.Parallel()
	page := strings.ReplaceAll(string(manual.Program("1", time.Unix(0, 0))), `\-`, "-")
	var visit func(*cobra.Command)
	visit = func(cmd *cobra.Command) {
		cmd.InitDefaultHelpFlag()
		cmd.InitDefaultVersionFlag()
		if !cmd.HasSubCommands() && !strings.Contains(page, ".B "+cmd.CommandPath()) {
			t.Errorf("the page has no command %s", cmd.CommandPath())
		}
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if !strings.Contains(page, `\fB--`+f.Name+`\fR`) {
				t.Errorf("the page has no flag --%s of %s", f.Name, cmd.CommandPath())
			}
		})
		for _, sub := range cmd.Commands() {
			visit(sub)
		}
	}
	visit(newRoot(io.Discard))
}
