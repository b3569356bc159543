package buckets

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/reader"
)

// compare holds the newest messages of a bucket against its source, both as they
// were when the bucket was asked about itself: what either got since is not the
// question.
func compare(ctx context.Context, js jetstream.JetStream, bucket *jetstream.StreamInfo, p eventlog.Projection) (Finding, error) {
	b := bucket.State
	if b.Msgs == 0 {
		return Sound, nil
	}
	at, err := Position(ctx, js, p.Bucket)
	if errors.Is(err, ErrUnreadable) {
		return Diverged, nil
	}
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
	for m, err := range reader.Stored(ctx, js, bucket.Config.Name, from) {
		if err != nil {
			return "", err
		}
		if m.Sequence > b.LastSeq {
			break
		}
		found, err := finding(ctx, js, p, m, last)
		if err != nil {
			return "", err
		}
		if found == Sound {
			continue
		}
		// A device may have written what a client takes for the server's word.
		m, err = reader.MessageAt(ctx, js, bucket.Config.Name, m.Sequence)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue // overtaken by the next of its key
		}
		if err != nil {
			return "", err
		}
		if found, err = finding(ctx, js, p, m, last); err != nil || found != Sound {
			return found, err
		}
	}
	return Sound, nil
}

// finding is what one message of a bucket says of it, by its header.
func finding(ctx context.Context, js jetstream.JetStream, p eventlog.Projection, m *jetstream.RawStreamMsg, last uint64) (Finding, error) {
	_, seq, ok := eventlog.SourceOf(m.Header)
	switch {
	case !ok:
		return Diverged, nil
	case seq > last:
		return Ahead, nil
	case p.Stream == eventlog.PulseStream:
		return Sound, nil // it keeps one pulse a device, so older ones cannot be looked up
	}
	if ok, err := projected(ctx, js, p, m, seq); err != nil || !ok {
		return Diverged, err
	}
	return Sound, nil
}

// projected says whether a bucket's message is what the source has at seq, by the
// word of the source's leader: a replica may be behind.
func projected(ctx context.Context, js jetstream.JetStream, p eventlog.Projection, m *jetstream.RawStreamMsg, seq uint64) (bool, error) {
	origin, err := reader.MessageAt(ctx, js, p.Stream, seq)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return false, nil
	}
	return err == nil && same(p, m, origin), err
}

// same says whether a bucket's message is the projection of a message of the log.
// A header that cannot be read there may look like anything here.
func same(p eventlog.Projection, projected, origin *jetstream.RawStreamMsg) bool {
	subject := origin.Subject // where the server could not transform it
	if key, ok := p.Key(origin.Subject); ok {
		subject = eventlog.KVSubject(p.Bucket, key)
	}
	return subject == projected.Subject && bytes.Equal(projected.Data, origin.Data) && (origin.Header == nil ||
		projected.Header.Get(eventlog.HeaderID) == origin.Header.Get(eventlog.HeaderID) &&
			projected.Header.Get(eventlog.HeaderCounter) == origin.Header.Get(eventlog.HeaderCounter))
}
