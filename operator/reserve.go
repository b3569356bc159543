package operator

import (
	"context"
	"errors"
	"time"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/appender"
	"fleet.nationtech.io/eventlog/logstream"
)

// room is whether the log takes events, as the leader last learned it.
type room int

const (
	roomEnough  room = iota
	roomReserve      // it does, since its reserve was opened
	roomNone         // it does not
)

// reserveSentence is said wherever somebody looks, for as long as it is so.
const reserveSentence = "the log has reached its size and lives on its reserve, the last tenth of --log-max-bytes: " +
	"raise it before that is used up too, or cut off who fills the log (fleetctl log shows them)"

// fullRetry is how long an election that a full log refused is put off.
const fullRetry = 5 * time.Second

func (r *replica) logConfig() logstream.Config {
	return logstream.Config{Replicas: r.options.Replicas, MaxBytes: r.options.LogMaxBytes}
}

// full is told that the log took no more. It opens the log's reserve, once, so
// that offenders can be cut off and Deployments withdrawn; it says whether it did.
func (r *replica) full(ctx context.Context) bool {
	opened := r.openReserve(ctx)
	if opened {
		r.roomIs(roomReserve)
	} else {
		r.roomIs(roomNone)
	}
	return opened
}

func (r *replica) openReserve(ctx context.Context) bool {
	if r.options.LogMaxBytes == 0 || r.reserveOpen {
		return false
	}
	if err := logstream.OpenReserve(ctx, r.js, r.logConfig()); err != nil {
		r.options.Logger.Error("the log is full and its reserve cannot be opened; will be tried again", "error", err)
		return false
	}
	r.reserveOpen = true
	return true
}

// hasRoom is told that the log took something.
func (r *replica) hasRoom() {
	if r.reserveOpen {
		r.roomIs(roomReserve)
	} else {
		r.roomIs(roomEnough)
	}
}

// roomIs says it in every CR and as a metric for as long as it is so, and in an
// Event and the operator's own log when it becomes so.
func (r *replica) roomIs(now room) {
	if r.room == now {
		return
	}
	r.room = now
	r.metrics.full.Set(number(now == roomNone))
	r.metrics.reserve.Set(number(r.reserveOpen))
	switch now {
	case roomEnough:
		r.options.Logger.Info("the log has room again")
		r.deployments.SetLog("", "")
	case roomReserve:
		r.options.Logger.Error("the log lives on its reserve: raise --log-max-bytes", "reason", ReasonLogReserve)
		r.events.Warn(ReasonLogReserve, "Append", reserveSentence, nil)
		r.deployments.SetLog("", reserveSentence)
	case roomNone:
		r.options.Logger.Error("the log is full: nothing is decided until it has room", "reason", ReasonLogFull)
		r.events.Warn(ReasonLogFull, "Append", appender.ErrLogFull.Error(), nil)
		r.deployments.SetLog(appender.ErrLogFull.Error(), "")
	}
}

// elect makes this replica the log's one writer. A log that is full even for
// that is said in every CR for a while before it gives up.
func (r *replica) elect(ctx context.Context, l eventlog.Leader) (uint64, error) {
	for {
		token, err := r.appender.Elect(ctx, l, r.options.Now())
		switch {
		case err == nil:
			r.hasRoom()
			return token, nil
		case !errors.Is(err, appender.ErrLogFull):
			return 0, err
		case r.full(ctx):
		default:
			saying, end := context.WithTimeout(ctx, fullRetry)
			defer end()
			r.deployments.WriteStatuses(saying)
			return 0, err
		}
	}
}
