package fleetctl

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"fleet.nationtech.io/deploy/export"
	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/deploy/fleetctl/query"
	"fleet.nationtech.io/deploy/fleetctl/render"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/phrase"
	"fleet.nationtech.io/projections/archive"
	"fleet.nationtech.io/projections/asof"
	"fleet.nationtech.io/projections/fleet"
)

// restoreFlags are the flags of restore.
type restoreFlags struct {
	crs      bool
	at       string
	replicas int
	workDir  string
}

func newRestore(s cli.Streams, c *query.Connection) *cobra.Command {
	var f restoreFlags
	cmd := &cobra.Command{
		Use:   "restore FILE | PLACE | --crs [FILE | PLACE]",
		Short: "Restore the event log from an archive, or Kubernetes' objects from the log",
		Long: `Restore the event log from an archive, or Kubernetes' objects from the log.

restore FILE checks the file to its end, and puts the log into a server that has
none: the same events at the same sequences with the same times, and the buckets
built from them. The log gets an id of its own, so that operators and devices
notice that it is another. Nothing is forced: where the server has a log with
events, or buckets of another log, it says what to do and changes nothing. A log
in which an operator was elected and nothing else happened gives way; it is
surer to stop the operators first.

A PLACE is a directory or s3://BUCKET/PREFIX, where fleetctl archive made backups: the
newest verified archive there is restored, or the one that s3://BUCKET/PREFIX/NAME
names. It is compared with its mark first, and out of a store fetched into --work-dir.

Run the same command again to resume after an interruption. Where the log had not
arrived whole it is sent again from its beginning, since the server takes
it only so; until it is whole nobody can read it or append to it.

The operator tells devices nothing before it has compared the log with Kubernetes:
what happened since the archive was made is decided again from there, and what
devices run stays. A Deployment that was deleted since comes back as an orphan:
fleetctl withdraw ends it. Where Kubernetes lost its objects too, apply what
--crs gives before the operator is started; without them devices go back to what
the log says.

restore --crs writes Kubernetes' objects as YAML, out of the log (--at a moment of
it), or out of an archive: the Deployments that have not ended, and the labels
that persons set on Devices. Applied to an empty cluster they are the same
revisions, so nothing restarts; the operator is started with --adopt-cluster.`,
		Example: `  fleetctl restore fleet-2026-11-24.archive --replicas 3
  fleetctl restore s3://backups/fleet --replicas 3
  fleetctl restore --crs | kubectl apply --server-side -f -
  fleetctl restore --crs --at -1h`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case f.crs && len(args) > 0:
				return withFetched(cmd.Context(), s, args[0], f.workDir, func(file string) error {
					return restoreObjects(cmd.Context(), s, c, f.at, []string{file})
				})
			case f.crs:
				return restoreObjects(cmd.Context(), s, c, f.at, args)
			case len(args) == 0:
				return cli.Misused(errors.New("no archive is given"), s.Program()+" restore FILE, or restore --crs")
			case f.at != "":
				return cli.Misused(errors.New("--at goes with --crs: an archive is restored whole"), s.Program()+" restore --crs --at "+f.at)
			case f.replicas < 1 || f.replicas > 5:
				return cli.Misused(fmt.Errorf("--replicas %d: between 1 and 5", f.replicas), "--replicas 3")
			}
			return withFetched(cmd.Context(), s, args[0], f.workDir, func(file string) error {
				return restoreLog(cmd.Context(), s, c, file, f.replicas)
			})
		},
	}
	cmd.Flags().BoolVar(&f.crs, "crs", false, "write Kubernetes' objects out of the log instead, as YAML")
	cmd.Flags().StringVar(&f.at, "at", "", "with --crs: as they were at a moment: a sequence (1234), a time (14:03, RFC 3339) or how long ago (-15m)")
	cmd.Flags().IntVar(&f.replicas, "replicas", 1, "of the log and the buckets: 1 on one server, 3 in production")
	cmd.Flags().StringVar(&f.workDir, "work-dir", "", "directory for the archive that is fetched from a store; default: the system's for temporary files")
	completeMoments(cmd, "at", c)
	return cmd
}

