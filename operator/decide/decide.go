// Package decide holds the operator's decisions: which events the fleet's log
// still owes, given what the log says and what the Kubernetes API asks. It is
// pure: no client, no clock, no logger.
package decide

import (
	"maps"
	"slices"
	"time"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
)

// Input says what a decision is about. Exactly one field is set.
type Input struct {
	Deployment fleet.Key // its CR or its place in the log changed
	Progress   fleet.Key // its devices reported
	Device     string    // its labels, reports or presence changed
	Budget     string    // the CR of this DisruptionBudget changed
}

// OfDeployment is the input for a Deployment whose CR changed.
func OfDeployment(k fleet.Key) Input { return Input{Deployment: k} }

// OfProgress is the input for a Deployment whose devices reported.
func OfProgress(k fleet.Key) Input { return Input{Progress: k} }

// OfDevice is the input for a device.
func OfDevice(id string) Input { return Input{Device: id} }

// OfBudget is the input for a DisruptionBudget.
func OfBudget(name string) Input { return Input{Budget: name} }

// Decide gives the events that are due because of an input. It is asked again
// once the fold has passed them, until there are none: so a crash between two
// appends costs nothing, and an event can name the one that caused it.
func Decide(s *State, in Input, now time.Time) ([]eventlog.Draft, error) {
	due, err := decide(s, in, now)
	return s.traced(due), err
}

func decide(s *State, in Input, now time.Time) ([]eventlog.Draft, error) {
	switch {
	case in.Device != "":
		return firstDue(deviceRules, deviceCase{State: s, id: in.Device, dev: s.view.Devices[in.Device], now: now})
	case in.Budget != "":
		return recordBudget(s, in.Budget, now)
	case in.Progress != fleet.Key{}:
		return firstDue(progressRules, s.deploymentCase(in.Progress, now))
	default:
		return firstDue(deploymentRules, s.deploymentCase(in.Deployment, now))
	}
}

// Due gives the events that are due of rollouts because of the time alone, or because
// devices came to match them or no longer do, or what they depend on changed: no
// device's own turn speaks for that.
func Due(s *State, now time.Time) ([]eventlog.Draft, error) {
	s.refresh()
	var due []eventlog.Draft
	for _, key := range slices.SortedFunc(maps.Keys(s.placements), fleet.Key.Compare) {
		pl := s.placements[key]
		_, stirred := s.stirred[pl]
		if !stirred && !pl.phase.at.Moving() {
			continue
		}
		delete(s.stirred, pl)
		c := s.deploymentCase(key, now)
		of, _, err := advance(c)
		if err == nil && len(of) == 0 && stirred {
			of, _, err = assignFirst(c)
		}
		if err != nil {
			return nil, err
		}
		if len(of) > 0 {
			s.stirred[pl] = struct{}{} // asked again once that is folded
		}
		due = append(due, of...)
	}
	return s.traced(due), nil
}

// rule gives the events that it finds due, and stop to end the list though it
// finds none.
type rule[C any] func(C) (due []eventlog.Draft, stop bool, err error)

func firstDue[C any](rules []rule[C], c C) ([]eventlog.Draft, error) {
	for _, r := range rules {
		due, stop, err := r(c)
		if err != nil || stop || len(due) > 0 {
			return due, err
		}
	}
	return nil, nil
}

// deploymentCase is one Deployment before the rules.
type deploymentCase struct {
	*State
	key    fleet.Key
	spec   Spec
	exists bool              // the CR is there
	log    *fleet.Deployment // nil: the log never heard of it
	place  *placement        // nil: nothing of it is placed
	now    time.Time
}

func (s *State) deploymentCase(key fleet.Key, now time.Time) deploymentCase {
	spec, exists := s.specs[key]
	return deploymentCase{State: s, key: key, spec: spec, exists: exists, log: s.view.Deployments[key], place: s.placementOf(key), now: now}
}

// deviceCase is one device before the rules.
type deviceCase struct {
	*State
	id  string
	dev *fleet.Device // nil: the log never heard of it
	now time.Time
}
