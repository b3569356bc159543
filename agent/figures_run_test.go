package agent_test

import (
	"testing"

	"fleet.nationtech.io/eventlog"
)

// What an agent counts goes with its pulse, and a run that is another one says so.
func TestThePulseHasTheAgentsFigures(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	figures := func() *eventlog.AgentFigures {
		h, _ := value[eventlog.Heartbeat](w, eventlog.BucketHeartbeat, eventlog.HeartbeatKey(device))
		return h.Agent
	}
	stop := w.agent()
	w.await("the agent looked at its containers", func() bool { f := figures(); return f != nil && f.Run > 0 && !f.EngineDown })
	var run uint64
	w.await("which run it is", func() bool {
		f := figures()
		if f != nil {
			run = f.Run
		}
		return run > 0
	})
	stop()
	w.agent()
	w.await("another run of the agent", func() bool { f := figures(); return f != nil && f.Run != run })
}
