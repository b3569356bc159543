package traces

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

const (
	// maxQueue bounds the spans that wait for the collector.
	maxQueue = 8192
	// maxBatch is how many of them go at a time, and batchTimeout how long one waits.
	maxBatch     = 512
	batchTimeout = time.Second
	// exportTimeout is how long a batch is tried.
	exportTimeout = 30 * time.Second
	// shutdownTimeout is how long the last spans are tried when the operator ends.
	shutdownTimeout = 3 * time.Second
)

// newQueue makes the queue of spans that ended, which sends them in batches. Code that ends a
// span never waits for it.
func newQueue(exporter sdktrace.SpanExporter, m *Metrics, logger *slog.Logger) *queue {
	q := &queue{metrics: m, logger: logger}
	q.SpanProcessor = sdktrace.NewBatchSpanProcessor(&counted{SpanExporter: exporter, queue: q},
		sdktrace.WithMaxQueueSize(maxQueue), sdktrace.WithMaxExportBatchSize(maxBatch),
		sdktrace.WithBatchTimeout(batchTimeout), sdktrace.WithExportTimeout(exportTimeout))
	return q
}

// newProvider makes the tracers of a service. What they end goes into the queue.
func newProvider(q *queue, of func() (*resource.Resource, error)) (*sdktrace.TracerProvider, error) {
	r, err := of()
	if err != nil {
		return nil, fmt.Errorf("describe the source of traces: %w", err)
	}
	return sdktrace.NewTracerProvider(sdktrace.WithResource(r), sdktrace.WithIDGenerator(ids{}),
		sdktrace.WithSampler(sdktrace.AlwaysSample()), sdktrace.WithSpanProcessor(q)), nil
}

// newExporter makes the OTLP exporter over HTTP. An empty endpoint leaves it to the
// variables OTEL_EXPORTER_OTLP_…, which say the rest in any case.
func newExporter(ctx context.Context, endpoint string) (sdktrace.SpanExporter, error) {
	var o []otlptracehttp.Option
	if endpoint != "" {
		o = append(o, otlptracehttp.WithEndpointURL(endpoint))
	}
	e, err := otlptracehttp.New(ctx, o...)
	if err != nil {
		return nil, fmt.Errorf("make the exporter of traces: %w", err)
	}
	return e, nil
}

// queue counts the spans that wait, and drops what is beyond its size.
type queue struct {
	sdktrace.SpanProcessor
	metrics *Metrics
	logger  *slog.Logger
	waiting atomic.Int64
	failing atomic.Bool // that was logged
}

// OnEnd implements sdktrace.SpanProcessor.
func (q *queue) OnEnd(s sdktrace.ReadOnlySpan) {
	if q.waiting.Add(1) > maxQueue {
		q.waiting.Add(-1)
		q.metrics.dropped.WithLabelValues(droppedQueueFull).Inc()
		return
	}
	q.SpanProcessor.OnEnd(s)
}

// counted counts for the queue what left it, and logs once that the collector does not take it.
type counted struct {
	sdktrace.SpanExporter
	queue *queue
}

// ExportSpans implements sdktrace.SpanExporter.
func (c *counted) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	q := c.queue
	defer q.waiting.Add(-int64(len(spans)))
	err := c.SpanExporter.ExportSpans(ctx, spans)
	switch {
	case err != nil:
		q.metrics.dropped.WithLabelValues(droppedExportFailed).Add(float64(len(spans)))
		if !q.failing.Swap(true) && !errors.Is(err, context.Canceled) {
			q.logger.Warn("the trace collector takes no spans; the operator drops them until it does, and decisions go on", "error", err)
		}
	case q.failing.Swap(false):
		q.logger.Info("the trace collector takes spans again")
		fallthrough
	default:
		q.metrics.exported.Add(float64(len(spans)))
	}
	return nil // it is handled here: the SDK's own handler writes to stderr
}
