// Package logins logs persons in to NATS: each by a connection in the person's own name, made with
// the access token, so that the auth callout decides who it is and what it may do. A pool keeps
// the connections for the person's next requests.
package logins

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"fleet.nationtech.io/operator/internal/dashboard/person"
)

const (
	maxEntries  = 1000             // connections, and refusals that are remembered
	idleTime    = 5 * time.Minute  // after which a session's connection that is not used is closed
	bearerIdle  = 20 * time.Second // the same of a token in a header: each new one makes another connection, and the auth callout bounds how many an identity has
	refusedTime = 5 * time.Second  // for which a refused token is not asked for again
	failedTime  = time.Second      // for which servers that do not answer are not asked again
	retryTime   = time.Second      // after which a session's refused login is tried once more
	sweepPeriod = 10 * time.Second // between two looks for what is idle
	bearerRate  = 5                // logins a second by tokens in headers
)

// Errors of Acquire.
var (
	// ErrRefused says that the NATS servers do not let the bearer of a token in.
	ErrRefused = errors.New("the NATS servers do not let the bearer of this token in")
	// ErrUnusable says that a token was not shown to the NATS servers, for they cannot take it.
	ErrUnusable = errors.New("this token cannot be used for NATS")
	// ErrBusy says that there are too many connections, or too many logins.
	ErrBusy = errors.New("there are too many logins at this moment")
	// ErrEnded says that the token's time is over.
	ErrEnded = errors.New("the token has ended")
)

// errNotMade says that a login ended without a result, which is a fault of this program.
var errNotMade = errors.New("the login to NATS in a person's name broke off")

// Options wire a Pool.
type Options struct {
	URL      string        // of the NATS servers; CheckServers says what is wrong with it
	NATS     []nats.Option // by which they are trusted; no login
	Registry prometheus.Registerer
	Logger   *slog.Logger
	Now      func() time.Time
}

// Credential is what a login is made with.
type Credential struct {
	Key     string // of the connection; it tells nobody the token
	Token   string // the access token
	Subject string // of the token, where it is known; empty: as the token says
	Name    string // readable; empty: the actor's
	Expires time.Time
	// Bearer says that the token came in a header and is no session's: such logins are limited in
	// rate, and their connections are closed sooner.
	Bearer bool
	// Unstored says that the session is not stored yet: Keys leaves it out until Stored.
	Unstored bool
}

// Use is one use of a connection.
type Use struct {
	Person  *person.Person
	Ended   context.Context // ends with the connection
	Release func()          // to be called once, at the end
}

// Pool has the connections.
type Pool struct {
	o        Options
	byBearer *rate.Limiter
	metrics  *metrics

	mu     sync.Mutex
	byKey  map[string]*entry
	actors map[string]string // by the subject of a token: who it was the last time
	closed bool
}

// entry is a connection, or why there is none.
type entry struct {
	ready  chan struct{} // closes once what follows is known
	err    error
	until  time.Time // for which err holds
	person *person.Person
	ended  context.Context
	end    context.CancelFunc

	// Guarded by the pool.
	uses     int
	lastUsed time.Time
	idle     time.Duration // after which it is closed
	unstored bool
}

// New wires a pool and registers its metrics.
func New(o Options) *Pool {
	return &Pool{o: o, byBearer: rate.NewLimiter(bearerRate, 4*bearerRate), metrics: newMetrics(o.Registry), byKey: map[string]*entry{}, actors: map[string]string{}}
}

// Run closes connections that are not used, and at its end all.
func (p *Pool) Run(ctx context.Context) error {
	t := time.NewTicker(sweepPeriod)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			p.sweep()
		case <-ctx.Done():
			p.close()
			return nil
		}
	}
}

// Acquire gives the connection of a credential, and makes it where there is none. It fails with
// ErrUnusable, ErrRefused, ErrBusy, ErrEnded, and where the servers do not answer.
func (p *Pool) Acquire(ctx context.Context, c Credential) (Use, error) {
	if !c.Expires.After(p.o.Now()) {
		return Use{}, ErrEnded
	}
	if err := Check(c); err != nil { // before it could use up a login of another person
		return Use{}, err
	}
	e, mine, err := p.entry(c)
	if err != nil {
		return Use{}, err
	}
	if mine { // others wait for it, so it does not end with this client
		p.fill(context.WithoutCancel(ctx), e, c)
	}
	release := sync.OnceFunc(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		e.uses--
		e.lastUsed = p.o.Now()
	})
	select {
	case <-e.ready:
	case <-ctx.Done():
		release()
		return Use{}, ctx.Err()
	}
	if e.err != nil {
		release()
		return Use{}, e.err
	}
	return Use{e.person, e.ended, release}, nil
}

