package syncsvc

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"

	"fleet.nationtech.io/eventlog"
)

const (
	// maxSubjects is how many messages one direct get gives at most: the
	// server's own limit.
	maxSubjects = 1024
	readTimeout = 5 * time.Second
)

// DesiredState reads the bucket desired-state by batched direct gets, which any
// server with a copy of the bucket answers, and which leave nothing behind.
type DesiredState struct{ JS jetstream.JetStream }

var _ Bucket = DesiredState{}

// errPartial says that the server gave less than all.
var errPartial = errors.New("not all of it was sent")

// Read implements Bucket. One get by wildcard is enough for nearly every device;
// one with more than 1024 keys, or with more than the server sends at once, is
// read name by name, in pieces.
func (b DesiredState) Read(ctx context.Context, device string, names []string) ([]*nats.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	if len(names) <= maxSubjects {
		all := eventlog.KVSubject(eventlog.BucketDesired, eventlog.DesiredKey(device, eventlog.Wildcard))
		msgs, err := b.get(ctx, []string{all})
		if !errors.Is(err, errPartial) {
			return msgs, err
		}
	}
	subjects := make([]string, len(names))
	for i, n := range names {
		subjects[i] = eventlog.KVSubject(eventlog.BucketDesired, eventlog.DesiredKey(device, n))
	}
	return b.pieces(ctx, subjects)
}

func (b DesiredState) pieces(ctx context.Context, subjects []string) ([]*nats.Msg, error) {
	var msgs []*nats.Msg
	for len(subjects) > 0 {
		n := min(len(subjects), maxSubjects)
		part, err := b.get(ctx, subjects[:n])
		for errors.Is(err, errPartial) && n > 1 {
			n /= 2
			part, err = b.get(ctx, subjects[:n])
		}
		if err != nil {
			return nil, err
		}
		msgs, subjects = append(msgs, part...), subjects[n:]
	}
	return msgs, nil
}

// get fails with errPartial when there is more than what came.
func (b DesiredState) get(ctx context.Context, subjects []string) ([]*nats.Msg, error) {
	stream := eventlog.BucketStream(eventlog.BucketDesired)
	seq, err := jetstreamext.GetLastMsgsFor(ctx, b.JS, stream, subjects)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", stream, err)
	}
	var msgs []*nats.Msg
	pending := ""
	for m, err := range seq {
		switch {
		case errors.Is(err, jetstreamext.ErrNoMessages):
			return nil, nil
		case errors.Is(err, jetstreamext.ErrBatchUnsupported):
			return nil, errPartial // "413 Too Many Results" reads so
		case err != nil:
			return nil, fmt.Errorf("read %s: %w", stream, err)
		}
		pending = m.Header.Get("Nats-Num-Pending")
		if _, _, ok := eventlog.ParseDesiredKV(m.Subject); !ok {
			continue // a copy that a server was made to store: it names the subject that it was copied from
		}
		msgs = append(msgs, &nats.Msg{Subject: m.Subject, Header: m.Header, Data: m.Data})
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("read %s: %w", stream, err)
	}
	// Silence ends the messages too, so that nothing may come, and it is not all.
	if n, err := strconv.Atoi(pending); err != nil || n > 0 {
		return nil, errPartial
	}
	return msgs, nil
}
