// Package decider is the shell around decide.Decide: it takes inputs off a queue in
// batches, decides under the state's lock, appends once a batch, and decides again
// once the state has passed what was appended, until nothing is due.
package decider

import (
	"context"
	"log/slog"
	"time"

	"k8s.io/client-go/util/workqueue"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/projections/fleet"
)

const (
	// maxInputs bounds how long one round holds the state's lock. It bounds the
	// inputs alone: one Deployment may have a hundred thousand events due.
	maxInputs = 4096
	// fullPause is how long a full log is left alone.
	fullPause = 5 * time.Second
	// finalizerCheck is how often the initial pass looks whether a CR still lacks its
	// finalizer, and finalizerTimeout how long it waits for that.
	finalizerCheck   = time.Second
	finalizerTimeout = 30 * time.Second
)

// Log is where what was decided goes. See appender.Appender for the errors.
type Log interface {
	Append(ctx context.Context, drafts []eventlog.Draft) (last uint64, err error)
}

// State is what decisions look at.
type State interface {
	Do(fn func(*decide.State))
	WaitFor(ctx context.Context, sequence uint64) error
}

// Observer learns what becomes of inputs and decisions.
type Observer interface {
	// Settled is told which inputs have nothing more due.
	Settled(ins []decide.Input)
	// Failed is told which inputs could not be decided: the state says why. They are
	// decided again when they change.
	Failed(ins []decide.Input)
	// Appended is told which events the log acknowledged.
	Appended(drafts []eventlog.Draft)
	// LogFull is told that the log took no more. It says whether it made room, so
	// that the decider may go on at once.
	LogFull(ctx context.Context) (room bool)
	// InitialPassDone is called once per run, when every input queued at start is
	// settled. Inputs whose CR still lacks its finalizer are waited for up to 30 s.
	// An error of it ends the run.
	InitialPassDone(ctx context.Context) error
}

// Options wire a Decider.
type Options struct {
	Queue *Queue
	State State
	// Verdict says whether a device is online.
	Verdict func(device string) decide.Verdict
	// Seal gives the seal that is due. It must not wait.
	Seal func(now time.Time) ([]eventlog.Draft, error)
	// AwaitingFinalizer says whether a Deployment's CR exists that the state does not
	// have, because its finalizer is still to come.
	AwaitingFinalizer func(fleet.Key) bool
	// Round is told how long a round took to decide on events and to append them, once the
	// state has passed them. It must not wait. nil: nobody is told.
	Round  func(drafts []eventlog.Draft, began, decided, appended time.Time)
	Now    func() time.Time
	Logger *slog.Logger
}

// Decider decides while its replica leads.
type Decider struct{ options Options }

// New wires a decider.
func New(o Options) *Decider { return &Decider{options: o} }

// Run decides until the context ends, and then returns nil, or until the log does
// not take what was decided. onReady is called once the queue takes inputs; what it
// adds is the initial pass.
func (d *Decider) Run(ctx context.Context, log Log, observer Observer, onReady func()) error {
	queue, shut := d.options.Queue.open()
	defer context.AfterFunc(ctx, shut)()
	defer shut()
	onReady()
	r := &run{Options: d.options, log: log, observer: observer, queue: queue, initial: d.options.Queue.initialPass()}
	err := r.rounds(ctx)
	if ctx.Err() != nil {
		return nil // it was told to end
	}
	return err
}

// run is one run of a Decider.
type run struct {
	Options
	log      Log
	observer Observer
	queue    items
	initial  map[Input]struct{} // what is left of the initial pass; nil once it is done
}

// rounds decides until the queue is shut down or a round fails.
func (r *run) rounds(ctx context.Context) error {
	deadline := time.Now().Add(finalizerTimeout)
	for {
		if r.initial != nil && len(r.initial) == 0 {
			r.initial = nil
			if err := r.observer.InitialPassDone(ctx); err != nil {
				return err
			}
		}
		batch := take(r.queue)
		if batch == nil || ctx.Err() != nil {
			return nil //nolint:nilerr // a term that ended is no failure; its queue still gives what is in it
		}
		open, err := r.round(ctx, batch)
		if err != nil {
			return err
		}
		for _, in := range batch {
			r.queue.Done(in)
			_, more := open[in]
			if _, asked := r.initial[in]; asked && !more && r.awaitsFinalizer(in) && time.Now().Before(deadline) {
				r.queue.AddAfter(in, finalizerCheck)
				continue
			}
			if !more {
				delete(r.initial, in)
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

// crMissing says whether an input is about a Deployment whose CR exists, though the
// state does not have it.
func (r *run) crMissing(s *decide.State, in Input) bool {
	for _, key := range []fleet.Key{in.Deployment, in.Progress} {
		if key == (fleet.Key{}) {
			continue
		}
		if _, known := s.Deployment(key); !known && r.AwaitingFinalizer(key) {
			return true
		}
	}
	return false
}

func (r *run) awaitsFinalizer(in Input) (awaits bool) {
	if in.Deployment == (fleet.Key{}) && in.Progress == (fleet.Key{}) {
		return false
	}
	r.State.Do(func(s *decide.State) { awaits = r.crMissing(s, in) })
	return awaits
}
