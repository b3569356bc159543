package installing

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"fleet.nationtech.io/agent/openid"
	"fleet.nationtech.io/deploy/fleetctl/access"
	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/deploy/fleetctl/complete"
	"fleet.nationtech.io/deploy/fleetctl/render"
	"fleet.nationtech.io/deploy/install"
	"fleet.nationtech.io/deploy/install/provider"
	"fleet.nationtech.io/deploy/zitadel/setup"
	"fleet.nationtech.io/eventlog/phrase"
)

// zitadelCommand is one command line of zitadel install.
type zitadelCommand struct {
	place
	streams  cli.Streams
	settings *access.Settings
	wanted   provider.Wanted
	setup    setup.Wanted

	chart, keys   string
	set, files    []string
	keepKey       bool
	dryRun, force bool
	timeout       time.Duration
	output        string
}

// NewZitadelInstall makes the command install below zitadel.
func NewZitadelInstall(s cli.Streams, b *access.Settings) *cobra.Command {
	c := &zitadelCommand{streams: s, settings: b}
	cmd := &cobra.Command{
		Use:   "install",
		Short: "Put Zitadel into a Kubernetes cluster, from its own chart",
		Long: `Put Zitadel into a Kubernetes cluster, from its own chart, and make there what a fleet
needs. It is a release of its own, in a namespace of its own, before the fleet's.

You bring an empty Postgres database, and a Secret with its connection string. What
stands in the way is said before anything is changed. Then come, in this order: the
namespace; the masterkey and the first person's password, which are made once; the
chart's Jobs, which make the database ready and the first instance; its pods; and what
fleetctl zitadel setup makes. Where a part does not become ready it says why. At the end
the key of the instance's first account, which has all rights, is removed; a key that
you gave is left.

Run it again at any time: it changes only what differs, and goes on where it was cut
off. With a newer chart it upgrades: back the database and the masterkey up before. The
values of the chart that you give must be given each time.`,
		Example: `  helm pull zitadel --repo https://charts.zitadel.com --version ^9
  kubectl create namespace fleet-zitadel
  kubectl -n fleet-zitadel create secret generic fleet-zitadel-database --from-file=dsn=FILE
  fleetctl zitadel install --chart zitadel-9.34.0.tgz --issuer https://auth.example.com \
    --ingress-class traefik --tls-secret auth-tls --out fleet-keys --dry-run`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, _ []string) error { return c.run(cmd.Context()) },
	}
	c.bind(cmd)
	return cmd
}

func (c *zitadelCommand) bind(cmd *cobra.Command) {
	const replicas = 2
	c.bindTo(cmd, provider.Namespace, "namespace of Zitadel")
	f := cmd.Flags()
	f.StringVar(&c.chart, "chart", "", "file or directory of Zitadel's chart, of version 9")
	f.StringVar(&c.wanted.Issuer, "issuer", "", "the address that browsers, devices and pods will use, such as https://auth.example.org; it cannot change")
	f.StringVar(&c.wanted.DatabaseSecret, "database-secret", "fleet-zitadel-database", "Secret in the namespace with the database's connection string under key dsn, and the authority of its certificate under key ca.crt")
	f.IntVar(&c.wanted.Replicas, "replicas", replicas, "pods of Zitadel, and of its login pages")
	f.StringVar(&c.wanted.IngressClass, "ingress-class", "", "ingress class (default the cluster's)")
	f.StringVar(&c.wanted.TLSSecret, "tls-secret", "", "Secret in the namespace with the certificate of the address (default the ingress controller's own certificate)")
	f.StringArrayVar(&c.set, "set", nil, "a value of Zitadel's chart, as NAME=VALUE; may be repeated, and takes a list after commas")
	f.StringArrayVarP(&c.files, "values", "f", nil, "YAML file of values of Zitadel's chart; may be repeated, the last is the strongest")
	f.StringVar(&c.keys, "out", "fleet-keys", "directory of the keys, which fleetctl install --provider takes")
	f.StringVar(&c.setup.DeviceOrganization, "device-organization", setup.DefaultDeviceOrganization, "name of the organization of the devices")
	f.StringVar(&c.setup.Project, "project-name", setup.DefaultProject, "name of the project")
	f.StringVar(&c.setup.DashboardURL, "dashboard-url", "", "where the dashboard is, such as https://fleet.example.org")
	f.DurationVar(&c.setup.KeyLife, "key-life", setup.DefaultKeyLife, "how long a key that is made holds")
	f.BoolVar(&c.keepKey, "keep-admin-key", false, "leave the key of the first account, which has all rights, in Secret "+provider.SetupAccount)
	f.BoolVar(&c.dryRun, "dry-run", false, "check everything with the API server, and change nothing")
	f.BoolVar(&c.force, "force-conflicts", false, "take over fields that another field manager owns")
	f.DurationVar(&c.timeout, "timeout", defaultTimeout, "how long each part may take to be ready")
	for _, flag := range []string{"issuer", "database-secret", "replicas", "ingress-class", "tls-secret", "set", "device-organization", "project-name", "dashboard-url", "key-life", "timeout"} {
		complete.Flag(cmd, flag, cobra.NoFileCompletions)
	}
	for _, err := range []error{cmd.MarkFlagFilename("chart", "tgz"), cmd.MarkFlagFilename("values", "yaml", "yml"), cmd.MarkFlagDirname("out")} {
		if err != nil {
			panic(err) // a flag that is misspelt above
		}
	}
	complete.BindOutput(cmd, &c.output)
}

