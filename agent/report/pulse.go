package report

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/nats-io/nats.go"

	"fleet.nationtech.io/eventlog"
)

// pulse says that the device lives: at once with each connection, and then each
// interval, with a tenth of jitter so that a fleet does not beat as one heart.
// A pulse is no event and is not numbered: the next one makes up for one lost.
func (r *Reporter) pulse(ctx context.Context) error {
	nc := r.options.Conn
	status := nc.StatusChanged(nats.CONNECTED, nats.CLOSED)
	defer nc.RemoveStatusListener(status)
	l := &conn{conn: nc, status: status}
	for {
		if err := l.up(ctx); err != nil {
			return endOf(ctx, err)
		}
		if err := r.sendPulse(); err != nil {
			r.options.Logger.Debug("pulse not sent", "error", err)
		}
		if err := l.pause(ctx, pulseDelay(r.options.PulseInterval)); err != nil {
			return endOf(ctx, err)
		}
	}
}

func (r *Reporter) sendPulse() error {
	data, err := json.Marshal(eventlog.Heartbeat{DeviceID: r.options.Device, At: r.options.Clock().UTC()})
	if err != nil {
		return fmt.Errorf("encode the pulse: %w", err)
	}
	return r.options.Conn.Publish(eventlog.PulseSubject(r.options.Device), data)
}

func pulseDelay(interval time.Duration) time.Duration {
	tenth := interval / 10
	return interval - tenth + rand.N(max(1, 2*tenth))
}
