package installing

import (
	"context"
	"crypto/x509"
	"errors"
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
	"fleet.nationtech.io/deploy/install/probe"
	"fleet.nationtech.io/deploy/zitadel/setup"
)

// wanted is what a person asks for.
type wanted struct {
	place
	images    imageFlags
	profile   string
	provider  string
	caFile    string
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
	w.images.bind(cmd)
	f := cmd.Flags()
	f.StringVar(&w.profile, "profile", "", "lab (one small NATS server) or production (three); default what is installed, else production")
	f.StringVar(&w.provider, "provider", "", "directory that fleetctl zitadel setup wrote: the fleet's identity provider")
	f.StringVar(&w.caFile, "provider-ca-file", "", "PEM file of the CA that signed the provider's certificate (default the one that zitadel setup was given)")
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
	for _, err := range []error{cmd.MarkFlagFilename("values", "yaml", "yml"), cmd.MarkFlagDirname("provider"), cmd.MarkFlagFilename("provider-ca-file")} {
		if err != nil {
			panic(err) // a flag that is misspelt above
		}
	}
	complete.BindOutput(cmd, &w.output)
}

// values reads what the flags say.
func (w *wanted) values() (chart.Values, error) { return readValues(w.files, w.set) }

func readValues(files, set []string) (chart.Values, error) {
	all := chart.Values{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, cli.Misused(fmt.Errorf("--values: %w", err), "")
		}
		var v chart.Values
		if err := yaml.UnmarshalStrict(text, &v); err != nil {
			return nil, cli.Misused(fmt.Errorf("--values %s: %w", file, err), "")
		}
		all = chart.Merge(all, v)
	}
	for _, text := range set {
		if err := strvals.ParseInto(text, all); err != nil {
			return nil, cli.Misused(fmt.Errorf("--set %s: %w", text, err), "--set nats.storage.size=20Gi")
		}
	}
	return all, nil
}

// probeFunc is install.Options.Probe.
type probeFunc = func(ctx context.Context, url string, roots *x509.CertPool) error

// identity reads what is given of the identity provider, and how the way of a device
// into the fleet is checked by it; nil where nothing is.
func (w *wanted) identity(r *report, now func() time.Time) (*install.Provider, probeFunc, error) {
	if w.provider == "" {
		if w.caFile != "" {
			return nil, nil, cli.Misused(errors.New("--provider-ca-file is of a provider, and none is given"), "--provider DIRECTORY")
		}
		return nil, nil, nil
	}
	saved, key, err := setup.Load(w.provider)
	if err != nil {
		return nil, nil, cli.Misused(fmt.Errorf("--provider: %w", err), "")
	}
	r.keys, r.provider = w.provider, saved
	p := &install.Provider{
		Issuer: saved.Issuer, Project: saved.Project, DeviceOrganization: saved.DeviceOrganization, Organizations: []string{saved.PeopleOrganization}, Key: key,
		DashboardURL: saved.DashboardURL, DashboardClient: saved.DashboardClient,
	}
	ca := w.caFile
	if _, err := os.Stat(setup.CAFile(w.provider)); ca == "" && err == nil {
		ca = setup.CAFile(w.provider)
	}
	if ca != "" {
		if p.CA, err = os.ReadFile(ca); err != nil {
			return nil, nil, cli.Misused(fmt.Errorf("certificate authority of the provider: %w", err), "--provider-ca-file FILE")
		}
	}
	return p, func(ctx context.Context, url string, roots *x509.CertPool) error {
		return probe.Device(ctx, probe.Options{
			Provider: saved, AdminKeyFile: setup.AccountKeyFile(w.provider), CAFile: ca, URL: url, Roots: roots, Now: now,
		})
	}, nil
}
