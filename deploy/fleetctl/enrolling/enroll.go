package enrolling

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"fleet.nationtech.io/deploy/enroll"
	"fleet.nationtech.io/deploy/enroll/inventory"
	"fleet.nationtech.io/deploy/enroll/machine"
	"fleet.nationtech.io/deploy/fleetctl/access"
	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/deploy/fleetctl/complete"
	"fleet.nationtech.io/deploy/fleetctl/contexts"
	"fleet.nationtech.io/deploy/fleetctl/query"
	"fleet.nationtech.io/deploy/fleetctl/render"
)

// enrollCommand is one command line of enroll.
type enrollCommand struct {
	streams  cli.Streams
	settings *access.Settings
	fleet    *enrollFleet

	reach    ReachFlags
	wish     WishFlags
	provider ProviderFlags
	terminal Terminal

	inventory string
	parallel  int
	dryRun    bool
	wait      bool
	timeout   time.Duration
	output    string

	context  contexts.Context
	binaries *enroll.Binaries
	packages *enroll.Packages
	asJSON   bool
}

// NewEnroll makes the command enroll, with rotate below it.
func NewEnroll(s cli.Streams, b *access.Settings, c *query.Connection, devices Devices) *cobra.Command {
	e := &enrollCommand{streams: s, settings: b, fleet: &enrollFleet{streams: s, connection: c}}
	cmd := &cobra.Command{
		Use:   "enroll [ssh://USER@HOST:PORT | local]",
		Short: "Make a blank device a device of the fleet",
		Long: `Make a blank device a device of the fleet: over SSH, on this machine (local), or all
of an inventory.

The device needs Linux with systemd, Podman 4 or newer, 300 MB, the right time, and a
way to the servers. That is checked first, and nothing is changed where it does not
hold. Then the agent is installed with its configuration, its key and its unit, and
started; the command ends once the device is in the fleet and answers. Run again, it
changes what differs and nothing else; broken off, it goes on where it stopped.

Where a package of the agent is at hand (--package, or beside this program) and the
device has dpkg or rpm, the package is installed, and otherwise the binary. A device
that has the package already keeps it.

How the device proves who it is (--auth):

  zitadel      The device makes a key pair and keeps the private half. Its machine user
               and the public half are registered at the provider, by an account with
               the role ORG_USER_MANAGER in the devices' organization: you sign in
               once, with a code, or give a service account's key (--admin-key-file).
  zitadel-jwt  The key file of a machine user, made before, is copied (--key).
  shared       A user with a password, for a laboratory.

Where the device reaches NATS and the provider comes from the context, where flags do
not say it. Exits with 1 where a device is not in.`,
		Example: `  fleetctl enroll ssh://pi@10.0.0.5 --id pi-01 -l site=lab
  fleetctl enroll local --id kiosk-7 --auth zitadel-jwt --key kiosk-7.json
  fleetctl enroll --inventory hosts.yaml --parallel 20
  fleetctl enroll ssh://pi@10.0.0.5 --id pi-01 --bundle fleet.bundle
  fleetctl enroll ssh://pi@10.0.0.5 --id pi-01 --dry-run`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return e.run(cmd.Context(), args) },
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return []cobra.Completion{Local, "ssh://"}, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
		},
	}
	e.wish.Bind(cmd)
	e.provider.Bind(cmd)
	e.reach.Bind(cmd)
	flags := cmd.Flags()
	flags.StringVar(&e.inventory, "inventory", "", "YAML file of devices")
	flags.IntVar(&e.parallel, "parallel", 20, "how many devices of an inventory are enrolled at a time")
	flags.BoolVar(&e.dryRun, "dry-run", false, "show what would be done, and change nothing")
	flags.BoolVar(&e.wait, "wait", true, "ask the fleet whether the device is in; without it, the agent has to run, and that is all")
	flags.DurationVar(&e.timeout, "timeout", enroll.DefaultWait, "how long the device may take until it is in")
	complete.BindPipedOutput(cmd, &e.output)
	complete.Flag(cmd, "auth", complete.Words(enroll.Flavours()))
	cmd.AddCommand(newRotate(s, b, c, devices))
	return cmd
}

func (e *enrollCommand) run(ctx context.Context, args []string) error {
	defer e.fleet.close()
	if (len(args) == 0) == (e.inventory == "") {
		return cli.Misused(errors.New("enroll needs one device, or an inventory"), e.streams.Program()+" enroll ssh://pi@10.0.0.5 --id pi-01, or --inventory hosts.yaml")
	}
	var err error
	if e.asJSON, err = complete.PipedAsJSON(e.streams, e.output); err != nil {
		return err
	}
	chosen, err := e.settings.Chosen()
	if err != nil {
		return err
	}
	e.context = e.provider.Complete(chosen)
	e.terminal.Many = e.inventory != ""
	binaries, done, err := e.wish.Binaries(ctx, e.streams)
	if err != nil {
		return err
	}
	defer done()
	e.binaries, e.packages = binaries, e.wish.Packages()
	if err := e.reach.Prepare(e.streams, &e.terminal); err != nil {
		return err
	}
	if e.inventory != "" {
		return e.all(ctx)
	}
	return e.one(ctx, args[0])
}

