// Package report tells the log what happens on the device: states, what the
// device is, the journal, and beside the log the pulse.
//
// Guarantees:
//   - Messages to the log are numbered, one is in flight at a time, and each is
//     tried until the log has it or will never take it, always with the number
//     and the id that it was given. So numbers arrive in order, and a repeat is
//     told from news however late it comes. There are no gaps while the agent
//     lives; one that is killed with a state in flight leaves one number out, or
//     says that state again with the next.
//   - Of a Deployment at most one state a second is sent, the latest, and over
//     time no more than a budget: a container that crashes in a loop cannot fill
//     the log. An assignment that the device has not reported on gets a budget for what
//     it takes to apply it: how often that happens is the operator's to decide.
//   - The journal is written down before anyone relies on it, and sent in order.
package report

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"

	"fleet.nationtech.io/agent/store"
	"fleet.nationtech.io/eventlog"
)

// Limits of what one device says.
const (
	stateSpacing    = time.Second
	stateBurst      = 20
	stateRefill     = 15 * time.Second
	assignmentGrant = 5 // states of a new assignment, from Pulling to Running
	journalBurst    = 200
	journalRefill   = 5 * time.Second

	ackTimeout    = 5 * time.Second
	firstRetry    = 200 * time.Millisecond
	maxRetry      = 15 * time.Second
	storeRetry    = 5 * time.Second
	clearedPrefix = "cleared/"
)

// Store numbers messages and keeps the journal until the log has it.
type Store interface {
	Next() (eventlog.Counter, error)
	Enqueue(store.Record) (dropped int, err error)
	Waiting() (int, error)
	Head() (store.Record, eventlog.Counter, bool, error)
	Done(store.Record) error
	Remember(name string, value []byte) error
	Recall(name string) ([]byte, error)
}

// Options wire a Reporter. Device, Store and Bus are required.
type Options struct {
	Device string
	Store  Store
	Bus    Bus

	PulseInterval time.Duration // 0: 30 s

	Logger     *slog.Logger
	Registerer prometheus.Registerer
	Clock      func() time.Time
	// Figures gives what the agent counts, for the pulse; nil, or where it gives nil, the pulse goes without.
	Figures func() *eventlog.AgentFigures
	NewID   func() string // a ULID a message: one that can be guessed can be burnt
	// Assigned gives what the log last assigned of a Deployment. With a trace, what the
	// device says of it belongs to that until it runs. nil: nothing is traced.
	Assigned func(deployment string) (store.Desired, bool)
}

// Reporter is told what is so, and tells the log. The methods that tell it
// something don't wait for the bus.
type Reporter struct {
	options Options
	metrics *metrics
	wake    chan struct{}

	mu     sync.Mutex
	info   statement
	states map[string]*statement
	// settled has, by Deployment, the assignment that the device reported to run: what
	// happens to it from then on is not of the change that brought it. It is not written
	// down, so that an agent which starts again says once more that it runs.
	settled map[string]uint64
	journal budget
	waiting bool // the outbox may hold something
	// generation rises when all is to be said again; what was on its way then
	// does not count as said.
	generation uint64
}

// New wires a reporter. It fails where something required is missing.
func New(o Options) (*Reporter, error) {
	if o.Device == "" || o.Store == nil || o.Bus == nil {
		return nil, errors.New("a reporter needs a device, a store and a bus")
	}
	if o.PulseInterval == 0 {
		o.PulseInterval = 30 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Assigned == nil {
		o.Assigned = func(string) (store.Desired, bool) { return store.Desired{}, false }
	}
	if o.NewID == nil {
		o.NewID = func() string { return ulid.Make().String() }
	}
	if o.Figures == nil {
		o.Figures = func() *eventlog.AgentFigures { return nil }
	}
	m, err := newMetrics(o.Registerer, o.Store)
	if err != nil {
		return nil, err
	}
	return &Reporter{
		options: o, metrics: m, wake: make(chan struct{}, 1), states: map[string]*statement{}, settled: map[string]uint64{}, waiting: true,
		journal: budget{burst: journalBurst, refill: journalRefill},
	}, nil
}

// Run sends until the context ends; then it returns nil.
func (r *Reporter) Run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var pulse error
	var group sync.WaitGroup
	group.Go(func() {
		defer stop()
		pulse = r.pulse(ctx)
	})
	err := r.send(ctx)
	stop()
	group.Wait()
	return errors.Join(err, pulse)
}

