package timeline

import (
	"slices"

	"fleet.nationtech.io/eventlog"
)

// Tone says whether an event tells of something that went well.
type Tone string

// The tones. An event without one tells neither.
const (
	Well  Tone = "well"  // what was to be is so
	Wrong Tone = "wrong" // something failed, or is cut off
	Odd   Tone = "odd"   // something is not as it was meant to be
)

// tones are those of the types of which each event has the same.
var tones = map[eventlog.Type]Tone{
	eventlog.DeviceOnline: Well, eventlog.RolloutCompleted: Well, eventlog.AgentDriftRepaired: Well, eventlog.AccessAllowed: Well,
	eventlog.DeploymentAdopted: Well, eventlog.RolloutBatchSucceeded: Well,

	eventlog.DeviceOffline: Wrong, eventlog.AgentStepFailed: Wrong, eventlog.AuthDenied: Wrong, eventlog.AccessRevoked: Wrong,
	eventlog.RolloutAborted: Wrong, eventlog.RolloutStalled: Wrong, eventlog.RolloutBatchFailed: Wrong,

	eventlog.DeploymentOrphaned: Odd, eventlog.DeploymentRefused: Odd, eventlog.AgentDriftDetected: Odd, eventlog.RolloutPaused: Odd,
	eventlog.RolloutRolledBack: Odd, eventlog.RolloutRequestRefused: Odd,
}

// ToneOf gives the tone of an event; empty where it has none.
func ToneOf(e eventlog.Event) Tone {
	switch e.Type {
	case eventlog.StateReported:
		switch s, err := e.State(); {
		case err != nil:
			return Odd
		case s.Phase == eventlog.PhaseRunning:
			return Well
		case s.Phase == eventlog.PhaseFailed:
			return Wrong
		}
	case eventlog.CommandCompleted:
		if p, err := eventlog.Payload[eventlog.Command](e); err == nil && p.Error != "" {
			return Wrong
		}
	}
	return tones[e.Type]
}

// TroubleTypes are the types of which some events are Wrong or Odd.
func TroubleTypes() []eventlog.Type {
	out := []eventlog.Type{eventlog.StateReported, eventlog.CommandCompleted}
	for t, tone := range tones {
		if tone != Well {
			out = append(out, t)
		}
	}
	slices.Sort(out)
	return out
}
