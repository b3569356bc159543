package rolloutmetrics

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/operator/status"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/rollout"
)

// State is what a replica knows.
type State interface {
	Do(fn func(*decide.State))
	// Current says whether it has caught up with the log. Before, its figures are of the
	// past.
	Current() bool
}

// Options wire a Collector.
type Options struct {
	State State
	Leads func() bool
	Now   func() time.Time
}

// Collector is a prometheus.Collector of how each rollout stands. The state keeps each
// figure by what changes: see decide.State.Figures.
type Collector struct {
	options Options
	mu      sync.Mutex
	waits   waits
}

var _ prometheus.Collector = (*Collector)(nil)

// New wires a collector. Run must run for what rollouts wait for to be timed.
func New(o Options) *Collector { return &Collector{options: o, waits: newWaits()} }

// sampling is how exactly the time is taken that a rollout waits for something.
const sampling = time.Second

// Run takes the time that each rollout waits for something, until the context ends.
func (c *Collector) Run(ctx context.Context) error {
	ticker := time.NewTicker(sampling)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			c.look(func(*decide.State) {})
		}
	}
}

// look takes the time and runs fn with the state, alone; not where the state is behind.
func (c *Collector) look(fn func(*decide.State)) {
	if !c.options.State.Current() {
		return
	}
	leads := c.options.Leads()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.options.State.Do(func(s *decide.State) {
		s.Tick(c.options.Now())
		c.waits.sample(s, leads)
		fn(s)
	})
}

// Describe implements prometheus.Collector.
func (*Collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range descriptions() {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	var all []figures
	budgets := map[string]decide.BudgetFigures{}
	c.look(func(s *decide.State) {
		all = make([]figures, 0, len(s.View().Deployments))
		for key, d := range s.View().Deployments {
			if there(d) {
				all = append(all, figuresOf(s, key, d, c.waits.of[key]))
			}
		}
		for name, n := range s.BudgetFigures {
			budgets[name] = n
		}
	})
	for i := range all {
		all[i].collect(ch)
	}
	for name, n := range budgets {
		for state, devices := range map[string]int{"selected": n.Selected, "down": n.Down, "allowed": n.Allowed, "blocked": n.Blocked} {
			ch <- prometheus.MustNewConstMetric(descBudget, prometheus.GaugeValue, float64(devices), name, state)
		}
	}
}

// there says whether a Deployment is one: the log remembers those that were deleted, too.
func there(d *fleet.Deployment) bool {
	return d != nil && (d.Lifecycle == fleet.Applied || d.Lifecycle == fleet.Orphaned)
}

// figures are those of one Deployment.
type figures struct {
	key          fleet.Key
	run          fleet.Run
	specRevision uint64
	held         bool
	progress     *decide.Progress // nil: nothing of it is placed
	reason       string           // what it waits for
	waits        bool
	waited       map[string]time.Duration
}

func figuresOf(s *decide.State, key fleet.Key, d *fleet.Deployment, w *waited) figures {
	f := figures{
		key: key, run: d.Run, specRevision: d.Spec.Revision, held: d.Hold != nil || d.Settings.Paused, progress: s.Figures(key),
	}
	f.reason, f.waits = waitOf(s, key, d)
	if w != nil {
		f.waited = w.copy()
	}
	return f
}

// waitOf gives what a rollout waits for, in the words of its status. Nobody looks after
// one whose object is gone.
func waitOf(s *decide.State, key fleet.Key, d *fleet.Deployment) (reason string, waits bool) {
	if !d.Run.Phase.Moving() && d.Run.Phase != fleet.PhasePaused {
		return "", false
	}
	spec, known := s.Deployment(key)
	p := s.Figures(key)
	if !known || p == nil {
		return "", false
	}
	return status.Waits(status.Deployments{Spec: spec, Log: d, Progress: p})
}

func (f *figures) collect(ch chan<- prometheus.Metric) {
	send := func(d *prometheus.Desc, kind prometheus.ValueType, n float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, kind, n, append([]string{f.key.Namespace, f.key.Name}, labels...)...)
	}
	gauge := func(d *prometheus.Desc, n float64, labels ...string) { send(d, prometheus.GaugeValue, n, labels...) }
	at := f.run.Phase
	if at == fleet.PhaseSuperseded { // the next run is about to start
		at = fleet.PhaseProgressing
	}
	for _, phase := range phases {
		gauge(descPhase, number(at == phase), string(phase))
	}
	gauge(descBatch, float64(f.run.Batch))
	gauge(descBatches, float64(len(f.run.Batches)))
	gauge(descRevision, float64(f.run.Target.Revision))
	gauge(descSpecRevision, float64(f.specRevision))
	gauge(descHeld, number(f.held))
	if !f.run.PhaseAt.IsZero() {
		gauge(descPhaseStart, unix(f.run.PhaseAt))
	}
	if !f.run.BatchAt.IsZero() {
		gauge(descBatchStart, unix(f.run.BatchAt))
	}
	if p := f.progress; p != nil {
		for standing, n := range p.Standings {
			gauge(descDevices, float64(n), rollout.Standing(standing).String())
		}
		gauge(descUnavailable, float64(p.Disturbed))
		gauge(descMost, float64(p.Settings.MostUnavailable(p.Matched)))
		if n := p.Batch; n != nil {
			gauge(descBatchDevices, float64(n.Waiting), "waiting")
			gauge(descBatchDevices, float64(n.Given-n.Proven-n.Bad), "open")
			gauge(descBatchDevices, float64(n.Proven), "proven")
			gauge(descBatchDevices, float64(n.Bad), "bad")
		}
	}
	if f.waits {
		gauge(descWaiting, 1, f.reason)
	}
	for reason, d := range f.waited {
		send(descWaited, prometheus.CounterValue, d.Seconds(), reason)
	}
}

func unix(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

func number(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
