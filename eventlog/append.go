package eventlog

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"
	"github.com/synadia-io/orbit.go/jetstreamext"
)

// Errors that a caller of the Appender branches on.
var (
	// ErrDeposed: another leader was elected. Nothing more may be said.
	ErrDeposed = errors.New("deposed: another leader was elected in the log")
	// ErrUncertain: appends were outstanding when the connection or the answer
	// was lost, so some may be in the log. The caller elects itself anew and
	// folds past that election before it decides again; latecomers then carry
	// an old token and are refused, so nothing is said twice.
	ErrUncertain = errors.New("no answer to an append: it may or may not be in the log")
	// ErrLogFull: the log has reached its size.
	ErrLogFull = errors.New("the log is full: raise --log-max-bytes, or cut off who fills it (fleetctl log shows them)")
	// ErrTooLarge: an event is larger than MaxMessageBytes.
	ErrTooLarge = errors.New("the event is larger than the log takes")
	// ErrNotElected: Append was called before Elect.
	ErrNotElected = errors.New("not elected: an appender without a fencing token may not append")
)

const (
	headerExpectedSeq        = "Nats-Expected-Last-Subject-Sequence"
	headerExpectedSeqSubject = "Nats-Expected-Last-Subject-Sequence-Subject"

	codeStoreFailed           = 10077
	codeInsufficientResources = 10023

	window     = 4096 // appends in flight on a stream of one replica
	batchMost  = 1000 // messages in one atomic batch: the server's limit
	batchBytes = 16 << 20
	ackTimeout = 10 * time.Second
)

// AppenderOptions wire an Appender. The zero value of each field is usable.
type AppenderOptions struct {
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
	options AppenderOptions
	token   uint64

	replicated bool
}

