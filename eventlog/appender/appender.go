// Package appender appends events to the log: those of the elected leader behind the
// fence, so that a deposed leader is refused, and single ones of other writers.
package appender

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/reader"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"
)

const (
	headerExpectedSeq        = "Nats-Expected-Last-Subject-Sequence"
	headerExpectedSeqSubject = "Nats-Expected-Last-Subject-Sequence-Subject"

	ackTimeout    = 10 * time.Second
	headerReserve = 2 << 10 // of a message's size, for the envelope
)

// Options wire an Appender. The zero value of each field is usable.
type Options struct {
	Source string        // ce-source, such as "operator"
	NewID  func() string // a ULID for each event
	// Retry waits before the n-th try again of an append that the server could
	// not take at that moment.
	Retry func(ctx context.Context, n int) error
}

// Appender is the elected leader's way into the log: each append carries the
// fencing token, the sequence of its election, so that a deposed leader is
// refused whatever the clocks say. One goroutine uses it.
type Appender struct {
	js      jetstream.JetStream
	options Options
	token   uint64

	replicated bool
}

// New wires an appender to a connection.
func New(nc *nats.Conn, o Options) (*Appender, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, fmt.Errorf("appender: %w", err)
	}
	if o.NewID == nil {
		o.NewID = func() string { return ulid.Make().String() }
	}
	if o.Retry == nil {
		o.Retry = jitter
	}
	return &Appender{js: js, options: o}, nil
}

// Token is the fencing token: the sequence of the last election won, or 0.
func (a *Appender) Token() uint64 { return a.token }

// Resign forgets the token: Append fails until the next election.
func (a *Appender) Resign() { a.token = 0 }

// Elect appends leader.elected, expecting that nobody else was elected since it
// looked. It returns the fencing token. It fails with ErrDeposed when another
// was faster and with ErrUncertain when no answer came.
func (a *Appender) Elect(ctx context.Context, l eventlog.Leader, at time.Time) (uint64, error) {
	a.token = 0
	info, err := logstream.Inspect(ctx, a.js)
	if err != nil {
		return 0, fmt.Errorf("elect: %w", err)
	}
	a.replicated = info.Replicas > 1
	previous, err := reader.LastSequence(ctx, a.js, eventlog.LogStream, eventlog.LeaderSubject)
	if err != nil {
		return 0, fmt.Errorf("elect: last election: %w", err)
	}
	d, err := eventlog.NewDraft(eventlog.LeaderSubject, eventlog.LeaderElected, at, l)
	if err != nil {
		return 0, err
	}
	m := d.Message(a.options.Source, a.options.NewID())
	fence(m, previous)
	ack, err := a.publish(ctx, m, previous)
	if err != nil {
		return 0, fmt.Errorf("elect: %w", err)
	}
	a.token = ack
	return ack, nil
}

// Append appends the drafts in their order and returns the highest sequence that
// was acknowledged. On a stream of one replica they are pipelined, and the first
// refusal stops the pipeline; on a replicated one they go in atomic batches. It
// fails with ErrDeposed, ErrUncertain, ErrLogFull, ErrTooLarge (before anything
// is sent) or ErrNotElected; what was appended before the failure stays, so the
// caller folds past the sequence that it is given before it decides again. After
// ErrDeposed and ErrUncertain the token is gone.
func (a *Appender) Append(ctx context.Context, drafts []eventlog.Draft) (uint64, error) {
	if len(drafts) == 0 {
		return 0, nil
	}
	if a.token == 0 {
		return 0, ErrNotElected
	}
	most := a.maxDraftBytes()
	for i := range drafts {
		if n := drafts[i].Size(); n > most {
			return 0, fmt.Errorf("append %s on %.300s: %w: %d bytes, at most %d", drafts[i].Type, drafts[i].Subject, ErrTooLarge, n, most)
		}
	}
	send := a.pipeline
	if a.replicated {
		send = a.batches
	}
	last, err := send(ctx, drafts)
	if err != nil {
		if errors.Is(err, ErrDeposed) || errors.Is(err, ErrUncertain) {
			a.token = 0
		}
		return last, fmt.Errorf("append: %w", err)
	}
	return last, nil
}

// maxDraftBytes is what a draft may weigh: what the log takes, or the server where that
// is less.
func (a *Appender) maxDraftBytes() int {
	most := logstream.MaxMessageBytes
	if server := a.js.Conn().MaxPayload(); server > 0 && server < int64(most) {
		most = int(server)
	}
	return most - headerReserve
}

func fence(m *nats.Msg, token uint64) {
	m.Header[headerExpectedSeq] = []string{strconv.FormatUint(token, 10)}
	m.Header[headerExpectedSeqSubject] = []string{eventlog.LeaderSubject}
}

// publish appends one fenced message and waits, as often as the server says that
// another fenced one is in flight.
func (a *Appender) publish(ctx context.Context, m *nats.Msg, token uint64) (uint64, error) {
	for try := 1; ; try++ {
		bounded, cancel := context.WithTimeout(ctx, ackTimeout)
		seq, err := a.contend(bounded, m, copies(try))
		cancel()
		switch {
		case err == nil:
			return seq, nil
		case code(err) == jetstream.JSErrCodeStreamWrongLastSequenceConstant:
			if err := a.options.Retry(ctx, try); err != nil {
				return 0, err
			}
		default:
			return 0, refusal(err, token)
		}
	}
}

// jitter waits 1 ms to 12 ms: who waits long loses the next turn, too.
func jitter(ctx context.Context, n int) error {
	t := time.NewTimer(time.Millisecond + rand.N(time.Duration(min(n, 11))*time.Millisecond))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrUncertain, ctx.Err())
	}
}

// Unfenced appends one event of a writer that is not the leader, such as a
// person's request, and returns its sequence.
func Unfenced(ctx context.Context, js jetstream.JetStream, source string, d eventlog.Draft) (uint64, error) {
	ack, err := js.PublishMsg(ctx, d.Message(source, ulid.Make().String()))
	if err != nil {
		return 0, fmt.Errorf("append %s on %s: %w", d.Type, d.Subject, err)
	}
	return ack.Sequence, nil
}
