package term

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/appender"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/version"
)

// fullRetry is how long an election that a full log refused is put off.
const fullRetry = 5 * time.Second

func (t *Term) logConfig() logstream.Config {
	return logstream.Config{Replicas: t.Replicas, MaxBytes: t.LogMaxBytes}
}

// makeMissingLog makes the log where there is none at all. One that is there is left
// alone until it is known whose it is.
func (t *Term) makeMissingLog(ctx context.Context) error {
	_, err := logstream.Inspect(ctx, t.JS)
	if !errors.Is(err, jetstream.ErrStreamNotFound) {
		return err
	}
	_, err = logstream.Ensure(ctx, t.JS, t.logConfig())
	return err
}

// elect makes this replica the log's one writer, and waits until the state has passed
// its election. A log that is full even for that is reported in every CR for a while
// before the term gives up.
func (t *Term) elect(ctx context.Context) error {
	l := eventlog.Leader{Identity: t.Identity, ClusterUID: t.cluster, Version: version.Version}
	for {
		token, err := t.Appender.Elect(ctx, l, t.Now())
		switch {
		case err == nil:
			t.hasCapacity()
			if err := t.State.WaitFor(ctx, token); err != nil {
				return err
			}
			t.token = token
			t.Logger.Info("elected", "identity", t.Identity, "token", token, "rebuilt", t.rebuilt)
			return nil
		case !errors.Is(err, appender.ErrLogFull):
			return err
		case t.LogFull(ctx):
		default:
			reporting, end := context.WithTimeout(ctx, fullRetry)
			defer end()
			t.Deployments.WriteStatuses(reporting)
			return err
		}
	}
}
