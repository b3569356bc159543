package eventlog

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ErrLogReset says that the log is not the one that was being followed: it was
// made anew, restored, or lost its tail. What was folded from it does not hold.
var ErrLogReset = errors.New("the log went back: it is not the one that was followed")

// ReadOptions say what to read. The zero value reads all.
type ReadOptions struct {
	From     uint64    // first sequence; 0 means the beginning
	Since    time.Time // first moment, by the log's clock; used when From is 0
	Until    uint64    // last sequence; 0 means the log's last when reading begins
	Subjects []string  // filters; none means all
	// Progress is told how many events were read and how many there are, now
	// and then and at the end. It may be nil.
	Progress func(done, total uint64)
}

// Read yields the events from a place in the log to its end as it is when
// reading begins. A foreign message comes as an Event together with an error
// that wraps ErrForeign, and reading goes on; any other error is the last pair.
func Read(ctx context.Context, js jetstream.JetStream, o ReadOptions) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		info, err := Log(ctx, js)
		if err != nil {
			yield(Event{}, fmt.Errorf("read: %w", err))
			return
		}
		if o.Until == 0 || o.Until > info.Last {
			o.Until = info.Last
		}
		if o.Until == 0 || o.From > o.Until {
			return
		}
		run(ctx, js, o, yield)
	}
}

// Follow yields the events from a place in the log on, for ever: until the
// context ends (its error is the last pair), or the log proves to be another one
// (ErrLogReset). It survives reconnects and restarts of the server. Foreign
// messages come as with Read; Until and Progress are not used.
func Follow(ctx context.Context, js jetstream.JetStream, o ReadOptions) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		o.Until = 0
		run(ctx, js, o, yield)
	}
}

const (
	pullMost      = 8192             // messages asked for at a time
	queueMost     = 2 * pullMost     // messages that wait for the reader
	checkEvery    = 5 * time.Second  // how often a quiet log is checked for having gone back
	progressEvery = 1 << 13          // events between two words of progress
	patience      = 30 * time.Second // how long a server that does not answer is waited for
)

func run(ctx context.Context, js jetstream.JetStream, o ReadOptions, yield func(Event, error) bool) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cons, err := consumer(ctx, js, o)
	if err != nil {
		yield(Event{}, err)
		return
	}
	total := cons.CachedInfo().NumPending
	if o.Until > 0 && total == 0 {
		report(o, 0, 0)
		return
	}
	q := newQueue()
	cc, err := cons.Consume(q.put, jetstream.PullMaxMessages(pullMost), jetstream.ConsumeErrHandler(q.failed))
	if err != nil {
		yield(Event{}, fmt.Errorf("follow: %w", err))
		return
	}
	stop := context.AfterFunc(ctx, q.close)
	defer func() {
		stop()
		q.close()
		cc.Stop()
		<-cc.Closed()
	}()
	guard := newGuard(js)
	if o.Until == 0 {
		watched := make(chan struct{})
		go func() {
			defer close(watched)
			guard.watch(ctx, q)
		}()
		defer func() { cancel(); <-watched }()
	}
	var done uint64
	for batch := range q.batches {
		for i, m := range batch.msgs {
			e, pending, err := decodeMsg(m)
			if err != nil && !errors.Is(err, ErrForeign) {
				yield(Event{}, err)
				return
			}
			batch.msgs[i] = nil
			if o.Until > 0 && e.Sequence > o.Until {
				report(o, done, done)
				return
			}
			guard.saw(e)
			if !yield(e, err) {
				return
			}
			if done++; done%progressEvery == 0 {
				report(o, done, max(total, done))
			}
			if o.Until > 0 && (pending == 0 || e.Sequence == o.Until) {
				report(o, done, done)
				return
			}
		}
		if batch.err != nil {
			yield(Event{}, batch.err)
			return
		}
	}
	if err := ctx.Err(); err != nil {
		yield(Event{}, err)
	}
}

func report(o ReadOptions, done, total uint64) {
	if o.Progress != nil {
		o.Progress(done, total)
	}
}

func consumer(ctx context.Context, js jetstream.JetStream, o ReadOptions) (jetstream.Consumer, error) {
	c := jetstream.OrderedConsumerConfig{FilterSubjects: o.Subjects, DeliverPolicy: jetstream.DeliverAllPolicy}
	switch {
	case o.From > 0:
		c.DeliverPolicy, c.OptStartSeq = jetstream.DeliverByStartSequencePolicy, o.From
	case !o.Since.IsZero():
		c.DeliverPolicy, c.OptStartTime = jetstream.DeliverByStartTimePolicy, &o.Since
	}
	cons, err := js.OrderedConsumer(ctx, LogStream, c)
	if err != nil {
		return nil, fmt.Errorf("read stream %s: %w", LogStream, err)
	}
	return cons, nil
}