func restoreLog(ctx context.Context, s cli.Streams, c *query.Connection, file string, replicas int) error {
	nc, _, err := c.OpenAdmin("restore")
	if err != nil {
		return err
	}
	defer nc.Close()
	report, end := render.StepProgress[archive.Step](s)
	out, err := archive.Restore(ctx, nc, file, archive.RestoreOptions{
		Replicas: replicas,
		Progress: report,
		Lost: func(err error) {
			end()
			s.Warn("%v; restoring goes on with what is left\n", err)
		},
	})
	end()
	if err != nil {
		return explainRestore(c, err, nc, file)
	}
	how := ""
	if out.Resumed {
		how = " (an earlier restore had been cut short)"
	}
	s.Tell("Restored%s: %s.\n", how, render.ArchiveRange(out.Index))
	s.Tell("  %-8s %s, which was %s\n", "log", out.Log.ID, out.LogID)
	s.Tell("  %-8s %s, built from it\n", "buckets", strings.Join(eventlog.Buckets(), ", "))
	s.Tell("Next: start the operators (with --adopt-cluster where Kubernetes is another cluster too); then %s verify.\n", s.Program())
	s.Tell("Devices keep what they run. An operator compares the log with Kubernetes before it tells them anything.\n")
	return nil
}

// explainRestore says what to do where a server is not to be restored into.
func explainRestore(c *query.Connection, err error, nc *nats.Conn, file string) error {
	switch {
	case errors.Is(err, archive.ErrLogThere):
		return cli.Failed(err, "is "+c.URL+" the right server? If its log is to be given up: stop the operators, keep a copy (fleetctl archive OTHER), remove it (nats stream rm "+
			eventlog.LogStream+"), then run the same command again")
	case errors.Is(err, archive.ErrBucketsThere):
		rm := make([]string, 0, len(eventlog.Buckets()))
		for _, b := range eventlog.Buckets() {
			rm = append(rm, eventlog.BucketStream(b))
		}
		return cli.Failed(err, "is "+c.URL+" the right server? If they are to be given up: nats stream rm, of "+strings.Join(rm, ", "))
	case errors.Is(err, archive.ErrGoneOn):
		return cli.Failed(err, "nothing is left to do: an operator builds what buckets are missing; fleetctl verify says whether all agrees")
	}
	return explainArchive(c, err, nc, file)
}

// restoreObjects writes Kubernetes' objects as the log, or an archive, knew them.
func restoreObjects(ctx context.Context, s cli.Streams, c *query.Connection, at string, args []string) error {
	m, err := query.ParseMoment(s, "--at", at)
	if err != nil {
		return err
	}
	var v *fleet.View
	if len(args) > 0 {
		v, err = viewOfArchive(ctx, s, args[0], m)
	} else {
		v, err = viewOfLog(ctx, s, c, m)
	}
	if err != nil {
		return err
	}
	o, err := export.Of(v)
	if err != nil {
		return cli.Failed(err, "")
	}
	s.Tell("# What the event log knew up to event %d, %s.\n", v.Sequence, v.Recorded.UTC().Format(time.RFC3339))
	s.Tell("# kubectl apply --server-side -f -, and the operator with --adopt-cluster.\n%s", o.YAML)
	written := []string{cmp.Or(phrase.Count(len(o.Deployments), "Deployment", "Deployments"), "no Deployment")}
	if len(o.Budgets) > 0 {
		written = append(written, phrase.Count(len(o.Budgets), "DisruptionBudget", "DisruptionBudgets"))
	}
	written = append(written, cmp.Or(phrase.Count(len(o.Devices), "Device that persons labelled", "Devices that persons labelled"), "no Device that persons labelled"))
	s.Warn("%s\n", strings.Join(written, ", "))
	return nil
}

func viewOfLog(ctx context.Context, s cli.Streams, c *query.Connection, m asof.Moment) (*fleet.View, error) {
	nc, js, err := c.Open()
	if err != nil {
		return nil, err
	}
	defer nc.Close()
	return viewAt(ctx, s, c, nc, js, query.Moment{Moment: m})
}

// viewOfArchive reads the whole file, so that none that is damaged says anything.
func viewOfArchive(ctx context.Context, s cli.Streams, file string, m asof.Moment) (*fleet.View, error) {
	v := fleet.New()
	p := render.NewProgress(s, "reading "+file)
	_, err := archive.Check(ctx, file, archive.CheckOptions{Progress: p.Report, Events: func(e eventlog.Event, err error) error {
		later := m.Sequence > 0 && e.Sequence > m.Sequence || !m.Time.IsZero() && e.Recorded.After(m.Time)
		if !later {
			fleet.Apply(v, e, err)
		}
		return nil
	}})
	p.End()
	switch {
	case err != nil:
		return nil, explainFile(err)
	case v.Sequence == 0:
		return nil, cli.Failed(fmt.Errorf("%s %w, by %s", m, asof.ErrBeforeBeginning, file), "a later moment")
	case m.Sequence > v.Sequence:
		return nil, cli.Failed(fmt.Errorf("sequence %d %w, which is %d by %s", m.Sequence, asof.ErrBeyondEnd, v.Sequence, file), "a sequence up to that one, or none")
	}
	return v, nil
}
