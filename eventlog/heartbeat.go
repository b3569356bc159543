package eventlog

import (
	"encoding/json"
	"fmt"
	"time"

	"fleet.nationtech.io/eventlog/plainjson"
)

// Heartbeat is the value of device-heartbeat and the payload of a pulse.
type Heartbeat struct {
	DeviceID string    `json:"device_id"`
	At       time.Time `json:"at"`
	// Agent is what the agent counts; nil of an agent older than this field.
	Agent *AgentFigures `json:"agent,omitempty"`
}

// AgentFigures are what an agent alone knows of itself, in a pulse: no event, so that the next
// ones make up for one that is lost. Counters count since the run began.
type AgentFigures struct {
	// Run tells a run of the agent from another one, whose counters begin at 0: a random number
	// below 2^53.
	Run        uint64 `json:"run"`
	EngineDown bool   `json:"engine_down,omitempty"` // the container engine does not answer
	Observe    uint64 `json:"observe_ms,omitempty"`  // milliseconds that it took to list the containers, on average since the pulse before
	Waiting    uint64 `json:"waiting,omitempty"`     // events of the journal that wait for the log

	Drifts         uint64 `json:"drifts,omitempty"`          // containers that were found otherwise than they were left
	FailedChecks   uint64 `json:"failed_checks,omitempty"`   // health checks
	Rejected       uint64 `json:"rejected,omitempty"`        // messages that the agent did not believe
	LiveGaps       uint64 `json:"live_gaps,omitempty"`       // live values that were missed
	FailedSyncs    uint64 `json:"failed_syncs,omitempty"`    // questions for the desired state without a whole answer
	ReportRetries  uint64 `json:"report_retries,omitempty"`  // tries to report that got no acknowledgement
	RefusedReports uint64 `json:"refused_reports,omitempty"` // messages that the log will never take
	DroppedEvents  uint64 `json:"dropped_events,omitempty"`  // events of the journal that were not sent
	RefusedTokens  uint64 `json:"refused_tokens,omitempty"`  // times that a server refused the agent's token
}

// The fields of a pulse in the order in which encoding/json writes them.
var (
	heartbeatFields = plainjson.Fields{plainjson.StringField("device_id"), plainjson.StringField("at"), plainjson.OtherField("agent")}
	agentFields     = plainjson.Fields{
		plainjson.OtherField("run"), plainjson.OtherField("engine_down"), plainjson.OtherField("observe_ms"), plainjson.OtherField("waiting"),
		plainjson.OtherField("drifts"), plainjson.OtherField("failed_checks"), plainjson.OtherField("rejected"), plainjson.OtherField("live_gaps"),
		plainjson.OtherField("failed_syncs"), plainjson.OtherField("report_retries"), plainjson.OtherField("refused_reports"),
		plainjson.OtherField("dropped_events"), plainjson.OtherField("refused_tokens"),
	}
)

// ParseHeartbeat reads the payload of a device's pulse. One in the shape that agents write is
// read without reflection: an operator reads thousands a second. It fails where the payload is no
// Heartbeat, or speaks of another device.
func ParseHeartbeat(device string, data []byte) (Heartbeat, error) {
	var h Heartbeat
	if !scanHeartbeat(&h, device, data) {
		h = Heartbeat{}
		if err := json.Unmarshal(data, &h); err != nil {
			return Heartbeat{}, fmt.Errorf("pulse: %w", err)
		}
	}
	if h.DeviceID != device {
		return Heartbeat{}, fmt.Errorf("%w: a pulse of device %q speaks of device %q", ErrForeign, device, h.DeviceID)
	}
	return h, nil
}

func scanHeartbeat(h *Heartbeat, device string, data []byte) bool {
	p := plainjson.NewScanner(data)
	for i := p.Open(heartbeatFields); i >= 0; i = p.Next(heartbeatFields, i) {
		switch i {
		case 0:
			h.DeviceID = same(p.Tail(), device)
		case 1:
			h.At = p.Time()
		case 2:
			if h.Agent == nil { // of several the later one adds, as encoding/json has it
				h.Agent = &AgentFigures{}
			}
			scanFigures(&p, h.Agent)
		}
	}
	return p.End()
}

func scanFigures(p *plainjson.Scanner, f *AgentFigures) {
	numbers := [...]*uint64{
		&f.Run, nil, &f.Observe, &f.Waiting, &f.Drifts, &f.FailedChecks, &f.Rejected, &f.LiveGaps,
		&f.FailedSyncs, &f.ReportRetries, &f.RefusedReports, &f.DroppedEvents, &f.RefusedTokens,
	}
	for i := p.Open(agentFields); i >= 0; i = p.Next(agentFields, i) {
		if n := numbers[i]; n != nil {
			*n = p.Number()
		} else {
			f.EngineDown = p.Bool()
		}
	}
}
