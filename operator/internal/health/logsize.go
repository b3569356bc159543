package health

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog/logstream"
)

const (
	logCheck = 15 * time.Second // how often the log's size is looked at
	logAlarm = 0.8              // share of the log's size
)

// ReasonLogFilling is the reason of the Event that says that the log has passed 80 %
// of its size.
const ReasonLogFilling = "LogFilling"

// LogSize measures the event log, in every replica, and raises an alarm before it is
// full.
type LogSize struct {
	JS      jetstream.JetStream
	Leads   func() bool // the leader alone writes the Event
	Events  Events
	Metrics *Metrics
	Logger  *slog.Logger
}

// alarmed is who was told that the log is filling up.
type alarmed struct{ logged, event bool }

// Run looks at the log until the context ends.
func (l LogSize) Run(ctx context.Context) error {
	tick := time.NewTicker(logCheck)
	defer tick.Stop()
	var told alarmed
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		info, err := logstream.Inspect(ctx, l.JS)
		if err != nil {
			l.Logger.Debug("cannot read the size of the event log", "error", err)
			continue
		}
		told = l.look(info, told)
	}
}

// look measures the log and raises the alarm with those who were not told yet. It gives who is told now.
func (l LogSize) look(info logstream.Info, told alarmed) alarmed {
	ratio := 0.0
	if info.MaxBytes > 0 {
		ratio = float64(info.Bytes) / float64(info.MaxBytes)
	}
	l.Metrics.logBytes.Set(float64(info.Bytes))
	l.Metrics.logRatio.Set(ratio)
	l.Metrics.logLast.Set(float64(info.Last))
	alarm := ratio >= logAlarm
	leads := l.Leads() // once: who leads a moment later writes the Event at the next look
	if alarm && !told.logged {
		l.Logger.Error("the event log is filling up: raise --log-max-bytes", "bytes", info.Bytes, "max_bytes", info.MaxBytes)
	}
	if alarm && leads && !told.event {
		l.Events.Warn(ReasonLogFilling, "Append", fmt.Sprintf("The event log has %d of %d bytes; raise --log-max-bytes", info.Bytes, info.MaxBytes), nil)
	}
	return alarmed{logged: alarm, event: alarm && leads}
}
