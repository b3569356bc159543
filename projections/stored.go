package projections

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// silence is how long a consumer may give nothing before what it has not given
// is taken for what it cannot give: a message that is damaged is never delivered.
const silence = 3 * time.Second

// Stored yields the messages that a stream has when it is asked, from a sequence
// on, in their order; what comes meanwhile may be among them. It reads by a
// consumer, which says a message's place by its reply subject: a direct read says
// it by headers, and a device may have put headers of those names into its
// report. A message that cannot be read is left out.
func Stored(ctx context.Context, js jetstream.JetStream, stream string, from uint64) iter.Seq2[*jetstream.RawStreamMsg, error] {
	return func(yield func(*jetstream.RawStreamMsg, error) bool) {
		fail := func(err error) { yield(nil, fmt.Errorf("read stream %s: %w", stream, err)) }
		s, err := js.Stream(ctx, stream)
		if err != nil {
			fail(err)
			return
		}
		state := s.CachedInfo().State
		if state.Msgs == 0 || from > state.LastSeq {
			return
		}
		cfg := jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverAllPolicy}
		if from > 1 {
			cfg.DeliverPolicy, cfg.OptStartSeq = jetstream.DeliverByStartSequencePolicy, from
		}
		cons, err := js.OrderedConsumer(ctx, stream, cfg)
		if err != nil {
			fail(err)
			return
		}
		msgs, err := cons.Messages(jetstream.PullMaxMessages(4096))
		if err != nil {
			fail(err)
			return
		}
		defer msgs.Stop()
		for {
			m, err := msgs.Next(jetstream.NextMaxWait(silence))
			if cause := ctx.Err(); cause != nil {
				fail(cause)
				return
			}
			if errors.Is(err, nats.ErrTimeout) && js.Conn().IsConnected() {
				return
			}
			if err != nil {
				fail(err)
				return
			}
			at, err := m.Metadata()
			if err != nil {
				fail(err)
				return
			}
			raw := &jetstream.RawStreamMsg{Subject: m.Subject(), Sequence: at.Sequence.Stream, Header: m.Headers(), Data: m.Data(), Time: at.Timestamp}
			if !yield(raw, nil) || raw.Sequence >= state.LastSeq || at.NumPending == 0 {
				return
			}
		}
	}
}
