// Package decider is the shell around Decide: it takes what may have something due
// in batches, decides under the fold's lock, appends once, and asks again once
// the fold has passed what was appended, until nothing is due.
package decider

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"k8s.io/client-go/util/workqueue"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/appender"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/operator/internal/liveness"
	"fleet.nationtech.io/projections/fleet"
)

const (
	// maxInputs bounds how long one round holds the fold's lock. It bounds the
	// inputs alone: one Deployment may have a hundred thousand events due.
	maxInputs = 4096
	// fullPause is how long a full log is left alone.
	fullPause = 5 * time.Second
	// finalizerCheck is how often, and finalizerTimeout how long, it is looked whether
	// what was withheld when a run began still is, before the run is through.
	finalizerCheck   = time.Second
	finalizerTimeout = 30 * time.Second
)

// Input is what a round looks at: one that Decide takes, a device whose presence
// turned, or the log's next seal.
type Input struct {
	decide.Input
	Presence string
	Seal     bool
}

// Log is where what was decided goes. See appender.Appender for the errors.
type Log interface {
	Append(ctx context.Context, drafts []eventlog.Draft) (last uint64, err error)
}

// Fold is what decisions look at.
type Fold interface {
	Do(fn func(*decide.State))
	WaitFor(ctx context.Context, sequence uint64) error
}

// Options wire a Decider.
type Options struct {
	Fold Fold
	// Verdict says whether a device is online.
	Verdict func(device string) liveness.Verdict
	// Seal gives the seal that is due. It must not wait.
	Seal func(now time.Time) ([]eventlog.Draft, error)
	// AwaitingFinalizer says that a Deployment's CR, which the state does not have, is there
	// and not to be decided about yet: its finalizer is still to come.
	AwaitingFinalizer func(fleet.Key) bool
	// Settled is told which inputs have nothing more due.
	Settled func([]decide.Input)
	// Failed is told which inputs could not be decided: the state says why. They are
	// asked about again when they change. It may be nil.
	Failed func([]decide.Input)
	// InitialPassDone is called once in a run: when all that begun asked about has
	// nothing more due, which for what is withheld nobody knows for a while. An
	// error of it ends the run. It may be nil.
	InitialPassDone func(context.Context) error
	// Appended is told what the log acknowledged.
	Appended func([]eventlog.Draft)
	// Full is told that the log took no more. It says whether it made room, so
	// that one may go on at once.
	Full   func(context.Context) (room bool)
	Now    func() time.Time
	Logger *slog.Logger
}

// Decider decides while its replica leads.
type Decider struct {
	options Options

	mu    sync.Mutex
	queue workqueue.TypedDelayingInterface[Input] // nil while nobody leads
	first map[Input]struct{}                      // not nil while begun asks: what it asks about
}

// New wires a decider.
func New(o Options) *Decider { return &Decider{options: o} }

// Add asks for a decision. While the replica does not lead it is forgotten: who
// begins to lead looks at everything.
func (b *Decider) Add(ins ...Input) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.queue == nil {
		return
	}
	for _, in := range ins {
		b.queue.Add(in)
		if b.first != nil {
			b.first[in] = struct{}{}
		}
	}
}

// Run decides until the context ends, and then returns nil, or until the log
// does not take what was decided. begun is called once inputs count.
func (b *Decider) Run(ctx context.Context, log Log, begun func()) error {
	queue := workqueue.NewTypedDelayingQueue[Input]()
	b.mu.Lock()
	b.queue, b.first = queue, map[Input]struct{}{}
	b.mu.Unlock()
	end := func() {
		b.mu.Lock()
		if b.queue == queue { // else the next run has begun
			b.queue = nil
		}
		b.mu.Unlock()
		queue.ShutDown()
	}
	defer context.AfterFunc(ctx, end)()
	defer end()
	begun()
	b.mu.Lock()
	first := b.first
	b.first = nil
	b.mu.Unlock()
	return ended(ctx, b.rounds(ctx, log, queue, first))
}

// ended says how a run ended: that its context did is no failure.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil //nolint:nilerr // it was told to end
	}
	return err
}