// entry gives the entry of a credential; mine says that the caller must fill it in.
func (p *Pool) entry(c Credential) (e *entry, mine bool, err error) {
	now := p.o.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, false, ErrBusy
	}
	e = p.byKey[c.Key]
	if e == nil || e.over(now) {
		if e == nil && len(p.byKey) >= maxEntries && !p.evict(now) || c.Bearer && !p.byBearer.AllowN(now, 1) {
			p.metrics.logins.WithLabelValues(resultBusy).Inc()
			return nil, false, ErrBusy
		}
		e, mine = &entry{ready: make(chan struct{}), idle: idleTime, unstored: c.Unstored}, true
		if c.Bearer {
			e.idle = bearerIdle
		}
		e.ended, e.end = context.WithDeadline(context.Background(), c.Expires)
		p.byKey[c.Key] = e
	}
	e.uses++
	e.lastUsed = now
	return e, mine, nil
}

// over says that an entry is good for nothing any more. The pool's lock is held.
func (e *entry) over(now time.Time) bool {
	select {
	case <-e.ready:
	default:
		return false
	}
	if e.err != nil {
		return !now.Before(e.until)
	}
	return e.ended.Err() != nil
}

// evict makes room. The pool's lock is held.
func (p *Pool) evict(now time.Time) bool {
	oldest := ""
	for key, e := range p.byKey {
		if e.over(now) {
			delete(p.byKey, key)
			return true
		}
		if e.uses == 0 && (oldest == "" || e.lastUsed.Before(p.byKey[oldest].lastUsed)) {
			oldest = key
		}
	}
	if oldest == "" {
		return false
	}
	p.byKey[oldest].end()
	delete(p.byKey, oldest)
	return true
}

// fill fills an entry in.
func (p *Pool) fill(ctx context.Context, e *entry, c Credential) {
	defer close(e.ready)
	e.err = errNotMade // a login that panics lets nobody in
	nc, who, err := p.login(ctx, c)
	if errors.Is(err, ErrRefused) && !c.Bearer {
		// The servers refuse alike where the auth callout is being replaced.
		t := time.NewTimer(retryTime)
		defer t.Stop()
		select {
		case <-t.C:
			nc, who, err = p.login(ctx, c)
		case <-e.ended.Done():
		}
	}
	now := p.o.Now()
	switch {
	case errors.Is(err, ErrRefused):
		p.metrics.logins.WithLabelValues(resultRefused).Inc()
		e.err, e.until = err, now.Add(refusedTime)
	case err != nil:
		p.metrics.logins.WithLabelValues(resultFailed).Inc()
		p.o.Logger.Warn("cannot log a person in to NATS", "error", err)
		e.err, e.until = err, now.Add(failedTime)
	default:
		p.metrics.logins.WithLabelValues(resultLetIn).Inc()
		p.metrics.connections.Inc()
		e.err, e.person = nil, who
		nc.SetClosedHandler(func(*nats.Conn) { e.end() })
		context.AfterFunc(e.ended, func() { nc.Close(); p.metrics.connections.Dec() })
		if nc.IsClosed() { // before it could be told
			e.end()
		}
		return
	}
	e.end()
}

// End closes the connection of a key, and with it all that goes over it.
func (p *Pool) End(key string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e := p.byKey[key]; e != nil {
		delete(p.byKey, key)
		e.end()
	}
}

// Has says whether there is a connection of a key.
func (p *Pool) Has(key string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.byKey[key]
	return e != nil && e.ended.Err() == nil
}

// Stored says that the session of a key is stored now.
func (p *Pool) Stored(key string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e := p.byKey[key]; e != nil {
		e.unstored = false
	}
}

// Keys are those of the connections whose sessions are stored.
func (p *Pool) Keys() (all []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for key, e := range p.byKey {
		if e.ended.Err() == nil && !e.unstored {
			all = append(all, key)
		}
	}
	return all
}

// sweep closes what is idle, and forgets what is over.
func (p *Pool) sweep() {
	now := p.o.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	for key, e := range p.byKey {
		if e.over(now) || e.uses == 0 && now.Sub(e.lastUsed) >= e.idle {
			e.end()
			delete(p.byKey, key)
		}
	}
}

func (p *Pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, e := range p.byKey {
		e.end()
	}
	clear(p.byKey)
}
