package decider_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/appender"
	"fleet.nationtech.io/eventlog/benchtest"
	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/operator/internal/decider"
	"fleet.nationtech.io/operator/internal/state"
	"fleet.nationtech.io/projections/fleet"
)

// BenchmarkARollout measures a rollout over 100,000 devices: from the moment when the
// new content reaches the operator's state to the last rollout.completed in the fold, in
// the default batches without soak and without a limit by maxUnavailable. Each device
// answers in this process as soon as the fold has its assignment; its answer is in the
// log as any other event. In turns with it, a bare asynchronous publish of the same
// messages, those of the operator and those of the devices, to another server with the
// same log and the same buckets. $FLEET_BENCH_DEVICES is for a smaller fleet.
func BenchmarkARollout(b *testing.B) {
	const rounds = 5
	devices := 100_000
	if s := os.Getenv("FLEET_BENCH_DEVICES"); s != "" {
		var err error
		if devices, err = strconv.Atoi(s); err != nil {
			b.Fatal(err)
		}
	}
	for _, deployments := range []int{1, devices / 200} {
		b.Run(fmt.Sprintf("%d_Deployments_of_%d_devices", deployments, devices/deployments), func(b *testing.B) {
			f := benchFleet{devices: devices, deployments: deployments}
			samples := benchtest.Alternate(b, rounds, f.rollOut(b), f.publish(b))
			for _, s := range samples {
				b.Logf("%d Deployments of %d devices, %s: %.2f s (%.2f to %.2f), of processor time %.2f s", deployments, devices/deployments, s.Name,
					benchtest.Median(s.Wall).Seconds(), slices.Min(s.Wall).Seconds(), slices.Max(s.Wall).Seconds(), benchtest.Median(s.CPU).Seconds())
			}
			wall, cpu := benchtest.Ratios(samples[0].Wall, samples[1].Wall), benchtest.Ratios(samples[0].CPU, samples[1].CPU)
			b.Logf("rolled out ÷ bare publish of the same messages (goal ≤ 1.5): %s; of processor time, server, fold, devices and all: %s", benchtest.Spread(wall), benchtest.Spread(cpu))
			b.ReportMetric(benchtest.Median(wall), "ratio")
			b.ReportMetric(benchtest.Median(cpu), "cpu-ratio")
		})
	}
}

// benchFleet is devices, each in one of the Deployments.
type benchFleet struct{ devices, deployments int }

func (f benchFleet) app(device int) string { return fmt.Sprintf("app-%03d", device%f.deployments) }

// spec is a Deployment at a generation, each with a content of its own.
func (f benchFleet) spec(b *testing.B, k, generation int) decide.Spec {
	b.Helper()
	cr := &v1alpha1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: f.app(k), UID: "u1", Generation: int64(generation)},
		Spec: v1alpha1.DeploymentSpec{
			TargetSelector: metav1.LabelSelector{MatchLabels: map[string]string{"app": f.app(k)}},
			Score: v1alpha1.ReconcileScore{Type: v1alpha1.ScorePodmanV0, Data: v1alpha1.ScoreData{Services: []v1alpha1.Service{{
				Name: "web", Image: fmt.Sprintf("docker.io/library/nginx:1.%d", generation), Ports: []string{"8080:80"},
				Env:         map[string]v1alpha1.EnvValue{"GREETING": "hello", "REGION": "north", "LOG_LEVEL": "info"},
				HealthCheck: &v1alpha1.HealthCheck{HTTP: &v1alpha1.HTTPCheck{Port: 80, Path: "/healthz"}},
			}}}},
		},
	}
	const settings = `{"batches":[{"size":"1%","soak":"0s"},{"size":"10%","soak":"0s"},{"soak":"0s"}],"maxUnavailable":"100%"}`
	if err := json.Unmarshal([]byte(settings), &cr.Spec.Rollout); err != nil {
		b.Fatal(err)
	}
	return decide.SpecOf(cr)
}

// speaksOf is where a report that was made in advance names the assignment.
const speaksOf = `"assignment":4242424242`

// report is what a device says of a content, but for the assignment that it speaks of.
func (f benchFleet) report(b *testing.B, i int, hash string, round int) *nats.Msg {
	b.Helper()
	d, err := eventlog.NewDraft(eventlog.StateSubject(device(i), f.app(i)), eventlog.StateReported, time.Now(), eventlog.DeploymentState{
		DeviceID: device(i), Deployment: f.app(i), Phase: eventlog.PhaseRunning, LastEventAt: time.Now(), ScoreHash: hash, Revision: uint64(round), Assignment: 4242424242,
		Services: []eventlog.ServiceState{{Name: "web", State: "running", Health: "healthy", ContainerID: "0f2c1a9be7d3", Ports: []string{"8080:80"}}},
	})
	if err != nil {
		b.Fatal(err)
	}
	m := d.Message("agent", fmt.Sprintf("01JDG%06d%015d", i, round))
	m.Header.Set(eventlog.HeaderCounter, fmt.Sprintf("9c1f%04x.%d", i, round))
	return m
}

