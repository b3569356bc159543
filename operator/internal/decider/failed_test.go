package decider_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/appender"
	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/operator/internal/decider"
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
		var done []time.Duration
		o := &observer{initialPassDone: func() error { done = append(done, time.Since(begun)); return nil }}
		d, queue := newDecider(l, false)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- d.Run(ctx, l, o, func() { queue.AddDevices("a", "b") }) }()
		time.Sleep(time.Minute)
		synctest.Wait()
		if diff := cmp.Diff([][]string{{"device.relabeled device.b"}}, l.rounds); diff != "" {
			t.Errorf("appended (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]decide.Input{decide.OfDevice("a")}, o.failed); diff != "" {
			t.Errorf("failed (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]decide.Input{decide.OfDevice("b")}, o.settled); diff != "" {
			t.Errorf("settled (-want +got):\n%s", diff)
		}
		if len(done) > 0 {
			t.Errorf("the initial pass is done after %v, though a decision failed", done)
		}
		if p := l.state.DeviceFailure("a"); p == nil || p.Reason != v1alpha1.ReasonTooLarge {
			t.Errorf("failure %v", p)
		}
		l.relabel("a", 1)
		queue.AddDevices("a")
		time.Sleep(time.Minute)
		synctest.Wait()
		if diff := cmp.Diff([]time.Duration{time.Minute}, done); diff != "" {
			t.Errorf("put right; the initial pass is done (-want +got):\n%s", diff)
		}
		if p := l.state.DeviceFailure("a"); p != nil {
			t.Errorf("put right, and still failed: %v", p)
		}
		cancel()
		if err := <-ended; err != nil {
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
		d, queue := newDecider(l, false)
		o := &observer{appended: func([]eventlog.Draft) {
			if len(l.rounds) == 1 { // while the first is on its way, another comes, and the term ends
				queue.AddDevices("b")
				end()
				synctest.Wait()
			}
		}}
		if err := d.Run(ctx, l, o, func() { queue.AddDevices("a") }); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff([][]string{{"device.relabeled device.a"}}, l.rounds); diff != "" {
			t.Errorf("decided (-want +got):\n%s", diff)
		}
	})
}
