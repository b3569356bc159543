package decider_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/appender"
	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/operator/internal/decider"
	"fleet.nationtech.io/operator/internal/liveness"
	"fleet.nationtech.io/projections/fleet"
)

// relabel has a device carry so many labels of its own.
func (l *log) relabel(id string, labels int) {
	owned := map[string]eventlog.OwnedLabel{"site": {Value: "lab", Owner: "device"}}
	for i := range labels {
		owned[fmt.Sprintf("example.com/key-%d", i)] = eventlog.OwnedLabel{Value: "x", Owner: "kubectl"}
	}
	l.Do(func(s *decide.State) { s.SetDevice(id, owned) })
}

// What cannot be decided is told as such and never counts as settled, so a restored
// log is not declared to agree with the cluster; the rest goes on, and it is
// decided as soon as the object was put right.
func TestAFailedDecisionIsNeverSettledAndHoldsUpNothingElse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := labelled("b")
		l.relabel("a", 3000)
		begun := time.Now()
		var through []time.Duration
		var failed, settled []decide.Input
		b := decider.New(decider.Options{
			Fold:              l,
			Verdict:           func(string) liveness.Verdict { return liveness.Verdict{} },
			AwaitingFinalizer: func(fleet.Key) bool { return false },
			Settled:           func(ins []decide.Input) { settled = append(settled, ins...) },
			Failed:            func(ins []decide.Input) { failed = append(failed, ins...) },
			Appended:          func([]eventlog.Draft) {},
			InitialPassDone:   func(context.Context) error { through = append(through, time.Since(begun)); return nil },
			Now:               time.Now, Logger: slog.New(slog.DiscardHandler),
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		in := decider.Input{Input: decide.OfDevice("a")}
		go func() { done <- b.Run(ctx, l, func() { b.Add(in, decider.Input{Input: decide.OfDevice("b")}) }) }()
		time.Sleep(time.Minute)
		synctest.Wait()
		if diff := cmp.Diff([][]string{{"device.relabeled device.b"}}, l.rounds); diff != "" {
			t.Errorf("appended (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]decide.Input{decide.OfDevice("a")}, failed); diff != "" {
			t.Errorf("failed (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]decide.Input{decide.OfDevice("b")}, settled); diff != "" {
			t.Errorf("settled (-want +got):\n%s", diff)
		}
		if len(through) > 0 {
			t.Errorf("through after %v, though a decision failed", through)
		}
		if p := l.state.DeviceFailure("a"); p == nil || p.Reason != v1alpha1.ReasonTooLarge {
			t.Errorf("failure %v", p)
		}
		l.relabel("a", 1)
		b.Add(in)
		time.Sleep(time.Minute)
		synctest.Wait()
		if diff := cmp.Diff([]time.Duration{time.Minute}, through); diff != "" {
			t.Errorf("put right; through (-want +got):\n%s", diff)
		}
		if p := l.state.DeviceFailure("a"); p != nil {
			t.Errorf("put right, and still failed: %v", p)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// A server may take less than the log: what it refuses of one object is recorded as
// refused, and all that was decided beside it goes on.
func TestWhatTheServerFindsTooLargeIsRefusedAlone(t *testing.T) {
	t.Parallel()
	l := labelled("a", "b")
	l.refuse = func(d eventlog.Draft) error {
		if d.Type == eventlog.DeploymentApplied {
			return fmt.Errorf("append: %w", appender.ErrTooLarge)
		}
		return nil
	}
	spec := deployment()
	l.state.SetDeployment(spec)
	rounds, _, err := decideAll(t, l, false,
		decider.Input{Input: decide.OfDevice("a")}, decider.Input{Input: decide.OfDeployment(spec.Key)}, decider.Input{Input: decide.OfDevice("b")})
	if err != nil {
		t.Fatal(err)
	}
	want := [][]string{{"device.relabeled device.a"}, {"deployment.refused deployment.shop.web"}, {"device.relabeled device.b"}}
	if diff := cmp.Diff(want, rounds); diff != "" {
		t.Errorf("rounds (-want +got):\n%s", diff)
	}
	p, d := l.state.Failure(spec.Key), l.state.View().Deployments[spec.Key]
	if p == nil || p.Reason != v1alpha1.ReasonDecisionFailed || d.Refused == nil || d.Refused.Reason != p.Reason || d.Refused.Message != p.Message {
		t.Errorf("the condition says %+v, the log %+v", p, d.Refused)
	}
	if l.state.Placed(spec.Key) || l.state.Ended(spec.Key) {
		t.Error("taken for placed or ended")
	}
}

// A term that ended decides nothing more, whatever waits: the next leader does.
func TestNothingIsDecidedAfterTheTermEnded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := labelled("a", "b")
		ctx, end := context.WithCancel(t.Context())
		var b *decider.Decider
		b = decider.New(decider.Options{
			Fold: l, AwaitingFinalizer: func(fleet.Key) bool { return false }, Settled: func([]decide.Input) {},
			Appended: func([]eventlog.Draft) {
				if len(l.rounds) == 1 { // while the first is on its way, another comes, and the term ends
					b.Add(decider.Input{Input: decide.OfDevice("b")})
					end()
					synctest.Wait()
				}
			},
			Now: time.Now, Logger: slog.New(slog.DiscardHandler),
		})
		if err := b.Run(ctx, l, func() { b.Add(decider.Input{Input: decide.OfDevice("a")}) }); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff([][]string{{"device.relabeled device.a"}}, l.rounds); diff != "" {
			t.Errorf("decided (-want +got):\n%s", diff)
		}
	})
}
