// Package state keeps what one replica knows: the log folded into the fleet, and
// beside it what the Kubernetes API shows, so that decisions see both under one
// lock.
package state

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/projections/fleet"
)

// notifyDelay batches change notifications, so that the observer takes the lock once
// per batch and not once per event.
const notifyDelay = 5 * time.Millisecond

// retry is how long a log that cannot be read is left alone.
const retry = 200 * time.Millisecond

// Options wire a Fold.
type Options struct {
	JS     jetstream.JetStream
	Logger *slog.Logger
	// NoCheckpoints folds from the log's beginning, whatever is saved.
	NoCheckpoints bool
	// Tracing says whether what is decided names the trace that it belongs to.
	Tracing bool
	// Witness is told of each event that is folded; nil: nobody is.
	Witness Witness
}

// Witness is told of what is folded, as it is folded. It runs while nobody else has the
// view: it must not wait.
type Witness interface {
	// Begun is told of the view that is folded from now on, in place of any before.
	Begun(v *fleet.View)
	// Folded is told of an event that the view has folded; also of foreign ones. live says
	// that the log did not have it yet when the replica began to follow it.
	Folded(v *fleet.View, e eventlog.Event, live bool)
}

// Witnesses are several: each is told.
type Witnesses []Witness

var _ Witness = Witnesses(nil)

// Begun implements Witness.
func (all Witnesses) Begun(v *fleet.View) {
	for _, w := range all {
		w.Begun(v)
	}
}

// Folded implements Witness.
func (all Witnesses) Folded(v *fleet.View, e eventlog.Event, live bool) {
	for _, w := range all {
		w.Folded(v, e, live)
	}
}

// Observer is told of changes.
type Observer interface {
	// Changed is told what events changed, and everything when the fold begins from a
	// checkpoint. It must not wait.
	Changed(deployments []fleet.Key, devices []string)
}

// Position is how far a replica knows the log, and what it knows of one device there.
type Position struct {
	LogID       string
	Sequence    uint64            // of the last event folded
	LastDesired uint64            // of the device's last desired event; 0: none
	Names       []string          // of the Deployments that the log ever assigned to it
	Desired     map[string]uint64 // by name, the sequence of the last desired event
}

// Fold follows the log for as long as the replica lives. It begins from the
// nearest checkpoint, and so it does again when the log went back.
type Fold struct {
	js      jetstream.JetStream
	logger  *slog.Logger
	options Options

	mu       sync.Mutex // guards all below, and the state with its view
	state    *decide.State
	follower *fleet.Follower
	logID    string
	past     uint64        // of the log as it was when this fold began to follow it: its last event
	current  bool          // caught up with the log as it was when following began
	arrived  chan struct{} // closes when current becomes true
	lost     chan struct{} // closes when this fold no longer holds
	abort    context.CancelCauseFunc
}

// New wires a fold.
func New(o Options) *Fold {
	f := &Fold{js: o.JS, logger: o.Logger, options: o, state: decide.NewState(fleet.New())}
	f.state.SetTracing(o.Tracing)
	f.reset()
	return f
}

// Do runs fn with the state, alone. fn must neither keep the state nor wait.
func (f *Fold) Do(fn func(*decide.State)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.follower.Do(func(*fleet.View) { fn(f.state) })
}

// Position is how far the fold knows the log, and what it knows of a device. ok is
// false until the fold has caught up with the log.
func (f *Fold) Position(device string) (p Position, ok bool) {
	f.Do(func(s *decide.State) {
		p, ok = Position{LogID: f.logID, Sequence: s.View().Sequence}, f.current
		if dev := s.View().Devices[device]; dev != nil {
			p.LastDesired, p.Desired = dev.LastDesired, map[string]uint64{}
			for pair := range dev.Assignments {
				if pair.Desired.Sequence > 0 {
					p.Names = append(p.Names, pair.Name)
					p.Desired[pair.Name] = pair.Desired.Sequence
				}
			}
		}
	})
	return p, ok
}

// Sequence is that of the last event folded.
func (f *Fold) Sequence() (sequence uint64) {
	f.Do(func(s *decide.State) { sequence = s.View().Sequence })
	return sequence
}

// Current says whether the fold has caught up with the log.
func (f *Fold) Current() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.current
}

// Await returns once the fold has caught up with the log, with a channel that
// closes when that fold no longer holds; or with the context's error.
func (f *Fold) Await(ctx context.Context) (lost <-chan struct{}, err error) {
	for {
		f.mu.Lock()
		arrived, lost := f.arrived, f.lost
		f.mu.Unlock()
		select {
		case <-arrived:
			return lost, nil
		case <-lost: // and another took its place
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for the fold of the log: %w", ctx.Err())
		}
	}
}

