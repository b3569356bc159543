package liveness

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go"

	"fleet.nationtech.io/eventlog"
)

// NATS hears the pulses of all devices by a plain subscription.
type NATS struct{ Conn *nats.Conn }

var _ PulseSource = NATS{}

// Subscribe implements PulseSource.
func (e NATS) Subscribe(ctx context.Context, pulse func(string), connected func(bool)) error {
	status := e.Conn.StatusChanged(nats.CONNECTED, nats.DISCONNECTED, nats.RECONNECTING, nats.CLOSED)
	defer e.Conn.RemoveStatusListener(status)
	sub, err := e.Conn.Subscribe(eventlog.PulseSubjects, func(m *nats.Msg) {
		if m.Header.Get(eventlog.HeaderKVOperation) != "" {
			return // its heartbeat is deleted, which is no sign of life
		}
		if id, ok := eventlog.DeviceOfPulse(m.Subject); ok && eventlog.CheckName("device", id) == nil {
			pulse(id)
		}
	})
	if err != nil {
		return fmt.Errorf("subscribe %s: %w", eventlog.PulseSubjects, err)
	}
	connected(e.Conn.IsConnected())
	for {
		select {
		case <-ctx.Done():
			if err := sub.Unsubscribe(); err != nil && !e.Conn.IsClosed() {
				return fmt.Errorf("unsubscribe %s: %w", eventlog.PulseSubjects, err)
			}
			return nil
		case s, ok := <-status:
			if !ok || s == nats.CLOSED {
				return nats.ErrConnectionClosed
			}
			connected(s == nats.CONNECTED)
		}
	}
}
