package decider_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/appender"
	"fleet.nationtech.io/eventlog/benchtest"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/operator/internal/decider"
	"fleet.nationtech.io/operator/internal/state"
	"fleet.nationtech.io/projections/buckets"
	"fleet.nationtech.io/projections/fleet"
)

// BenchmarkOneDeploymentForManyDevices measures from the moment when a new
// Deployment reaches the operator's state (what its informer does, a few
// milliseconds after the API server's answer) to the last desired event in the
// log, acknowledged, with the fold and the buckets kept beside it; and in turns
// with it a bare asynchronous publish of the same messages to a stream of the same
// configuration with the same projections. The bare side's messages are made
// before the clock starts. Each turn has a new server.
func BenchmarkOneDeploymentForManyDevices(b *testing.B) {
	for _, c := range []struct{ devices, rounds int }{{10_000, 9}, {100_000, 5}} {
		b.Run(fmt.Sprintf("%d_devices", c.devices), func(b *testing.B) {
			samples := benchtest.Alternate(b, c.rounds, decideAndAppend(b, c.devices), bareAppend(b, c.devices))
			for _, s := range samples {
				b.Logf("one Deployment, %d devices, %s: %.3f s (%.3f to %.3f)", c.devices, s.Name,
					benchtest.Median(s.Wall).Seconds(), slices.Min(s.Wall).Seconds(), slices.Max(s.Wall).Seconds())
			}
			wall, cpu := benchtest.Ratios(samples[0].Wall, samples[1].Wall), benchtest.Ratios(samples[0].CPU, samples[1].CPU)
			b.Logf("decided and appended ÷ bare publish (goal ≤ 1.25): %s; of processor time, server, fold and all: %s", benchtest.Spread(wall), benchtest.Spread(cpu))
			b.ReportMetric(benchtest.Median(wall), "ratio")
			b.ReportMetric(benchtest.Median(cpu), "cpu-ratio")
		})
	}
}

func deployment() decide.Spec {
	return decide.SpecOf(&v1alpha1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", UID: "u1", Generation: 1},
		Spec: v1alpha1.DeploymentSpec{
			Rollout:        v1alpha1.RolloutSpec{Strategy: v1alpha1.RolloutImmediate},
			TargetSelector: metav1.LabelSelector{MatchLabels: map[string]string{"site": "lab"}},
			Score: v1alpha1.ReconcileScore{Type: v1alpha1.ScorePodmanV0, Data: v1alpha1.ScoreData{Services: []v1alpha1.Service{{
				Name: "web", Image: "docker.io/library/nginx:1.27", Ports: []string{"8080:80"},
				Env:         map[string]v1alpha1.EnvValue{"GREETING": "hello", "REGION": "north", "LOG_LEVEL": "info"},
				HealthCheck: &v1alpha1.HealthCheck{HTTP: &v1alpha1.HTTPCheck{Port: 80, Path: "/healthz"}},
			}}}},
		},
	})
}

func device(i int) string { return fmt.Sprintf("device-%06d", i) }

// server starts one with the log and its projections. stop ends it, so that what
// it still has to do is not done at the cost of the next measurement.
func server(b *testing.B) (nc *nats.Conn, js jetstream.JetStream, stop func()) {
	b.Helper()
	s := natstest.Start(b)
	nc, js = s.Connect(b)
	if _, err := logstream.Ensure(b.Context(), js, logstream.Config{}); err != nil {
		b.Fatal(err)
	}
	if _, err := buckets.Ensure(b.Context(), js, buckets.Config{}); err != nil {
		b.Fatal(err)
	}
	return nc, js, func() { nc.Close(); s.Stop() }
}

func bareAppend(b *testing.B, n int) benchtest.Turn {
	b.Helper()
	var stop func()
	var js jetstream.JetStream
	var msgs []*nats.Msg
	return benchtest.Turn{
		Name: "bare PublishMsgAsync",
		Prepare: func(int) {
			var nc *nats.Conn
			var err error
			nc, _, stop = server(b)
			js, err = jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(4096),
				jetstream.WithPublishAsyncErrHandler(func(_ jetstream.JetStream, m *nats.Msg, err error) { b.Errorf("%s: %v", m.Subject, err) }))
			if err != nil {
				b.Fatal(err)
			}
			spec := deployment()
			msgs = make([]*nats.Msg, n)
			for i := range msgs {
				msgs[i] = eventlog.Draft{
					Subject: eventlog.DesiredSubject(device(i), "web"), Type: eventlog.DesiredAssigned, Time: time.Now(), CorrelationID: "shop/web@1",
					CausationID: "01JDF00000000000000000CAUSE", Namespace: "shop", Revision: 1, Data: spec.Score,
				}.Message("operator", fmt.Sprintf("01JDF%021d", i))
			}
		},
		Run: func() {
			for _, m := range msgs {
				if _, err := js.PublishMsgAsync(m, jetstream.WithStallWait(time.Minute)); err != nil {
					b.Fatal(err)
				}
			}
			<-js.PublishAsyncComplete()
		},
		Settle: func() { stop() },
	}
}

