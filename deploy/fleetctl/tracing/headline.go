package tracing

import (
	"fmt"
	"strings"

	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/deploy/fleetctl/render"
	"fleet.nationtech.io/projections/timeline"
	"fleet.nationtech.io/projections/trace"
)

// draw writes a change as text: what it is, and its spans.
func draw(s cli.Streams, d *Document, devices int) {
	s.Tell("%s/%s, revision %d: %s\n", d.Namespace, d.Name, d.Revision, d.summary())
	s.Tell("Runs %s\nTrace %s\n\n", numbers(d.Runs), d.TraceID)
	render.Waterfall(s, d.spans, devices)
}

// summary says how long the change took, from when on, and who made it.
func (d *Document) summary() string {
	for i := range d.spans {
		s := &d.spans[i]
		if s.Kind != trace.KindChange {
			continue
		}
		took := timeline.SpanText(s.Took().Seconds())
		text := string(s.Outcome) + " after " + took
		if s.Sequence == 0 {
			text = "goes on, " + took + " up to its last event"
		}
		text += "\nBegan " + s.Begin.Local().Format(render.TimeLayout)
		if s.Actor != "" {
			text += ", by " + render.Printable(s.Actor)
		}
		return text
	}
	return fmt.Sprintf("it has no span up to event #%d", d.Until)
}

// numbers lists runs as other commands name them.
func numbers(runs []uint64) string {
	if len(runs) == 0 {
		return "none"
	}
	var words []string
	for _, r := range runs {
		words = append(words, fmt.Sprintf("#%d", r))
	}
	return strings.Join(words, ", ")
}
