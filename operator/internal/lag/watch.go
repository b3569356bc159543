package lag

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/reader"
)

// Reader is somebody who reads the log, and the metric that says how far behind it is.
type Reader struct {
	Metric, Help string
	// Reading is asked at each look and at each scrape. It must not wait. It is false while
	// nobody reads, or this replica does not know how far.
	Reading func() (Reading, bool)
}

// Options wire a Watch.
type Options struct {
	JS      jetstream.JetStream
	Readers []Reader
	Now     func() time.Time // with a monotonic reading, as time.Now gives it
	Logger  *slog.Logger
}

// Watch asks the log for its end, and remembers what each reader lacked then. It costs a request
// a look, and another one for each reader that is behind.
type Watch struct {
	options Options

	mu    sync.Mutex
	marks []mark // of each reader
	ahead time.Duration
}

// mark is that of a reader at the last look at which it read.
type mark struct {
	Mark
	taken time.Time // zero: never
}

// New wires a watch.
func New(o Options) *Watch { return &Watch{options: o, marks: make([]mark, len(o.Readers))} }

// Run looks until the context ends.
func (w *Watch) Run(ctx context.Context) error {
	tick := time.NewTicker(Every)
	defer tick.Stop()
	for {
		if err := w.look(ctx); err != nil && ctx.Err() == nil {
			w.options.Logger.Debug("cannot tell how far behind the event log its readers are; will retry", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// look asks the log for its end once. What a reader has read is asked before that: what it has
// beyond the end, the log lost. Where the event that one reader lacks cannot be read, that reader
// keeps its mark, and the others are looked at all the same.
func (w *Watch) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	readings := make([]Reading, len(w.options.Readers))
	reads := make([]bool, len(readings))
	for i, r := range w.options.Readers {
		readings[i], reads[i] = r.Reading()
	}
	end, err := w.end(ctx)
	if err != nil {
		return err
	}
	taken := w.options.Now()
	w.mu.Lock()
	w.ahead = end.At.Sub(taken)
	w.mu.Unlock()
	var errs []error
	for i := range readings {
		if !reads[i] {
			w.set(i, mark{})
			continue
		}
		m := mark{Mark: Mark{End: end, Sequence: end.Lacks(readings[i])}, taken: taken}
		if m.Sequence != 0 {
			m.Recorded, err = w.recorded(ctx, i, m.Mark)
			if errors.Is(err, jetstream.ErrMsgNotFound) { // nothing that can be read is left for it
				m.Sequence, err = 0, nil
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("metric %s: %w", w.options.Readers[i].Metric, err))
				continue
			}
		}
		w.set(i, m)
	}
	return errors.Join(errs...)
}

// end asks the log's leader.
func (w *Watch) end(ctx context.Context) (End, error) {
	s, err := w.options.JS.Stream(ctx, eventlog.LogStream)
	if err != nil {
		return End{}, err
	}
	i := s.CachedInfo()
	if logstream.RestoringArchive(i.Config) != "" {
		return End{}, logstream.ErrRestoring
	}
	return End{LogID: logstream.IDOf(i.Config), First: i.State.FirstSeq, Last: i.State.LastSeq, At: i.TimeStamp}, nil
}

// recorded is when the log recorded the event that a reader lacks, or the next one that can be
// read: an event may be deleted. A reader that stands still lacks the one that it lacked at the
// look before.
func (w *Watch) recorded(ctx context.Context, i int, m Mark) (time.Time, error) {
	w.mu.Lock()
	before := w.marks[i]
	w.mu.Unlock()
	if before.Sequence == m.Sequence && before.End.LogID == m.End.LogID {
		return before.Recorded, nil
	}
	event, err := reader.NextMessage(ctx, w.options.JS, eventlog.LogStream, ">", m.Sequence)
	if err != nil {
		return time.Time{}, err
	}
	return event.Time, nil
}

func (w *Watch) set(i int, m mark) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.marks[i] = m
}

// Ahead is how far the clock of the log's leader was ahead of this machine's at the last look; 0
// where none was made yet.
func (w *Watch) Ahead() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ahead
}

// age is that of what a reader lacks now; false where that is not known.
func (w *Watch) age(i int) (time.Duration, bool) {
	r, reads := w.options.Readers[i].Reading()
	w.mu.Lock()
	m := w.marks[i]
	w.mu.Unlock()
	if !reads || m.taken.IsZero() {
		return 0, false
	}
	return m.Age(r, w.options.Now().Sub(m.taken)), true
}
