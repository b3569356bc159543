// Package importing has the command import: a fleet of the original design becomes
// events of the fleet's log.
package importing

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/deploy/fleetctl/complete"
	"fleet.nationtech.io/deploy/fleetctl/contexts"
	"fleet.nationtech.io/deploy/fleetctl/query"
	"fleet.nationtech.io/deploy/fleetctl/render"
	"fleet.nationtech.io/deploy/migration"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/appender"
)

// EnvSource names the source's servers where --nats does not, so that its password need
// not be among a command's arguments.
const EnvSource = "FLEET_IMPORT_NATS_URL"

// connectTimeout is how long the source may take to be reached.
const connectTimeout = 10 * time.Second

// flags are the flags of import.
type flags struct {
	nats, creds, ca string
	from, save      string
	namespace       string
	namespaces      map[string]string
	replicas        int
	dryRun, strict  bool
	output          string
}

// New gives the command import.
func New(s cli.Streams, c *query.Connection) *cobra.Command {
	var f flags
	cmd := &cobra.Command{
		Use:   "import --nats URL | --from FILE",
		Short: "Import a fleet of the original design, four buckets without a log, into the event log",
		Long: `Import a fleet of the original design, four buckets without a log, into the event log.

import reads the buckets desired-state, device-info, device-state and
device-heartbeat of another NATS server, or of another account, and appends to
this fleet's event log what they hold: the devices, what each should run, what each
reported, and the last heartbeats. Nothing is changed at the source, and the devices
keep running. docs/migration.md has all steps of a migration, in their order.

Stop both operators first: the one of the original fleet, and the one of this fleet.
import is elected as the log's only writer. An operator that is elected meanwhile ends
the import; the same command resumes it.

Each event has an id that follows from its entry. So the same command can be run
again, after an interruption, after a refused entry is mended, or because devices went
on reporting to the source: it appends what is missing and what changed. What a device
has reported to the new log itself is kept, and so is what an operator has decided
there.

An entry that cannot become an event is listed with its reason, and the rest is
imported; with --strict nothing is. A device whose desired value is refused keeps
what it runs: the log does not know of it.

At the end the buckets of the log are compared with the source, key by key. A
desired value is stored in canonical JSON, so a source that spells the same content
otherwise counts as equal (RESPELT).

The source does not say which devices a Deployment selects. import finds a selector
for exactly the devices that have the Deployment: labels that they report or that
persons set in this fleet, else their ids, else a label
import.fleet.nationtech.io/NAME that it gives to them. Each run finds another selector
where the former one no longer selects these devices, until an operator decides the
Deployment.
"` + s.Program() + ` restore --crs" writes the Deployments as YAML for kubectl. A
Deployment that has no custom resource when the operator starts is orphaned: its
devices keep it until: ` + s.Program() + ` withdraw.

The buckets of one account cannot be source and target at once. --save writes what
the source holds into a file, and --from imports the file, once the original buckets
are removed.

The exit code is 4 where all else was imported and entries were refused. It takes
the rights of an admin.`,
		Example: `  fleetctl import --nats nats://user:password@old.example.org:4222 --dry-run
  fleetctl import --nats tls://old.example.org --nats-creds old.creds -n shop
  fleetctl import --nats nats://old.example.org --save buckets.json
  fleetctl import --from buckets.json --namespaces web=shop,camera=lab`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.nats == "" && f.from == "" {
				f.nats = s.Getenv(EnvSource)
			}
			if err := f.check(); err != nil {
				return err
			}
			return run(cmd.Context(), s, c, f)
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&f.nats, "nats", "", "URL of the source's NATS servers; default $"+EnvSource)
	fs.StringVar(&f.creds, "nats-creds", "", "file with the source's credentials, as NATS tools write it")
	fs.StringVar(&f.ca, "nats-ca", "", "file with the CA of the source's servers")
	fs.StringVar(&f.from, "from", "", "import this file, which --save wrote")
	fs.StringVar(&f.save, "save", "", "only write what the source holds into this file")
	fs.StringVarP(&f.namespace, "namespace", "n", "default", "namespace of the imported Deployments")
	fs.StringToStringVar(&f.namespaces, "namespaces", nil, "namespaces of some of them: NAME=NAMESPACE,…")
	fs.IntVar(&f.replicas, "replicas", 1, "of the log and the buckets, where import makes them: 1 on one server, 3 in production")
	fs.BoolVar(&f.dryRun, "dry-run", false, "say what would be imported and what is refused; append nothing")
	fs.BoolVar(&f.strict, "strict", false, "append nothing where an entry is refused")
	for _, file := range []string{"nats-creds", "nats-ca", "from", "save"} {
		complete.File(cmd, file)
	}
	complete.BindOutput(cmd, &f.output)
	return cmd
}

// check refuses flags that contradict each other.
func (f flags) check() error {
	const try = "--nats nats://user:password@old.example.org:4222, or --from FILE"
	switch {
	case f.nats == "" && f.from == "":
		return cli.Misused(errors.New("no source is given: neither --nats nor --from nor $"+EnvSource), try)
	case f.nats != "" && f.from != "":
		return cli.Misused(errors.New("--nats and --from are two sources"), try)
	case f.save != "" && f.from != "":
		return cli.Misused(errors.New("--save writes what --nats has; --from has it already"), try)
	case f.replicas < 1 || f.replicas > 5:
		return cli.Misused(fmt.Errorf("--replicas %d: between 1 and 5", f.replicas), "--replicas 3")
	}
	if err := complete.CheckTextOrJSON(f.output); err != nil {
		return err
	}
	if err := eventlog.CheckName("namespace", f.namespace); err != nil {
		return cli.Misused(err, "-n shop")
	}
	for name, namespace := range f.namespaces {
		for what, n := range map[string]string{"deployment": name, "namespace": namespace} {
			if err := eventlog.CheckName(what, n); err != nil {
				return cli.Misused(err, "--namespaces web=shop,camera=lab")
			}
		}
	}
	return nil
}

