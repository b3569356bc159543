package traces

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"fleet.nationtech.io/eventlog"
	spans "fleet.nationtech.io/projections/trace"
)

// stuck is an exporter that takes nothing until it is let go, and then fails.
type stuck struct{ free chan struct{} }

func (s stuck) ExportSpans(ctx context.Context, _ []sdktrace.ReadOnlySpan) error {
	select {
	case <-s.free:
	case <-ctx.Done():
	}
	return errors.New("the collector is away")
}

func (s stuck) Shutdown(context.Context) error { return nil }

// started gives Traces over an exporter.
func started(t *testing.T, e sdktrace.SpanExporter, logger *slog.Logger) (*Traces, *Metrics) {
	t.Helper()
	m := NewMetrics(prometheus.NewRegistry())
	p, err := newProvider(newQueue(e, m, logger), func() (*resource.Resource, error) { return resource.Empty(), nil })
	if err != nil {
		t.Fatal(err)
	}
	tr := New(Options{Devices: 1, Metrics: m, Logger: logger, Now: time.Now})
	tr.operator, tr.agent = p.Tracer("operator"), p.Tracer("agent")
	t.Cleanup(func() { _ = p.Shutdown(context.Background()) }) // what it could not send is of no interest
	return tr, m
}

// An export never waits for the collector, and what it does not take is counted,
// and logged once.
func TestNobodyWaitsForACollectorThatIsStuck(t *testing.T) {
	t.Parallel()
	e := stuck{make(chan struct{})}
	var log strings.Builder
	tr, m := started(t, e, slog.New(slog.NewTextHandler(&log, nil)))
	const sent = 3 * maxQueue
	s := spans.Span{TraceID: [16]byte{1}, Kind: spans.KindChange, Name: "change"}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for n := range sent {
			s.ID = [8]byte{1, byte(n >> 16), byte(n >> 8), byte(n)}
			tr.export(&s)
		}
	}()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		t.Fatal("the export of spans waits for the collector")
	}
	if n := testutil.ToFloat64(m.dropped.WithLabelValues(droppedQueueFull)); n != sent-maxQueue {
		t.Errorf("%v spans were dropped at the queue, want %d", n, sent-maxQueue)
	}
	close(e.free)
	for deadline := time.Now().Add(30 * time.Second); testutil.ToFloat64(m.dropped.WithLabelValues(droppedExportFailed)) < maxQueue; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%v spans are counted as not taken, want %d", testutil.ToFloat64(m.dropped.WithLabelValues(droppedExportFailed)), maxQueue)
		}
	}
	if n := strings.Count(log.String(), "takes no spans"); n != 1 {
		t.Errorf("that the collector is away was logged %d times", n)
	}
}

// kept is an exporter that keeps what it is given.
type kept struct{ spans chan sdktrace.ReadOnlySpan }

func (k kept) ExportSpans(_ context.Context, of []sdktrace.ReadOnlySpan) error {
	for _, s := range of {
		k.spans <- s
	}
	return nil
}

func (k kept) Shutdown(context.Context) error { return nil }

func TestASpanHasTheIdsThatFollowFromTheLog(t *testing.T) {
	t.Parallel()
	k := kept{make(chan sdktrace.ReadOnlySpan, 8)}
	tr, _ := started(t, k, slog.New(slog.DiscardHandler))
	want := spans.Span{TraceID: [16]byte{7}, ID: [8]byte{8}, Parent: [8]byte{9}, Kind: spans.KindStep, Name: "pull", Begin: time.Unix(10, 0), End: time.Unix(12, 0)}
	tr.export(&want)
	got := <-k.spans
	if got.SpanContext().TraceID() != trace.TraceID(want.TraceID) || got.SpanContext().SpanID() != trace.SpanID(want.ID) || got.Parent().SpanID() != trace.SpanID(want.Parent) {
		t.Errorf("it is %v under %v", got.SpanContext(), got.Parent())
	}
	if !got.StartTime().Equal(want.Begin) || !got.EndTime().Equal(want.End) {
		t.Errorf("it goes from %v to %v", got.StartTime(), got.EndTime())
	}
}

// The replica's own work on one change is exported a bounded number of times.
func TestTheReplicasOwnSpansAreBounded(t *testing.T) {
	t.Parallel()
	tr := New(Options{Devices: 2})
	root := eventlog.TraceOfChange("u", 1)
	exported := 0
	for range 10 {
		if tr.admits(root, false) {
			exported++
		}
	}
	if exported != 2 {
		t.Errorf("%d spans are exported, want 2", exported)
	}
	if root.Flags = 0; tr.admits(root, true) {
		t.Error("a span of a trace that nobody records is exported")
	}
}

func TestTracesAreExportedWhereACollectorIsNamed(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		endpoint string
		env      map[string]string
		want     bool
	}{
		"nothing is named":                     {"", nil, false},
		"by the flag":                          {"http://tempo:4318/v1/traces", nil, true},
		"by the general variable":              {"", map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://tempo:4318"}, true},
		"by the variable for traces":           {"", map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://tempo:4318/v1/traces"}, true},
		"the SDK is turned off":                {"http://tempo:4318/v1/traces", map[string]string{"OTEL_SDK_DISABLED": "true"}, false},
		"traces have no exporter":              {"", map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://tempo:4318", "OTEL_TRACES_EXPORTER": "none"}, false},
		"the collector is for metrics alone":   {"", map[string]string{"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://mimir:4318/v1/metrics"}, false},
		"a value that turns nothing off is no": {"http://tempo:4318/v1/traces", map[string]string{"OTEL_SDK_DISABLED": "no"}, true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := Configured(tc.endpoint, func(k string) string { return tc.env[k] }); got != tc.want {
				t.Errorf("traces are exported: %v", got)
			}
		})
	}
}
