package traces

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"fleet.nationtech.io/eventlog"
	spans "fleet.nationtech.io/projections/trace"
)

// exportMeasured exports a span of work that this replica did and measured.
func (t *Traces) exportMeasured(root eventlog.TraceContext, name string, kind trace.SpanKind, began, ended time.Time, err error, of ...attribute.KeyValue) {
	t.mu.Lock()
	tracer := t.operator
	t.mu.Unlock()
	if tracer == nil {
		return
	}
	_, s := tracer.Start(under(root.TraceID, root.SpanID), name, trace.WithTimestamp(began), trace.WithSpanKind(kind), trace.WithAttributes(of...))
	if err != nil {
		s.SetStatus(codes.Error, err.Error())
	}
	s.End(trace.WithTimestamp(ended))
}

// export exports a span that follows from the log.
func (t *Traces) export(s *spans.Span) {
	t.mu.Lock()
	tracer := t.operator
	switch s.Kind {
	case spans.KindStep, spans.KindReady, spans.KindReport:
		tracer = t.agent
	}
	t.mu.Unlock()
	if tracer == nil {
		return
	}
	ctx, o := context.Background(), []trace.SpanStartOption{trace.WithTimestamp(s.Begin), trace.WithAttributes(attributesOf(s)...)}
	if s.Parent == [8]byte{} {
		o = append(o, trace.WithNewRoot())
	} else {
		ctx = under(s.TraceID, s.Parent)
	}
	_, span := tracer.Start(withID(ctx, eventlog.TraceContext{TraceID: s.TraceID, SpanID: s.ID}), s.Name, o...)
	for _, n := range s.Notes {
		span.AddEvent(n.Name, trace.WithTimestamp(n.At), trace.WithAttributes(attribute.String("message", n.Message)))
	}
	if s.Wrong() {
		said := s.Reason
		if s.Message != "" {
			said += ": " + s.Message
		}
		span.SetStatus(codes.Error, said)
	}
	span.End(trace.WithTimestamp(s.End))
}

// under is a context whose span is the parent of the next.
func under(id [16]byte, parent [8]byte) context.Context {
	return trace.ContextWithRemoteSpanContext(context.Background(), trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: id, SpanID: parent, TraceFlags: trace.FlagsSampled, Remote: true,
	}))
}

// attributesOf describes a span. Names of OpenTelemetry's semantic conventions are used
// where there are any.
func attributesOf(s *spans.Span) []attribute.KeyValue {
	of := []attribute.KeyValue{
		attribute.String("fleet.deployment", s.Deployment.String()), attribute.String("fleet.outcome", string(s.Outcome)),
	}
	text := func(name, value string) {
		if value != "" {
			of = append(of, attribute.String(name, value))
		}
	}
	number := func(name string, value uint64) {
		if value > 0 {
			of = append(of, attribute.Int64(name, int64(min(value, 1<<62)))) //nolint:gosec // bounded
		}
	}
	text("k8s.namespace.name", s.Deployment.Namespace)
	number("fleet.revision", s.Revision)
	number("fleet.run", s.Run)
	number("fleet.batch", uint64(max(0, s.Batch)))
	number("fleet.sequence", s.Sequence)
	text("fleet.device", s.Device)
	text("fleet.service", s.Service)
	text("fleet.actor", s.Actor)
	text("fleet.reason", s.Reason)
	if s.Wrong() {
		text("error.type", s.Reason)
	}
	if s.Adjusted {
		of = append(of, attribute.Bool("fleet.clock_adjusted", true))
	}
	return of
}
