package fleetctl

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/deploy/fleetctl/complete"
	"fleet.nationtech.io/deploy/fleetctl/query"
	"fleet.nationtech.io/deploy/fleetctl/render"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/projections/buckets"
)

func newRebuild(s cli.Streams, c *query.Connection) *cobra.Command {
	var all, yes bool
	cmd := &cobra.Command{
		Use:   "rebuild BUCKET | --all",
		Short: "Rebuild a bucket from the event log",
		Long: `Rebuild a bucket from the event log: the server deletes it, and fills it again.

The server does it, in a second or so for a hundred thousand events. Agents stay
connected meanwhile and see no withdrawal: a device that asks for its desired state
is told to ask again, the server sends no old value to a device, and in the end each
device is told to sync. A client that watches the bucket ends with the same values.

It refuses where the bucket may be worth more than the log: a log that lost its
tail or other messages, that is another one than the bucket's, or that is not
healthy; and where another rebuild of the bucket is under way.

Ctrl-C ends the command between two buckets: it finishes the bucket that it has begun,
where that takes no more than 10 s. An operator that runs finishes an interrupted
rebuild within seconds.

Buckets: ` + strings.Join(eventlog.Buckets(), ", ") + `.`,
		Example: `  fleetctl rebuild desired-state
  fleetctl rebuild --all --yes`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			names, err := bucketsOf(args, all)
			if err != nil {
				return cli.Misused(err, s.Program()+" rebuild desired-state")
			}
			if !yes {
				if err := cli.Confirm(s, cmd.InOrStdin(), "Rebuild "+strings.Join(names, ", ")+"?"); err != nil {
					return err
				}
			}
			return rebuild(cmd.Context(), s, c, names)
		},
		ValidArgsFunction: complete.Words(eventlog.Buckets()),
	}
	flags := cmd.Flags()
	flags.BoolVar(&all, "all", false, "all four buckets")
	flags.BoolVarP(&yes, "yes", "y", false, "do not ask")
	return cmd
}

func bucketsOf(args []string, all bool) ([]string, error) {
	switch {
	case all == (len(args) == 1):
		return nil, errors.New("give either a bucket or --all")
	case all:
		return eventlog.Buckets(), nil
	case !slices.Contains(eventlog.Buckets(), args[0]):
		return nil, fmt.Errorf("unknown bucket %q; buckets: %s", args[0], strings.Join(eventlog.Buckets(), ", "))
	}
	return args, nil
}

func rebuild(ctx context.Context, s cli.Streams, c *query.Connection, names []string) error {
	nc, js, err := c.OpenAdmin("rebuild")
	if err != nil {
		return err
	}
	defer nc.Close()
	permitted, stop := c.Permitted(ctx)
	defer stop()
	for _, b := range names { // all of them first, so that none is begun in vain
		if _, err := buckets.Rebuildable(permitted, js, b); err != nil {
			return explainRebuild(s, c, nc, b, err)
		}
	}
	// What is begun is finished: until then nobody gets live values of the bucket.
	lingers, done := lingering(ctx, rebuildLinger)
	defer done()
	working, end := c.Permitted(lingers)
	defer end()
	var stalled, cut error
	for _, b := range names {
		if cut = ctx.Err(); cut != nil {
			break
		}
		err := rebuildOne(working, s, js, b)
		if errors.As(err, new(*buckets.StalledError)) {
			stalled = errors.Join(stalled, err) // the others can be had all the same
		} else if err != nil {
			return explainRebuild(s, c, nc, b, err)
		}
	}
	if stalled != nil {
		stalled = cli.Failed(stalled, "the NATS server's log has the reason. What is decided goes on, and the bucket has what comes before that message")
	}
	if err := tellAfterRebuild(working, s, nc, js); err != nil {
		return err
	}
	if cut != nil {
		return cli.FailedWith(cli.ExitInterrupted, errors.New("interrupted: the bucket that was begun is rebuilt and in service, the others are as they were"), "")
	}
	return stalled
}

// rebuildLinger is how long a rebuild that was interrupted may take to put the
// bucket in service.
const rebuildLinger = 10 * time.Second

// lingering gives a context that ends some time after another has.
func lingering(ctx context.Context, linger time.Duration) (context.Context, context.CancelFunc) {
	working, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		t := time.NewTimer(linger)
		defer t.Stop()
		select {
		case <-t.C:
			cancel()
		case <-working.Done():
		}
	})
	return working, func() { stop(); cancel() }
}

