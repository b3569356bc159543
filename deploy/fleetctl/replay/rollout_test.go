package replay_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/deploy/fleetctl/replay"
	"fleet.nationtech.io/eventlog"
)

// drawn is a part of a bar: how long it is says nothing here.
var drawn = regexp.MustCompile(`#+|x+|-+|\.\.+`)

// A rollout in batches is shown by its run: devices that run well what was before count
// as waiting, until their batch is open and they were given the target.
func TestABarShowsTheOpenBatchAndWhatKeepsIt(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	devices := []string{"edge-01", "edge-02", "edge-03", "edge-04"}
	for _, d := range devices {
		s.presence(d, eventlog.DeviceOnline)
	}
	s.apply("hello", "web:1", 1)
	s.rollout("hello", eventlog.RolloutStarted, 1, 4)
	for _, d := range devices {
		s.assign(d, "hello", "web:1", 1)
		s.report(d, "hello", eventlog.PhaseRunning, "web:1")
	}
	s.rollout("hello", eventlog.RolloutCompleted, 1, 4)
	s.apply("hello", "web:2", 2)
	run := func(kind eventlog.Type, r eventlog.Rollout) {
		if r.Kind == "" {
			r.Kind, r.Revision, r.ScoreHash = eventlog.RunUpdate, 2, eventlog.Hash(score("web:2"))
		}
		s.tell(eventlog.DeploymentSubject("default", "hello"), kind, r)
	}
	var got []string
	look := func() {
		p := s.settle(s.player(replay.Filter{}))
		p.End()
		s.settle(p).Refresh()
		for _, l := range strings.Split(screen(90, 24).Draw(p), "\n") {
			if strings.HasPrefix(l, "default/hello") {
				got = append(got, drawn.ReplaceAllStringFunc(strings.TrimSpace(l), func(run string) string { return run[:1] }))
			}
		}
	}
	look()
	run(eventlog.RolloutStarted, eventlog.Rollout{Devices: 4, Batches: []eventlog.PlannedBatch{{Cut: 1, Size: 1}, {Cut: 1<<64 - 1, Size: 3}}})
	look()
	s.assign("edge-01", "hello", "web:2", 2)
	look()
	s.report("edge-01", "hello", eventlog.PhaseFailed, "web:2")
	run(eventlog.RolloutPaused, eventlog.Rollout{Reason: "BatchFailed"})
	look()
	s.report("edge-01", "hello", eventlog.PhaseRunning, "web:2")
	run(eventlog.RolloutResumed, eventlog.Rollout{})
	run(eventlog.RolloutBatchStarted, eventlog.Rollout{Batch: 2})
	run(eventlog.RolloutPaused, eventlog.Rollout{Request: 1})
	look()
	run(eventlog.RolloutStarted, eventlog.Rollout{Kind: eventlog.RunRollback, Revision: 1, ScoreHash: eventlog.Hash(score("web:1")), Score: score("web:1"), Devices: 4})
	look()
	s.assign("edge-01", "hello", "web:1", 1)
	s.report("edge-01", "hello", eventlog.PhaseRunning, "web:1")
	run(eventlog.RolloutRolledBack, eventlog.Rollout{Kind: eventlog.RunRollback, Revision: 1})
	look()
	want := []string{
		"default/hello r1   [#] 4/4",
		"default/hello r2   [-] 0/4 4 waiting batch 1/2",
		"default/hello r2   [.-] 0/4 1 pending 3 waiting batch 1/2",
		"default/hello r2   [x-] 0/4 1 failed 3 waiting batch 1/2 paused",
		"default/hello r2   [#-] 1/4 3 waiting batch 2/2 on hold",
		"default/hello r1   [#-] 3/4 1 waiting rolling back on hold",
		"default/hello r1   [#] 4/4 rolled back on hold",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("bars (-want +got):\n%s", diff)
	}
}