// publish is the bare side.
func (f benchFleet) publish(b *testing.B) benchtest.Turn {
	b.Helper()
	var js jetstream.JetStream
	var msgs []*nats.Msg
	send := func() {
		for _, m := range msgs {
			if _, err := js.PublishMsgAsync(m, jetstream.WithStallWait(time.Minute)); err != nil {
				b.Fatal(err)
			}
		}
		<-js.PublishAsyncComplete()
	}
	compose := func(round int) {
		msgs = msgs[:0]
		var specs []decide.Spec
		for k := range f.deployments {
			specs = append(specs, f.spec(b, k, round))
		}
		for i := range f.devices {
			spec := specs[i%f.deployments]
			msgs = append(msgs, eventlog.Draft{
				Subject: eventlog.DesiredSubject(device(i), f.app(i)), Type: eventlog.DesiredAssigned, Time: time.Now(), CorrelationID: "shop/" + f.app(i) + "@1",
				CausationID: "01JDF00000000000000000CAUSE", Namespace: "shop", Revision: uint64(round), Batch: 3, Data: spec.Score,
			}.Message("operator", fmt.Sprintf("01JDF%06d%015d", i, round)), f.report(b, i, spec.Hash, round))
		}
	}
	return benchtest.Turn{
		Name: "bare PublishMsgAsync",
		Prepare: func(round int) {
			if js == nil {
				nc, _, stop := server(b)
				b.Cleanup(stop)
				var err error
				js, err = jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(4096),
					jetstream.WithPublishAsyncErrHandler(func(_ jetstream.JetStream, m *nats.Msg, err error) { b.Errorf("%s: %v", m.Subject, err) }))
				if err != nil {
					b.Fatal(err)
				}
				compose(1)
				send()
			}
			compose(round + 2)
		},
		Run: send,
	}
}

// rollOut is the operator's half with devices.
func (f benchFleet) rollOut(b *testing.B) benchtest.Turn {
	b.Helper()
	var o *rollingHalf
	return benchtest.Turn{
		Name: "rolled out",
		Prepare: func(round int) {
			if o == nil {
				o = newRollingHalf(b, f)
				o.prepare(1)
				o.deploy() // the first content, which the devices then have
			}
			o.prepare(round + 2)
		},
		Run: func() { o.deploy() },
	}
}

// rollingHalf is an operator's half that decides, and devices that answer.
type rollingHalf struct {
	benchFleet
	b       *testing.B
	queue   *decider.Queue
	fold    *state.Fold
	done    chan error
	specs   []decide.Spec
	answers map[string]*nats.Msg // by device: what it says of the next content
	told    chan told
	send    func(*nats.Msg)

	mu        sync.Mutex
	moving    map[fleet.Key]struct{} // not completed
	completed chan struct{}
}

// told is a device's assignment, and what the device says of it.
type told struct {
	answer   *nats.Msg
	sequence uint64
}