// enrol enrols one device, and shows its steps.
func (e *enrollCommand) enrol(ctx context.Context, h inventory.Host, open func(context.Context) (machine.Machine, error), show func(enroll.Step)) (enroll.Outcome, error) {
	out := enroll.Outcome{Device: h.ID, DryRun: e.dryRun}
	w, err := e.wish.Wish(ctx, h, e.context, e.provider.CAFile(), &e.terminal)
	if err != nil {
		return out, err
	}
	job := enroll.Enrolment{Wish: w, Binaries: e.binaries, Packages: e.packages, DryRun: e.dryRun, Show: show, Wait: e.timeout, Now: e.streams.Now}
	if w.Auth.Flavour == enroll.Zitadel {
		if job.Provider, err = e.provider.SignIn(ctx, e.streams, e.context); err != nil {
			return out, err
		}
	}
	if e.wait {
		if err := e.fleet.open(); err != nil {
			return out, err
		}
		job.Fleet = e.fleet
	}
	if job.Machine, err = open(ctx); err != nil {
		return out, &enroll.Error{Step: "connect", Err: err, Try: remedy(err)}
	}
	defer job.Machine.Close()
	return job.Run(ctx)
}

// remedy is what an error itself says to try.
func remedy(err error) string {
	var f *cli.Failure
	if errors.As(err, &f) {
		return f.Remedy()
	}
	return ""
}

func (e *enrollCommand) one(ctx context.Context, name string) error {
	show := func(s enroll.Step) { ShowStep(e.streams, s, e.asJSON) }
	began := e.streams.Now()
	out, err := e.enrol(ctx, e.wish.Host(), func(ctx context.Context) (machine.Machine, error) { return e.reach.Open(ctx, name) }, show)
	return endOne(ctx, e.streams, e.asJSON, out, err, began, "enrolled", "would be enrolled")
}

// endOne says what came of one device.
func endOne(ctx context.Context, s cli.Streams, asJSON bool, out enroll.Outcome, err error, began time.Time, done, would string) error {
	if ctx.Err() != nil {
		return cli.Interrupted("run the same command again: it goes on where it stopped")
	}
	r := NewResult(out, err, s.Now().Sub(began).Seconds())
	if asJSON {
		if failed := Encode(s, r); failed != nil {
			return failed
		}
	} else if err == nil {
		switch {
		case out.DryRun:
			s.Tell("%s %s; nothing was changed\n", out.Device, would)
		case len(r.Changed) == 0:
			s.Tell("%s is %s already; nothing was changed\n", out.Device, done)
		default:
			s.Tell("%s is %s\n", out.Device, done)
		}
	}
	var failed *enroll.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &failed):
		return cli.Failed(errors.New(render.PrintableLines(failed.Error())), render.Printable(failed.Try))
	}
	var f *cli.Failure
	if errors.As(err, &f) {
		return err
	}
	return cli.Failed(err, "")
}

func (e *enrollCommand) all(ctx context.Context) error {
	text, err := os.ReadFile(e.inventory)
	if err != nil {
		return cli.Misused(err, "--inventory FILE")
	}
	hosts, err := inventory.Parse(text)
	if err != nil {
		return cli.Misused(fmt.Errorf("%s: %w", e.inventory, err), "docs/enrolment.md has an example")
	}
	dir := filepath.Dir(e.inventory)
	for i := range hosts {
		hosts[i] = e.wish.Fill(hosts[i], dir)
	}
	progress := render.NewProgress(e.streams, "enrolling")
	var lock sync.Mutex
	done := 0
	report := func(r Result) Result {
		lock.Lock()
		defer lock.Unlock()
		done++
		progress.End()
		if !e.asJSON {
			ShowResult(e.streams, r, "enrolled")
		}
		progress.Report(uint64(done), uint64(len(hosts)))
		return r
	}
	results := inventory.Each(ctx, hosts, e.parallel, func(ctx context.Context, h inventory.Host) Result {
		began := e.streams.Now()
		out, err := e.enrol(ctx, h, func(ctx context.Context) (machine.Machine, error) { return e.reach.Dial(ctx, h.Target, h.Jump) }, nil)
		if out.Machine == "" {
			out.Machine = h.Target.String()
		}
		return report(NewResult(out, err, e.streams.Now().Sub(began).Seconds()))
	}, func(h inventory.Host) Result {
		return NewResult(enroll.Outcome{Device: h.ID, Machine: h.Target.String()}, errors.New("not begun: the command was ended"), 0)
	})
	progress.End()
	return summarize(ctx, e.streams, e.asJSON, results)
}

func summarize(ctx context.Context, s cli.Streams, asJSON bool, results []Result) error {
	sum := Summary{Devices: results}
	for _, r := range results {
		if r.OK {
			sum.OK++
		} else {
			sum.Failed++
		}
	}
	if asJSON {
		if err := Encode(s, sum); err != nil {
			return err
		}
	} else {
		ShowSummary(s, sum, "enrolled")
	}
	switch {
	case ctx.Err() != nil:
		return cli.Interrupted("run the same command again: it goes on where it stopped")
	case sum.Failed > 0:
		return cli.ExitCode(cli.ExitFailed)
	}
	return nil
}