func decideAndAppend(b *testing.B, n int) benchtest.Turn {
	b.Helper()
	var o *half
	return benchtest.Turn{
		Name:    "decided and appended",
		Prepare: func(int) { o = newHalf(b, n) },
		Run:     func() { o.deploy(b) },
		Settle:  func() { o.check(b) },
	}
}

// half is an operator's half that decides, with its fold and its log.
type half struct {
	queue   *decider.Queue
	fold    *state.Fold
	devices int
	all     chan struct{} // closes when all desired events are acknowledged
	settled chan struct{}
	done    chan error
	stop    func()
}

func newHalf(b *testing.B, n int) *half {
	b.Helper()
	nc, js, stop := server(b)
	ctx, cancel := context.WithCancel(b.Context())
	o := &half{devices: n, all: make(chan struct{}), settled: make(chan struct{}, 1), done: make(chan error, 2)}
	o.fold = state.New(state.Options{JS: js, Logger: slog.New(slog.DiscardHandler)})
	go func() { o.done <- o.fold.Run(ctx, nobody{}) }()
	o.stop = func() {
		cancel()
		for range 2 {
			if err := <-o.done; err != nil && ctx.Err() == nil {
				b.Error(err)
			}
		}
		stop()
	}
	a, err := appender.New(nc, appender.Options{Source: "operator"})
	if err != nil {
		b.Fatal(err)
	}
	token, err := a.Elect(ctx, eventlog.Leader{Identity: "bench"}, time.Now())
	if err != nil {
		b.Fatal(err)
	}
	if err := o.fold.WaitFor(ctx, token); err != nil {
		b.Fatal(err)
	}
	o.fold.Do(func(s *decide.State) {
		for i := range n {
			s.SetDevice(device(i), map[string]eventlog.OwnedLabel{
				"site": {Value: "lab", Owner: eventlog.OwnerDevice}, v1alpha1.LabelDevice: {Value: device(i), Owner: "fleet-operator"},
			})
		}
	})
	o.queue = decider.NewQueue()
	d := decider.New(decider.Options{
		Queue: o.queue, State: o.fold, Now: time.Now, Logger: slog.New(slog.DiscardHandler),
		Verdict:           func(string) decide.Verdict { return decide.Verdict{} },
		AwaitingFinalizer: func(fleet.Key) bool { return false },
	})
	watch := &benchObserver{half: o}
	leads := make(chan struct{})
	go func() { o.done <- d.Run(ctx, a, watch, func() { close(leads) }) }()
	<-leads
	return o
}

// nobody observes the state.
type nobody struct{}

func (nobody) Changed([]fleet.Key, []string) {}

// benchObserver tells a half when all devices are assigned, and when that is settled.
type benchObserver struct {
	observer
	half     *half
	assigned int
}

// Settled implements decider.Observer.
func (o *benchObserver) Settled([]decide.Input) {
	select {
	case o.half.settled <- struct{}{}:
	default:
	}
}

// Appended implements decider.Observer.
func (o *benchObserver) Appended(drafts []eventlog.Draft) {
	for i := range drafts {
		if drafts[i].Type == eventlog.DesiredAssigned {
			o.assigned++
		}
	}
	if o.assigned == o.half.devices {
		o.assigned = 0
		close(o.half.all)
	}
}

// deploy returns once the last desired event is acknowledged.
func (o *half) deploy(b *testing.B) {
	spec := deployment()
	o.fold.Do(func(s *decide.State) { s.SetDeployment(spec) })
	o.queue.AddDeployment(spec.Key)
	select {
	case <-o.all:
	case err := <-o.done:
		b.Fatal(err)
	}
}

func (o *half) check(b *testing.B) {
	b.Helper()
	select {
	case <-o.settled:
	case err := <-o.done:
		b.Fatal(err)
	}
	o.fold.Do(func(s *decide.State) {
		if got := s.View().Deployments[deployment().Key].Counts.Matched; got != o.devices {
			b.Fatalf("%d devices were assigned, want %d", got, o.devices)
		}
	})
	o.stop()
}
