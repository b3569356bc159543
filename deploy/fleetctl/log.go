package fleetctl

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/projections/asof"
)

const (
	outputJSON = "json"
	outputText = "text"
)

// logFlags are what a person may say of the log.
type logFlags struct {
	momentFlags
	selectionFlags
	follow       bool
	since, until string
	tail         int
	output       string
}

func newLog(s Streams, c *connection) *cobra.Command {
	var f logFlags
	cmd := &cobra.Command{
		Use:   "log",
		Short: "Show what happened: the event log, oldest first",
		Long: `Show what happened: the event log, oldest first.

On a terminal each event is a line for people: when the log learned of it, its
place in the log, its type, what it is about, and the gist. Elsewhere, or with
-o json, each is a line of CloudEvents JSON. Messages that are none of the
fleet's, because subject, type and payload do not agree, are marked "foreign"
and say why; --type foreign shows them alone.

--since and --until bound what is shown; --at is --until, as in other commands.
` + momentHelp + `

The log's own order is that in which it learned of things. With --as-happened
events come in the order in which they happened, with the time of that; what the
log learned late says how late. That needs the whole log from --since on, and
holds what is selected in memory.`,
		Example: `  fleetctl log --since 15m
  fleetctl log -n 20 -f --device edge-01
  fleetctl log --deployment default/hello --type desired --type state.reported
  fleetctl log --reason ImagePullFailed --since 1d
  fleetctl log --actor alice
  fleetctl log --since 14:00 --until 14:30 --as-happened
  fleetctl log -o json | jq -r 'select(.type | contains("offline")) | .subject'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return showLog(cmd.Context(), s, c, f) },
	}
	f.momentFlags.bind(cmd)
	f.selectionFlags.bind(cmd)
	flags := cmd.Flags()
	flags.BoolVarP(&f.follow, "follow", "f", false, "go on with what happens, until Ctrl-C")
	flags.StringVar(&f.since, "since", "", "only since then: how long ago (15m, 3d), or a moment")
	flags.StringVar(&f.until, "until", "", "only until then: how long ago, or a moment")
	flags.IntVarP(&f.tail, "tail", "n", 0, "only the last N of what is selected; 0: all of it")
	flags.StringVarP(&f.output, "output", "o", "", "json or text (default: text on a terminal, else json)")
	c.completions(cmd)
	return cmd
}

// stretch is which part of the log is shown, and how.
type stretch struct {
	since, until asof.Moment // zero: from the beginning, to the end
	asHappened   bool
	tail         int // 0: all
	follow       bool
}

// stretch reads the flags against the person's clock.
func (f logFlags) stretch(s Streams) (stretch, error) {
	w := stretch{asHappened: f.asHappened, tail: f.tail, follow: f.follow}
	end, name := f.until, "--until"
	if f.at != "" {
		end, name = f.at, "--at"
	}
	switch {
	case f.at != "" && f.until != "":
		return w, misused(errors.New("--at and --until are the same"), "one of the two")
	case f.follow && end != "":
		return w, misused(fmt.Errorf("-f goes on, and %s ends", name), "one of the two")
	case f.follow && f.asHappened:
		return w, misused(errors.New("-f follows the log in its own order: --as-happened has another"), "one of the two")
	case f.tail < 0:
		return w, misused(fmt.Errorf("-n %d is less than none", f.tail), "-n 20")
	}
	var err error
	if w.since, err = parseAgo(s, "--since", f.since); err != nil {
		return w, err
	}
	if w.until, err = parseAgo(s, name, end); err != nil {
		return w, err
	}
	return w, inOrder(w.since, w.until, "--since "+f.since, name+" "+end)
}

func showLog(ctx context.Context, s Streams, c *connection, f logFlags) error {
	sel, err := f.selection()
	if err != nil {
		return misused(err, display(s.Name)+" log --help")
	}
	w, err := f.stretch(s)
	if err != nil {
		return err
	}
	line := textLine
	if w.asHappened {
		line = happenedLine
	}
	write, err := writerOf(s, f.output, line)
	if err != nil {
		return misused(err, "-o json or -o text")
	}
	if f.follow {
		defer s.follow()()
	}
	nc, js, err := c.openTo(s, f.follow)
	if err != nil {
		return err
	}
	defer nc.Close()

	// One line at a time while somebody watches; else as much as goes at once.
	buffered := bufio.NewWriterSize(s.Out, 64<<10)
	p := s.progress("reading the log")
	if s.Terminal && w.tail == 0 && !w.asHappened {
		p.s.ErrTerminal = false // the lines themselves show how far it is
	}
	shown := 0
	emit := func(e eventlog.Event, foreign error) error {
		shown++
		if err := write(buffered, e, foreign); err != nil {
			return failed(fmt.Errorf("write: %w", err), "")
		}
		if f.follow {
			return buffered.Flush()
		}
		return nil
	}
	reading, stop := c.permitted(ctx)
	defer stop()
	err = w.read(reading, js, sel, p, emit)
	p.end()
	if flushed := buffered.Flush(); err == nil {
		err = flushed
	}
	switch {
	case f.follow && ctx.Err() != nil:
		return nil // a person ended it
	case err != nil:
		return c.explain(err, nc)
	case shown == 0:
		return c.nothing(reading, s, nc, js, sel, "log")
	}
	return nil
}

// nothing ends a command that found no event to show. That is no failure, but
// for a name that the log does not know.
func (c *connection) nothing(ctx context.Context, s Streams, nc *nats.Conn, js jetstream.JetStream, sel selection, command string) error {
	if err := sel.unknown(ctx, s, js, command); err != nil {
		return c.explain(err, nc)
	}
	if s.Terminal {
		s.warn("No event matches.\n")
	}
	return nil
}

// read gives the selected events of the stretch, in its order.
func (w stretch) read(ctx context.Context, js jetstream.JetStream, sel selection, p *progress, emit func(eventlog.Event, error) error) error {
	log, err := logstream.Inspect(ctx, js)
	if err != nil {
		return err
	}
	if err := sel.settle(ctx, js, log.Last); err != nil {
		return err
	}
	o := reader.Options{From: w.since.Sequence, Since: w.since.Time, Subjects: sel.subjects(), LogID: log.ID, Progress: p.report}
	if w.until.IsNow() {
		o.Until = log.Last
	} else if o.Until, err = asof.Sequence(ctx, js, w.until); err != nil {
		return err
	}
	if w.since.Sequence > log.Last {
		return fmt.Errorf("sequence %d %w, which is %d", w.since.Sequence, asof.ErrBeyondEnd, log.Last)
	}
	in := window{tail: w.tail}
	if w.asHappened {
		if err := w.bound(ctx, js, &in, &o, log.Last); err != nil {
			return err
		}
	} else if w.tail > 0 && sel.all() && log.Last > uint64(w.tail) {
		if from := o.Until + 1 - min(uint64(w.tail), o.Until); from > o.From && w.since.Time.IsZero() {
			o.From = from // no need to read what is not the last
		}
	}
	take := emit
	if w.tail > 0 || w.asHappened {
		take = in.add
	}
	if o.Until > 0 {
		if err := each(reader.Read(ctx, js, o), sel, take); err != nil {
			return err
		}
	}
	p.end()
	if err := in.each(emit); err != nil {
		return err
	}
	if !w.follow {
		return nil
	}
	o.From, o.Since = max(o.From, log.Last+1), time.Time{}
	return each(reader.Follow(ctx, js, o), sel, emit)
}

// writer gives the function that writes one event.
func writer(s Streams, output string) (func(io.Writer, eventlog.Event, error) error, error) {
	return writerOf(s, output, textLine)
}

func writerOf(s Streams, output string, line func(eventlog.Event, error, bool) string) (func(io.Writer, eventlog.Event, error) error, error) {
	if output == "" {
		output = outputJSON
		if s.Terminal {
			output = outputText
		}
	}
	switch output {
	case outputJSON:
		return func(w io.Writer, e eventlog.Event, foreign error) error {
			b, err := eventlog.CloudEventJSON(e, foreign)
			if err != nil {
				return err
			}
			_, err = w.Write(append(b, '\n'))
			return err
		}, nil
	case outputText:
		return func(w io.Writer, e eventlog.Event, foreign error) error {
			_, err := io.WriteString(w, line(e, foreign, s.Color)+"\n")
			return err
		}, nil
	}
	return nil, fmt.Errorf("-o %q is none of the outputs json and text", output)
}
