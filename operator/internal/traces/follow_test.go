package traces

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/projections/asof"
	"fleet.nationtech.io/projections/storytest"
)

// folded is the fold of a log up to its end.
type folded struct {
	t  *testing.T
	js jetstream.JetStream
}

func (f folded) Do(fn func(*decide.State)) {
	v, err := asof.At(f.t.Context(), f.js, asof.Moment{}, asof.Options{})
	if err != nil {
		f.t.Error(err)
		return
	}
	fn(decide.NewState(v))
}

// What one replica does not follow is counted once, however often it folds the log again.
func TestAnAssignmentThatIsNotFollowedIsCountedOnceInAllTerms(t *testing.T) {
	t.Parallel()
	_, js := natstest.Start(t).Connect(t)
	natstest.EnsureLog(t, js, 1)
	root, score, events := eventlog.TraceOfChange("u", 1), storytest.Podman("app:1"), 0
	publish := func(d eventlog.Draft) uint64 {
		t.Helper()
		events++
		d.Traceparent = root.String()
		ack, err := js.PublishMsg(t.Context(), d.Message("test", storytest.ID(uint64(events))))
		if err != nil {
			t.Fatal(err)
		}
		return ack.Sequence
	}
	assign := func(devices int) (last uint64) {
		t.Helper()
		for range devices {
			last = publish(eventlog.Draft{
				Subject: eventlog.DesiredSubject(fmt.Sprintf("pi-%d", events), "web"), Type: eventlog.DesiredAssigned, Time: time.Now(),
				Namespace: "shop", Revision: 1, Data: score,
			})
		}
		return last
	}
	applied, err := eventlog.NewDraft(eventlog.DeploymentSubject("shop", "web"), eventlog.DeploymentApplied, time.Now(), eventlog.Deployment{
		UID: "u", Generation: 1, Revision: 1, Selector: storytest.Lab(), Score: score, ScoreHash: eventlog.Hash(score),
	})
	if err != nil {
		t.Fatal(err)
	}
	publish(applied)
	token := assign(5)

	m := NewMetrics(prometheus.NewRegistry())
	tr := New(Options{JS: js, State: folded{t, js}, Assignments: 2, Metrics: m, Now: time.Now, Logger: slog.New(slog.DiscardHandler)})
	for _, term := range []struct {
		assigned int // beside those before
		dropped  float64
	}{{0, 3}, {0, 3}, {4, 7}, {1, 8}} {
		if term.assigned > 0 {
			token = assign(term.assigned)
		}
		end := publish(eventlog.Draft{Subject: eventlog.DeviceSubject("pi"), Type: eventlog.DeviceOnline, Time: time.Now(), Data: []byte(`{}`)})
		ctx, stop := context.WithCancel(t.Context())
		led := make(chan struct{})
		go func() {
			defer close(led)
			tr.Lead(ctx, token)
		}()
		for deadline := time.Now().Add(time.Minute); tr.exportedUpTo() < end; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("within a minute spans are exported up to event %d, want %d", tr.exportedUpTo(), end)
			}
		}
		stop()
		<-led
		if n := testutil.ToFloat64(m.dropped.WithLabelValues(droppedTooMany)); n != term.dropped {
			t.Fatalf("%v assignments are counted, and %v were not followed", n, term.dropped)
		}
	}
}

func (t *Traces) exportedUpTo() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.last
}
