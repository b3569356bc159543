package reader

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// Authoritative gives a stream whose messages are read from its leader. A direct
// read, the default here, may be answered by a replica that is behind: well for
// values, and wrong where "it is not there" decides something.
func Authoritative(ctx context.Context, js jetstream.JetStream, stream string) (jetstream.Stream, error) {
	s, err := js.Stream(ctx, stream)
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", stream, err)
	}
	s.CachedInfo().Config.AllowDirect = false // the client chooses by the configuration that it was told
	return s, nil
}

// LastSequence is the sequence of the last message that a stream has on a
// subject, which may have wildcards; 0 without one.
func LastSequence(ctx context.Context, js jetstream.JetStream, stream, subject string) (uint64, error) {
	m, err := LastMessage(ctx, js, stream, subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return m.Sequence, nil
}
