package rollouttest

import (
	"encoding/json"
	"errors"
	"fmt"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/rollout"
)

// CheckLog holds a real log, from its first event, against the laws. Times are
// nanoseconds there, so that no soak is rounded. When the leader decided is not in the
// log: it was not after the event was recorded. What devices said in between may be
// before the event; so the rows of the table, which hold at that moment alone, are left
// out. What a Device object says the log learns a moment later than the leader: the first
// labels of a device count from its first event on.
//
// It says nothing about windows, rates and gates, which the model has in another form, and
// fails on what that does not have at all: restarts, selectors with expressions, and
// budgets by several labels.
func CheckLog(log []eventlog.Event) error {
	laws := NewLaws()
	laws.beside = true
	labels := map[string]Event{}
	r := reading{told: map[place]map[string]int{}, deleted: map[string]bool{}}
	var broken []error
	for _, logged := range log {
		if id := logged.Address.Device; logged.Type == eventlog.DeviceRelabeled && labels[id].Device == "" {
			e, _, err := r.event(logged)
			if err != nil {
				return err
			}
			labels[id] = e
		}
	}
	for _, logged := range log {
		if e, first := labels[logged.Address.Device]; first {
			delete(labels, e.Device)
			e.Sequence = int(logged.Sequence)
			laws.remember(e)
		}
		e, of, err := r.event(logged)
		switch {
		case err != nil:
			return fmt.Errorf("event %d, %s: %w", logged.Sequence, logged.Type, err)
		case !of:
			continue
		}
		if err := laws.Check(e); err != nil {
			broken = append(broken, err)
		}
	}
	return errors.Join(broken...)
}

var errUnreadable = errors.New("the model has no such thing")

// place is a name on a device.
type place struct{ device, name string }

// reading reads real events as those of the model.
type reading struct {
	told    map[place]map[string]int // by hash: the newest assignment of it
	deleted map[string]bool          // Deployments
}

// event gives the model's event; of is false where the laws say nothing about it.
func (r *reading) event(logged eventlog.Event) (e Event, of bool, err error) {
	a := logged.Address
	at := logged.Recorded.UnixNano()
	e = Event{Sequence: int(logged.Sequence), At: at, Decided: at, Type: logged.Type, Device: a.Device, Batch: logged.Batch}
	switch logged.Type {
	case eventlog.DeviceOnline, eventlog.DeviceOffline:
	case eventlog.DeviceRelabeled:
		p, err := eventlog.Payload[eventlog.Labels](logged)
		e.Labels = Labels{}
		for k, l := range p.Labels {
			e.Labels[k] = l.Value
		}
		return e, true, err
	case eventlog.StateReported, eventlog.StateCleared:
		e.Deployment = "/" + a.Deployment
		if logged.Type == eventlog.StateCleared {
			return e, true, nil
		}
		p, err := eventlog.Payload[eventlog.DeploymentState](logged)
		e.Phase, e.Assignment = p.Phase, r.told[place{a.Device, a.Deployment}][p.ScoreHash]
		if p.Assignment > 0 && e.Assignment > 0 {
			e.Assignment = int(p.Assignment)
		}
		return e, true, err
	case eventlog.DesiredAssigned, eventlog.DesiredWithdrawn:
		e.Deployment = logged.Namespace + "/" + a.Deployment
		if logged.Type == eventlog.DesiredAssigned {
			if logged.Template != "" {
				return e, false, errUnreadable
			}
			hash := eventlog.Hash(logged.Data)
			e.Target = Target{Revision: int(logged.Revision), Content: Content(hash)}
			at := place{a.Device, a.Deployment}
			if r.told[at] == nil {
				r.told[at] = map[string]int{}
			}
			r.told[at][hash] = e.Sequence
			return e, true, nil
		}
		if r.deleted[e.Deployment] {
			e.Reason = "Deleted"
		}
	case eventlog.BudgetApplied:
		p, err := eventlog.Payload[eventlog.Budget](logged)
		if err != nil || p.Problem != "" {
			return e, false, err
		}
		if len(p.GroupBy) > 1 || len(p.Selector.MatchExpressions) > 0 {
			return e, false, errUnreadable
		}
		e.Budget = a.Name
		e.Limit = Budget{Selector: p.Selector.MatchLabels, MaxUnavailable: p.MaxUnavailable, MinAvailable: p.MinAvailable}
		if len(p.GroupBy) > 0 {
			e.Limit.GroupBy = p.GroupBy[0]
		}
	case eventlog.BudgetDeleted:
		e.Budget = a.Name
	case eventlog.RequestMade:
		if a.Name == "" {
			return e, false, nil
		}
		e.Deployment = a.Namespace + "/" + a.Name
	case eventlog.DeploymentApplied, eventlog.DeploymentOrphaned, eventlog.DeploymentAdopted, eventlog.DeploymentDeleted:
		e.Deployment = a.Namespace + "/" + a.Name
		r.deleted[e.Deployment] = logged.Type == eventlog.DeploymentDeleted
		if logged.Type == eventlog.DeploymentApplied {
			e.Spec, err = spec(logged)
		}
	default:
		if logged.Type.Family() != eventlog.FamilyDeployment {
			return e, false, nil
		}
		e.Deployment = a.Namespace + "/" + a.Name
		p, err := eventlog.Payload[eventlog.Rollout](logged)
		if p.Restart > 0 {
			err = errUnreadable
		}
		e.Kind, e.Batch, e.Reason, e.Full, e.Answers, e.Shape = p.Kind, p.Batch, p.Reason, p.Full, int(p.Request), p.Shape
		e.Target = Target{Revision: int(p.Revision), Content: Content(p.ScoreHash)}
		for _, b := range p.Batches {
			e.Plan = append(e.Plan, Planned{Cut: b.Cut, Pinned: b.Pinned, Size: b.Size})
		}
		return e, true, err
	}
	return e, true, err
}

// spec reads deployment.applied, with the defaults filled in.
func spec(logged eventlog.Event) (Spec, error) {
	p, err := eventlog.Payload[eventlog.Deployment](logged)
	if err == nil && len(p.Selector.MatchExpressions) > 0 {
		err = errUnreadable
	}
	if err != nil {
		return Spec{}, err
	}
	var said eventlog.RolloutSettings
	if len(p.Rollout) > 0 {
		if err := json.Unmarshal(p.Rollout, &said); err != nil {
			return Spec{}, err
		}
	}
	set := rollout.Fill(said)
	sp := Spec{
		Revision: int(p.Revision), Content: Content(p.ScoreHash), Selector: p.Selector.MatchLabels, Strategy: set.Strategy,
		MaxUnavailable: set.MaxUnavailable, Threshold: set.Threshold, Deadline: int64(set.Deadline),
		OnFailure: set.OnFailure, OfflineDevices: said.OfflineDevices, Paused: set.Paused,
	}
	for _, on := range set.DependsOn {
		sp.DependsOn = append(sp.DependsOn, logged.Address.Namespace+"/"+on)
	}
	if len(said.Batches) == 0 {
		return sp, nil // the first revision is one batch without a soak
	}
	for _, b := range set.Batches {
		m := Batch{Soak: int64(b.Soak), Manual: b.Manual, FourEyes: b.FourEyes}
		if b.Size != nil {
			m.Size = *b.Size
		}
		if b.Selector != nil {
			m.Pin = b.Selector.MatchLabels
		}
		sp.Batches = append(sp.Batches, m)
	}
	return sp, nil
}
