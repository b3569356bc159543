package reader

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
)

// Ahead gives the first event of the log from a sequence on that has a subject, which may
// have wildcards, and how many there are from there on, itself included; 0 and 0 where
// there is none. A replica that is behind may answer, so it is good for deciding where to
// read, and for nothing else.
func Ahead(ctx context.Context, js jetstream.JetStream, subject string, from uint64) (first, events uint64, err error) {
	c, err := newCursor(js.Conn(), eventlog.LogStream, subject, batchMessages)
	if err != nil {
		return 0, 0, fmt.Errorf("look ahead: %w", err)
	}
	defer c.stop()
	c.next = max(1, from)
	if err := c.ask(false); err != nil {
		return 0, 0, fmt.Errorf("look ahead: %w", err)
	}
	entries, _, err := c.receive(ctx, js)
	if err != nil || len(entries) == 0 {
		return 0, 0, wrapped(err)
	}
	return entries[0].at.sequence, entries[0].pending + 1, nil
}

// Since gives the sequence of the first event that the log got at a moment or later; 0
// where there is none yet. The log's clock may have fallen back since, so events before
// that sequence may be later than the moment.
func Since(ctx context.Context, js jetstream.JetStream, moment time.Time) (uint64, error) {
	c, err := newCursor(js.Conn(), eventlog.LogStream, "", batchMessages)
	if err != nil {
		return 0, fmt.Errorf("look ahead: %w", err)
	}
	defer c.stop()
	c.since = moment
	if err := c.locate(ctx); err != nil {
		return 0, wrapped(err)
	}
	return c.next, nil
}

func wrapped(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	}
	return fmt.Errorf("look ahead: %w", err)
}