// NewAppender wires an appender to a connection that it may use alone for
// asynchronous publishing.
func NewAppender(nc *nats.Conn, o AppenderOptions) (*Appender, error) {
	js, err := jetstream.New(nc,
		jetstream.WithPublishAsyncMaxPending(2*window),
		jetstream.WithPublishAsyncTimeout(ackTimeout))
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
func (a *Appender) Elect(ctx context.Context, l Leader, at time.Time) (uint64, error) {
	a.token = 0
	info, err := Log(ctx, a.js)
	if err != nil {
		return 0, fmt.Errorf("elect: %w", err)
	}
	a.replicated = info.Replicas > 1
	s, err := a.js.Stream(ctx, LogStream)
	if err != nil {
		return 0, fmt.Errorf("elect: %w", err)
	}
	var previous uint64
	switch m, err := s.GetLastMsgForSubject(ctx, LeaderSubject); {
	case err == nil:
		previous = m.Sequence
	case !errors.Is(err, jetstream.ErrMsgNotFound):
		return 0, fmt.Errorf("elect: last election: %w", err)
	}
	d, err := NewDraft(LeaderSubject, LeaderElected, at, l)
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

// Append appends the drafts in their order and returns the sequence of the last.
// On a stream of one replica they are pipelined, and the first refusal stops the
// pipeline; on a replicated one they go in atomic batches. It fails with
// ErrDeposed, ErrUncertain, ErrLogFull, ErrTooLarge (before anything is sent) or
// ErrNotElected; what was appended before the failure stays.
func (a *Appender) Append(ctx context.Context, drafts []Draft) (uint64, error) {
	if len(drafts) == 0 {
		return 0, nil
	}
	if a.token == 0 {
		return 0, ErrNotElected
	}
	for i := range drafts {
		if n := len(drafts[i].Data); n > MaxMessageBytes-2048 {
			return 0, fmt.Errorf("append %s on %s: %w: %d bytes, at most %d", drafts[i].Type, drafts[i].Subject, ErrTooLarge, n, MaxMessageBytes-2048)
		}
	}
	if a.replicated {
		return a.appendBatches(ctx, drafts)
	}
	return a.pipeline(ctx, drafts)
}

func fence(m *nats.Msg, token uint64) {
	m.Header[headerExpectedSeq] = []string{strconv.FormatUint(token, 10)}
	m.Header[headerExpectedSeqSubject] = []string{LeaderSubject}
}

// pipeline keeps up to window appends in flight.
func (a *Appender) pipeline(ctx context.Context, drafts []Draft) (uint64, error) {
	var last uint64
	inFlight := make([]jetstream.PubAckFuture, 0, min(window, len(drafts)))
	collect := func(keep int) error {
		for len(inFlight) > keep {
			f := inFlight[0]
			select {
			case ack := <-f.Ok():
				last = max(last, ack.Sequence)
			case err := <-f.Err():
				return a.refused(err, a.token)
			case <-ctx.Done():
				return fmt.Errorf("%w: %w", ErrUncertain, ctx.Err())
			}
			inFlight = inFlight[1:]
		}
		return nil
	}
	for _, d := range drafts {
		if err := collect(window - 1); err != nil {
			return last, fmt.Errorf("append: %w", err)
		}
		m := d.Message(a.options.Source, a.options.NewID())
		fence(m, a.token)
		f, err := a.js.PublishMsgAsync(m, jetstream.WithStallWait(ackTimeout))
		if err != nil {
			return last, fmt.Errorf("append %s: %w: %w", d.Type, ErrUncertain, err)
		}
		inFlight = append(inFlight, f)
	}
	if err := collect(0); err != nil {
		return last, fmt.Errorf("append: %w", err)
	}
	return last, nil
}

// appendBatches sends atomic batches, the first message of each with the fence:
// on a replicated stream only one fenced message may be in flight.
func (a *Appender) appendBatches(ctx context.Context, drafts []Draft) (uint64, error) {
	var last uint64
	for len(drafts) > 0 {
		n, bytes := 0, 0
		for n < len(drafts) && n < batchMost && (n == 0 || bytes+len(drafts[n].Data) < batchBytes) {
			bytes += len(drafts[n].Data)
			n++
		}
		msgs := make([]*nats.Msg, n)
		for i, d := range drafts[:n] {
			msgs[i] = d.Message(a.options.Source, a.options.NewID())
		}
		seq, err := a.batch(ctx, msgs)
		if err != nil {
			return last, fmt.Errorf("append: %w", err)
		}
		last, drafts = seq, drafts[n:]
	}
	return last, nil
}

// batch appends messages whole or not at all. The ids stay over its tries.
// Where the server has too many batches open (a hostile device can hold them),
// it appends one by one instead.
func (a *Appender) batch(ctx context.Context, msgs []*nats.Msg) (uint64, error) {
	fence(msgs[0], a.token)
	if len(msgs) == 1 {
		return a.publish(ctx, msgs[0], a.token)
	}
	for try := 1; ; try++ {
		bounded, cancel := context.WithTimeout(ctx, ackTimeout)
		ack, err := jetstreamext.PublishMsgBatch(bounded, a.js, msgs, jetstreamext.BatchFlowControl{AckFirst: true, AckEvery: 200, AckTimeout: ackTimeout})
		cancel()
		if err == nil {
			return ack.Sequence, nil
		}
		switch code(err) {
		case jetstreamext.JSErrCodeAtomicPublishTooManyInflight:
			return a.oneByOne(ctx, msgs)
		case jetstream.JSErrCodeStreamWrongLastSequenceConstant, jetstreamext.JSErrCodeBatchPublishIncomplete:
			if err := a.options.Retry(ctx, try); err != nil {
				return 0, err
			}
		default:
			return 0, a.refused(err, a.token)
		}
	}
}

func (a *Appender) oneByOne(ctx context.Context, msgs []*nats.Msg) (uint64, error) {
	var last uint64
	for _, m := range msgs {
		for _, h := range []string{jetstreamext.BatchIDHeader, jetstreamext.BatchSeqHeader, jetstreamext.BatchCommitHeader} {
			m.Header.Del(h)
		}
		m.Reply = ""
		fence(m, a.token)
		seq, err := a.publish(ctx, m, a.token)
		if err != nil {
			return last, err
		}
		last = seq
	}
	return last, nil
}

// publish appends one fenced message and waits, as often as the server says that
// another fenced one is in flight.
func (a *Appender) publish(ctx context.Context, m *nats.Msg, token uint64) (uint64, error) {
	for try := 1; ; try++ {
		bounded, cancel := context.WithTimeout(ctx, ackTimeout)
		ack, err := a.js.PublishMsg(bounded, m)
		cancel()
		switch {
		case err == nil:
			return ack.Sequence, nil
		case code(err) == jetstream.JSErrCodeStreamWrongLastSequenceConstant:
			if err := a.options.Retry(ctx, try); err != nil {
				return 0, err
			}
		default:
			return 0, a.refused(err, token)
		}
	}
}

// refused says what a server's refusal means. Only error 10071 that names
// another sequence than ours means deposed.
func (a *Appender) refused(err error, token uint64) error {
	var api *jetstream.APIError
	if !errors.As(err, &api) {
		return fmt.Errorf("%w: %w", ErrUncertain, err)
	}
	switch api.ErrorCode {
	case jetstream.JSErrCodeStreamWrongLastSequence:
		said := strings.TrimPrefix(api.Description, "wrong last sequence: ")
		if n, perr := strconv.ParseUint(said, 10, 64); perr == nil && n != token {
			a.token = 0
			return fmt.Errorf("%w (at sequence %d)", ErrDeposed, n)
		}
		return fmt.Errorf("%w: %w", ErrUncertain, err)
	case codeStoreFailed, codeInsufficientResources:
		return fmt.Errorf("%w: %w", ErrLogFull, err)
	}
	return fmt.Errorf("%w: %w", ErrUncertain, err)
}

func code(err error) jetstream.ErrorCode {
	var api *jetstream.APIError
	if errors.As(err, &api) {
		return api.ErrorCode
	}
	return 0
}

// jitter waits 2 ms to 200 ms, longer with each try.
func jitter(ctx context.Context, n int) error {
	most := 4 * time.Millisecond << min(n, 6)
	t := time.NewTimer(2*time.Millisecond + rand.N(min(most, 200*time.Millisecond)))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrUncertain, ctx.Err())
	}
}

// AppendUnfenced appends one event of a writer that is not the leader, such as a
// person's request, and returns its sequence.
func AppendUnfenced(ctx context.Context, js jetstream.JetStream, source string, d Draft) (uint64, error) {
	ack, err := js.PublishMsg(ctx, d.Message(source, ulid.Make().String()))
	if err != nil {
		return 0, fmt.Errorf("append %s on %s: %w", d.Type, d.Subject, err)
	}
	return ack.Sequence, nil
}