func run(ctx context.Context, s cli.Streams, c *query.Connection, f flags) error {
	source, from, err := read(ctx, s, f)
	if err != nil {
		return err
	}
	if f.save != "" {
		if err := migration.Save(f.save, source); err != nil {
			return cli.Failed(err, "a file and a directory that you may use")
		}
		s.Tell("Saved %d entries of %s in %s. Next: fleetctl import --from %s\n", len(source.Entries), from, f.save, f.save)
		return nil
	}
	nc, js, err := c.OpenAdmin("import")
	if err != nil {
		return err
	}
	defer nc.Close()
	progress, end := render.StepProgress[migration.Step](s)
	report, err := migration.Import(ctx, source, nc, js, migration.RunOptions{
		Options:  migration.Options{Namespace: f.namespace, Namespaces: f.namespaces, Actor: c.User, Now: s.Now()},
		Identity: "fleetctl-import", Replicas: f.replicas, Strict: f.strict, DryRun: f.dryRun,
		Progress: progress,
	})
	end()
	if err != nil && !errors.Is(err, migration.ErrRefused) {
		return explain(c, err, nc)
	}
	if f.output == render.OutputJSON {
		if err := writeJSON(s, source, from, report); err != nil {
			return err
		}
	} else {
		writeText(s, source, from, report)
	}
	switch {
	case err != nil:
		return cli.Failed(fmt.Errorf("%w: nothing was appended", err), "mend them at the source, or leave out --strict: then all others are imported")
	case len(report.Differences) > 0:
		return cli.Failed(fmt.Errorf("%d entries are not in the log's buckets as they were imported", len(report.Differences)), "fleetctl verify, and the same command again")
	case len(report.Refused) > 0:
		return cli.ExitCode(cli.ExitForeign)
	}
	return nil
}

// read reads the source, and names it.
func read(ctx context.Context, s cli.Streams, f flags) (source migration.Source, from string, err error) {
	if f.from != "" {
		source, err := migration.Load(f.from)
		switch {
		case errors.Is(err, migration.ErrNotSaved):
			return source, "", cli.Failed(err, "a file that fleetctl import --save wrote, whole")
		case err != nil:
			return source, "", cli.Failed(err, "a path that is there")
		}
		return source, f.from, nil
	}
	from = contexts.Context{URL: f.nats}.Servers()
	options := []nats.Option{nats.Name("fleetctl import"), nats.Timeout(connectTimeout)}
	if f.creds != "" {
		if _, err := os.Stat(f.creds); err != nil {
			return source, "", cli.Failed(err, "--nats-creds with a path that is there")
		}
		options = append(options, nats.UserCredentials(f.creds))
	}
	if f.ca != "" {
		options = append(options, nats.RootCAs(f.ca))
	}
	nc, err := nats.Connect(f.nats, options...)
	if err != nil {
		return source, "", cli.Failed(fmt.Errorf("connect to the source %s: %w", from, err), "is the server up, and are user and password in the URL, or in the file of --nats-creds?")
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return source, "", cli.Failed(err, "")
	}
	p := render.NewProgress(s, "reading the source")
	source, err = migration.Read(ctx, js, s.Now(), p.Report)
	p.End()
	switch {
	case err == nil:
		return source, from, nil
	case errors.Is(err, context.Canceled):
		return source, "", cli.Interrupted("run the same command again")
	case errors.Is(err, migration.ErrNotOriginal):
		return source, "", cli.Failed(fmt.Errorf("source %s: %w", from, err), "that fleet has a log: fleetctl archive there, and fleetctl restore here")
	case errors.Is(err, migration.ErrNoBucket):
		return source, "", cli.Failed(fmt.Errorf("source %s: %w", from, err), "is it the right server and the right account?")
	}
	return source, "", cli.Failed(fmt.Errorf("source %s: %w", from, err), "a user of the source who may read its buckets by the JetStream API")
}

// explain says what to do where an import failed.
func explain(c *query.Connection, err error, nc *nats.Conn) error {
	switch {
	case errors.Is(err, context.Canceled):
		return cli.Interrupted("run the same command again to resume")
	case errors.Is(err, migration.ErrPlainBuckets):
		return cli.Failed(err, "is "+c.URL+" the right server? To convert the buckets where they are: fleetctl import --nats URL --save FILE, "+
			"remove the four streams (nats stream rm KV_…), fleetctl import --from FILE. docs/migration.md has the steps")
	case errors.Is(err, migration.ErrOperatorRuns):
		return cli.Failed(err, "stop the operators (kubectl -n fleet-system scale deployment fleet-operator --replicas=0), then run the same command again to resume")
	case errors.Is(err, appender.ErrUncertain):
		return cli.Failed(err, "run the same command again to resume. Is the server up? "+c.URL)
	case errors.Is(err, appender.ErrLogFull):
		return cli.Failed(err, "raise the operator's --log-max-bytes, then run the same command again to resume")
	}
	return c.Explain(err, nc)
}
