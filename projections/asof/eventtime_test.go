package asof_test

import (
	"context"
	"crypto/rand"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/projections/asof"
	"fleet.nationtech.io/projections/asof/asoftest"
	"fleet.nationtech.io/projections/checkpoint"
	"fleet.nationtech.io/projections/fleet"
)

// What a device could say only later is where it happened.
func TestAsHappened(t *testing.T) {
	t.Parallel()
	_, js := natstest.Start(t).Connect(t)
	l := asoftest.NewLife(t, js, 3)
	report := func(phase eventlog.Phase, at time.Time) {
		t.Helper()
		d, err := eventlog.NewDraft(eventlog.StateSubject("pi-01", "web"), eventlog.StateReported, at, eventlog.DeploymentState{
			DeviceID: "pi-01", Deployment: "web", Phase: phase, LastEventAt: at,
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := js.PublishMsg(t.Context(), d.Message("test", rand.Text())); err != nil {
			t.Fatal(err)
		}
	}
	report(eventlog.PhaseRunning, time.Now().Add(-time.Hour))
	l.Append(20)
	middle := time.Now()
	l.Append(20)
	report(eventlog.PhaseFailed, middle.Add(-time.Minute)) // it was offline

	if _, err := (checkpoint.Store{JS: js}).Save(t.Context(), logOf(t, js).ID, at(t, js, asof.Moment{}, asof.Options{})); err != nil {
		t.Fatal(err)
	}
	phase := func(m asof.Moment, o asof.Options) eventlog.Phase {
		t.Helper()
		return at(t, js, m, o).Devices["pi-01"].Pair("web").Reported.Phase
	}
	for _, m := range []asof.Moment{{Time: middle}, {Sequence: 21}} {
		if got := phase(m, asof.Options{}); got != eventlog.PhaseRunning {
			t.Errorf("%s, as the log knew it: %s", m, got)
		}
		if got := phase(m, asof.Options{AsHappened: true}); got != eventlog.PhaseFailed {
			t.Errorf("%s, as it happened: %s", m, got)
		}
	}
	if got := phase(asof.Moment{}, asof.Options{AsHappened: true}); got != eventlog.PhaseFailed {
		t.Errorf("now, as it happened: %s", got)
	}
}

func at(t *testing.T, js jetstream.JetStream, m asof.Moment, o asof.Options) *fleet.View {
	t.Helper()
	v, err := asof.At(t.Context(), js, m, o)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestAFollowerBeginsFromACheckpointAndStaysCurrent(t *testing.T) {
	t.Parallel()
	_, js := natstest.Start(t).Connect(t)
	f := newFixture(t, js)
	begun, last, err := asof.Follow(t.Context(), js, asof.Options{})
	if err != nil {
		t.Fatal(err)
	}
	begun.Do(func(v *fleet.View) {
		if v.Sequence != 500 {
			t.Errorf("it begins at sequence %d, want 500", v.Sequence)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	done := make(chan error, 1)
	go func() { done <- begun.Run(ctx) }()
	if err := begun.WaitFor(ctx, last); err != nil {
		t.Fatal(err)
	}
	f.life.Append(50)
	if err := begun.WaitFor(ctx, last+50); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	begun.Do(func(v *fleet.View) { same(t, "followed", asoftest.Encode(t, v), asoftest.Brute(t, js, 650)[650]) })
}
