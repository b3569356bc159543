// Package reconcile keeps a device's containers as they are desired: it observes,
// asks package plan what to do, does it, and says what came of it. It decides
// nothing itself.
package reconcile

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"fleet.nationtech.io/agent/engine"
	"fleet.nationtech.io/agent/plan"
	"fleet.nationtech.io/eventlog"
)

// Source is where the desired set comes from.
type Source interface {
	// Desired is the whole set, withdrawn Deployments included.
	Desired() ([]plan.Desired, error)
	// Changed receives after the set changed; signals may coalesce.
	Changed() <-chan struct{}
}

// Reports is where what happened goes. None of the methods waits for the bus.
type Reports interface {
	// State is the newest report of a Deployment; it replaces what was not sent.
	State(s eventlog.DeploymentState)
	// Cleared says that nothing of a withdrawn Deployment is left here. It is
	// repeated until the Source no longer lists the Deployment, or lists it as
	// assigned; the receiver sends it once.
	Cleared(deployment string)
	// Journal tells one thing that was done to one service.
	Journal(t eventlog.Type, s eventlog.Step)
}

// Options are what the reconciler works with. All are required.
type Options struct {
	Device   string
	Engine   engine.Engine
	Source   Source
	Reports  Reports
	Keeps    Keeps
	Log      *slog.Logger
	Clock    func() time.Time
	Registry prometheus.Registerer
}

// Rhythm of looking. Events make the reconciler quick; looking makes it right, since
// events come late, get lost, and end without an error.
const (
	lookAnyway      = 10 * time.Second
	lookWithoutFeed = 2 * time.Second // while the engine's events don't come
	lookTimeout     = 30 * time.Second
)

// awayGrace is how long the engine may be silent before the reports say so: a
// restart of its service is nobody's failure.
const awayGrace = 10 * time.Second

// Reconciler is the loop. Make one with New, then Run it once.
type Reconciler struct {
	o       Options
	metrics *metrics
	poke    chan struct{} // an event came, or the feed of events was lost
	chains  chan chainResult
	checks  chan checkResult
	pulls   chan pullResult
	feed    atomic.Bool  // the engine's events come
	turned  atomic.Int64 // when the loop last turned, in nanoseconds since 1970
	ready   chan struct{}
	once    sync.Once

	// What follows belongs to the loop alone.
	memory    plan.Memory
	observed  []engine.Container
	looked    time.Time // when observed was seen; zero is never
	stale     bool      // observed is known to be out of date: nothing is planned on it
	due       time.Time // when to look again although nothing calls for it: a moment, which later turns don't move
	looks     allowance
	worked    map[plan.Key]*allowance
	awaySince time.Time // since when the engine does not answer; zero while it does
	awayError *engine.Error
	kept      plan.Keeps         // in which revision each service is on the device
	saved     plan.Keeps         // the same, as it is written down
	unsaved   bool               // the last try to write it down failed
	busy      map[plan.Key]*work // chains under way
	pulling   map[plan.Key]*pulling
	checking  map[string]bool // containers whose check is under way
	states    map[string]eventlog.DeploymentState
	details   map[detail]*allowance // of a Deployment's reports that tell no other phase
	failed    map[lane]string       // the failure that the journal has last
	foreign   map[string]string     // foreign containers that the journal has, by id, and why
	work      sync.WaitGroup
}

// New makes a reconciler. It touches nothing.
func New(o Options) (*Reconciler, error) {
	m, err := newMetrics(o.Registry)
	if err != nil {
		return nil, err
	}
	return &Reconciler{
		o: o, metrics: m,
		poke: make(chan struct{}, 1), chains: make(chan chainResult), checks: make(chan checkResult), pulls: make(chan pullResult),
		ready: make(chan struct{}), busy: map[plan.Key]*work{}, pulling: map[plan.Key]*pulling{}, checking: map[string]bool{},
		looks: allowance{burst: looksBurst, refill: looksRefill}, worked: map[plan.Key]*allowance{},
		stale: true, states: map[string]eventlog.DeploymentState{}, details: map[detail]*allowance{}, failed: map[lane]string{},
	}, nil
}

// Ready is closed when the loop has turned once.
func (k *Reconciler) Ready() <-chan struct{} { return k.ready }

// LastTick is when the loop last turned, for a watchdog. Before it runs that is now.
func (k *Reconciler) LastTick() time.Time {
	if at := k.turned.Load(); at != 0 {
		return time.Unix(0, at)
	}
	return time.Now()
}

// Run works until the context ends. Containers go on running; what was under way
// is cut short, and the next reconciler continues from what it observes.
func (k *Reconciler) Run(ctx context.Context) error {
	k.turned.Store(time.Now().UnixNano()) // the first turn has its time, as each has
	k.load()
	k.work.Go(func() { k.follow(ctx) })
	defer k.work.Wait()
	for {
		k.tick(ctx)
		k.turned.Store(time.Now().UnixNano())
		k.once.Do(func() { close(k.ready) })
		if !k.await(ctx) {
			k.drain()
			return nil
		}
	}
}

// await takes what happens until another turn is due: something happened and the
// last turn is long enough ago, or the moment has come that the last turn named.
// It is false when the context ended.
func (k *Reconciler) await(ctx context.Context) bool {
	earliest := time.Now().Add(turnsApart)
	at := k.due
	for {
		if at.Before(earliest) {
			at = earliest
		}
		timer := time.NewTimer(time.Until(at))
		select {
		case <-ctx.Done():
			timer.Stop()
			return false
		case <-timer.C:
			return true
		case <-k.poke:
			k.stale = true
		case <-k.o.Source.Changed():
		case r := <-k.chains:
			k.finish(r)
			k.stale = true
		case r := <-k.checks:
			k.checked(r)
		case r := <-k.pulls:
			k.pulled(r)
		}
		timer.Stop()
		at = earliest
	}
}

// drain takes the results of the work that the context's end cut short, so that
// nobody waits to hand one over.
func (k *Reconciler) drain() {
	for len(k.busy)+len(k.checking)+len(k.pulling) > 0 {
		select {
		case r := <-k.chains:
			delete(k.busy, r.key)
		case r := <-k.checks:
			delete(k.checking, r.check.Container)
		case r := <-k.pulls:
			delete(k.pulling, r.step.Key)
		}
	}
}

// follow listens to the engine's events until the context ends.
func (k *Reconciler) follow(ctx context.Context) {
	const least, most = 200 * time.Millisecond, 5 * time.Second
	for pause := least; ; pause = min(2*pause, most) {
		began := time.Now()
		k.feed.Store(true)
		err := k.o.Engine.Events(ctx, func(engine.Event) { k.signal() })
		k.feed.Store(false)
		if ctx.Err() != nil {
			return
		}
		k.o.Log.Warn("the stream of container events ended", "error", err, "retry", pause)
		k.signal() // something may have been missed
		if time.Since(began) > most {
			pause = least
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

func (k *Reconciler) signal() {
	select {
	case k.poke <- struct{}{}:
	default: // one is waiting
	}
}
