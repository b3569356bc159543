package projections

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"

	"fleet.nationtech.io/eventlog"
)

// compare holds the newest messages of a bucket against its source.
func compare(ctx context.Context, js jetstream.JetStream, bucket, source jetstream.Stream, p eventlog.Projection) (Finding, error) {
	b, src := bucket.CachedInfo().State, source.CachedInfo().State
	if b.Msgs == 0 {
		return Sound, nil
	}
	from := uint64(1)
	if b.LastSeq > checked {
		from = b.LastSeq - checked + 1
	}
	msgs, err := jetstreamext.GetBatch(ctx, js, bucket.CachedInfo().Config.Name, checked, jetstreamext.GetBatchSeq(max(from, b.FirstSeq)))
	if err != nil {
		return "", fmt.Errorf("check bucket %s: %w", p.Bucket, err)
	}
	for m, err := range msgs {
		if errors.Is(err, jetstreamext.ErrNoMessages) {
			break
		}
		if err != nil {
			return "", fmt.Errorf("check bucket %s: %w", p.Bucket, err)
		}
		_, seq, ok := eventlog.SourceOf(m.Header)
		if !ok {
			return Diverged, nil
		}
		if seq > src.LastSeq {
			return Ahead, nil
		}
		if p.Stream == eventlog.PulseStream {
			continue // it keeps one pulse a device, so older ones cannot be looked up
		}
		origin, err := source.GetMsg(ctx, seq)
		switch {
		case errors.Is(err, jetstream.ErrMsgNotFound):
			return Diverged, nil
		case err != nil:
			return "", fmt.Errorf("check bucket %s: %w", p.Bucket, err)
		case !same(p, m, origin):
			return Diverged, nil
		}
	}
	return Sound, nil
}

// same says whether a bucket's message is the projection of a message of the log.
func same(p eventlog.Projection, projected, origin *jetstream.RawStreamMsg) bool {
	key, ok := p.Key(origin.Subject)
	return ok && eventlog.KVSubject(p.Bucket, key) == projected.Subject &&
		bytes.Equal(projected.Data, origin.Data) &&
		projected.Header.Get(eventlog.HeaderID) == origin.Header.Get(eventlog.HeaderID) &&
		projected.Header.Get(eventlog.HeaderCounter) == origin.Header.Get(eventlog.HeaderCounter)
}
