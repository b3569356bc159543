// Package gates asks Prometheus servers what the gates of rollouts want to know, while
// its replica leads. What an answer means is decided in package decide.
package gates

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/projections/fleet"
)

const (
	// resolution is how often the asker looks which gates are to be asked.
	resolution = time.Second
	// maxAtOnce bounds the questions to one server at a time. A server that hangs delays
	// no other.
	maxAtOnce = 8
	// patience is how long an answer may take to become an event before it counts as lost,
	// and the gate is asked again.
	patience = 10 * time.Second
)

// State is what a replica knows.
type State interface {
	Do(fn func(*decide.State))
}

// Options wire an Asker.
type Options struct {
	Servers []Server
	State   State
	// Answered takes what came of a question. It must not wait.
	Answered func(decide.Answer)
	Metrics  *Metrics
	Now      func() time.Time
	Logger   *slog.Logger
}

// Asker asks the servers.
type Asker struct {
	options   Options
	clients   map[string]client
	transport *http.Transport
	// questions gives the gates that are to be asked, and the log's clock.
	questions func(now time.Time) ([]decide.Question, time.Time)
}

// New wires an asker. The servers were checked: see CheckServers.
func New(o Options) *Asker {
	a := &Asker{options: o, clients: map[string]client{}, transport: newTransport()}
	for _, s := range o.Servers {
		a.clients[s.Name] = client{server: s, transport: a.transport, timeout: timeout}
	}
	a.questions = func(now time.Time) (qs []decide.Question, clock time.Time) {
		o.State.Do(func(s *decide.State) {
			s.Tick(now)
			qs, clock = s.Questions(), s.Clock()
		})
		return qs, clock
	}
	return a
}

// Run asks until the context ends. What it learned of the servers ends with it.
func (a *Asker) Run(ctx context.Context) {
	r := &round{Asker: a, asked: map[gate]asked{}, groups: map[string]*errgroup.Group{}, down: map[string]bool{}}
	for name := range a.clients {
		g := &errgroup.Group{}
		g.SetLimit(maxAtOnce)
		r.groups[name] = g
	}
	tick := time.NewTicker(resolution)
	defer tick.Stop()
	for {
		r.look(ctx)
		select {
		case <-ctx.Done():
			for _, g := range r.groups {
				_ = g.Wait() // none of them gives an error
			}
			a.transport.CloseIdleConnections()
			return
		case <-tick.C:
		}
	}
}

// gate is one definition of a gate of one batch.
type gate struct {
	key          fleet.Key
	run          uint64
	batch        int
	name, digest string
}

// asked is a question that was put to a server.
type asked struct {
	due      time.Time // when it was due: an answer that is in the log moves that
	answered time.Time // zero: not yet
}

// round is one run of an Asker.
type round struct {
	*Asker
	groups map[string]*errgroup.Group // of each server

	mu    sync.Mutex // guards all below
	asked map[gate]asked
	down  map[string]bool // servers that do not answer
}

// look asks what is due. Those that have waited longest come first.
func (r *round) look(ctx context.Context) {
	now := r.options.Now()
	qs, clock := r.questions(now)
	slices.SortFunc(qs, func(a, b decide.Question) int {
		return cmp.Or(a.At.Compare(b.At), a.Key.Compare(b.Key), cmp.Compare(a.Gate, b.Gate))
	})
	r.forget(qs, now)
	for _, q := range qs {
		if q.At.After(clock) || ctx.Err() != nil {
			continue
		}
		g := gateOf(q)
		if !r.begin(g, q.At) {
			continue
		}
		c, known := r.clients[q.Server]
		if !known {
			r.answer(g, decide.Answer{Question: q, Error: fmt.Sprintf("the operator has no Prometheus server named %s: start it with --prometheus %s=URL", q.Server, q.Server)})
			continue
		}
		if !r.groups[q.Server].TryGo(func() error {
			r.ask(ctx, c, g, q)
			return nil
		}) {
			r.abandon(g) // until the next look
		}
	}
}

// ask puts one question to a server.
func (r *round) ask(ctx context.Context, c client, g gate, q decide.Question) {
	begun := r.options.Now()
	reply := c.ask(ctx, q.Query)
	if ctx.Err() != nil {
		r.abandon(g) // nobody leads any more
		return
	}
	r.options.Metrics.asked(q.Server, reply.result, r.options.Now().Sub(begun))
	r.note(c.server, reply)
	r.answer(g, decide.Answer{Question: q, Value: reply.value, Error: reply.no})
}

// note tells when a server begins to fail, and when it answers again. A query that it
// refuses is an answer.
func (r *round) note(s Server, reply reply) {
	down := reply.cause != nil
	r.mu.Lock()
	was := r.down[s.Name]
	r.down[s.Name] = down
	r.mu.Unlock()
	switch {
	case down && !was:
		r.options.Logger.Warn("a Prometheus server does not answer; gates that ask it hold their batches, and it is asked again", "server", s.Name, "reason", reply.no, "error", reply.cause)
	case was && !down:
		r.options.Logger.Info("the Prometheus server answers again", "server", s.Name)
	}
}

// begin says whether a gate is to be asked now, and notes that it is.
func (r *round) begin(g gate, due time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if was, ok := r.asked[g]; ok && (was.answered.IsZero() || was.due.Equal(due)) {
		return false // a server is at it, or its answer is on the way to the log
	}
	r.asked[g] = asked{due: due}
	return true
}

// answer passes an answer on.
func (r *round) answer(g gate, a decide.Answer) {
	r.mu.Lock()
	was := r.asked[g]
	was.answered = r.options.Now()
	r.asked[g] = was
	r.mu.Unlock()
	r.options.Answered(a)
}

func (r *round) abandon(g gate) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.asked, g)
}

// forget drops what is asked no more, and answers that never became an event.
func (r *round) forget(qs []decide.Question, now time.Time) {
	open := map[gate]bool{}
	for _, q := range qs {
		open[gateOf(q)] = true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for g, a := range r.asked {
		if !a.answered.IsZero() && (!open[g] || now.Sub(a.answered) >= patience) {
			delete(r.asked, g)
		}
	}
}

func gateOf(q decide.Question) gate {
	return gate{key: q.Key, run: q.Run, batch: q.Batch, name: q.Gate, digest: q.Digest}
}
