package render

import (
	"fmt"
	"io"
	"strings"
	"time"

	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/eventlog"
)

// Outputs of commands that print events, findings or one answer.
const (
	OutputJSON = "json"
	OutputText = "text"
)

// eventWriter writes one event. foreign is why the message is foreign, or nil.
type eventWriter func(w io.Writer, e eventlog.Event, foreign error) error

// NewEventWriter gives the writer for an output; empty is text on a terminal, else
// JSON. eventTime has lines of text begin with the event time instead of the log time.
func NewEventWriter(s cli.Streams, output string, eventTime bool) (eventWriter, error) {
	line := EventLine
	if eventTime {
		line = eventTimeLine
	}
	if output == "" {
		output = OutputJSON
		if s.Terminal {
			output = OutputText
		}
	}
	switch output {
	case OutputJSON:
		return func(w io.Writer, e eventlog.Event, foreign error) error {
			b, err := eventlog.CloudEventJSON(e, foreign)
			if err != nil {
				return err
			}
			_, err = w.Write(append(b, '\n'))
			return err
		}, nil
	case OutputText:
		return func(w io.Writer, e eventlog.Event, foreign error) error {
			_, err := io.WriteString(w, line(e, foreign, s.Color)+"\n")
			return err
		}, nil
	}
	return nil, fmt.Errorf("unknown output %q; -o takes json or text", output)
}

// TailLine is one event below the cells: as in the log, without the date, which the
// screen's clock has.
func TailLine(e eventlog.Event, foreign error, color bool) string {
	line := EventLine(e, foreign, color)
	date := e.Recorded.Local().Format(time.DateOnly) + " "
	return strings.Replace(line, date, "", 1)
}

// GapLine tells in the output's own way that a gap was skipped. Programs see it by the
// events' times.
func GapLine(s cli.Streams, output string) func(io.Writer, string) error {
	if output == OutputJSON {
		return nil
	}
	return func(w io.Writer, text string) error {
		if s.Color {
			text = dim + text + plain
		}
		_, err := io.WriteString(w, text+"\n")
		return err
	}
}
