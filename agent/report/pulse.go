package report

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"

	"fleet.nationtech.io/eventlog"
)

// pulse says that the device lives: at once with each connection, and then each
// interval, with a tenth of jitter so that a fleet does not beat as one heart.
// A pulse is no event and is not numbered: the next one makes up for one lost.
func (r *Reporter) pulse(ctx context.Context) error {
	again, stop := r.options.Bus.Watch()
	defer stop()
	l := &conn{bus: r.options.Bus, again: again}
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
	data, err := json.Marshal(eventlog.Heartbeat{DeviceID: r.options.Device, At: r.options.Clock().UTC(), Agent: r.options.Figures()})
	if err != nil {
		return fmt.Errorf("encode the pulse: %w", err)
	}
	return r.options.Bus.Publish(eventlog.PulseSubject(r.options.Device), data)
}

func pulseDelay(interval time.Duration) time.Duration {
	tenth := interval / 10
	return interval - tenth + rand.N(max(1, 2*tenth))
}
