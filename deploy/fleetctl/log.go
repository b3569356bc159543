package fleetctl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"fleet.nationtech.io/eventlog"
)

const (
	outputJSON = "json"
	outputText = "text"
)

// logFlags are what a person may say of the log.
type logFlags struct {
	follow             bool
	device, deployment string
	types              []string
	since, output      string
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
and say why; --type foreign shows them alone.`,
		Example: `  fleetctl log --since 15m
  fleetctl log -f --device edge-01
  fleetctl log --deployment default/hello --type desired --type state.reported
  fleetctl log -o json | jq -r 'select(.type | contains("offline")) | .subject'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return showLog(cmd.Context(), s, c, f) },
	}
	flags := cmd.Flags()
	flags.BoolVarP(&f.follow, "follow", "f", false, "go on with what happens, until Ctrl-C")
	flags.StringVar(&f.device, "device", "", "only what is about this device")
	flags.StringVar(&f.deployment, "deployment", "", "only what is about this Deployment: NAMESPACE/NAME or NAME")
	flags.StringSliceVar(&f.types, "type", nil, "only these types, such as state.reported, or their first words, such as rollout")
	flags.StringVar(&f.since, "since", "", "only since then: 15m, 2h, 3d, or a moment in RFC 3339")
	flags.StringVarP(&f.output, "output", "o", "", "json or text (default: text on a terminal, else json)")
	c.completions(cmd)
	return cmd
}

func showLog(ctx context.Context, s Streams, c *connection, f logFlags) error {
	sel, err := newSelection(f.device, f.deployment, f.types)
	if err != nil {
		return misused(err, display(s.Name)+" log --help")
	}
	since, err := parseSince(f.since, s.Now())
	if err != nil {
		return misused(err, "--since 15m")
	}
	write, err := writer(s, f.output)
	if err != nil {
		return misused(err, "-o json or -o text")
	}
	nc, js, err := c.open()
	if err != nil {
		return err
	}
	defer nc.Close()

	shown := 0
	for e, err := range events(ctx, js, f.follow, eventlog.ReadOptions{Since: since, Subjects: sel.subjects()}) {
		if err != nil && !errors.Is(err, eventlog.ErrForeign) {
			if f.follow && ctx.Err() != nil {
				return nil // a person ended it
			}
			return c.explain(err, nc)
		}
		if err == nil {
			err = eventlog.Check(e)
		}
		if !sel.match(e, err) {
			continue
		}
		if err := write(s.Out, e, err); err != nil {
			return failed(fmt.Errorf("write: %w", err), "")
		}
		shown++
	}
	if shown == 0 && s.Terminal {
		s.warn("No event matches.\n")
	}
	return nil
}

func events(ctx context.Context, js jetstream.JetStream, follow bool, o eventlog.ReadOptions) iter.Seq2[eventlog.Event, error] {
	if follow {
		return eventlog.Follow(ctx, js, o)
	}
	return eventlog.Read(ctx, js, o)
}

// writer gives the function that writes one event.
func writer(s Streams, output string) (func(io.Writer, eventlog.Event, error) error, error) {
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
			_, err := io.WriteString(w, textLine(e, foreign, s.Color)+"\n")
			return err
		}, nil
	}
	return nil, fmt.Errorf("-o %q is none of the outputs json and text", output)
}
