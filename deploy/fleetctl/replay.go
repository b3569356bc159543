package fleetctl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/deploy/fleetctl/complete"
	"fleet.nationtech.io/deploy/fleetctl/query"
	"fleet.nationtech.io/deploy/fleetctl/render"
	"fleet.nationtech.io/deploy/fleetctl/replay"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/projections/asof"
)

// replayFlags are the flags of replay.
type replayFlags struct {
	from, to           string
	speed              string
	step, plain        bool
	device, deployment string
	output             string
}

func newReplay(s cli.Streams, c *query.Connection) *cobra.Command {
	var f replayFlags
	cmd := &cobra.Command{
		Use:   "replay",
		Short: "Play the fleet's history on the screen",
		Long: `Play the fleet's history on the screen.

On a terminal, each device is a cell with a letter and a colour for its state (R
running, P pending, F failed, o offline, X revoked, . idle), each Deployment has a
bar of how far its rollout is (# succeeded, x failed, . pending, - not given it
yet) with the batch that is open, and the events pass below. Where there are more devices than room for cells, a cell stands for
several, and shows the worst of them. Elsewhere, or with --plain, each event is a
line of text, or with -o json of CloudEvents JSON, paced by the speed, so that
other tools can follow.

Speed 60x plays a minute of history in a second; max waits for nothing. Replay
skips a gap that would last longer than two seconds: "… 3h without events".

Keys: space play or pause, ← → one event back or forth, shift+← shift+→ (or p, n)
to where the last or the next rollout begins, Home End, + - speed, ? help, q quit.

` + replayMomentHelp,
		Example: `  fleetctl replay --from -1h
  fleetctl replay --deployment default/hello --speed 10x
  fleetctl replay --from 1200 --to 1300 --step
  fleetctl replay --from -1d --speed max -o json | jq -r .type | sort | uniq -c`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return playHistory(cmd.Context(), s, c, f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.from, "from", "", "begin at a moment: a sequence (1234), a time (14:03, RFC 3339) or how long ago (-15m); default the beginning")
	flags.StringVar(&f.to, "to", "", "end at a moment; default now")
	flags.StringVar(&f.speed, "speed", "60x", "seconds of history in a second, such as 60x, or max")
	flags.BoolVar(&f.step, "step", false, "wait for a key (space, → or Enter) before each event; needs a terminal")
	flags.BoolVar(&f.plain, "plain", false, "lines, also on a terminal")
	flags.StringVar(&f.device, "device", "", "only what is about this device")
	flags.StringVar(&f.deployment, "deployment", "", "only what is about this Deployment: NAMESPACE/NAME or NAME")
	flags.StringVarP(&f.output, "output", "o", "", "json or text: lines of that, also on a terminal")
	for _, moment := range []string{"from", "to"} {
		completeMoments(cmd, moment, c)
	}
	complete.Flag(cmd, "device", completion{c}.device)
	complete.Flag(cmd, "deployment", completion{c}.qualified)
	complete.Flag(cmd, "speed", complete.Words([]string{"1x", "60x", "600x", "max"}))
	complete.Flag(cmd, "output", complete.Words([]string{render.OutputJSON, render.OutputText}))
	return cmd
}

const replayMomentHelp = `A moment is a sequence of the log (1234), a time (2026-11-24T14:03:00Z, or
"2026-11-24 14:03" and 14:03 in this machine's zone), or how long ago (-15m,
-2h, -3d), by log time.`

// playHistory plays on a terminal, or elsewhere in lines.
func playHistory(ctx context.Context, s cli.Streams, c *query.Connection, f replayFlags) error {
	speed, err := replay.ParseSpeed(f.speed)
	if err != nil {
		return cli.Misused(fmt.Errorf("--%w", err), "--speed 60x, or --speed max")
	}
	sel, err := query.NewSelection(f.device, f.deployment, nil)
	if err != nil {
		return cli.Misused(err, s.Program()+" replay --help")
	}
	terminal := terminalOf(s, f)
	if f.step && terminal == nil {
		return cli.Misused(errors.New("--step needs a terminal"),
			"the same on a terminal, without --plain and -o; or --speed 1x instead of --step")
	}
	if f.output == "" {
		f.output = render.OutputText
	}
	write, err := render.NewEventWriter(s, f.output, false)
	if err != nil {
		return cli.Misused(err, "-o json or -o text")
	}
	from, err := query.ParseMoment(s, "--from", f.from)
	if err != nil {
		return err
	}
	to, err := query.ParseMoment(s, "--to", f.to)
	if err != nil {
		return err
	}
	nc, js, err := c.Open()
	if err != nil {
		return err
	}
	defer nc.Close()
	span, source, err := newSource(ctx, js, sel, from, to)
	if err != nil {
		return c.Explain(err, nc)
	}
	if terminal != nil {
		return playOnScreen(ctx, s, c, nc, terminal, span, source, sel, speed, f.step)
	}
	shown, err := replay.Lines{
		Out: s.Out, Speed: speed, Began: span.Began,
		Write:   func(w io.Writer, e replay.Frame) error { return write(w, e.Event, foreignOf(e)) },
		Skipped: render.GapLine(s, f.output),
	}.Play(ctx, source.Play(ctx, span.First))
	if err != nil {
		return c.Explain(err, nc)
	}
	if shown > 0 {
		return nil
	}
	return c.NothingMatched(ctx, s, nc, js, sel, "replay")
}

// terminalOf is the terminal to draw on; nil where lines are wanted.
func terminalOf(s cli.Streams, f replayFlags) *os.File {
	out, ok := s.Out.(*os.File)
	if f.plain || f.output != "" || !s.Terminal || !ok || !term.IsTerminal(int(out.Fd())) || s.Getenv("TERM") == "dumb" {
		return nil
	}
	return out
}

// newSource finds the range that is played, and makes a source of it.
func newSource(ctx context.Context, js jetstream.JetStream, sel query.Selection, from, to asof.Moment) (replay.Range, *replay.Log, error) {
	log, err := logstream.Inspect(ctx, js)
	if err != nil {
		return replay.Range{}, nil, err
	}
	span := replay.Range{Last: log.Last}
	if !to.IsNow() {
		if span.Last, err = asof.Sequence(ctx, js, to); err != nil {
			return span, nil, explainEnd("--to", err)
		}
	}
	switch {
	case log.Last == 0:
		return span, nil, cli.Failed(errors.New("the event log is empty"), "start an operator: its election is the first event")
	case from.IsNow():
		span.First = log.First - 1
	default:
		if span.First, err = asof.Sequence(ctx, js, from); err != nil {
			return span, nil, explainEnd("--from", err)
		}
		span.Began = from.Time
		if from.Sequence > 0 {
			span.First-- // so that it is the first that happens
		}
	}
	if span.First > span.Last {
		return span, nil, cli.Misused(fmt.Errorf("--from %s is after --to %s", from, to), "an earlier --from, or a later --to")
	}
	if err := sel.ResolveNamespaces(ctx, js, span.Last); err != nil {
		return span, nil, err
	}
	subjects := sel.Subjects()
	if subjects != nil && sel.Device == "" {
		// Presence and access of the devices too, so that their cells are right.
		subjects = append(subjects, eventlog.DeviceSubject(eventlog.Wildcard), eventlog.AccessSubject(eventlog.Wildcard))
	}
	span.Sparse = subjects != nil
	return span, &replay.Log{
		JS: js, ID: log.ID, First: log.First, Last: span.Last, Subjects: subjects,
		RolloutSubjects: []string{eventlog.DeploymentSubject(query.OrWildcard(sel.Namespace), query.OrWildcard(sel.Name))},
		Sees:            sel.Match,
	}, nil
}

// explainEnd says what to try where the log does not hold the first or the last moment
// of a replay.
func explainEnd(flag string, err error) error {
	said := fmt.Errorf("%s: %w", flag, err)
	switch {
	case errors.Is(err, asof.ErrBeforeBeginning) && flag == "--from":
		return cli.Failed(said, "leave --from out, to begin with the log's first event")
	case errors.Is(err, asof.ErrBeyondEnd) && flag == "--to":
		return cli.Failed(said, "leave --to out, to end with the log's last event")
	}
	return said
}

// playOnScreen folds what was before the replay's beginning, and plays from there.
func playOnScreen(ctx context.Context, s cli.Streams, c *query.Connection, nc *nats.Conn, terminal *os.File, span replay.Range, source *replay.Log, sel query.Selection, speed replay.Speed, step bool) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGHUP) // the terminal was closed
	defer stop()
	p := render.NewProgress(s, "folding the log")
	view, err := source.Before(ctx, span.First, p.Report)
	p.End()
	if err != nil {
		return c.Explain(err, nc)
	}
	player := replay.NewPlayer(span, replay.Filter{Device: sel.Device, Namespace: sel.Namespace, Deployment: sel.Name}, view)
	player.SetSpeed(speed)
	player.Pause(step)
	screen := replay.Screen{Zone: time.Local, Line: func(e replay.Frame) string { return render.TailLine(e.Event, foreignOf(e), s.Color) }}
	if s.Color {
		screen.Palette = replay.Colours()
	}
	if step {
		screen.Note = "space or → plays one event"
	}
	if err := replay.Run(ctx, replay.Terminal{Out: terminal, Stepwise: step}, source, player, screen); err != nil {
		return c.Explain(err, nc)
	}
	return nil
}

// foreignOf is why an event is foreign, its payload included.
func foreignOf(e replay.Frame) error {
	if e.Foreign != nil {
		return e.Foreign
	}
	return eventlog.Check(e.Event)
}
