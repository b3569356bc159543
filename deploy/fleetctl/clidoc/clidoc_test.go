package clidoc_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"fleet.nationtech.io/deploy/fleetctl/clidoc"
)

const want = "# tool\n\nIt is one.\n\n" +
	"| command | |\n|---|---|\n| [`tool do`](#tool-do) | Do \\| don't |\n| [`tool plain`](#tool-plain) | Plain |\n" +
	"\n## Exit codes\n\n| code | meaning | commands |\n|---|---|---|\n| 0 | done | all |\n| 3 | nobody \\<there> | `do` |\n" +
	"\n## Environment\n\n| variable | meaning |\n|---|---|\n| `TOOL_X` | an x |\n" +
	"\n## Flags of every command\n\n```\n--url string   where\n```\n" +
	"\n## tool do\n\nDo it.\n\nFirst:\n\n```\nset -a\n\nset +a\n```\n\nThen the \\*rest\\*.\n\n```\ntool do [flags]\n```\n" +
	"\nFlags:\n\n```\n-n, --number int   how many (default 3)\n```\n\nExamples:\n\n```\ntool do -n 1\ntool do\n```\n\nExit codes: 0, 3 (nobody <there>).\n" +
	"\n## tool plain\n\nPlain.\n\n```\ntool plain\n```\n\nExit codes: 0.\n"

func TestTheReferenceIsWhatTheCommandsSay(t *testing.T) {
	t.Parallel()
	run := func(*cobra.Command, []string) {}
	root := &cobra.Command{Use: "tool"}
	root.PersistentFlags().String("url", "", "where")
	do := &cobra.Command{
		Use: "do", Short: "Do | don't", Long: "Do it.\n\nFirst:\n\n  set -a\n\n  set +a\n\nThen the *rest*.",
		Example: "  tool do -n 1\n  tool do", Run: run,
	}
	do.Flags().IntP("number", "n", 3, "how many")
	root.AddCommand(do, &cobra.Command{Use: "plain", Short: "Plain", Run: run}, &cobra.Command{Use: "secret", Hidden: true, Run: run})
	got := clidoc.Markdown(root, clidoc.Guide{
		Title: "tool", Intro: "It is one.",
		ExitCodes:   []clidoc.ExitCode{{0, "done", nil}, {3, "nobody <there>", []string{"do"}}},
		Environment: []clidoc.Variable{{"TOOL_X", "an x"}},
	})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("reference (-want +got):\n%s", diff)
	}
}
