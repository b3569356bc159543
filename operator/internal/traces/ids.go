package traces

import (
	"context"
	"crypto/rand"

	"go.opentelemetry.io/otel/trace"

	"fleet.nationtech.io/eventlog"
)

// ids gives a span the id that its context asks for, as those that follow from the log
// have; else a random one.
type ids struct{}

type idKey struct{}

// withID asks for the ids of the next span.
func withID(ctx context.Context, c eventlog.TraceContext) context.Context {
	return context.WithValue(ctx, idKey{}, c)
}

// NewIDs implements sdktrace.IDGenerator.
func (ids) NewIDs(ctx context.Context) (t trace.TraceID, s trace.SpanID) {
	if c, ok := ctx.Value(idKey{}).(eventlog.TraceContext); ok {
		return c.TraceID, c.SpanID
	}
	_, _ = rand.Read(t[:]) // it never fails
	_, _ = rand.Read(s[:])
	return t, s
}

// NewSpanID implements sdktrace.IDGenerator.
func (ids) NewSpanID(ctx context.Context, _ trace.TraceID) (s trace.SpanID) {
	if c, ok := ctx.Value(idKey{}).(eventlog.TraceContext); ok {
		return c.SpanID
	}
	_, _ = rand.Read(s[:])
	return s
}
