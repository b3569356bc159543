// Package bus is the device's way to the fleet's NATS servers: one connection
// after the other, as tokens end, of which its users notice nothing.
//
// Guarantees:
//   - Before a token ends there is a second connection on which all parts of the
//     agent have subscribed and know the desired state; only then the first one
//     ends. So nothing is lost.
//   - What both connections hear can be told: live values by the log's sequence,
//     commands by Once.
//   - A request gets its answer on the connection on which it was made, and a
//     command is answered on the one that heard it, which stays open for it.
package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"fleet.nationtech.io/agent/identity"
)

const (
	// DefaultOverlap is how long two connections hear the same: in a cluster it
	// takes a moment until all servers know of a subscription.
	DefaultOverlap = 2 * time.Second
	// DefaultReadyTimeout bounds how long a rollover waits for the parts: a fleet
	// whose operator is away answers no sync.
	DefaultReadyTimeout = 10 * time.Second
)

// Part is a part of the agent that hears something. Its functions are called one
// at a time but for Ready, and must not wait for the bus; each may be nil.
type Part struct {
	// Join subscribes on a connection, which may not stand yet.
	Join func(*Link) error
	// Up tells that a connection stands, at first or again.
	Up func(*Link)
	// Down tells that one was lost, or closed.
	Down func(*Link)
	// Ready returns once the part could live on this connection alone.
	Ready func(context.Context, *Link) error
}

// Options wire a Bus. Dial is required.
type Options struct {
	// Dial opens a connection, which tries for ever, and notes what it shows.
	Dial func(shown *atomic.Pointer[identity.Proof]) (*nats.Conn, error)
	// Changed has an element after there is a new proof; nil: there is one for life.
	Changed <-chan struct{}
	// Show gives the newest proof; nil: there is one for life.
	Show func() (identity.Proof, error)

	Overlap      time.Duration // 0: DefaultOverlap
	ReadyTimeout time.Duration // 0: DefaultReadyTimeout
	Logger       *slog.Logger
	Registerer   prometheus.Registerer
}

// Bus owns the connections. Its methods may be used from several goroutines, also
// before Run; what they ask then fails with ErrNotConnected.
type Bus struct {
	options   Options
	owned     bool
	rollovers prometheus.Counter
	events    chan event
	present   atomic.Pointer[Link]

	mu       sync.Mutex // held while parts are told something
	links    map[int]*Link
	standing map[int]bool
	parts    map[*Part]bool
	watchers map[chan struct{}]bool
}

// event is something that happened to a connection.
type event struct {
	kind eventKind
	id   int
	link *Link // opened
	err  error
}

type eventKind int

const (
	opened eventKind = iota
	wentUp
	wentDown
	gotReady
	gotIdle
	closedByOthers
)

// New wires a bus. It fails where something required is missing.
func New(o Options) (*Bus, error) {
	if o.Dial == nil {
		return nil, errors.New("a bus needs something that dials")
	}
	if o.Overlap == 0 {
		o.Overlap = DefaultOverlap
	}
	if o.ReadyTimeout == 0 {
		o.ReadyTimeout = DefaultReadyTimeout
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	b := &Bus{
		options: o, owned: true, events: make(chan event, 16), links: map[int]*Link{}, standing: map[int]bool{},
		parts: map[*Part]bool{}, watchers: map[chan struct{}]bool{},
		rollovers: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "fleet_agent_connection_rollovers_total",
			Help: "Times that a new connection took the place of one whose token was to end.",
		}),
	}
	if o.Registerer != nil {
		if err := o.Registerer.Register(b.rollovers); err != nil {
			return nil, fmt.Errorf("register the metrics of the bus: %w", err)
		}
	}
	return b, nil
}

// Of gives a bus of one connection for life, which stays the caller's.
func Of(nc *nats.Conn) *Bus {
	b, err := New(Options{Dial: func(*atomic.Pointer[identity.Proof]) (*nats.Conn, error) { return nc, nil }})
	if err != nil {
		panic(err) // Dial is there
	}
	b.owned = false
	return b
}

// Run keeps the connections until the context ends; then it closes them and
// returns nil. It fails where no connection can be opened, and where another
// closed one.
func (b *Bus) Run(ctx context.Context) error {
	var group sync.WaitGroup
	ctx, stop := context.WithCancel(ctx)
	defer func() {
		stop()
		group.Wait()
		b.closeAll()
	}()
	r := &rollover{}
	do := func(actions []action) {
		for _, a := range actions {
			b.perform(ctx, &group, a)
		}
		b.choose(r)
	}
	if b.options.Show == nil {
		do(r.proof(1))
	} else if p, err := b.options.Show(); err == nil {
		do(r.proof(p.Number))
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-b.options.Changed:
			if p, err := b.options.Show(); err == nil {
				do(r.proof(p.Number))
			}
		case e := <-b.events:
			switch e.kind {
			case opened:
				if e.err != nil {
					return e.err
				}
				b.join(ctx, &group, e.link)
				if r.link(e.id) == nil { // it was given up while it was opened
					b.closeLink(e.id)
				}
			case wentUp:
				do(b.stands(r, e.id))
			case wentDown:
				b.tell(e.id, false)
				do(r.down(e.id))
			case gotReady:
				do(r.ready(e.id))
			case gotIdle:
				do(r.idle(e.id))
			case closedByOthers:
				return errors.New("the connection to NATS was closed")
			}
		}
	}
}

// Add lets a part hear. It is told of the connections that there are and come.
func (b *Bus) Add(p Part) (remove func(), err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id, l := range b.links {
		if p.Join != nil {
			if err := p.Join(l); err != nil {
				return nil, err
			}
		}
		if b.standing[id] && p.Up != nil {
			p.Up(l)
		}
	}
	b.parts[&p] = true
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.parts, &p)
	}, nil
}

// Watch has an element each time that there is a connection again, or another.
func (b *Bus) Watch() (again <-chan struct{}, stop func()) {
	c := make(chan struct{}, 1)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.watchers[c] = true
	return c, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.watchers, c)
	}
}

// Connected says whether something can be said now.
func (b *Bus) Connected() bool {
	l := b.present.Load()
	return l != nil && l.conn.IsConnected()
}

// Publish says something on the present connection.
func (b *Bus) Publish(subject string, data []byte) error {
	l := b.present.Load()
	if l == nil {
		return ErrNotConnected
	}
	return l.Publish(&nats.Msg{Subject: subject, Data: data})
}

// Request asks on the present connection, which stays open for the answer. It
// fails with ErrNotConnected as soon as that connection is lost; the question may
// have arrived then.
func (b *Bus) Request(ctx context.Context, m *nats.Msg) (*nats.Msg, error) {
	l := b.present.Load()
	if l == nil || !l.conn.IsConnected() {
		return nil, ErrNotConnected
	}
	defer l.Hold()()
	ctx, cancel := l.whileUp(ctx)
	defer cancel()
	answer, err := l.conn.RequestMsgWithContext(ctx, m)
	if err != nil && errors.Is(context.Cause(ctx), ErrNotConnected) {
		err = ErrNotConnected
	}
	return answer, err
}
