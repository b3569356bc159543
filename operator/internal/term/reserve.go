package term

import (
	"context"

	"fleet.nationtech.io/eventlog/appender"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/operator/status"
)

// Reasons of the Events about the log's size.
const (
	// ReasonLogFull: the log takes no more events.
	ReasonLogFull = status.ReasonLogFull
	// ReasonLogReserve: the log has reached its size, and its reserve was opened.
	ReasonLogReserve = "LogReserveOpen"
)

// capacity is whether the log takes events, as the leader last learned it.
type capacity int

const (
	capacityEnough  capacity = iota
	capacityReserve          // it does, since its reserve was opened
	capacityNone             // it does not
)

// reserveSentence stands wherever a person looks, for as long as it is so.
const reserveSentence = "the event log has reached its size and lives on its reserve, the last tenth of --log-max-bytes: " +
	"raise it before that is used up too, or cut off who fills the log (fleetctl log shows them)"

// LogFull implements decider.Observer. It opens the log's reserve, once, so that
// offenders can be cut off and Deployments withdrawn; it says whether it did.
func (t *Term) LogFull(ctx context.Context) (room bool) {
	if !t.openReserve(ctx) {
		t.setCapacity(capacityNone)
		return false
	}
	t.setCapacity(capacityReserve)
	return true
}

func (t *Term) openReserve(ctx context.Context) bool {
	if t.LogMaxBytes == 0 || t.reserveOpen {
		return false
	}
	if err := logstream.OpenReserve(ctx, t.JS, t.logConfig()); err != nil {
		t.Logger.Error("the event log is full and the operator cannot open its reserve; will retry", "error", err)
		return false
	}
	t.reserveOpen = true
	return true
}

// hasCapacity is told that the log took something.
func (t *Term) hasCapacity() {
	if t.reserveOpen {
		t.setCapacity(capacityReserve)
	} else {
		t.setCapacity(capacityEnough)
	}
}

// setCapacity reports the log's capacity in every CR and as a metric for as long as it
// is so, and in an Event and the operator's own log when it becomes so.
func (t *Term) setCapacity(now capacity) {
	if t.capacity == now {
		return
	}
	t.capacity = now
	t.Metrics.full.Set(number(now == capacityNone))
	t.Metrics.reserve.Set(number(t.reserveOpen))
	switch now {
	case capacityEnough:
		t.Logger.Info("the event log takes events again")
		t.Deployments.SetLog("", "")
	case capacityReserve:
		t.Logger.Error("the event log lives on its reserve: raise --log-max-bytes", "reason", ReasonLogReserve)
		t.Events.Warn(ReasonLogReserve, "Append", reserveSentence, nil)
		t.Deployments.SetLog("", reserveSentence)
	case capacityNone:
		t.Logger.Error("the event log is full: the operator decides nothing until it takes events again", "reason", ReasonLogFull)
		t.Events.Warn(ReasonLogFull, "Append", appender.ErrLogFull.Error(), nil)
		t.Deployments.SetLog(appender.ErrLogFull.Error(), "")
	}
}
