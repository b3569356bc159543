package decide

import (
	"encoding/json"
	"fmt"
	"unicode/utf8"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
)

// What an event copies from elsewhere is bounded here, in bytes. Together with a
// score of v1alpha1.MaxScoreBytes, and with every character written as JSON's
// longest escape, the parts of deployment.applied stay below
// eventlog.MaxMessageBytes.
const (
	// MaxChangeCause bounds the annotation kubernetes.io/change-cause. A longer one is
	// clipped, and its end says so.
	MaxChangeCause = 4 << 10
	// MaxSelector bounds spec.targetSelector as JSON.
	MaxSelector = 16 << 10
	// MaxRollout bounds spec.rollout as JSON.
	MaxRollout = 6 << 10
	// MaxLabels bounds all labels of a Device, with their owners, as JSON.
	MaxLabels = 128 << 10

	maxRequester    = 512 // no user's or field manager's name comes near it
	maxAgentVersion = 128
	maxProblem      = 4 << 10
	maxCause        = 64 // of an event's id; a ULID has 26
)

// clipChangeCause bounds a change-cause such that clipping it again changes nothing.
func clipChangeCause(s string) string {
	if len(s) <= MaxChangeCause {
		return s
	}
	note := fmt.Sprintf(" … (clipped by the operator; the annotation has %d bytes)", len(s))
	return clip(s, MaxChangeCause-len(note)) + note
}

// checkSelector says what is wrong with the size of a selector.
func checkSelector(sel eventlog.Selector) *Problem {
	b, err := json.Marshal(sel)
	if err == nil && len(b) <= MaxSelector {
		return nil
	}
	return &Problem{Reason: v1alpha1.ReasonTooLarge, Message: fmt.Sprintf(
		"spec.targetSelector is %d bytes as JSON; at most %d fit into the event log: select by fewer values, or label the devices and select by that label",
		len(b), MaxSelector)}
}

// checkLabels says what is wrong with the size of a Device's labels.
func checkLabels(labels map[string]eventlog.OwnedLabel) error {
	b, err := json.Marshal(labels)
	if err != nil {
		return fmt.Errorf("encode the labels: %w", err)
	}
	if len(b) <= MaxLabels {
		return nil
	}
	return &Problem{Reason: v1alpha1.ReasonTooLarge, Message: fmt.Sprintf(
		"the %d labels of this Device are %d bytes as JSON; at most %d fit into the event log: remove some. Until then the operator decides nothing from its labels",
		len(labels), len(b), MaxLabels)}
}

// causeOf names the event that caused another: by its id, or where a writer chose
// one that is too long for a header, by its place in the log.
func causeOf(m fleet.Mark) string {
	if len(m.ID) <= maxCause {
		return m.ID
	}
	return fmt.Sprintf("event@%d", m.Sequence)
}

// clip bounds a text, not in the middle of a character.
func clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most]
}