func (c *zitadelCommand) run(ctx context.Context) error {
	help := c.streams.Program() + " zitadel install --help"
	if err := complete.CheckTextOrJSON(c.output); err != nil {
		return err
	}
	at, err := c.settings.Chosen()
	if err != nil {
		return err
	}
	if err := c.check(at.InsecurePlaintext); err != nil {
		return cli.Misused(err, help)
	}
	if c.wanted.Values, err = readValues(c.files, c.set); err != nil {
		return err
	}
	config, _, err := c.config()
	if err != nil {
		return err
	}
	r := report{streams: c.streams, asJSON: c.output == render.OutputJSON, dryRun: c.dryRun, namespace: c.namespace}
	result, err := provider.Install(ctx, provider.Options{
		Config: config, Namespace: c.namespace, Chart: c.chart, Wanted: c.wanted, Setup: c.setup, Keys: c.keys, CAFile: at.CAFile, KeepKey: c.keepKey,
		DryRun: c.dryRun, Force: c.force, Timeout: c.timeout, Now: c.streams.Now, Found: r.findings,
		Tell: func(p provider.Progress) { r.progress(install.Progress(p)) },
	})
	switch {
	case ctx.Err() != nil:
		return cli.Interrupted("the same command again: it goes on where it stopped")
	case err != nil:
		return explain(err, c.streams.Program())
	case r.asJSON:
		text, err := json.MarshalIndent(result, "", "  ")
		if err != nil {
			return cli.Failed(err, "")
		}
		c.streams.Tell("%s\n", text)
		return nil
	}
	c.outcome(result)
	return nil
}

// check says what is wrong with the flags.
func (c *zitadelCommand) check(plaintextAllowed bool) error {
	if c.chart == "" {
		return errors.New("the chart of Zitadel is not given: --chart zitadel-9.34.0.tgz, which helm pull zitadel --repo https://charts.zitadel.com --version ^9 fetches")
	}
	if c.wanted.Issuer == "" {
		return errors.New("the provider's address is not given: --issuer https://auth.example.org")
	}
	plaintext, err := openid.CheckIssuer(c.wanted.Issuer)
	if err != nil {
		return fmt.Errorf("--issuer %w", err)
	}
	if plaintext && !plaintextAllowed {
		return fmt.Errorf("--issuer %q is not encrypted: https://, or --insecure-plaintext where the network can be trusted", c.wanted.Issuer)
	}
	return errors.Join(c.wanted.Check(), c.setup.Check())
}

func (c *zitadelCommand) outcome(result provider.Result) {
	tell := c.streams.Tell
	switch {
	case c.dryRun:
		tell("\nNothing was changed. Without --dry-run %s would be.\n", phrase.Count(result.Changed, "object", "objects"))
		return
	case result.Changed == 0 && result.Made == nil:
		tell("\nZitadel in namespace %s is as it should be; nothing was changed.\n", c.namespace)
		return
	}
	if result.FirstPassword {
		tell("\nZitadel runs at %s. Its first person is %s; the password, which the first sign-in changes:\n  kubectl -n %s get secret %s -o jsonpath='{.data.config-yaml}' | base64 -d\n",
			result.Issuer, provider.AdminName, c.namespace, provider.ConfigSecret)
	} else {
		tell("\nZitadel runs at %s, with the persons that its database had. The password in Secret %s is not known to be theirs.\n", result.Issuer, provider.ConfigSecret)
	}
	tell("Keep a copy of its masterkey outside of the cluster; without it the database is of no use:\n  kubectl -n %s get secret %s -o yaml\n", c.namespace, provider.MasterkeySecret)
	if result.Made != nil {
		tell("\nNext:\n  %s install --provider %s\n", c.streams.Program(), c.keys)
	}
}
