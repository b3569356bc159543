package responder

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"fleet.nationtech.io/callout"
	"fleet.nationtech.io/callout/refusal"
	"fleet.nationtech.io/eventlog"
)

const (
	// QueueGroup shares the requests among replicas.
	QueueGroup = "fleet-callout"

	// DefaultDeadline is how long a request may take. Servers wait 1.8 s
	// (authorization.timeout), clients little more than 2 s.
	DefaultDeadline = 1200 * time.Millisecond
	// DefaultCheckInterval is how often a replica asks itself.
	DefaultCheckInterval = 500 * time.Millisecond
	// DefaultCheckTimeout is how soon it must have answered itself.
	DefaultCheckTimeout = time.Second

	queueSize      = 4096
	defaultWaiters = 256
)

// ErrLater says that a login can be decided only by waiting for somebody else.
var ErrLater = errors.New("the decision has to wait")

// Decider decides logins.
type Decider interface {
	// Decide decides by what is at hand. It fails with a *refusal.Error, or with
	// ErrLater where Resolve has to be called.
	Decide(Login) (callout.Grant, error)
	// Resolve decides, and may wait as long as the context lasts.
	Resolve(context.Context, Login) (callout.Grant, error)
}

// Options wire a Responder. Zero values mean the defaults.
type Options struct {
	Conn    *nats.Conn // of account AUTH
	Keys    Keys
	Decider Decider
	// Ready says whether the replica may take requests; nil: always.
	Ready func() bool
	// AllowPlain answers requests that are not sealed.
	AllowPlain    bool
	Deadline      time.Duration
	CheckInterval time.Duration
	CheckTimeout  time.Duration
	Workers       int // that decide; by default one a processor
	Waiters       int // that wait for the provider
	Now           func() time.Time
	Logger        *slog.Logger
	Metrics       *Metrics
}

// Responder answers requests while it answers itself.
type Responder struct {
	options  Options
	codec    *codec
	probe    *prober
	decision *queue
	provider *queue

	sub atomic.Pointer[nats.Subscription] // nil while no requests are taken; Run alone writes it
}

// New checks the options.
func New(o Options) (*Responder, error) {
	if o.Deadline == 0 {
		o.Deadline = DefaultDeadline
	}
	if o.CheckInterval == 0 {
		o.CheckInterval = DefaultCheckInterval
	}
	if o.CheckTimeout == 0 {
		o.CheckTimeout = DefaultCheckTimeout
	}
	if o.Workers == 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	if o.Waiters == 0 {
		o.Waiters = defaultWaiters
	}
	if o.Ready == nil {
		o.Ready = func() bool { return true }
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics(nil)
	}
	c, err := newCodec(o.Keys, o.AllowPlain, o.Now)
	if err != nil {
		return nil, err
	}
	p, err := newProber(c)
	if err != nil {
		return nil, err
	}
	forgot := func(why string) { o.Metrics.dropped.WithLabelValues(why).Inc() }
	r := &Responder{
		options: o, codec: c, probe: p,
		decision: newQueue(queueSize, o.Deadline, o.Now, forgot),
		provider: newQueue(queueSize, o.Deadline, o.Now, forgot),
	}
	o.Metrics.watch(map[string]*queue{"decision": r.decision, "provider": r.provider})
	return r, nil
}

// Run takes requests until the context ends, while the replica is ready and answers
// itself. Then it leaves the queue group and answers what it has taken.
func (r *Responder) Run(ctx context.Context) error {
	working, stop := context.WithCancel(context.WithoutCancel(ctx))
	var workers sync.WaitGroup
	for range r.options.Workers {
		workers.Go(func() { r.work(working, r.decision, r.decide) })
	}
	for range r.options.Waiters {
		workers.Go(func() { r.work(working, r.provider, r.resolve) })
	}
	defer func() {
		stop()
		workers.Wait()
		_ = r.options.Conn.FlushTimeout(r.options.Deadline) // of a server that is gone nobody waits for answers
	}()

	tick := time.NewTicker(r.options.CheckInterval)
	defer tick.Stop()
	for {
		r.settle(ctx)
		select {
		case <-ctx.Done():
			r.drain()
			return nil
		case <-tick.C:
		}
	}
}