func newRollingHalf(b *testing.B, f benchFleet) *rollingHalf {
	b.Helper()
	nc, js, stop := server(b)
	ctx, cancel := context.WithCancel(b.Context())
	o := &rollingHalf{benchFleet: f, b: b, done: make(chan error, 3), told: make(chan told, f.devices), queue: decider.NewQueue(), completed: make(chan struct{}, 1)}
	o.fold = state.New(state.Options{JS: js, Logger: slog.New(slog.DiscardHandler)})
	go func() { o.done <- o.fold.Run(ctx, o) }()
	a, err := appender.New(nc, appender.Options{Source: "operator"})
	if err != nil {
		b.Fatal(err)
	}
	token, err := a.Elect(ctx, eventlog.Leader{Identity: "bench"}, time.Now())
	if err != nil {
		b.Fatal(err)
	}
	var drafts []eventlog.Draft
	for i := range f.devices {
		l, err := eventlog.NewDraft(eventlog.DeviceSubject(device(i)), eventlog.DeviceRelabeled, time.Now(), eventlog.Labels{Labels: f.labels(i)})
		if err != nil {
			b.Fatal(err)
		}
		p, err := eventlog.NewDraft(eventlog.DeviceSubject(device(i)), eventlog.DeviceOnline, time.Now(), eventlog.Presence{Reason: "PulseReceived"})
		if err != nil {
			b.Fatal(err)
		}
		drafts = append(drafts, l, p)
	}
	last, err := a.Append(ctx, drafts)
	if err != nil {
		b.Fatal(err)
	}
	if err := o.fold.WaitFor(ctx, max(last, token)); err != nil {
		b.Fatal(err)
	}
	o.fold.Do(func(s *decide.State) {
		for i := range f.devices {
			s.SetDevice(device(i), f.labels(i))
		}
	})
	d := decider.New(decider.Options{
		Queue: o.queue, State: o.fold, Now: time.Now, Logger: slog.New(slog.DiscardHandler),
		Verdict:           func(string) decide.Verdict { return decide.Verdict{} },
		AwaitingFinalizer: func(fleet.Key) bool { return false },
	})
	leads := make(chan struct{})
	go func() { o.done <- d.Run(ctx, a, &unheard{}, func() { close(leads) }) }()
	<-leads

	pub, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(4096),
		jetstream.WithPublishAsyncErrHandler(func(_ jetstream.JetStream, m *nats.Msg, err error) { b.Errorf("%s: %v", m.Subject, err) }))
	if err != nil {
		b.Fatal(err)
	}
	o.send = func(m *nats.Msg) {
		if _, err := pub.PublishMsgAsync(m, jetstream.WithStallWait(time.Minute)); err != nil {
			b.Error(err)
		}
	}
	go func() { o.done <- o.answering(ctx) }()
	b.Cleanup(func() {
		cancel()
		for range 3 {
			if err := <-o.done; err != nil {
				b.Error(err)
			}
		}
		stop()
	})
	return o
}

// unheard observes a decider whose settled inputs nobody needs.
type unheard struct{ observer }

// Settled implements decider.Observer.
func (*unheard) Settled([]decide.Input) {}

func (f benchFleet) labels(i int) map[string]eventlog.OwnedLabel {
	return map[string]eventlog.OwnedLabel{
		"app": {Value: f.app(i), Owner: eventlog.OwnerDevice}, v1alpha1.LabelDevice: {Value: device(i), Owner: "fleet-operator"},
	}
}

// answering is what the devices do.
func (o *rollingHalf) answering(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case t := <-o.told:
			t.answer.Data = bytes.Replace(t.answer.Data, []byte(speaksOf), strconv.AppendUint([]byte(`"assignment":`), t.sequence, 10), 1)
			o.send(t.answer)
		}
	}
}

// Changed implements state.Observer: as the operator it asks for decisions; and it tells
// the devices what they are assigned.
func (o *rollingHalf) Changed(keys []fleet.Key, ids []string) {
	o.queue.AddProgress(keys...)
	o.queue.AddDevices(ids...)
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.moving) == 0 {
		return
	}
	o.fold.Do(func(s *decide.State) {
		for _, id := range ids {
			for p := range s.View().Devices[id].Assignments {
				if answer := o.answers[id]; answer != nil && p.Desired.Hash != p.Reported.Hash {
					delete(o.answers, id)
					o.told <- told{answer, p.Desired.Sequence}
				}
			}
		}
		for _, key := range keys {
			d := s.View().Deployments[key]
			if d.Run.Phase == fleet.PhaseCompleted && d.Run.Target.Revision == d.Spec.Revision && d.Spec.Generation == o.specs[0].Generation {
				delete(o.moving, key)
			}
		}
	})
	if len(o.moving) == 0 {
		o.completed <- struct{}{}
	}
}

// prepare makes ready what the next content needs.
func (o *rollingHalf) prepare(generation int) {
	o.specs = nil
	for k := range o.deployments {
		o.specs = append(o.specs, o.spec(o.b, k, generation))
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.answers = make(map[string]*nats.Msg, o.devices)
	for i := range o.devices {
		o.answers[device(i)] = o.report(o.b, i, o.specs[i%o.deployments].Hash, generation)
	}
	o.moving = map[fleet.Key]struct{}{}
	for _, s := range o.specs {
		o.moving[s.Key] = struct{}{}
	}
}

// deploy returns once the fold has the end of all rollouts.
func (o *rollingHalf) deploy() {
	o.fold.Do(func(s *decide.State) {
		for _, spec := range o.specs {
			s.SetDeployment(spec)
		}
	})
	for _, spec := range o.specs {
		o.queue.AddDeployment(spec.Key)
	}
	select {
	case <-o.completed:
	case err := <-o.done:
		o.b.Fatal(err)
	case <-time.After(5 * time.Minute):
		o.b.Fatal("the rollouts do not come to an end")
	}
}
