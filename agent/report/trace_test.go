package report_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"fleet.nationtech.io/agent/bus/bustest"
	"fleet.nationtech.io/agent/report"
	"fleet.nationtech.io/agent/store"
	"fleet.nationtech.io/eventlog"
)

// What a device says because of a change names its trace, until the device says that it
// runs: what happens to it later is not of the change.
func TestReportsNameTheTraceUntilTheChangeRuns(t *testing.T) {
	t.Parallel()
	const traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	w := newWorld(t)
	assigned := store.Desired{Deployment: "web", Revision: 2, Sequence: 7, Traceparent: traceparent}
	if err := w.store.Apply([]store.Desired{assigned}, store.Position{LogID: "log", Sequence: 7}); err != nil {
		t.Fatal(err)
	}
	nc, _ := w.server.Connect(t, nats.CustomInboxPrefix(eventlog.InboxPrefix(device)), nats.ReconnectBufSize(-1))
	r, err := report.New(report.Options{Device: device, Store: w.store, Bus: bustest.Of(t, nc), PulseInterval: time.Hour, Assigned: w.store.Assigned})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	defer func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	step := func(revision uint64) {
		r.Journal(eventlog.AgentStepSucceeded, eventlog.Step{Deployment: "web", Step: "start", Revision: revision, At: time.Now()})
	}
	say := func(phase eventlog.Phase, assignment uint64, reason string) {
		r.State(eventlog.DeploymentState{DeviceID: device, Deployment: "web", Phase: phase, Reason: reason, Assignment: assignment, LastEventAt: time.Now()})
	}
	var got []string
	told := func(n int) {
		t.Helper()
		events := w.until("the log has it", func(es []eventlog.Event) bool { return len(es) >= n })
		got = got[:0]
		for _, e := range events {
			named := "no trace"
			if e.Traceparent == traceparent {
				named = "the trace"
			}
			got = append(got, string(e.Type)+": "+named)
		}
	}
	step(1) // of what it had before
	told(1)
	step(2)
	told(2)
	say(eventlog.PhasePending, 6, "Earlier")
	told(3)
	say(eventlog.PhasePending, 7, "Pulling")
	told(4)
	say(eventlog.PhaseRunning, 7, "")
	told(5)
	say(eventlog.PhaseFailed, 7, "CrashLoop")
	told(6)
	step(2)
	told(7)
	want := []string{
		"agent.step_succeeded: no trace", "agent.step_succeeded: the trace", "state.reported: no trace",
		"state.reported: the trace", "state.reported: the trace", "state.reported: no trace", "agent.step_succeeded: no trace",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error("(-want +got)\n" + diff)
	}
}
