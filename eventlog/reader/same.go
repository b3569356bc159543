package reader

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
)

// ErrLogReset says that the log is not the one that was being read: it was
// replaced, restored, or lost its tail. What was folded from it does not hold.
var ErrLogReset = errors.New("the log went back: it is not the one that was followed")

// sameLog compares the log, as its stream describes it now, with what somebody has
// read of it: the log's id (empty for any) and the last message, which the stream's
// leader must still have at its place. It fails with ErrLogReset where they differ.
func sameLog(ctx context.Context, js jetstream.JetStream, now logstream.Info, id string, at eventlog.Position) error {
	switch {
	case id != "" && id != now.ID:
		return fmt.Errorf("%w: it is another log", ErrLogReset)
	case at.Sequence == 0:
		return nil
	case at.Sequence > now.Last:
		return fmt.Errorf("%w: it ends at sequence %d, after %d had been read", ErrLogReset, now.Last, at.Sequence)
	}
	m, err := MessageAt(ctx, js, eventlog.LogStream, at.Sequence)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return fmt.Errorf("%w: sequence %d is gone", ErrLogReset, at.Sequence)
	}
	if err != nil {
		return err
	}
	if !m.Time.Equal(at.Recorded) {
		return fmt.Errorf("%w: sequence %d is another message", ErrLogReset, at.Sequence)
	}
	return nil
}

// Confirm asks the log what it is, and makes sure that it holds what somebody has read of
// it, as sameLog does.
func Confirm(ctx context.Context, js jetstream.JetStream, id string, at eventlog.Position) (info logstream.Info, err error) {
	err = insist(ctx, func() error {
		if info, err = logstream.Inspect(ctx, js); err != nil {
			return err
		}
		return sameLog(ctx, js, info, id, at)
	})
	return info, err
}

// insist asks again where the answer is ErrLogReset: a leader that was elected this
// moment may not know its tail yet, and who believes it reads all of the log again.
func insist(ctx context.Context, ask func() error) error {
	const tries, pause = 5, 300 * time.Millisecond
	for try := 1; ; try++ {
		err := ask()
		if !errors.Is(err, ErrLogReset) || try == tries {
			return err
		}
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		}
	}
}