// settle joins the queue group, or leaves it.
func (r *Responder) settle(ctx context.Context) {
	err := errNotReady
	if r.options.Ready() {
		err = r.check(ctx)
	}
	if ctx.Err() != nil {
		return
	}
	switch {
	case err == nil && !r.Subscribed():
		if err := r.join(); err != nil {
			r.options.Logger.Warn("the replica could not subscribe to requests; it tries again", "error", err)
			return
		}
		r.options.Metrics.subscribed.Set(1)
		r.options.Logger.Info("the replica takes requests")
	case err != nil && r.Subscribed():
		r.leave()
		r.options.Logger.Warn("the replica takes no more requests; another one does", "error", err)
	}
}

// join joins the queue group, and waits until the server knows of it: a replica that
// says too early that it takes requests has the one before it stopped, and logins
// that come in between are heard by no replica.
func (r *Responder) join() error {
	sub, err := r.options.Conn.QueueSubscribe(eventlog.AuthRequestSubject, QueueGroup, r.take)
	if err != nil {
		return err
	}
	if err := r.options.Conn.FlushTimeout(r.options.Deadline); err != nil {
		_ = sub.Drain() // fails on a closed connection, which takes nothing either
		return err
	}
	r.sub.Store(sub)
	return nil
}

// leave leaves the queue group, and returns the subscription that ends, or nil. What
// the server sent before it heard of that still comes.
func (r *Responder) leave() *nats.Subscription {
	left := r.sub.Swap(nil)
	if left == nil {
		return nil
	}
	_ = left.Drain() // fails on a closed connection, which takes nothing either
	r.options.Metrics.subscribed.Set(0)
	return left
}

// Subscribed says whether the replica takes requests, and the server knows it.
func (r *Responder) Subscribed() bool { return r.sub.Load() != nil }

// drain leaves the queue group and waits, at most for a deadline, until what was
// taken is answered.
func (r *Responder) drain() {
	left := r.leave()
	taken := func() bool { return left == nil || !left.IsValid() || !r.options.Conn.IsConnected() }
	for end := time.Now().Add(r.options.Deadline); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if taken() && r.decision.length()+r.provider.length() == 0 {
			break
		}
	}
}

// take puts a request into the queue. It does not work: whatever it did would make
// those that come after it old.
func (r *Responder) take(m *nats.Msg) {
	r.decision.push(&job{data: m.Data, peer: m.Header.Get(eventlog.HeaderServerXKey), arrived: r.options.Now(), respond: m.Respond})
}

func (r *Responder) work(ctx context.Context, q *queue, do func(context.Context, *job)) {
	for j := q.pop(ctx); j != nil; j = q.pop(ctx) {
		do(ctx, j)
	}
}

// decide decides a job, or puts it where it may wait.
func (r *Responder) decide(_ context.Context, j *job) {
	q, err := r.codec.decode(j.data, j.peer)
	if errors.Is(err, errNotOurs) {
		r.options.Metrics.dropped.WithLabelValues("not ours").Inc()
		r.options.Logger.Warn("a request was not answered", "error", err)
		return
	}
	var g callout.Grant
	if err == nil {
		q.login.Probe = j.probe
		g, err = r.options.Decider.Decide(q.login)
	}
	if errors.Is(err, ErrLater) {
		j.decoded = &q
		r.provider.push(j)
		return
	}
	r.respond(j, q, g, err)
}

// resolve decides a job that has waited, at the latest when its deadline passes.
func (r *Responder) resolve(ctx context.Context, j *job) {
	left := r.options.Deadline - r.options.Now().Sub(j.arrived)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), left) // also while the replica stops
	defer cancel()
	g, err := r.options.Decider.Resolve(ctx, j.decoded.login)
	r.respond(j, *j.decoded, g, err)
}

func (r *Responder) respond(j *job, q request, g callout.Grant, err error) {
	reason := granted
	var answer []byte
	var failed error
	if err == nil {
		answer, failed = r.codec.grant(q, g)
		if failed != nil {
			err = refusal.New(refusal.Internal, "the answer could not be made: %v", failed)
			r.options.Logger.Error("an answer could not be made", "error", failed)
		}
	}
	if err != nil {
		e := refusal.Of(err)
		reason = string(e.Reason)
		if answer, failed = r.codec.deny(q, e); failed != nil {
			r.options.Logger.Error("a refusal could not be made", "error", failed)
			return
		}
	}
	if err := j.respond(answer); err != nil {
		r.options.Logger.Warn("an answer could not be sent", "error", err)
	}
	if !j.probe {
		r.options.Metrics.decided(reason, j.arrived, r.options.Now())
	}
}
