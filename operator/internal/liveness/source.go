package liveness

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go"

	"fleet.nationtech.io/eventlog"
)

// NATS receives the pulses of all devices by a plain subscription.
type NATS struct{ Conn *nats.Conn }

var _ PulseSource = NATS{}

// Subscribe implements PulseSource.
func (s NATS) Subscribe(ctx context.Context, pulse func(string, []byte), connected func(bool)) error {
	status := s.Conn.StatusChanged(nats.CONNECTED, nats.DISCONNECTED, nats.RECONNECTING, nats.CLOSED)
	defer s.Conn.RemoveStatusListener(status)
	sub, err := s.Conn.Subscribe(eventlog.PulseSubjects, func(m *nats.Msg) {
		if m.Header.Get(eventlog.HeaderKVOperation) != "" {
			return // its heartbeat is deleted, which is no sign of life
		}
		if id, ok := eventlog.DeviceOfPulse(m.Subject); ok && eventlog.CheckName("device", id) == nil {
			pulse(id, m.Data)
		}
	})
	if err != nil {
		return fmt.Errorf("subscribe %s: %w", eventlog.PulseSubjects, err)
	}
	connected(s.Conn.IsConnected())
	for {
		select {
		case <-ctx.Done():
			if err := sub.Unsubscribe(); err != nil && !s.Conn.IsClosed() {
				return fmt.Errorf("unsubscribe %s: %w", eventlog.PulseSubjects, err)
			}
			return nil
		case now, ok := <-status:
			if !ok || now == nats.CLOSED {
				return nats.ErrConnectionClosed
			}
			connected(now == nats.CONNECTED)
		}
	}
}
