package bisecting

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/deploy/fleetctl/render"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/projections/bisect"
	"fleet.nationtech.io/projections/timeline"
)

// answer is what was found, and the way there.
type answer struct {
	bisect.Result
	s      cli.Streams
	past   *past
	text   bool
	steps  []step
	event  eventlog.Event
	odd    error // why the event is foreign
	causes []eventlog.Event
}

// step is one look, and when that was.
type step struct {
	bisect.Step
	Time    time.Time `json:"time"`
	Missing string    `json:"missing,omitempty"` // what the predicate looked at and is not there
}

// step notes a look, and shows it.
func (a *answer) step(one bisect.Step) {
	now := step{Step: one, Time: a.past.at.UTC(), Missing: a.past.missing}
	a.steps = append(a.steps, now)
	if !a.text {
		return
	}
	line := fmt.Sprintf("%3d  %s  %8d  %s", len(a.steps), now.Time.Local().Format(render.TimeLayout), now.Sequence, now.Verdict)
	if one.No > 0 && one.Yes > 0 && one.Left > 0 {
		line = fmt.Sprintf("%-42s  it is after %d, at %d or before; about %d more", line, one.No, one.Yes, one.Left)
	}
	if now.Missing != "" {
		line += "  (there is no " + now.Missing + ")"
	}
	a.s.Tell("%s\n", line)
}

// read reads the event and what led to it.
func (a *answer) read(ctx context.Context, js jetstream.JetStream) error {
	for e, err := range reader.Read(ctx, js, reader.Options{From: a.Yes, Until: a.Yes, LogID: a.past.log.ID}) {
		if err != nil && !errors.Is(err, eventlog.ErrForeign) {
			return err
		}
		a.event, a.odd = e, err
	}
	if a.odd != nil {
		return nil // what it names is nobody's word
	}
	var before []eventlog.Event
	for e, err := range reader.Read(ctx, js, reader.Options{Subjects: timeline.CauseSubjects(a.event), Until: a.Yes, LogID: a.past.log.ID}) {
		switch {
		case errors.Is(err, eventlog.ErrForeign):
		case err != nil:
			return err
		default:
			before = append(before, e)
		}
	}
	a.causes = timeline.Causes(before, a.event)
	return nil
}

// document is the answer for programs.
type document struct {
	bisect.Result
	Exact  bool              `json:"exact"` // nothing between No and Yes was skipped
	Event  json.RawMessage   `json:"event"` // a CloudEvent
	Causes []json.RawMessage `json:"causes"`
	Steps  []step            `json:"steps"`
}

func (a *answer) show(asJSON bool) error {
	if asJSON {
		d := document{Result: a.Result, Exact: a.Exact(), Steps: a.steps, Causes: []json.RawMessage{}}
		for i, e := range append(slices.Clone(a.causes), a.event) {
			odd := a.odd
			if i < len(a.causes) {
				odd = nil
			}
			b, err := eventlog.CloudEventJSON(e, odd)
			if err != nil {
				return cli.Failed(fmt.Errorf("encode event %d: %w", e.Sequence, err), "")
			}
			if d.Event = b; i < len(a.causes) {
				d.Causes = append(d.Causes, b)
			}
		}
		_, err := render.Document(a.s, render.OutputJSON, d)
		return err
	}
	a.s.Tell("\nIt became true with\n%s\n", render.EventLine(a.event, a.odd, a.s.Color))
	if len(a.causes) > 0 {
		a.s.Tell("\nwhich these led to\n")
		for _, e := range a.causes {
			a.s.Tell("%s\n", render.EventLine(e, nil, a.s.Color))
		}
	}
	if a.Exact() {
		a.s.Tell("\nIt is not true at %d and true at %d.", a.No, a.Yes)
	} else {
		a.s.Tell("\nIt is not true at %d and true at %d; what is between was skipped, so it may be an event of these.", a.No, a.Yes)
	}
	if m := a.missing(); m != "" {
		a.s.Tell(" At %d there is no %s, which the predicate looks at, and that counts as not true.", a.No, m)
	}
	a.s.Tell(" This is one change; where it became true and untrue more than once since --good, there are others.\n")
	return nil
}

// missing is what the predicate did not find at the last moment at which it is not true.
func (a *answer) missing() string {
	for _, one := range a.steps {
		if one.Sequence == a.No {
			return one.Missing
		}
	}
	return ""
}
