package report

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
)

// errClosed says that somebody closed the connection.
var errClosed = errors.New("the connection to the bus was closed")

// conn waits for a connection.
type conn struct {
	conn   *nats.Conn
	status chan nats.Status // of CONNECTED and CLOSED
}

// up waits until there is a connection. It fails when the context ends or the
// connection was closed.
func (l *conn) up(ctx context.Context) error {
	for {
		if l.conn.IsConnected() {
			return ctx.Err()
		}
		if l.conn.IsClosed() {
			return errClosed
		}
		if err := l.changed(ctx, nil); err != nil {
			return err
		}
	}
}

// pause waits, or until there is a new connection.
func (l *conn) pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	return l.changed(ctx, timer.C)
}

func (l *conn) changed(ctx context.Context, timeout <-chan time.Time) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case st := <-l.status:
		if st == nats.CLOSED {
			return errClosed
		}
		return nil
	case <-timeout:
		return nil
	}
}
