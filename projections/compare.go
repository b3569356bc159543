package projections

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
)

// compare holds the newest messages of a bucket against its source, both as they
// were when the bucket was asked about itself: what either got since is not the
// question.
func compare(ctx context.Context, js jetstream.JetStream, bucket *jetstream.StreamInfo, p eventlog.Projection) (Finding, error) {
	b := bucket.State
	if b.Msgs == 0 {
		return Sound, nil
	}
	at, err := position(ctx, js, p.Bucket)
	if err != nil {
		return "", err
	}
	source, err := js.Stream(ctx, p.Stream) // asked after the bucket, so it has all that the bucket has
	if err != nil {
		return "", fmt.Errorf("stream %s: %w", p.Stream, err)
	}
	last := source.CachedInfo().State.LastSeq
	if at > last {
		return Ahead, nil
	}
	from := uint64(1)
	if b.LastSeq > checked {
		from = b.LastSeq - checked + 1
	}
	for m, err := range Stored(ctx, js, bucket.Config.Name, from) {
		if err != nil {
			return "", err
		}
		if m.Sequence > b.LastSeq {
			break
		}
		_, seq, ok := eventlog.SourceOf(m.Header)
		if !ok && m.Header == nil {
			continue // a device wrote a header into it that cannot be read
		}
		if !ok {
			return Diverged, nil
		}
		if seq > last {
			return Ahead, nil
		}
		if p.Stream == eventlog.PulseStream {
			continue // it keeps one pulse a device, so older ones cannot be looked up
		}
		if ok, err := projected(ctx, js, source, p, m, seq); err != nil || !ok {
			return Diverged, err
		}
	}
	return Sound, nil
}

// projected says whether a bucket's message is what the source has at seq. A
// direct read is quick and may meet a replica that is behind, or headers by which
// a device claims what the server says there: so all but a yes is asked of the
// source's leader, which gives the message as it is.
func projected(ctx context.Context, js jetstream.JetStream, source jetstream.Stream, p eventlog.Projection, m *jetstream.RawStreamMsg, seq uint64) (bool, error) {
	origin, err := source.GetMsg(ctx, seq)
	if err == nil && same(p, m, origin) {
		return true, nil
	}
	origin, err = eventlog.MessageAt(ctx, js, p.Stream, seq)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return false, nil
	}
	return err == nil && same(p, m, origin), err
}

// same says whether a bucket's message is the projection of a message of the log.
func same(p eventlog.Projection, projected, origin *jetstream.RawStreamMsg) bool {
	key, ok := p.Key(origin.Subject)
	return ok && eventlog.KVSubject(p.Bucket, key) == projected.Subject &&
		bytes.Equal(projected.Data, origin.Data) &&
		projected.Header.Get(eventlog.HeaderID) == origin.Header.Get(eventlog.HeaderID) &&
		projected.Header.Get(eventlog.HeaderCounter) == origin.Header.Get(eventlog.HeaderCounter)
}
