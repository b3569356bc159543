package eventsapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/reader"
)

// Bounds of what is kept for streams.
const (
	recentEvents = 4096
	recentBytes  = 4 << 20
)

// recent has the last events of the log as streams send them, so that many who follow read
// the log once. Who is further behind reads it.
type recent struct {
	js jetstream.JetStream

	reading chan struct{} // has the one who reads on

	mu      sync.Mutex
	of      <-chan struct{} // closes when the fold whose log this is no longer holds
	after   uint64          // all events of the log after this one are here,
	through uint64          // up to this one
	items   []item
	bytes   int
}

// item is an event without its payload, and its row as JSON.
type item struct {
	event eventlog.Event
	row   []byte
}

// since gives the events after one sequence and up to another; false where they are not all
// kept. lost tells one fold of the log from another. A caller waits for its turn, and reads, for as
// long as a request may.
func (r *recent) since(ctx context.Context, lost <-chan struct{}, after, through uint64) ([]item, bool, error) {
	bounded, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	select {
	case r.reading <- struct{}{}:
	case <-bounded.Done():
		return nil, false, fmt.Errorf("wait for another one who reads the log: %w", bounded.Err())
	}
	err := r.read(bounded, lost, through)
	<-r.reading
	if err != nil {
		return nil, false, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if after < r.after {
		return nil, false, nil
	}
	first := len(r.items)
	for first > 0 && r.items[first-1].event.Sequence > after {
		first--
	}
	last := len(r.items)
	for last > first && r.items[last-1].event.Sequence > through {
		last--
	}
	return r.items[first:last:last], true, nil
}

// read reads on up to a sequence. The caller is in reading.
func (r *recent) read(ctx context.Context, lost <-chan struct{}, through uint64) error {
	r.mu.Lock()
	if r.of != lost || through > r.through+recentEvents { // another log, or nobody followed for a while
		r.of, r.items, r.bytes = lost, nil, 0
		r.after = through - min(through, recentEvents)
		r.through = r.after
	}
	from := r.through + 1
	r.mu.Unlock()
	if from > through {
		return nil
	}
	var fresh []item
	for e, err := range reader.Read(ctx, r.js, reader.Options{From: from, Until: through, Direct: true, Most: int(through - from + 1)}) {
		if err != nil && !errors.Is(err, eventlog.ErrForeign) {
			return err
		}
		flat := rowOf(&e, err, false)
		row, err := encode(&flat)
		if err != nil {
			return err
		}
		e.Data, e.Header = nil, nil
		fresh = append(fresh, item{e, row})
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.items, r.through = append(r.items, fresh...), through
	for _, i := range fresh {
		r.bytes += len(i.row)
	}
	r.drop()
	return nil
}

// drop forgets the oldest ones. Streams may still read them, so the memory is not written to.
func (r *recent) drop() {
	n := 0
	for n < len(r.items) && (len(r.items)-n > recentEvents || r.bytes > recentBytes) {
		r.bytes -= len(r.items[n].row)
		r.after = r.items[n].event.Sequence
		n++
	}
	if n > 0 {
		r.items = append([]item(nil), r.items[n:]...)
	}
}

// encode gives a row as JSON.
func encode(r *Row) ([]byte, error) {
	b, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("event %d: %w", r.Sequence, err)
	}
	return b, nil
}
