package brain_test

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/operator/internal/brain"
	"fleet.nationtech.io/operator/internal/fold"
	"fleet.nationtech.io/operator/internal/liveness"
	"fleet.nationtech.io/projections"
	"fleet.nationtech.io/projections/fleet"
)

// BenchmarkOneDeploymentForManyDevices measures from the moment when a new
// Deployment reaches the operator's state (what its informer does, a few
// milliseconds after the API server's answer) to the last desired event in the
// log, acknowledged, with the fold and the buckets kept beside it; and in the
// same run a bare asynchronous publish of the same messages to a stream of the same
// configuration with the same projections. Goal: a ratio of at most 1.5.
func BenchmarkOneDeploymentForManyDevices(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		b.Run(fmt.Sprintf("%d_devices", n), func(b *testing.B) {
			for b.Loop() {
				bare := bareAppend(b, n)
				ours := decideAndAppend(b, n)
				ratio := ours.Seconds() / bare.Seconds()
				b.ReportMetric(ours.Seconds(), "s/decided")
				b.ReportMetric(bare.Seconds(), "s/bare")
				b.ReportMetric(ratio, "ratio")
				fmt.Printf("one Deployment, %d devices: decided and appended in %.2f s, bare publish %.2f s, ratio %.2f (goal <= 1.5)\n",
					n, ours.Seconds(), bare.Seconds(), ratio)
			}
		})
	}
}

func deployment() decide.Spec {
	return decide.SpecOf(&v1alpha1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", UID: "u1", Generation: 1},
		Spec: v1alpha1.DeploymentSpec{
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
	if _, err := eventlog.EnsureLog(b.Context(), js, eventlog.LogConfig{}); err != nil {
		b.Fatal(err)
	}
	if _, err := projections.Ensure(b.Context(), js, projections.Config{}); err != nil {
		b.Fatal(err)
	}
	return nc, js, func() { nc.Close(); s.Stop(); runtime.GC() }
}

func bareAppend(b *testing.B, n int) time.Duration {
	b.Helper()
	nc, _, stop := server(b)
	defer stop()
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(4096))
	if err != nil {
		b.Fatal(err)
	}
	spec := deployment()
	msgs := make([]*nats.Msg, n)
	for i := range msgs {
		msgs[i] = eventlog.Draft{
			Subject: eventlog.DesiredSubject(device(i), "web"), Type: eventlog.DesiredAssigned, Time: time.Now(), CorrelationID: "shop/web@1",
			CausationID: "01JDF00000000000000000CAUSE", Namespace: "shop", Revision: 1, Data: spec.Score,
		}.Message("operator", fmt.Sprintf("01JDF%021d", i))
	}
	begun := time.Now()
	for _, m := range msgs {
		if _, err := js.PublishMsgAsync(m, jetstream.WithStallWait(time.Minute)); err != nil {
			b.Fatal(err)
		}
	}
	<-js.PublishAsyncComplete()
	return time.Since(begun)
}

func decideAndAppend(b *testing.B, n int) time.Duration {
	b.Helper()
	nc, js, stop := server(b)
	defer stop()
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	f := fold.New(fold.Options{JS: js, Logger: slog.New(slog.DiscardHandler), Changed: func([]fleet.Key, []string) {}})
	done := make(chan error, 2)
	go func() { done <- f.Run(ctx) }()
	a, err := eventlog.NewAppender(nc, eventlog.AppenderOptions{Source: "operator"})
	if err != nil {
		b.Fatal(err)
	}
	token, err := a.Elect(ctx, eventlog.Leader{Identity: "bench"}, time.Now())
	if err != nil {
		b.Fatal(err)
	}
	if err := f.WaitFor(ctx, token); err != nil {
		b.Fatal(err)
	}
	f.Do(func(s *decide.State) {
		for i := range n {
			s.SetDevice(device(i), map[string]eventlog.OwnedLabel{
				"site": {Value: "lab", Owner: eventlog.OwnerDevice}, v1alpha1.LabelDevice: {Value: device(i), Owner: "fleet-operator"},
			})
		}
	})
	var last time.Time // when the last desired event was acknowledged
	settled := make(chan struct{}, 1)
	br := brain.New(brain.Options{
		Fold: f, Now: time.Now, Logger: slog.New(slog.DiscardHandler),
		Verdict:  func(string) liveness.Verdict { return liveness.Verdict{} },
		Withheld: func(fleet.Key) bool { return false },
		Settled: func([]decide.Input) {
			select {
			case settled <- struct{}{}:
			default:
			}
		},
		Appended: func([]eventlog.Draft) { last = time.Now() }, Full: func(context.Context) bool { return false },
	})
	leads := make(chan struct{})
	go func() { done <- br.Run(ctx, a, func() { close(leads) }) }()
	<-leads
	begun := time.Now()
	spec := deployment()
	f.Do(func(s *decide.State) { s.SetDeployment(spec) })
	br.Add(brain.Input{Input: decide.OfDeployment(spec.Key)})
	select {
	case <-settled:
	case err := <-done:
		b.Fatal(err)
	}
	f.Do(func(s *decide.State) {
		if got := s.View().Deployments[spec.Key].Counts.Matched; got != n {
			b.Fatalf("%d devices were assigned, want %d", got, n)
		}
	})
	return last.Sub(begun)
}
