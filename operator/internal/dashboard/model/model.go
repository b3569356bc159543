// Package model has what the pages of the dashboard show: values made of a catalog of the
// fleet at a moment. Pages and the JSON API show the same values. It is pure.
package model

import (
	"time"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/operator/resource"
	"fleet.nationtech.io/projections/fleet"
)

// Moment is the moment of which a value is true.
type Moment struct {
	Sequence uint64    `json:"sequence"` // of the log
	Recorded time.Time `json:"recorded"` // when the log got that event
	Clock    time.Time `json:"clock"`    // to which ages count
	Now      bool      `json:"now"`      // it was the log's end
	// AsHappened says that it is what was true then by the clocks of those who wrote the events,
	// and not what the log knew.
	AsHappened bool `json:"as_happened,omitempty"`
}

// MomentOf gives a catalog's moment.
func MomentOf(c *resource.Catalog, now bool) Moment {
	return Moment{Sequence: c.View.Sequence, Recorded: c.View.Recorded.UTC(), Clock: c.Now.UTC(), Now: now, AsHappened: c.Happened}
}

// Page is a part of a list.
type Page struct {
	Total  int `json:"total"` // that the filters let through
	Number int `json:"page"`  // from 1
	Pages  int `json:"pages"`
	Size   int `json:"size"`
}

// pageOf gives a part of a list; a number beyond the last page gives the last one.
func pageOf[T any](all []T, number, size int) ([]T, Page) {
	p := Page{Total: len(all), Size: size, Pages: max(1, (len(all)+size-1)/size)}
	p.Number = min(max(1, number), p.Pages)
	from := min((p.Number-1)*size, len(all))
	return all[from:min(from+size, len(all))], p
}

// Condition is a condition of a status.
type Condition struct {
	Type    string `json:"type"`
	Status  string `json:"status"`
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`
}

// DeploymentRow is a Deployment in a list.
type DeploymentRow struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Ready     string `json:"ready"` // True, False or Unknown
	Reason    string `json:"reason,omitempty"`
	Message   string `json:"message,omitempty"`
	Revision  int64  `json:"revision"`

	Matched   int32 `json:"matched"`
	Succeeded int32 `json:"succeeded"`
	Failed    int32 `json:"failed"`
	Pending   int32 `json:"pending"`

	Rollout *RolloutRow `json:"rollout,omitempty"`
	Applied time.Time   `json:"applied"`
}

// RolloutRow is how far the newest rollout of a Deployment got.
type RolloutRow struct {
	Kind     string `json:"kind,omitempty"`
	Phase    string `json:"phase"`
	Revision int64  `json:"revision"`
	Batch    int32  `json:"batch,omitempty"`
	Batches  int32  `json:"batches,omitempty"`
	Held     bool   `json:"held,omitempty"` // by a person, or by spec.rollout.paused
	Reason   string `json:"reason,omitempty"`
	Message  string `json:"message,omitempty"`
}

// Moves says whether the rollout is on its way.
func (r *RolloutRow) Moves() bool {
	return r != nil && (fleet.Phase(r.Phase).Moving() || r.Phase == string(fleet.PhasePaused))
}

// rowOf shows a Deployment in a list.
func rowOf(c *resource.Catalog, key fleet.Key) (DeploymentRow, v1alpha1.Deployment) {
	o := resource.Deployments().Show(c, key).Object.(v1alpha1.Deployment)
	row := DeploymentRow{Namespace: key.Namespace, Name: key.Name, Revision: o.Status.Revision, Applied: c.View.Deployments[key].Applied.At.UTC()}
	for _, cond := range o.Status.Conditions {
		if cond.Type == v1alpha1.ConditionReady {
			row.Ready, row.Reason, row.Message = string(cond.Status), cond.Reason, cond.Message
		}
	}
	if a := o.Status.Aggregate; a != nil {
		row.Matched, row.Succeeded, row.Failed, row.Pending = a.MatchedDeviceCount, a.Succeeded, a.Failed, a.Pending
	}
	if r := o.Status.Rollout; r != nil && r.Phase != "" {
		row.Rollout = &RolloutRow{
			Kind: r.Kind, Phase: string(r.Phase), Revision: r.Revision, Batch: r.Batch, Batches: r.Batches, Held: r.Held || r.Paused, Reason: r.Reason, Message: r.Message,
		}
	}
	return row, o
}
