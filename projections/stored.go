package projections

import (
	"context"
	"iter"

	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
)

// Stored yields the messages that a stream has when it is asked, as
// eventlog.Stored does: its end is proven, or it is an error.
func Stored(ctx context.Context, js jetstream.JetStream, stream string, from uint64) iter.Seq2[*jetstream.RawStreamMsg, error] {
	return eventlog.Stored(ctx, js, stream, from)
}