func decodeMsg(m jetstream.Msg) (Event, uint64, error) {
	meta, err := m.Metadata()
	if err != nil {
		return Event{}, 0, fmt.Errorf("read stream %s: %w", LogStream, err)
	}
	e, err := Decode(m.Subject(), m.Headers(), m.Data(), meta.Sequence.Stream, meta.Timestamp)
	return e, meta.NumPending, err
}

// queue hands messages from the client's goroutine to the reader in as large
// pieces as have gathered: so decoding and folding run beside the receiving, and
// neither waits for single messages.
type queue struct {
	mu     sync.Mutex
	change sync.Cond
	msgs   []jetstream.Msg
	err    error
	closed bool
}

type batch struct {
	msgs []jetstream.Msg
	err  error // the last batch's
}

func newQueue() *queue {
	q := &queue{}
	q.change.L = &q.mu
	return q
}

func (q *queue) put(m jetstream.Msg) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.msgs) >= queueMost && !q.closed {
		q.change.Wait()
	}
	q.msgs = append(q.msgs, m)
	if len(q.msgs) == 1 {
		q.change.Broadcast()
	}
}

// failed hears of the consumer's troubles. The ordered consumer heals what can
// be healed; a stream that is gone ends the reading.
func (q *queue) failed(_ jetstream.ConsumeContext, err error) {
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		q.end(fmt.Errorf("%w: %w", ErrLogReset, err))
	}
	if errors.Is(err, jetstream.ErrOrderedConsumerReset) {
		q.end(fmt.Errorf("follow: %w", err))
	}
}

func (q *queue) end(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.err == nil {
		q.err = err
	}
	q.change.Broadcast()
}

func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.change.Broadcast()
}

// batches yields what has come until the queue is closed or ends by an error.
func (q *queue) batches(yield func(batch) bool) {
	var spare []jetstream.Msg
	for {
		q.mu.Lock()
		for len(q.msgs) == 0 && !q.closed && q.err == nil {
			q.change.Wait()
		}
		b := batch{msgs: q.msgs, err: q.err}
		closed := q.closed
		full := len(q.msgs) >= queueMost
		q.msgs = spare[:0]
		if full {
			q.change.Broadcast()
		}
		q.mu.Unlock()
		if closed {
			return
		}
		if !yield(b) || b.err != nil {
			return
		}
		spare = b.msgs
	}
}

// guard notices that a log went back while it was followed: it asks now and
// then, and after each reconnect, whether the last event that was seen is still
// what it was.
type guard struct {
	js jetstream.JetStream

	mu       sync.Mutex
	sequence uint64
	recorded time.Time
}

func newGuard(js jetstream.JetStream) *guard { return &guard{js: js} }

func (g *guard) saw(e Event) {
	g.mu.Lock()
	g.sequence, g.recorded = e.Sequence, e.Recorded
	g.mu.Unlock()
}

func (g *guard) watch(ctx context.Context, q *queue) {
	reconnected := g.js.Conn().StatusChanged(nats.CONNECTED)
	defer g.js.Conn().RemoveStatusListener(reconnected)
	tick := time.NewTicker(checkEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-reconnected:
		}
		if err := g.check(ctx); errors.Is(err, ErrLogReset) {
			q.end(err)
			return
		}
	}
}

// check fails with ErrLogReset, or with what kept it from asking: then the next
// round asks again.
func (g *guard) check(ctx context.Context) error {
	g.mu.Lock()
	seq, at := g.sequence, g.recorded
	g.mu.Unlock()
	if seq == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	s, err := g.js.Stream(ctx, LogStream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return fmt.Errorf("%w: %w", ErrLogReset, err)
	}
	if err != nil {
		return err
	}
	if last := s.CachedInfo().State.LastSeq; last < seq {
		return fmt.Errorf("%w: it ends at sequence %d, after %d had been read", ErrLogReset, last, seq)
	}
	m, err := s.GetMsg(ctx, seq)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return fmt.Errorf("%w: sequence %d is gone", ErrLogReset, seq)
	}
	if err != nil {
		return err
	}
	if !m.Time.Equal(at) {
		return fmt.Errorf("%w: sequence %d is another message", ErrLogReset, seq)
	}
	return nil
}
