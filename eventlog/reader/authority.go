package reader

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Authoritative gives a stream whose messages are read from its leader. A direct
// read, the default here, may be answered by a replica that is behind: well for
// values, and wrong where "it is not there" decides something.
func Authoritative(ctx context.Context, js jetstream.JetStream, stream string) (jetstream.Stream, error) {
	s, err := lookUp(ctx, js, stream)
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", stream, err)
	}
	s.CachedInfo().Config.AllowDirect = false // the client chooses by the configuration that it was told
	return s, nil
}

// requestTimeout is how long the answer to one request is waited for. What is lost with a
// server that was killed never comes, and the caller may have hours.
const requestTimeout = 5 * time.Second

// lookUp asks what a stream is, and waits no longer than requestTimeout.
func lookUp(ctx context.Context, js jetstream.JetStream, stream string) (jetstream.Stream, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return js.Stream(ctx, stream)
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
