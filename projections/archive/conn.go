package archive

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/jsm.go"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Errors of the way to the server.
var (
	// ErrLost says that the connection was lost, or nothing came for too long.
	ErrLost = errors.New("the connection to the server was lost")
	// ErrNotPermitted says that the user may not do this.
	ErrNotPermitted = errors.New("this user may not do that: it takes the whole JetStream API of account FLEET")
	// ErrOldServer says that the server's snapshots have another form.
	ErrOldServer = errors.New("the NATS server is too old for this: it takes 2.15")
)

const (
	requestTimeout = 20 * time.Second
	// tries is how often a connection that was lost is followed by another.
	tries = 6
	// idleTimeout is how long nothing may come while something is under way.
	idleTimeout = 30 * time.Second
)

// conn is a connection for one try. It does not come back when it is lost, and
// neither does what was asked over it: a snapshot that has a hole, and an answer
// that will never come, are worse than none.
type conn struct {
	nc  *nats.Conn
	js  jetstream.JetStream
	mgr *jsm.Manager
	ctx context.Context // ends with the connection
	end context.CancelCauseFunc
}

// dial makes a connection as another was made.
func dial(ctx context.Context, like *nats.Conn) (*conn, error) {
	l := &conn{}
	l.ctx, l.end = context.WithCancelCause(ctx)
	o := like.Opts
	o.AllowReconnect, o.RetryOnFailedConnect = false, false
	o.DisconnectedErrCB, o.ReconnectedCB, o.ConnectedCB = nil, nil, nil
	o.ClosedCB = func(*nats.Conn) { l.end(ErrLost) }
	o.AsyncErrorCB = func(_ *nats.Conn, _ *nats.Subscription, err error) {
		if errors.Is(err, nats.ErrPermissionViolation) {
			l.end(fmt.Errorf("%w: %w", ErrNotPermitted, err))
			l.nc.Close() // anyone who waits for an answer waits in vain
		}
	}
	var err error
	if l.nc, err = o.Connect(); err != nil {
		l.end(nil)
		if errors.Is(err, nats.ErrAuthorization) {
			return nil, err
		}
		return nil, fmt.Errorf("%w: %w", ErrLost, err)
	}
	if l.js, err = jetstream.New(l.nc); err != nil {
		l.close()
		return nil, err
	}
	if l.mgr, err = jsm.New(l.nc, jsm.WithTimeout(requestTimeout)); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

func (l *conn) close() {
	l.nc.Close()
	l.end(nil)
}

// cause is why something failed, where the link knows better than the error.
func (l *conn) cause(err error) error {
	if err == nil {
		return nil
	}
	if c := context.Cause(l.ctx); c != nil && !errors.Is(c, context.Canceled) && !errors.Is(err, c) {
		if errors.Is(err, context.Canceled) { // it was not a person who ended it
			return c
		}
		return fmt.Errorf("%w (%w)", c, err)
	}
	if errors.Is(err, nats.ErrConnectionClosed) || errors.Is(err, nats.ErrTimeout) || errors.Is(err, nats.ErrDisconnected) {
		return fmt.Errorf("%w: %w", ErrLost, err)
	}
	return err
}

// repeat does something over a link of its own, and again over another where
// that was lost. told is told of each loss; it may be nil.
func repeat(ctx context.Context, like *nats.Conn, told func(error), do func(*conn) error) error {
	for try := 1; ; try++ {
		err := once(ctx, like, do)
		if err == nil || !errors.Is(err, ErrLost) || errors.Is(err, ErrNotPermitted) || try == tries || ctx.Err() != nil {
			return err
		}
		if told != nil {
			told(err)
		}
		t := time.NewTimer(time.Second << min(try-1, 4))
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		}
	}
}

func once(ctx context.Context, like *nats.Conn, do func(*conn) error) error {
	l, err := dial(ctx, like)
	if err != nil {
		return err
	}
	defer l.close()
	err = do(l)
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return l.cause(err)
}
