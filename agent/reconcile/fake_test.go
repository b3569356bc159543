package reconcile_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"fleet.nationtech.io/agent/engine"
	"fleet.nationtech.io/agent/plan"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/score"
)

// fake is an engine with faults to inject. It tells of everything at once.
type fake struct {
	mu         sync.Mutex
	containers map[string]engine.Container
	made       int
	notify     func(engine.Event)
	away       error                    // what every call says while set
	pull       map[string]func() error  // by image
	create     map[string]*engine.Error // by image: no container can be made
	images     map[string]string        // by container id
	starts     map[string]int           // by container id
	takes      time.Duration            // a step other than a pull
	healthy    bool
	exec       *engine.ExecResult // what a command leaves behind; nil is by healthy
	execs      int
	output     func(execs int) string // of a check that fails
	crashes    bool                   // each container, right after its start
	hangs      bool                   // a list never comes
	gone       chan struct{}          // closed to end the feed of events
}

func newFake() *fake {
	return &fake{
		containers: map[string]engine.Container{}, pull: map[string]func() error{},
		starts: map[string]int{}, create: map[string]*engine.Error{}, images: map[string]string{}, gone: make(chan struct{}),
	}
}

var errAway = &engine.Error{Class: engine.ClassAway, Reason: engine.ReasonEngineAway, Err: errors.New("connection refused")}

var errGone = &engine.Error{Class: engine.ClassRetry, Reason: engine.ReasonContainerGone, Err: errors.New("no such container")}

func (f *fake) tell() {
	if f.notify != nil {
		f.notify(engine.Event{})
	}
}

// change alters the container of a service, as somebody's hand would.
func (f *fake) change(service string, how func(*engine.Container)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, c := range f.containers {
		if c.Service == service {
			how(&c)
			f.containers[id] = c
			f.tell()
		}
	}
}

func (f *fake) kill(service string) {
	f.change(service, func(c *engine.Container) {
		c.State, c.ExitCode, c.FinishedAt = engine.StateExited, 137, time.Now()
	})
}

func (f *fake) drop(service string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, c := range f.containers {
		if c.Service == service {
			delete(f.containers, id)
			f.tell()
		}
	}
}

func (f *fake) running(service string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.containers {
		if c.Service == service && c.State == engine.StateRunning {
			return true
		}
	}
	return false
}

func (f *fake) goAway() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.away = errAway
	close(f.gone)
}

func (f *fake) comeBack() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.away, f.gone = nil, make(chan struct{})
}

func (f *fake) Info(context.Context) (engine.Info, error) { return engine.Info{Name: "fake"}, nil }

func (f *fake) hang(on bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hangs = on
}

func (f *fake) Observe(ctx context.Context) ([]engine.Container, error) {
	f.mu.Lock()
	if f.hangs {
		f.mu.Unlock()
		<-ctx.Done()
		return nil, ctx.Err()
	}
	defer f.mu.Unlock()
	if f.away != nil {
		return nil, f.away
	}
	var all []engine.Container
	for _, c := range f.containers {
		all = append(all, c)
	}
	return all, nil
}

func (f *fake) Pull(ctx context.Context, image string, _ score.PullPolicy, _ func(string)) error {
	f.mu.Lock()
	fault := f.pull[image]
	f.mu.Unlock()
	if fault == nil {
		return nil
	}
	if err := fault(); err != nil {
		return err
	}
	<-ctx.Done() // a fault without an error is a pull that never ends
	return ctx.Err()
}

func (f *fake) slow() {
	f.mu.Lock()
	takes := f.takes
	f.mu.Unlock()
	time.Sleep(takes)
}

func (f *fake) Create(_ context.Context, spec engine.Spec) (string, error) {
	f.slow()
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.create[spec.Service.Image]; err != nil {
		return "", err
	}
	f.made++
	c := engine.FromLabels(spec.Labels())
	c.ID, c.Name, c.State, c.CreatedAt = fmt.Sprintf("c%d", f.made), spec.Name(), engine.StateCreated, time.Now()
	f.containers[c.ID], f.images[c.ID] = c, spec.Service.Image
	f.tell()
	return c.ID, nil
}