// State replaces what is to be said of a Deployment. A state that differs from
// the last one in nothing but its time is not sent.
func (r *Reporter) State(s eventlog.DeploymentState) {
	at := s.LastEventAt
	s.LastEventAt = time.Time{}
	content, err := json.Marshal(s)
	s.LastEventAt = at
	data, err2 := json.Marshal(s)
	if err := errors.Join(err, err2); err != nil {
		r.options.Logger.Error("cannot encode a state", "deployment", s.Deployment, "error", err)
		return
	}
	r.say(s.Deployment, s.Assignment, string(content), data, r.traceOfState(s))
}

// contentCleared is the content of a statement that there is nothing left.
const contentCleared = "cleared"

// Cleared says that nothing of a withdrawn Deployment is left on the device, so
// that its key leaves the bucket. It may be said as often as one likes, over
// restarts too: it is sent once.
func (r *Reporter) Cleared(deployment string) {
	traceparent := r.traceOf(deployment, func(d store.Desired) bool { return d.Withdrawn })
	r.mu.Lock()
	delete(r.settled, deployment)
	r.mu.Unlock()
	r.say(deployment, 0, contentCleared, nil, traceparent)
}

func (r *Reporter) say(deployment string, assignment uint64, content string, data []byte, traceparent string) {
	// One message is on its way at a time: what no subject can carry would stay
	// there for ever, before all others.
	if err := eventlog.CheckName("deployment", deployment); err != nil {
		r.metrics.refused.WithLabelValues(kindState).Inc()
		r.options.Logger.Error("cannot report: the name is no valid subject", "deployment", deployment, "error", err)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.states[deployment]
	if s == nil {
		s = &statement{budget: budget{burst: stateBurst, refill: stateRefill}, said: r.saidBefore(deployment)}
		r.states[deployment] = s
	}
	now := r.options.Clock()
	if assignment > s.assignment { // another log's may be lower: it has what is left
		s.assignment = assignment
		s.budget.grant(assignmentGrant, now)
	}
	if s.say(content, data, traceparent, now) {
		r.signal()
	}
}

// saidBefore is what an earlier run of the agent said last, as far as it matters:
// a state is said once by each run, so that a log that lost it has it again.
func (r *Reporter) saidBefore(deployment string) string {
	v, err := r.options.Store.Recall(clearedPrefix + deployment)
	if err != nil {
		r.options.Logger.Warn("cannot read the store", "error", err)
	}
	if v != nil {
		return contentCleared
	}
	return ""
}

// Info replaces what is to be said of the device.
func (r *Reporter) Info(i eventlog.DeviceInfo) {
	at := i.UpdatedAt
	i.UpdatedAt = time.Time{}
	content, err := json.Marshal(i)
	i.UpdatedAt = at
	data, err2 := json.Marshal(i)
	if err := errors.Join(err, err2); err != nil {
		r.options.Logger.Error("cannot encode the device's info", "error", err)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.info.say(string(content), data, "", r.options.Clock()) {
		r.signal()
	}
}

// Started tells that the agent runs.
func (r *Reporter) Started(s eventlog.AgentStart) { r.enqueue(eventlog.AgentStarted, s.At, s, "") }

// Journal tells one thing that was done to one service. Over its budget the
// journal is cut, and the cuts are counted.
func (r *Reporter) Journal(t eventlog.Type, s eventlog.Step) {
	r.mu.Lock()
	ok := r.journal.spend(r.options.Clock())
	r.mu.Unlock()
	if !ok {
		r.metrics.dropped.WithLabelValues(droppedBudget).Inc()
		return
	}
	r.enqueue(t, s.At, s, r.traceOf(s.Deployment, func(d store.Desired) bool { return d.Revision == s.Revision }))
}

func (r *Reporter) enqueue(t eventlog.Type, at time.Time, payload any, traceparent string) {
	data, err := json.Marshal(payload)
	if err != nil {
		r.options.Logger.Error("cannot encode an event", "type", t, "error", err)
		return
	}
	if at.IsZero() {
		at = r.options.Clock()
	}
	dropped, err := r.options.Store.Enqueue(store.Record{Type: t, Time: at, Data: data, Traceparent: traceparent})
	if err != nil {
		r.metrics.dropped.WithLabelValues(droppedStore).Inc()
		r.options.Logger.Error("the store cannot keep an event; it is lost", "type", t, "error", err)
		return
	}
	r.metrics.dropped.WithLabelValues(droppedFull).Add(float64(dropped))
	r.mu.Lock()
	r.waiting = true
	r.mu.Unlock()
	r.signal()
}

// Resend says all again: the log lost what it had been told.
func (r *Reporter) Resend() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.generation++
	r.info.said = ""
	for _, s := range r.states {
		s.said = ""
	}
	r.signal()
}

func (r *Reporter) signal() {
	select {
	case r.wake <- struct{}{}:
	default: // it will look anyway
	}
}
