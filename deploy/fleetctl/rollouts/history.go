package rollouts

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/deploy/fleetctl/query"
	"fleet.nationtech.io/deploy/fleetctl/render"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/resource"
)

// historyFlags are the flags of history.
type historyFlags struct {
	about
	at       string
	revision uint64
}

func (e env) newHistory() *cobra.Command {
	var f historyFlags
	cmd := &cobra.Command{
		Use:   "history " + argsHelp,
		Short: "Show the revisions of a Deployment and what became of their rollouts",
		Long: `Show the revisions of a Deployment and what became of their rollouts: one line for each
run, with its kind, who asked for it and how it ended.

A revision is, under IS: spec (what the manifest says), out (what the newest run brings
to the devices), stable (where an undo goes), refused (not tried again). The contents of
the last ten revisions are kept for undo --to-revision; -o json says which under "kept".

--revision N shows what that revision says. More of what happened in between, and what
differs from one revision to the next: fleetctl history.`,
		Example: `  fleetctl rollout history deployment/web -n shop
  fleetctl rollout history web --revision 3
  fleetctl rollout history web -o json | jq '.revisions[] | select(.stable)'`,
		Args: oneDeployment,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.read(e.s, cmd.Name(), args); err != nil {
				return err
			}
			return e.history(cmd.Context(), f)
		},
	}
	e.bind(cmd, &f.about)
	flags := cmd.Flags()
	flags.StringVar(&f.at, "at", "", "the history up to a moment: a sequence (1234), a time (14:03, RFC 3339) or how long ago (-15m); default now")
	flags.Uint64Var(&f.revision, "revision", 0, "this revision alone, with what it says")
	e.completion.Moments(cmd, "at")
	return cmd
}

func (e env) history(ctx context.Context, f historyFlags) error {
	at, err := query.ParseMoment(e.s, "--at", f.at)
	if err != nil {
		return err
	}
	m := query.Moment{Moment: at}
	nc, js, err := e.c.Open()
	if err != nil {
		return err
	}
	defer nc.Close()
	v, err := e.view(ctx, nc, js, m)
	if err != nil {
		return err
	}
	m.Sequence = v.Sequence
	if d := v.Deployments[f.key]; d == nil || d.Spec.Revision == 0 {
		return e.unknown(ctx, nc, js, f.key, "history", query.Moment{Moment: at})
	}
	x, err := query.ReadExcerpt(ctx, js, m, []string{eventlog.DeploymentSubject(f.key.Namespace, f.key.Name)}, nil)
	if err != nil {
		return e.c.Explain(err, nc)
	}
	rs, err := resource.RevisionsOf(v, f.key, x.Events)
	if err != nil {
		return e.c.Explain(err, nc)
	}
	if f.revision > 0 && !rs.Of(f.revision) {
		return cli.Failed(fmt.Errorf("%s has no revision %d", f.key, f.revision), e.s.Program()+" rollout history "+f.key.Name+" -n "+f.key.Namespace)
	}
	if f.revision == 0 {
		for i := range rs.Revisions {
			rs.Revisions[i].Score = nil
		}
	}
	if f.asJSON {
		return document(e.s, rs)
	}
	render.RolloutRevisions(e.s, rs)
	if f.revision == 0 {
		return nil
	}
	score, err := yaml.JSONToYAML(rs.Revisions[0].Score)
	if err != nil {
		return cli.Failed(fmt.Errorf("read the score of revision %d: %w", f.revision, err), "")
	}
	e.s.Tell("\nscore:\n%s", indent(render.PrintableLines(string(score))))
	return nil
}

// indent puts lines below a word.
func indent(text string) string {
	lines := strings.SplitAfter(text, "\n")
	for i, l := range lines {
		if l != "" {
			lines[i] = "  " + l
		}
	}
	return strings.Join(lines, "")
}