func (f *fake) Start(_ context.Context, id string) error {
	f.slow()
	f.mu.Lock()
	defer f.mu.Unlock()
	c, ok := f.containers[id]
	if !ok {
		return errGone
	}
	c.State, c.StartedAt, c.FinishedAt = engine.StateRunning, time.Now(), time.Time{}
	f.containers[id] = c
	f.starts[id]++
	if f.crashes {
		c.State, c.ExitCode, c.FinishedAt = engine.StateExited, 1, c.StartedAt.Add(time.Millisecond)
		f.containers[id] = c
	}
	f.tell()
	return nil
}

func (f *fake) Stop(_ context.Context, id string) error {
	f.slow()
	f.mu.Lock()
	defer f.mu.Unlock()
	if c, ok := f.containers[id]; ok {
		c.State, c.FinishedAt = engine.StateExited, time.Now()
		f.containers[id] = c
		f.tell()
	}
	return nil
}

func (f *fake) Remove(_ context.Context, id string) error {
	f.slow()
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.containers, id)
	f.tell()
	return nil
}

func (f *fake) Exec(_ context.Context, id string, _ []string) (engine.ExecResult, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.execs++
	if _, there := f.containers[id]; !there {
		return engine.ExecResult{}, errGone
	}
	if f.exec != nil {
		return *f.exec, nil
	}
	if f.healthy {
		return engine.ExecResult{}, nil
	}
	if f.output != nil {
		return engine.ExecResult{ExitCode: 1, Output: f.output(f.execs)}, nil
	}
	return engine.ExecResult{ExitCode: 1, Output: "not  yet\n"}, nil
}

func (f *fake) Get(context.Context, string, uint16, string) (int, error) {
	return 0, errors.New("nothing listens")
}

func (f *fake) Events(ctx context.Context, notify func(engine.Event)) error {
	f.mu.Lock()
	f.notify = notify
	away, gone := f.away, f.gone
	f.mu.Unlock()
	if away != nil {
		return away
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-gone:
		return errAway
	}
}

// source is a desired set that a test changes.
type source struct {
	mu      sync.Mutex
	desired []plan.Desired
	changed chan struct{}
}

func (s *source) Desired() ([]plan.Desired, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.desired, nil
}

func (s *source) Changed() <-chan struct{} { return s.changed }

func (s *source) set(d ...plan.Desired) {
	s.mu.Lock()
	s.desired = d
	s.mu.Unlock()
	s.changed <- struct{}{}
}

// reports keeps what was said.
type reports struct {
	mu      sync.Mutex
	states  map[string]eventlog.DeploymentState
	said    int // states
	cleared []string
	journal []eventlog.Type
	steps   []eventlog.Step
}

func (r *reports) State(s eventlog.DeploymentState) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.states[s.Deployment] = s
	r.said++
}

func (r *reports) Cleared(deployment string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cleared = append(r.cleared, deployment)
}

func (r *reports) Journal(t eventlog.Type, s eventlog.Step) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.journal = append(r.journal, t)
	r.steps = append(r.steps, s)
}

func (r *reports) state(deployment string) eventlog.DeploymentState {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.states[deployment]
}

func (r *reports) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.said
}

func (r *reports) types() []eventlog.Type {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]eventlog.Type(nil), r.journal...)
}

// keeps is what one reconciler leaves to the next.
type keeps struct {
	mu   sync.Mutex
	kept plan.Keeps
}

func (k *keeps) Load() (plan.Keeps, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return maps.Clone(k.kept), nil
}

func (k *keeps) Save(key plan.Key, kept *plan.Kept) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.kept == nil {
		k.kept = plan.Keeps{}
	}
	if kept == nil {
		delete(k.kept, key)
		return nil
	}
	k.kept[key] = *kept
	return nil
}
