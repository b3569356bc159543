package enrolling

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"fleet.nationtech.io/deploy/enroll"
	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/deploy/fleetctl/render"
)

// Result is what came of one device.
type Result struct {
	enroll.Outcome
	OK      bool          `json:"ok"`
	Changed []enroll.Name `json:"changed"`
	Error   string        `json:"error,omitempty"`
	Step    enroll.Name   `json:"failed_step,omitempty"`
	Try     string        `json:"try,omitempty"`
	Seconds float64       `json:"seconds"`
}

// Summary is what came of all devices of an inventory.
type Summary struct {
	Devices []Result `json:"devices"`
	OK      int      `json:"ok"`
	Failed  int      `json:"failed"`
}

// NewResult puts an outcome and its error into a result.
func NewResult(o enroll.Outcome, err error, seconds float64) Result {
	r := Result{Outcome: o, OK: err == nil, Changed: o.Changed(), Seconds: seconds}
	if r.Changed == nil {
		r.Changed = []enroll.Name{}
	}
	if r.Steps == nil {
		r.Steps = []enroll.Step{}
	}
	if err != nil {
		r.Error = err.Error()
		var failed *enroll.Error
		if errors.As(err, &failed) {
			r.Step, r.Try = failed.Step, failed.Try
		}
	}
	return r
}

var marks = map[enroll.State]string{
	enroll.Same: "✔", enroll.Change: "✔", enroll.Planned: "+", enroll.Kept: "•", enroll.Unknown: "?", enroll.Refused: "✘", enroll.Failed: "✘",
}

// ShowStep writes one step: to the answer, or beside it where that is JSON.
func ShowStep(s cli.Streams, step enroll.Step, asJSON bool) {
	tell := s.Tell
	if asJSON {
		tell = s.Warn
	}
	mark := marks[step.State]
	tell("%s %-13s %s\n", mark, step.Name, indented(step.Detail, "  "+strings.Repeat(" ", 14)))
	if step.Diff != "" {
		tell("%s\n", indented("  "+strings.TrimRight(step.Diff, "\n"), "  "))
	}
}

// indented makes text of devices harmless, and puts its further lines below the first.
func indented(text, by string) string {
	lines := strings.Split(text, "\n")
	for i, l := range lines {
		lines[i] = render.Printable(l)
	}
	return strings.Join(lines, "\n"+by)
}

// ShowResult writes one line about a device of an inventory.
func ShowResult(s cli.Streams, r Result, done string) {
	if !r.OK {
		s.Tell("✘ %-20s %s\n", r.Device, oneLine(r.Error))
		return
	}
	what := "nothing changed"
	if len(r.Changed) > 0 {
		what = "changed " + join(r.Changed)
	}
	if r.DryRun {
		var planned []enroll.Name
		for _, step := range r.Steps {
			if step.State == enroll.Planned {
				planned = append(planned, step.Name)
			}
		}
		done, what = "would be "+done, "would change "+join(planned)
	}
	s.Tell("✔ %-20s %s: %s (%.1f s)\n", r.Device, done, what, r.Seconds)
}

// ShowSummary writes the end of an inventory: how many, and a cause for each that failed.
func ShowSummary(s cli.Streams, sum Summary, done string) {
	are := "are"
	if len(sum.Devices) > 0 && sum.Devices[0].DryRun {
		are = "would be"
	}
	s.Tell("\n%d of %d devices %s %s", sum.OK, len(sum.Devices), are, done)
	if sum.Failed == 0 {
		s.Tell("\n")
		return
	}
	s.Tell("; %d failed:\n", sum.Failed)
	for _, r := range sum.Devices {
		if r.OK {
			continue
		}
		s.Tell("  %-20s %s\n", r.Device, oneLine(r.Error))
		if r.Try != "" {
			s.Tell("  %-20s Try: %s\n", "", oneLine(r.Try))
		}
	}
}

func oneLine(text string) string { return render.Printable(strings.ReplaceAll(text, "\n", " | ")) }

func join(names []enroll.Name) string {
	if len(names) == 0 {
		return "nothing"
	}
	all := make([]string, len(names))
	for i, n := range names {
		all[i] = string(n)
	}
	return strings.Join(all, ", ")
}

// Encode writes an answer for a program.
func Encode(s cli.Streams, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	s.Tell("%s\n", b)
	return nil
}