// rounds decides until the queue is shut down or a round fails. first is what is
// left of what was asked at the beginning.
func (b *Decider) rounds(ctx context.Context, log Log, queue workqueue.TypedDelayingInterface[Input], first map[Input]struct{}) error {
	impatient := time.Now().Add(finalizerTimeout)
	for {
		if len(first) == 0 && first != nil {
			first = nil
			if b.options.InitialPassDone != nil {
				if err := b.options.InitialPassDone(ctx); err != nil {
					return err
				}
			}
		}
		batch := take(queue)
		if batch == nil || ctx.Err() != nil {
			return nil //nolint:nilerr // a term that ended is no failure; its queue still gives what is in it
		}
		open, err := b.round(ctx, log, queue, batch)
		if err != nil {
			return err
		}
		for _, in := range batch {
			queue.Done(in)
			_, more := open[in]
			if _, asked := first[in]; asked && !more && b.awaitsFinalizer(in) && time.Now().Before(impatient) {
				queue.AddAfter(in, finalizerCheck)
				continue
			}
			if !more {
				delete(first, in)
			}
		}
	}
}

// take waits for an input and takes what else is there; nil at the end.
func take(queue workqueue.TypedInterface[Input]) []Input {
	in, down := queue.Get()
	if down {
		return nil
	}
	batch := []Input{in}
	for len(batch) < maxInputs && queue.Len() > 0 {
		if in, down = queue.Get(); down {
			return nil
		}
		batch = append(batch, in)
	}
	return batch
}

// round decides about a batch, and gives the inputs that are not settled: they are
// asked about again, or their decision failed.
func (b *Decider) round(ctx context.Context, log Log, queue workqueue.TypedDelayingInterface[Input], batch []Input) (open map[Input]struct{}, err error) {
	open = map[Input]struct{}{}
	r := b.decide(batch)
	if len(r.settled) > 0 {
		b.options.Settled(r.settled)
	}
	if len(r.drafts) > 0 {
		last, err := log.Append(ctx, r.drafts)
		switch {
		case errors.Is(err, appender.ErrLogFull):
			wait := fullPause
			if b.options.Full(ctx) {
				wait = 0
			}
			for _, in := range batch {
				open[in] = struct{}{}
				queue.AddAfter(in, wait)
			}
			return open, b.options.Fold.WaitFor(ctx, last) // part of it may have been taken
		case errors.Is(err, appender.ErrTooLarge):
			if err := b.options.Fold.WaitFor(ctx, last); err != nil {
				return nil, err
			}
			return b.oneByOne(ctx, log, queue, batch, err)
		case err != nil:
			return nil, fmt.Errorf("append what was decided: %w", err)
		}
		b.options.Appended(r.drafts)
		if err := b.options.Fold.WaitFor(ctx, last); err != nil {
			return nil, err
		}
	}
	for _, in := range r.again {
		open[in] = struct{}{}
		queue.Add(in)
	}
	b.leaveOpen(open, r.failed)
	return open, nil
}

// oneByOne decides about the inputs of a batch of which the log refused one for its
// size: the others go on, and what was refused becomes its object's condition.
func (b *Decider) oneByOne(ctx context.Context, log Log, queue workqueue.TypedDelayingInterface[Input], batch []Input, refused error) (open map[Input]struct{}, err error) {
	open = map[Input]struct{}{}
	if len(batch) > 1 {
		for _, in := range batch {
			of, err := b.round(ctx, log, queue, []Input{in})
			if err != nil {
				return nil, err
			}
			maps.Copy(open, of)
		}
		return open, nil
	}
	var due []eventlog.Draft
	b.options.Fold.Do(func(s *decide.State) { due = b.fail(s, batch[0], refused, b.options.Now()) })
	b.leaveOpen(open, batch)
	if len(due) == 0 {
		return open, nil
	}
	last, err := log.Append(ctx, due)
	switch {
	case errors.Is(err, appender.ErrTooLarge), errors.Is(err, appender.ErrLogFull):
		// The condition says it; the log cannot.
	case err != nil:
		return nil, fmt.Errorf("append what was refused: %w", err)
	default:
		b.options.Appended(due)
	}
	return open, b.options.Fold.WaitFor(ctx, last)
}

// fail notes why the decision about an input failed, and gives what records it.
func (b *Decider) fail(s *decide.State, in Input, err error, now time.Time) []eventlog.Draft {
	if in.Presence != "" || in.Seal {
		b.options.Logger.Error("decision failed", "input", in, "error", err)
		return nil
	}
	p := decide.ProblemOf(err)
	if s.MarkFailed(in.Input, p) {
		b.options.Logger.Error("decision failed: the object's condition says why; the rest goes on", "input", in.Input, "reason", p.Reason, "error", err)
	}
	due, err := decide.Refuse(s, in.Input, p, now)
	if err != nil {
		b.options.Logger.Error("refusal not encoded", "input", in.Input, "error", err)
	}
	return due
}

