package agentmetrics

import (
	"time"

	"fleet.nationtech.io/eventlog"
)

// maxWaiting is how many events an agent keeps at most.
const maxWaiting = 10_000

// share is what agents add to the sums of a Summary.
type share struct {
	heard, silent, enginesDown, clocksOff int
	waiting                               uint64
}

// shareOf is what one agent adds. ahead is how far its clock is ahead of the servers'.
func shareOf(f *eventlog.AgentFigures, ahead time.Duration) share {
	var s share
	if ahead.Abs() > wrongClock {
		s.clocksOff = 1
	}
	if f.Run == 0 {
		s.silent = 1
		return s
	}
	s.heard, s.waiting = 1, min(f.Waiting, maxWaiting)
	if f.EngineDown {
		s.enginesDown = 1
	}
	return s
}

// add adds a share.
func (s *share) add(o share) {
	s.heard += o.heard
	s.silent += o.silent
	s.enginesDown += o.enginesDown
	s.clocksOff += o.clocksOff
	s.waiting += o.waiting
}

// take takes out a share that was added.
func (s *share) take(o share) {
	s.heard -= o.heard
	s.silent -= o.silent
	s.enginesDown -= o.enginesDown
	s.clocksOff -= o.clocksOff
	s.waiting -= o.waiting
}