// WaitFor returns once the fold has passed a sequence, or with the context's
// error.
func (f *Fold) WaitFor(ctx context.Context, sequence uint64) error {
	f.mu.Lock()
	follower := f.follower
	f.mu.Unlock()
	return follower.WaitFor(ctx, sequence)
}

// Verify makes sure that what was folded is in the log. Where it is not, it
// returns once that fold is given up. To be asked before the log is written to:
// a log that lost its tail and grew again looks the same from afar.
func (f *Fold) Verify(ctx context.Context) error {
	f.mu.Lock()
	abort, lost := f.abort, f.lost
	f.mu.Unlock()
	_, err := f.check(ctx)
	if !errors.Is(err, reader.ErrLogReset) || abort == nil {
		return err
	}
	abort(err)
	select {
	case <-lost:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Run follows the log until the context ends, and tells the observer what changed.
func (f *Fold) Run(ctx context.Context, observer Observer) error {
	for {
		err := f.follow(ctx, observer)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // it was told to end
		}
		if errors.Is(err, reader.ErrLogReset) {
			f.logger.Warn("the event log was replaced or truncated; folding it from the beginning", "error", err)
			f.mu.Lock()
			close(f.lost)
			f.reset()
			f.mu.Unlock()
		} else if !errors.Is(err, jetstream.ErrStreamNotFound) && !errors.Is(err, logstream.ErrRestoring) { // somebody is about to make it
			f.logger.Warn("cannot follow the event log; will retry", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(retry):
		}
	}
}

// follow folds from where the fold is, until it fails.
func (f *Fold) follow(ctx context.Context, observer Observer) error {
	info, err := f.check(ctx)
	if err != nil {
		return err
	}
	f.begin(ctx, info, observer)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	f.mu.Lock()
	follower := f.follower
	if f.logID == "" {
		f.past = info.Last
	}
	f.logID, f.abort = info.ID, cancel
	f.witness(f.past)
	f.mu.Unlock()
	var done sync.WaitGroup
	defer done.Wait()
	done.Go(func() { f.notify(ctx, follower, observer) })
	done.Go(func() {
		if follower.WaitFor(ctx, info.Last) == nil {
			f.caughtUp(info.Last)
		}
	})
	err = follower.Run(ctx)
	if err == nil {
		err = context.Cause(ctx)
	}
	if err == nil {
		err = errors.New("the reader of the event log ended")
	}
	cancel(nil)
	return err
}

func (f *Fold) caughtUp(sequence uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.current {
		f.current = true
		close(f.arrived)
		f.logger.Info("caught up with the event log", "sequence", sequence, "log", f.logID)
	}
}

// notify tells the observer what was folded, a batch at a time.
func (f *Fold) notify(ctx context.Context, follower *fleet.Follower, observer Observer) {
	pause := time.NewTimer(notifyDelay)
	defer pause.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-follower.Changed():
		}
		var deployments []fleet.Key
		var devices []string
		follower.Do(func(v *fleet.View) { deployments, devices = v.Drain() })
		if len(deployments) > 0 || len(devices) > 0 {
			observer.Changed(deployments, devices)
		}
		pause.Reset(notifyDelay)
		select {
		case <-ctx.Done():
			return
		case <-pause.C:
		}
	}
}

// reset begins with an empty fold; what the API shows is kept. The caller holds
// the lock, or is alone.
func (f *Fold) reset() {
	f.follower = fleet.NewFollower(func(ctx context.Context, after eventlog.Position) iter.Seq2[eventlog.Event, error] {
		f.mu.Lock()
		id := f.logID
		f.mu.Unlock()
		return reader.Follow(ctx, f.js, reader.Options{After: after, LogID: id})
	})
	f.follower.Do(f.state.SetView)
	if f.options.Witness != nil {
		f.follower.Do(f.options.Witness.Begun)
	}
	f.logID, f.past, f.current = "", 0, false
	f.arrived, f.lost = make(chan struct{}), make(chan struct{})
}

// witness tells the witness what the follower folds. past is the last event that is not
// live.
func (f *Fold) witness(past uint64) {
	w := f.options.Witness
	if w == nil {
		return
	}
	f.follower.Observe(func(v *fleet.View, e eventlog.Event) { w.Folded(v, e, e.Sequence > past) })
}