// tellAfterRebuild tells devices to sync where desired-state was rebuilt, and
// records that, so that no operator does it once more.
func tellAfterRebuild(ctx context.Context, s cli.Streams, nc *nats.Conn, js jetstream.JetStream) error {
	after, err := buckets.ResyncDue(ctx, js)
	if err == nil && after == "" {
		return nil
	}
	var devices []string
	if err == nil {
		devices, err = knownDevices(ctx, js)
	}
	if err == nil {
		err = buckets.RequestResync(ctx, nc, devices)
	}
	if err == nil {
		err = buckets.ResyncRequested(ctx, js, after)
	}
	if err != nil {
		return cli.Failed(fmt.Errorf("the buckets are rebuilt, but devices could not be told to sync: %w", err),
			"nothing: an operator that runs tells them within seconds, and they sync by themselves within minutes")
	}
	s.Tell("%s told to sync.\n", render.Plural(uint64(len(devices)), "device was", "devices were"))
	return nil
}

func rebuildOne(ctx context.Context, s cli.Streams, js jetstream.JetStream, bucket string) error {
	config, err := buckets.Rebuildable(ctx, js, bucket)
	if err != nil {
		return err
	}
	began := s.Now()
	p := render.NewProgress(s, "rebuilding "+bucket)
	err = buckets.Rebuild(ctx, js, config, bucket, p.Report)
	p.End()
	if err != nil {
		return err
	}
	stream, err := js.Stream(ctx, eventlog.BucketStream(bucket))
	if err != nil {
		return err
	}
	s.Tell("%s is rebuilt: %s, in %v.\n", bucket, render.Plural(stream.CachedInfo().State.Msgs, "key", "keys"), s.Now().Sub(began).Round(time.Millisecond))
	return nil
}

// explainRebuild says what to try where a bucket cannot be rebuilt.
func explainRebuild(s cli.Streams, c *query.Connection, nc *nats.Conn, bucket string, err error) error {
	try := ""
	switch name := s.Program(); {
	case errors.Is(err, buckets.ErrUnderWay):
		try = "run the same command again once that is over; an operator that runs finishes a rebuild that was cut short"
	case errors.Is(err, buckets.ErrOtherLog):
		try = "start an operator: it rebuilds the buckets of a log that was made again or restored, and devices keep what they run"
	case errors.Is(err, buckets.ErrAhead):
		try = "if there is an archive of what the log lost, restore that (" + name + " restore --help); else restart the operator: it rebuilds the buckets from what is there, and devices keep what they run"
	case errors.Is(err, buckets.ErrIncomplete):
		try = "what is missing: " + name + " verify; an archive that has it: " + name + " restore --help"
	case errors.Is(err, buckets.ErrUnhealthy):
		try = "run the same command again when the NATS servers are well: nats server check jetstream"
	case errors.Is(err, logstream.ErrRestoring):
		try = "run the same command again when the restore is over"
	case errors.Is(err, context.Canceled) && !errors.Is(nc.LastError(), nats.ErrPermissionViolation):
		return cli.FailedWith(cli.ExitInterrupted,
			fmt.Errorf("interrupted: bucket %s is not in service, as its rebuild did not end within %v", bucket, rebuildLinger),
			"nothing: an operator that runs finishes it within seconds. Without one: "+name+" rebuild "+bucket)
	default:
		return c.Explain(err, nc)
	}
	return cli.Failed(fmt.Errorf("bucket %s was not rebuilt: %w", bucket, err), try)
}

// knownDevices are those that the log speaks of.
func knownDevices(ctx context.Context, js jetstream.JetStream) ([]string, error) {
	log, err := js.Stream(ctx, eventlog.LogStream)
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", eventlog.LogStream, err)
	}
	known := map[string]struct{}{}
	for _, f := range []eventlog.Family{eventlog.FamilyDesired, eventlog.FamilyInfo} {
		info, err := log.Info(ctx, jetstream.WithSubjectFilter(eventlog.FamilySubjects(f)))
		if err != nil {
			return nil, fmt.Errorf("stream %s: %w", eventlog.LogStream, err)
		}
		for subject := range info.State.Subjects {
			if a, err := eventlog.ParseSubject(subject); err == nil && eventlog.CheckName("device", a.Device) == nil {
				known[a.Device] = struct{}{}
			}
		}
	}
	return slices.Sorted(maps.Keys(known)), nil
}
