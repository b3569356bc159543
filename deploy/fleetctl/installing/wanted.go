package installing

import (
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"helm.sh/helm/v3/pkg/strvals"
	"sigs.k8s.io/yaml"

	"fleet.nationtech.io/deploy/chart"
	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/deploy/fleetctl/complete"
	"fleet.nationtech.io/deploy/install"
)

// wanted is what a person asks for.
type wanted struct {
	place
	profile   string
	set       []string
	files     []string
	reset     bool
	dryRun    bool
	force     bool
	skipCheck bool
	timeout   time.Duration
	output    string
}

const defaultTimeout = 10 * time.Minute

func (w *wanted) bind(cmd *cobra.Command) {
	w.place.bind(cmd)
	f := cmd.Flags()
	f.StringVar(&w.profile, "profile", "", "lab (one small NATS server) or production (three); default what is installed, else production")
	f.StringArrayVar(&w.set, "set", nil, "a value of the chart, as NAME=VALUE; may be repeated, and takes a list after commas")
	f.StringArrayVarP(&w.files, "values", "f", nil, "YAML file of values of the chart; may be repeated, the last is the strongest")
	f.BoolVar(&w.reset, "reset-values", false, "forget the values that are installed, and take those given alone")
	f.BoolVar(&w.dryRun, "dry-run", false, "check everything with the API server, and change nothing")
	f.BoolVar(&w.force, "force-conflicts", false, "take over fields that another field manager owns")
	f.BoolVar(&w.skipCheck, "skip-check", false, "leave out the check at the end, which connects to the NATS servers")
	f.DurationVar(&w.timeout, "timeout", defaultTimeout, "how long each part may take to be ready")
	complete.Flag(cmd, "profile", complete.Words(chart.Profiles()))
	for _, flag := range []string{"set", "timeout"} {
		complete.Flag(cmd, flag, cobra.NoFileCompletions)
	}
	if err := cmd.MarkFlagFilename("values", "yaml", "yml"); err != nil {
		panic(err) // a flag that is misspelt above
	}
	complete.BindOutput(cmd, &w.output)
}

// values reads what the flags say.
func (w *wanted) values() (chart.Values, error) {
	all := chart.Values{}
	for _, file := range w.files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, cli.Misused(fmt.Errorf("--values: %w", err), "")
		}
		var v chart.Values
		if err := yaml.UnmarshalStrict(text, &v); err != nil {
			return nil, cli.Misused(fmt.Errorf("--values %s: %w", file, err), "")
		}
		all = install.Merged(all, v)
	}
	for _, text := range w.set {
		if err := strvals.ParseInto(text, all); err != nil {
			return nil, cli.Misused(fmt.Errorf("--set %s: %w", text, err), "--set nats.storage.size=20Gi")
		}
	}
	return all, nil
}
