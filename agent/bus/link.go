package bus

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"fleet.nationtech.io/agent/identity"
	"fleet.nationtech.io/eventlog/pause"
)

const (
	drainTimeout = 5 * time.Second
	drainLook    = 10 * time.Millisecond
	flushTimeout = 2 * time.Second
)

// ErrNotConnected says that there is no connection to NATS now.
var ErrNotConnected = errors.New("there is no connection to NATS")

// Link is one connection of the bus. Over the life of an agent there are several,
// and for moments two at a time, which hear the same.
type Link struct {
	id    int
	conn  *nats.Conn
	owned bool // so it is closed by us
	shown atomic.Pointer[identity.Proof]
	// closing is closed when we close it.
	closing chan struct{}

	mu    sync.Mutex
	subs  []*nats.Subscription
	holds int
	freed chan struct{}   // has one element after a hold ended
	up    context.Context // ends when the connection is lost; nil: it was never there
	lost  context.CancelFunc
}

// Subscription is what was subscribed on one connection.
type Subscription struct{ sub *nats.Subscription }

// Dropped is how many messages found no place, since the subscription began.
func (s Subscription) Dropped() int {
	n, err := s.sub.Dropped()
	if err != nil {
		return 0 // it has ended
	}
	return n
}

// Subscribe hears a subject on this connection, in order. What handle does not
// take waits, at most waiting messages; what comes then is dropped. It needs no
// connection yet.
func (l *Link) Subscribe(subject string, waiting int, handle func(*nats.Msg)) (Subscription, error) {
	sub, err := l.conn.Subscribe(subject, handle)
	if err != nil {
		return Subscription{}, err
	}
	if err := sub.SetPendingLimits(waiting, -1); err != nil {
		return Subscription{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.subs = append(l.subs, sub)
	return Subscription{sub}, nil
}

// NewInbox is a subject for answers, which nobody else may hear.
func (l *Link) NewInbox() string { return l.conn.NewInbox() }

// Publish says something on this connection.
func (l *Link) Publish(m *nats.Msg) error {
	if !l.conn.IsConnected() {
		return ErrNotConnected
	}
	return l.conn.PublishMsg(m)
}

// Hold keeps the connection open, as long as its server lets it, until release is
// called: a command may be answered on the connection alone that heard it.
func (l *Link) Hold() (release func()) {
	l.mu.Lock()
	l.holds++
	l.mu.Unlock()
	return sync.OnceFunc(func() {
		l.mu.Lock()
		l.holds--
		l.mu.Unlock()
		signal(l.freed)
	})
}

// Closed says that we closed it: it does not come back.
func (l *Link) Closed() bool {
	select {
	case <-l.closing:
		return true
	default:
		return false
	}
}

// Ends is when the server ends this connection; zero: never. What takes longer
// has to go on elsewhere.
func (l *Link) Ends() time.Time {
	if p := l.shown.Load(); p != nil {
		return p.Ends
	}
	return time.Time{}
}

// stands takes down that the connection stands, or was lost.
func (l *Link) stands(up bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lost != nil {
		l.lost()
	}
	if up {
		l.up, l.lost = context.WithCancel(context.Background())
	}
}

// whileUp ends a context when the connection is lost: no answer comes then.
func (l *Link) whileUp(ctx context.Context) (context.Context, context.CancelFunc) {
	l.mu.Lock()
	up := l.up
	l.mu.Unlock()
	ctx, cancel := context.WithCancelCause(ctx)
	if up == nil {
		return ctx, func() { cancel(nil) }
	}
	stop := context.AfterFunc(up, func() { cancel(ErrNotConnected) })
	return ctx, func() { stop(); cancel(nil) }
}

// retire waits until the connection is idle: until overlap has passed, in which
// both connections hear everything, what was heard has been taken, and nothing
// holds it. Of a token that ends soon, overlap takes half of what is left.
func (l *Link) retire(ctx context.Context, overlap time.Duration) {
	if ends := l.Ends(); !ends.IsZero() {
		overlap = min(overlap, time.Until(ends)/2)
	}
	if !pause.For(ctx, overlap) {
		return
	}
	l.mu.Lock()
	subs := append([]*nats.Subscription{}, l.subs...)
	l.mu.Unlock()
	for _, s := range subs {
		_ = s.Drain() // it fails only where the connection is gone
	}
	deadline := time.Now().Add(drainTimeout)
	for _, s := range subs {
		for s.IsValid() && time.Now().Before(deadline) {
			if !pause.For(ctx, drainLook) {
				return
			}
		}
	}
	for {
		l.mu.Lock()
		holds := l.holds
		l.mu.Unlock()
		if holds == 0 {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-l.freed:
		}
	}
}

// close says what is to be said yet, and closes.
func (l *Link) close() {
	if !l.owned {
		return
	}
	if l.conn.IsConnected() {
		_ = l.conn.FlushTimeout(flushTimeout) // it is closed in any case
	}
	l.conn.Close()
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // one is waiting
	}
}
