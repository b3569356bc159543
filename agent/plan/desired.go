package plan

import (
	"errors"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/score"
)

// Desired is what the log says of one Deployment on this device. A Deployment of
// which it says nothing is in no Desired, and its containers are left alone:
// absence takes nothing off a device, only Withdrawn does.
type Desired struct {
	Deployment string
	Revision   uint64
	ScoreHash  string
	Assignment uint64 // the log's sequence of this value
	Withdrawn  bool
	Score      score.PodmanV0
	// Refusal is set where the score can't be acted upon. What runs of an earlier
	// one is left running.
	Refusal *score.Refusal
}

// Assigned reads a desired value as it stands in the log.
func Assigned(deployment string, revision uint64, value []byte) Desired {
	d := Desired{Deployment: deployment, Revision: revision, ScoreHash: eventlog.Hash(value)}
	decoded, err := score.Decode(value)
	if err != nil {
		if !errors.As(err, &d.Refusal) {
			d.Refusal = &score.Refusal{Reason: score.ReasonInvalidScore, Message: err.Error()}
		}
		return d
	}
	d.Score = decoded
	return d
}

// Withdrawn is a Deployment that an explicit delete marker takes off the device.
func Withdrawn(deployment string) Desired {
	return Desired{Deployment: deployment, Withdrawn: true}
}
