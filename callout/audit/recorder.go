// Package audit records in the event log who was let in, when something about it
// changed, and who was refused and why.
package audit

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/callout/refusal"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/pause"
	"fleet.nationtech.io/eventlog/reader"
)

const (
	// flushInterval is how long denials are counted before they are recorded.
	flushInterval = time.Minute
	// maxDenials bounds the subjects and reasons that are told apart within a
	// minute. What is beyond is counted by reason alone.
	maxDenials = 256
	// maxGrants bounds the grants that wait to be recorded. One that finds no place
	// is recorded at its next login.
	maxGrants     = 20_000
	appendTimeout = 5 * time.Second
	retryInterval = time.Second
	stopTimeout   = 2 * time.Second

	source = "callout"

	reasonFirst   = "FirstGrant"
	reasonChanged = "GrantChanged"
)

// Grant is what is recorded of a login that was let in.
type Grant struct {
	Subject string // in the family auth
	Auth    eventlog.Auth
}

// Denial is what is recorded of a login that was refused. Subject is AuthUnknown,
// and Auth empty, unless the identity was established.
type Denial struct {
	Subject string
	Auth    eventlog.Auth
	Reason  refusal.Reason
	Message string
}

// Options wire a Recorder.
type Options struct {
	JetStream jetstream.JetStream // of account FLEET
	// Secret, which all replicas share, makes the ids of events that two replicas may
	// write, so that the log takes one, and nobody else can guess them.
	Secret  []byte
	Now     func() time.Time
	Logger  *slog.Logger
	Metrics *Metrics
}

// Recorder records logins. Granted and Denied never wait.
type Recorder struct {
	options Options
	wake    chan struct{}

	mu      sync.Mutex
	known   map[string]recorded // by subject: the grant that the log has
	pending map[string]Grant
	order   []string
	denials map[denialKey]*denial
	urgent  []denialKey // not recorded within this minute yet
}

// recorded is the grant that the log has of a subject.
type recorded struct {
	grant    string // digest
	sequence uint64
}

type denialKey struct {
	subject string
	reason  refusal.Reason
}

type denial struct {
	Denial
	count int
}

// New wires a Recorder.
func New(o Options) *Recorder {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics(nil)
	}
	return &Recorder{
		options: o, wake: make(chan struct{}, 1),
		known: map[string]recorded{}, pending: map[string]Grant{}, denials: map[denialKey]*denial{},
	}
}

// Granted records a grant unless the log has it.
func (r *Recorder) Granted(g Grant) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.known[g.Subject].grant == g.Auth.Grant {
		return
	}
	if _, ok := r.pending[g.Subject]; !ok {
		if len(r.pending) >= maxGrants {
			r.options.Metrics.lost.Inc()
			return
		}
		r.order = append(r.order, g.Subject)
	}
	r.pending[g.Subject] = g
	r.poke()
}

// Denied counts a refusal. The first of a subject and reason within a minute is
// recorded at once where the identity was established, the others with the minute.
func (r *Recorder) Denied(d Denial) {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := denialKey{d.Subject, d.Reason}
	if c, ok := r.denials[key]; ok {
		c.count++
		return
	}
	if d.Subject != eventlog.AuthUnknown && len(r.denials) >= maxDenials {
		r.options.Metrics.lost.Inc()
		d = Denial{Subject: eventlog.AuthUnknown, Reason: d.Reason, Message: "the callout refused more identities within a minute than it tells apart"}
		if key = (denialKey{d.Subject, d.Reason}); r.denials[key] != nil {
			r.denials[key].count++
			return
		}
	}
	if d.Subject != eventlog.AuthUnknown {
		d.Auth.Grant = r.known[d.Subject].grant
		r.urgent = append(r.urgent, key)
		r.poke()
	}
	r.denials[key] = &denial{Denial: d, count: 1}
}

func (r *Recorder) poke() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Run records until the context ends, and then what is left. Before it records
// grants it reads which the log has.
func (r *Recorder) Run(ctx context.Context) error {
	caughtUp := make(chan struct{})
	var following sync.WaitGroup
	following.Go(func() { r.follow(ctx, caughtUp) })
	defer following.Wait()
	tick := time.NewTicker(flushInterval)
	defer tick.Stop()
	ready := false
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
			defer cancel()
			r.flush(last)
			return nil
		case <-caughtUp:
			ready, caughtUp = true, nil
		case <-tick.C:
			r.flush(ctx)
		case <-r.wake:
		}
		r.recordUrgent(ctx)
		if ready {
			r.recordGrants(ctx)
		}
	}
}

// follow learns which grants the log has, those that other replicas record too.
func (r *Recorder) follow(ctx context.Context, caughtUp chan<- struct{}) {
	subjects := []string{eventlog.FamilySubjects(eventlog.FamilyAuth)}
	var last uint64
	for caught := false; ctx.Err() == nil; {
		if !caught {
			bounded, cancel := context.WithTimeout(ctx, appendTimeout)
			n, err := reader.LastSequence(bounded, r.options.JetStream, eventlog.LogStream, subjects[0])
			cancel()
			if err != nil {
				pause.For(ctx, retryInterval)
				continue
			}
			if last = n; last == 0 {
				caught = true
				close(caughtUp)
			}
		}
		for e, err := range reader.Follow(ctx, r.options.JetStream, reader.Options{Subjects: subjects, LastPerSubject: true}) {
			if err != nil && !errors.Is(err, eventlog.ErrForeign) {
				if ctx.Err() == nil {
					r.options.Logger.Warn("the events of logins are read again", "error", err)
				}
				break
			}
			if err == nil {
				r.learn(e)
			}
			if !caught && e.Sequence >= last {
				caught = true
				close(caughtUp)
			}
		}
		r.forget()
		pause.For(ctx, retryInterval)
	}
}

func (r *Recorder) learn(e eventlog.Event) {
	a, err := eventlog.Payload[eventlog.Auth](e)
	if err != nil || a.Grant == "" {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	was := r.known[e.Address.Device]
	if was.grant == a.Grant { // a denial: its sequence is not the grant's
		return
	}
	if e.Sequence > was.sequence {
		r.known[e.Address.Device] = recorded{a.Grant, e.Sequence}
	}
}

// forget drops what was read from a log that is another one now.
func (r *Recorder) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.known = map[string]recorded{}
}