// leaveOpen keeps the inputs whose decision failed from counting as settled.
func (b *Decider) leaveOpen(open map[Input]struct{}, failed []Input) {
	var ins []decide.Input
	for _, in := range failed {
		open[in] = struct{}{}
		if in.Presence == "" && !in.Seal {
			ins = append(ins, in.Input)
		}
	}
	if len(ins) > 0 && b.options.Failed != nil {
		b.options.Failed(ins)
	}
}

// result is what a round came to.
type result struct {
	drafts  []eventlog.Draft
	settled []decide.Input // nothing more is due
	again   []Input        // to be asked again after the drafts
	failed  []Input        // their decision failed
}

// decide asks for each input. One whose events touch a subject that another has
// spoken of in this round waits for the next: it was decided without knowing
// what the other said.
func (b *Decider) decide(batch []Input) result {
	var r result
	spoken := map[string]struct{}{}
	var revoked []eventlog.Draft
	now := b.options.Now()
	b.options.Fold.Do(func(s *decide.State) {
		for _, in := range batch {
			due, err := b.due(s, in, now)
			failed := err != nil
			if failed {
				r.failed = append(r.failed, in)
				due = b.fail(s, in, err, now)
			} else {
				s.MarkDecided(in.Deployment, len(due) == 0)
			}
			switch {
			case failed && len(due) == 0:
			case len(due) == 0:
				s.ClearFailed(in.Input) // not before: the append may be what fails
				if key := in.Deployment; key != (fleet.Key{}) && !s.Placed(key) {
					s.MarkPlaced(key)
					r.again = append(r.again, Input{Input: decide.OfProgress(key)}) // its devices may have been faster
				}
				if in.Presence == "" && !in.Seal {
					r.settled = append(r.settled, in.Input)
				}
			case touches(spoken, due):
				r.again = append(r.again, in)
			default:
				if len(batch) > 1 {
					for i := range due {
						spoken[due[i].Subject] = struct{}{}
					}
				}
				if due[0].Type == eventlog.AccessRevoked {
					revoked = append(revoked, due...)
				} else {
					r.drafts = append(r.drafts, due...)
				}
				r.again = append(r.again, in)
			}
		}
	})
	if len(revoked) > 0 { // first, so that they have room where there is little
		r.drafts = append(revoked, r.drafts...)
	}
	return r
}

func (b *Decider) due(s *decide.State, in Input, now time.Time) ([]eventlog.Draft, error) {
	if in.Presence != "" {
		d, due, err := liveness.Draft(s.View().Devices[in.Presence], b.options.Verdict(in.Presence), now)
		if !due {
			return nil, err
		}
		return []eventlog.Draft{d}, nil
	}
	if in.Seal {
		return b.options.Seal(now)
	}
	if b.missing(s, in) {
		return nil, nil
	}
	due, err := decide.Decide(s, in.Input, now)
	if err != nil {
		return nil, err
	}
	for i := range due {
		if n := len(due[i].Data); n > maxData {
			return nil, fmt.Errorf("%s on %s: %w: %d bytes, at most %d", due[i].Type, due[i].Subject, appender.ErrTooLarge, n, maxData)
		}
	}
	return due, nil
}

// missing says whether an input is about a Deployment whose CR the state does not
// have, though it is there.
func (b *Decider) missing(s *decide.State, in Input) bool {
	for _, key := range []fleet.Key{in.Deployment, in.Progress} {
		if key == (fleet.Key{}) {
			continue
		}
		if _, known := s.Deployment(key); !known && b.options.AwaitingFinalizer(key) {
			return true
		}
	}
	return false
}

func (b *Decider) awaitsFinalizer(in Input) (missing bool) {
	if in.Deployment == (fleet.Key{}) && in.Progress == (fleet.Key{}) {
		return false
	}
	b.options.Fold.Do(func(s *decide.State) { missing = b.missing(s, in) })
	return missing
}

// maxData is what an event's payload may weigh, so that one that is too large
// stops only its own input.
const maxData = logstream.MaxMessageBytes - 4<<10

func touches(spoken map[string]struct{}, due []eventlog.Draft) bool {
	if len(spoken) == 0 {
		return false
	}
	for i := range due {
		if _, ok := spoken[due[i].Subject]; ok {
			return true
		}
	}
	return false
}
