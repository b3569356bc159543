package report

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"
)

// Bus is what a reporter says things on.
type Bus interface {
	Connected() bool
	// Watch has an element each time that there is a connection again, or another.
	Watch() (again <-chan struct{}, stop func())
	Publish(subject string, data []byte) error
	Request(context.Context, *nats.Msg) (*nats.Msg, error)
}

// conn waits for a connection.
type conn struct {
	bus   Bus
	again <-chan struct{}
}

// up waits until there is a connection. It fails when the context ends.
func (l *conn) up(ctx context.Context) error {
	for !l.bus.Connected() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-l.again:
		}
	}
	return ctx.Err()
}

// pause waits, or until there is a new connection.
func (l *conn) pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-l.again:
		return nil
	case <-timer.C:
		return nil
	}
}
