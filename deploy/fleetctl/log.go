package fleetctl

import (
	"bufio"
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/deploy/fleetctl/query"
	"fleet.nationtech.io/deploy/fleetctl/render"
	"fleet.nationtech.io/eventlog"
)

// logFlags are the flags of log.
type logFlags struct {
	momentFlags
	selectionFlags
	follow       bool
	since, until string
	tail         int
	output       string
}

func newLog(s cli.Streams, c *query.Connection) *cobra.Command {
	var f logFlags
	cmd := &cobra.Command{
		Use:   "log",
		Short: "Show what happened: the event log, oldest first",
		Long: `Show what happened: the event log, oldest first.

On a terminal each event is a line for people: the time at which the log recorded it,
its sequence, its type, what it is about, and a summary. Elsewhere, or with -o json,
each is a line of CloudEvents JSON. A message whose subject, type and payload do not
agree is marked "foreign", with the reason; --type foreign shows these alone.

--trace shows the events of one trace. Events name their trace where the operator has
a collector, by --trace-endpoint. The ids are in the collector, in fleetctl trace, and
in -o json of fleetctl history. A device writes its own events, and can name any trace.

--since and --until bound what is shown; --at is --until, as in other commands.
` + momentHelp + `

The log's own order is by log time, when the log recorded an event. With --as-happened
events come by event time, when they happened; an event that the log recorded late
says how late. That reads the whole log from --since on, and holds what is selected
in memory.`,
		Example: `  fleetctl log --since 15m
  fleetctl log -n 20 -f --device edge-01
  fleetctl log --deployment default/hello --type desired --type state.reported
  fleetctl log --reason ImagePullFailed --since 1d
  fleetctl log --actor alice
  fleetctl log --trace 4bf92f3577b34da6a3ce929d0e0e4736
  fleetctl log --since 14:00 --until 14:30 --as-happened
  fleetctl log -o json | jq -r 'select(.type | contains("offline")) | .subject'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return showLog(cmd.Context(), s, c, f) },
	}
	f.momentFlags.bind(cmd, c)
	f.selectionFlags.bind(cmd)
	flags := cmd.Flags()
	flags.BoolVarP(&f.follow, "follow", "f", false, "go on with what happens, until Ctrl-C")
	flags.StringVar(&f.since, "since", "", "only since then: how long ago (15m, 3d), or a moment")
	flags.StringVar(&f.until, "until", "", "only until then: how long ago, or a moment")
	flags.IntVarP(&f.tail, "tail", "n", 0, "only the last N of what is selected; 0: all of it")
	flags.StringVarP(&f.output, "output", "o", "", "json or text (default: text on a terminal, else json)")
	completion{c}.bindLog(cmd)
	return cmd
}

// interval reads the flags against the person's clock.
func (f logFlags) interval(s cli.Streams) (query.Interval, error) {
	w := query.Interval{AsHappened: f.asHappened, Tail: f.tail, Follow: f.follow}
	end, name := f.until, "--until"
	if f.at != "" {
		end, name = f.at, "--at"
	}
	switch {
	case f.at != "" && f.until != "":
		return w, cli.Misused(errors.New("--at and --until mean the same"), "give one of the two")
	case f.follow && end != "":
		return w, cli.Misused(fmt.Errorf("-f and %s exclude each other: -f has no end", name), "give one of the two")
	case f.follow && f.asHappened:
		return w, cli.Misused(errors.New("-f and --as-happened exclude each other: -f follows log time"), "give one of the two")
	case f.tail < 0:
		return w, cli.Misused(errors.New("-n must be 0 or more"), "-n 20")
	}
	var err error
	if w.Since, err = query.ParseAgo(s, "--since", f.since); err != nil {
		return w, err
	}
	if w.Until, err = query.ParseAgo(s, name, end); err != nil {
		return w, err
	}
	return w, query.CheckOrder(w.Since, w.Until, "--since "+f.since, name+" "+end)
}

func showLog(ctx context.Context, s cli.Streams, c *query.Connection, f logFlags) error {
	sel, err := f.selection()
	if err != nil {
		return cli.Misused(err, s.Program()+" log --help")
	}
	w, err := f.interval(s)
	if err != nil {
		return err
	}
	write, err := render.NewEventWriter(s, f.output, w.AsHappened)
	if err != nil {
		return cli.Misused(err, "-o json or -o text")
	}
	if f.follow {
		defer s.Follow()()
	}
	nc, js, err := c.OpenTo(s, f.follow)
	if err != nil {
		return err
	}
	defer nc.Close()

	// One line at a time while somebody watches; else as much as goes at once.
	buffered := bufio.NewWriterSize(s.Out, 64<<10)
	shows := s
	if s.Terminal && w.Tail == 0 && !w.AsHappened {
		shows.ErrTerminal = false // the lines themselves show how far the reading is
	}
	p := render.NewProgress(shows, "reading the log")
	shown := 0
	emit := func(e eventlog.Event, foreign error) error {
		shown++
		if err := write(buffered, e, foreign); err != nil {
			return cli.Failed(fmt.Errorf("write: %w", err), "")
		}
		if f.follow {
			return buffered.Flush()
		}
		return nil
	}
	reading, stop := c.Permitted(ctx)
	defer stop()
	err = w.Read(reading, js, sel, p.Report, p.End, emit)
	p.End()
	if flushed := buffered.Flush(); err == nil {
		err = flushed
	}
	switch {
	case f.follow && ctx.Err() != nil:
		return nil // a person ended it
	case err != nil:
		return c.Explain(err, nc)
	case shown == 0:
		return c.NothingMatched(reading, s, nc, js, sel, "log")
	}
	return nil
}
