package reader

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// errMissed says that a reader has not been given a message that there is.
var errMissed = errors.New("the server has a message that it has not sent")

// noneLeft proves that a reader is at its end: it succeeds only by the word of the
// stream's leader that it can give no message on a subject from one sequence to
// another. Silence is no proof: a connection may stall, a replica be behind. What
// the leader cannot give either, such as a message that is damaged on its disk, is
// passed over.
func noneLeft(ctx context.Context, js jetstream.JetStream, stream, subject string, from, to uint64) error {
	if from > to {
		return nil
	}
	m, err := NextMessage(ctx, js, stream, subject, from)
	switch {
	case err == nil && m.Sequence > to:
		return nil
	case err == nil:
		return fmt.Errorf("stream %s: %w: sequence %d", stream, errMissed, m.Sequence)
	case !errors.Is(err, jetstream.ErrMsgNotFound):
		return err
	}
	// The same answer comes of a leader that was elected this moment, and may not
	// know its tail yet.
	s, err := Authoritative(ctx, js, stream)
	if err != nil {
		return err
	}
	if last := s.CachedInfo().State.LastSeq; last < to {
		return fmt.Errorf("stream %s: it ends at sequence %d now, and was to be read to %d", stream, last, to)
	}
	// And it comes where a whole block of messages cannot be read.
	m, err = LastMessage(ctx, js, stream, subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil
	}
	if err == nil && m.Sequence >= from && m.Sequence <= to {
		err = fmt.Errorf("stream %s: %w: sequence %d", stream, errMissed, m.Sequence)
	}
	return err
}
