package render_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/deploy/fleetctl/render"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/storytest"
	"fleet.nationtech.io/projections/trace"
)

// spansOf gives the spans of a story: those that ended, and those that go on.
func spansOf(w *storytest.Story) []trace.Span {
	f := trace.New(trace.Options{Untraced: true})
	var spans []trace.Span
	for _, e := range w.Events {
		spans = append(spans, f.Apply(e)...)
	}
	return append(spans, f.Open()...)
}

func waterfall(spans []trace.Span, devices, width int) string {
	var b strings.Builder
	render.Waterfall(cli.Streams{Out: &b, Width: width}, spans, devices)
	return b.String()
}

// twoBatches is a change whose first batch succeeds and whose second one fails on a device,
// waits for a person and goes on.
func twoBatches(t *testing.T) *storytest.Story {
	web := storytest.Key("shop", "web")
	w := storytest.New(t)
	applied := w.Apply(web, 1, storytest.Podman("app:1"), storytest.Batched)
	w.Start(web, 1, 3)
	first := w.Give("pi-01", web, 1, 1, applied)
	w.Wait(20 * time.Second)
	w.Step("pi-01", web, eventlog.AgentStepSucceeded, eventlog.Step{Step: "pull+create+start", Service: "web", Duration: 20, Seconds: []float64{18.5, 0.5, 1}, Revision: 1, At: w.Now()})
	w.Wait(2 * time.Second)
	w.State("pi-01", web, eventlog.DeploymentState{Phase: eventlog.PhaseRunning, Revision: 1, Assignment: first})
	w.Run(web, eventlog.RolloutBatchSucceeded, eventlog.Rollout{Revision: 1, Batch: 1})
	w.Run(web, eventlog.RolloutBatchStarted, eventlog.Rollout{Revision: 1, Batch: 2})
	second := w.Give("pi-02", web, 1, 2, applied)
	w.Give("pi-03", web, 1, 2, applied)
	missing := "manifest unknown:\x1b[31m app:1"
	w.Step("pi-02", web, eventlog.AgentStepFailed, eventlog.Step{Step: "pull", Service: "web", Duration: 0.5, Reason: "ImagePullFailed", Error: missing, Revision: 1, At: w.Now()})
	w.State("pi-02", web, eventlog.DeploymentState{Phase: eventlog.PhaseFailed, Reason: "ImagePullFailed", LastError: &missing, Revision: 1, Assignment: second})
	w.Run(web, eventlog.RolloutPaused, eventlog.Rollout{Revision: 1, Batch: 2, Reason: "BatchFailed", Message: "batch 2 failed: 1 device is bad"})
	return w
}

func TestTheSpansOfAChangeAreAWaterfall(t *testing.T) {
	t.Parallel()
	const want = `
SPAN                           START                           TOOK  STATUS
change                           +0s  ░░░░░░░░░░░░░░░░░░░░      33s  goes on
  batch 1                      +1.0s  ████████████████          26s  succeeded
    pi-01                      +2.0s   ███████████████          24s  succeeded
      web pull+create+start    +3.0s   █████████████            20s  succeeded
        pull                   +3.0s   ████████████             18s  succeeded
        create                  +22s               █          500ms  succeeded
        start                   +22s               █           1.0s  succeeded
      ready                     +23s               ███         3.0s  succeeded
      report running            +26s                 █           0s  succeeded
  batch 2                       +28s                  ░░░░     5.0s  goes on
      +33s  rollout paused: batch 2 failed: 1 device is bad
    pi-02                       +29s                   ░░░     4.0s  failed
        ImagePullFailed “manifest unknown:�[31m app:1”
      web pull                  +30s                    █     500ms  failed
      report failed             +32s                     █       0s  failed
    pi-03                       +30s                    ░░     3.0s  goes on
`
	got := waterfall(spansOf(twoBatches(t)), 20, 0)
	if diff := cmp.Diff(strings.TrimPrefix(want, "\n"), got); diff != "" {
		t.Errorf("(-want +got)\n%s\n%s", diff, got)
	}
	for _, width := range []int{0, 60, 80, 132, 500} {
		most := width
		if width == 0 {
			most = render.TextWidth
		}
		for line := range strings.Lines(waterfall(spansOf(twoBatches(t)), 20, width)) {
			if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > most {
				t.Errorf("on a terminal of %d columns a line has %d: %s", width, n, line)
			}
		}
	}
}

// With more devices than are shown, those that failed come first and the rest is counted.
func TestOfManyDevicesTheFailedAndTheSlowestAreShown(t *testing.T) {
	t.Parallel()
	web := storytest.Key("shop", "web")
	w := storytest.New(t)
	applied := w.Apply(web, 1, storytest.Podman("app:1"))
	w.Rollout(web, eventlog.RolloutStarted, 1, 10)
	given := map[string]uint64{}
	for i := range 10 {
		d := fmt.Sprintf("pi-%02d", i)
		given[d] = w.Assign(d, web, 1, applied)
	}
	for _, i := range []int{9, 0, 1, 2, 4, 5, 6, 7, 3, 8} {
		if i == 8 {
			w.Wait(10 * time.Second) // so it takes longest, and pi-03 is the next one
		}
		d := fmt.Sprintf("pi-%02d", i)
		s := eventlog.DeploymentState{Phase: eventlog.PhaseRunning, Assignment: given[d]}
		if i == 9 {
			s.Phase, s.Reason = eventlog.PhaseFailed, "CrashLoop"
		}
		w.State(d, web, s)
	}
	w.Rollout(web, eventlog.RolloutAborted, 1, 10)
	var names []string
	for line := range strings.Lines(waterfall(spansOf(w), 3, 0)) {
		if name := strings.Fields(line)[0]; strings.HasPrefix(name, "pi-") || name == "and" {
			names = append(names, strings.TrimSpace(strings.SplitN(strings.TrimSpace(line), "  ", 2)[0]))
		}
	}
	if diff := cmp.Diff([]string{"pi-09", "pi-08", "pi-03", "and 7 more devices"}, names); diff != "" {
		t.Errorf("(-want +got)\n%s\n%s", diff, waterfall(spansOf(w), 3, 0))
	}
	if all := waterfall(spansOf(w), 0, 0); strings.Contains(all, "more device") || strings.Count(all, "pi-") != 10 {
		t.Errorf("with 0 not all devices are shown:\n%s", all)
	}
}
