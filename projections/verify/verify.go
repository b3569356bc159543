// Package verify holds the log against all that should agree with it: its own
// sequence, its seals, the buckets, saved folds. It reads the log once and changes
// nothing; the log may go on meanwhile.
package verify

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/projections/seal"
)

// Options say how to verify. The zero value is usable.
type Options struct {
	// Trusted are the keys by which seals may be signed. None trusts the key of
	// the first seal that holds.
	Trusted seal.Keys
	// Most bounds how many findings of each kind are kept; all are counted. 0
	// means 20.
	Most int
	// Timeout is how long a bucket may take to come to what the log has. The
	// server needs milliseconds. 0 means 15 s.
	Timeout time.Duration
	// Progress is told how many messages were read and about how many there are.
	// It may be nil.
	Progress func(done, total uint64)
}

const (
	defaultMost    = 20
	defaultTimeout = 15 * time.Second
)

// Run verifies the log as it is when Run begins, and the buckets as they are at
// its end. One bad message hides nothing else: what was found is in the report.
// An error says that the log could not be read, so that nothing is known.
//
//	log ──▶ read ──┬──▶ leaves ──▶ tree ◀── seals
//	               └──▶ fold, numbers, foreign, keys ◀──▶ buckets
func Run(ctx context.Context, js jetstream.JetStream, o Options) (*Report, error) {
	if o.Most == 0 {
		o.Most = defaultMost
	}
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	log, err := logstream.Inspect(ctx, js)
	if err != nil {
		return nil, err
	}
	r := newReport(o.Most)
	r.LogID = log.ID
	r.Seals.Pinned = len(o.Trusted) > 0
	if log.Last > 0 && log.First > 1 {
		r.addf(LogBeginsLate, log.First, "the log begins at sequence %d: the messages before it are gone", log.First)
	}
	fold, err := readLog(ctx, js, log, o, r)
	if err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	for _, b := range eventlog.Buckets() {
		if err := compareBucket(ctx, js, b, fold.ledgers[b], o.Timeout, r); err != nil {
			return nil, fmt.Errorf("verify bucket %s: %w", b, err)
		}
	}
	return r, nil
}

// What is passed on at once: one event by one, the passing on would cost more than
// what is done with them. Batches wait for those who look at them, so they are
// bounded in bytes too.
const (
	batchSize  = 256 // events
	batchBytes = 256 << 10
	batches    = 8 // that wait for one who looks at them
)

// item is an event as reading gave it.
type item struct {
	eventlog.Event
	foreign error
}

// readLog reads the log once, for both who look at it: they take all that they
// are given.
func readLog(ctx context.Context, js jetstream.JetStream, log logstream.Info, o Options, r *Report) (*foldCheck, error) {
	seals, fold := &sealCheck{js: js, last: log.Last, trusted: o.Trusted, report: newReport(o.Most)}, newFoldCheck(newReport(o.Most))
	fold.saved = newCheckpoints(ctx, js, log.ID, log.Last, fold.report)
	toSeals, toFold := make(chan []item, batches), make(chan []item, batches)
	var workers sync.WaitGroup
	var broken error
	workers.Go(func() { broken = seals.run(ctx, toSeals) })
	workers.Go(func() { fold.run(ctx, toFold) })
	err := read(ctx, js, log, o.Progress, r, toSeals, toFold)
	close(toSeals)
	close(toFold)
	workers.Wait()
	if err = errors.Join(err, broken); err != nil {
		return nil, err
	}
	seals.result(&r.Seals, r.Sequence)
	r.merge(seals.report)
	r.merge(fold.report)
	r.Checkpoints = fold.report.Checkpoints
	return fold, nil
}

// read passes the log on, in its order, and says what is missing of it.
func read(ctx context.Context, js jetstream.JetStream, log logstream.Info, progress func(done, total uint64), r *Report, to ...chan<- []item) error {
	if log.Last == 0 {
		return nil
	}
	pass := func(batch []item) {
		for _, ch := range to {
			ch <- batch
		}
	}
	next, size := log.First, 0
	batch := make([]item, 0, batchSize)
	for e, err := range reader.Read(ctx, js, reader.Options{Until: log.Last, LogID: log.ID, Progress: progress}) {
		if err != nil && !errors.Is(err, eventlog.ErrForeign) {
			return err
		}
		if e.Sequence > next {
			missing(ctx, js, r, next, e.Sequence-1)
		}
		if e.Recorded.Before(r.Recorded) {
			r.add(Finding{Kind: TimeBackwards, Sequence: e.Sequence, Subject: e.Subject, Says: fmt.Sprintf("recorded %s before the message before it", r.Recorded.Sub(e.Recorded))})
		}
		next, r.Recorded, r.Messages = e.Sequence+1, e.Recorded, r.Messages+1
		batch, size = append(batch, item{e, err}), size+len(e.Data)+e.HeaderBytes
		if len(batch) == batchSize || size >= batchBytes {
			pass(batch)
			batch, size = make([]item, 0, batchSize), 0
		}
	}
	r.Sequence = log.Last
	if next <= log.Last {
		missing(ctx, js, r, next, log.Last)
	}
	pass(batch)
	return nil
}

// missing says which messages the log does not give, and what the server says
// when it is asked for the first.
func missing(ctx context.Context, js jetstream.JetStream, r *Report, from, to uint64) {
	which := fmt.Sprintf("message %d is", from)
	if to > from {
		which = fmt.Sprintf("messages %d to %d are", from, to)
	}
	why := "the server skips it in silence"
	if !r.full(MessageMissing) {
		if _, err := reader.MessageAt(ctx, js, eventlog.LogStream, from); err != nil {
			why = "asked for it, the server says: " + err.Error()
		}
	}
	r.addMany(Finding{Kind: MessageMissing, Sequence: from, Says: which + " not in the log, though it goes on after: " + why}, to-from+1)
}

// merge adds what another report found.
func (r *Report) merge(o *Report) {
	r.Findings = append(r.Findings, o.Findings...)
	for k, n := range o.Counts {
		r.Counts[k] += n
		r.kept[k] += o.kept[k]
	}
}
