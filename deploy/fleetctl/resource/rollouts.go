package resource

import (
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/projections/fleet"
)

// rolloutResource is the change of each Deployment to its current revision. It is
// no resource in Kubernetes: there it is part of the Deployment's status.
func rolloutResource() *Resource {
	return &Resource{
		Plural: "rollouts", Singular: "rollout", kind: "Rollout", Namespaced: true,
		Columns: []column{
			{"REVISION", always},
			{"STRATEGY", always},
			{"PHASE", always},
			{"UPDATED", always},
			{"SUCCEEDED", always},
			{"FAILED", always},
			{"MATCHED", always},
			{"LAST-EVENT", wide},
			{"REASON", wide},
			{"SINCE", age},
		},
		Exists: (*Catalog).present,
		item:   (*Catalog).rollout,
	}
}

// rolloutObject has the shape of a Kubernetes object.
type rolloutObject struct {
	metav1.TypeMeta `json:",inline"`
	Metadata        metav1.ObjectMeta `json:"metadata"`
	Spec            rolloutSpec       `json:"spec"`
	Status          rolloutStatus     `json:"status"`
}

type rolloutSpec struct {
	Revision int64                    `json:"revision"`
	Strategy v1alpha1.RolloutStrategy `json:"strategy,omitempty"`
}

type rolloutStatus struct {
	Phase              v1alpha1.RolloutPhase `json:"phase,omitempty"`
	UpdatedDeviceCount int32                 `json:"updatedDeviceCount"`
	SucceededCount     int32                 `json:"succeededDeviceCount"`
	FailedCount        int32                 `json:"failedDeviceCount"`
	MatchedDeviceCount int32                 `json:"matchedDeviceCount"`
	LastEvent          string                `json:"lastEvent,omitempty"` // the type of the rollout's last event
	Reason             string                `json:"reason,omitempty"`
	Since              *metav1.Time          `json:"since,omitempty"` // that event; where there was none, the apply
}

// rollout shows how far a Deployment's current revision has got.
func (c *Catalog) rollout(key fleet.Key) Item {
	d := c.View.Deployments[key]
	s := c.deploymentStatus(d)
	o := rolloutObject{
		TypeMeta: metav1.TypeMeta{APIVersion: v1alpha1.SchemeGroupVersion.String(), Kind: "Rollout"},
		Metadata: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name},
		Spec:     rolloutSpec{Revision: s.Revision},
		Status:   rolloutStatus{LastEvent: string(d.Rollout.Last), Reason: d.Rollout.Reason},
	}
	if s.Rollout != nil {
		o.Spec.Strategy, o.Status.Phase, o.Status.UpdatedDeviceCount = s.Rollout.Strategy, s.Rollout.Phase, s.Rollout.UpdatedDeviceCount
	}
	if s.Aggregate != nil {
		o.Status.SucceededCount, o.Status.FailedCount = s.Aggregate.Succeeded, s.Aggregate.Failed
		o.Status.MatchedDeviceCount = s.Aggregate.MatchedDeviceCount
	}
	since := d.Rollout.At
	if since.IsZero() {
		since = d.Applied.At // no device had to be told: it was over with the apply
	}
	if !since.IsZero() {
		at := metav1.NewTime(since.UTC().Truncate(time.Second))
		o.Status.Since = &at
	}
	number := func(n int32) string { return strconv.Itoa(int(n)) }
	return Item{Key: key, Object: o, Cells: []string{
		strconv.FormatInt(o.Spec.Revision, 10), string(o.Spec.Strategy), string(o.Status.Phase), number(o.Status.UpdatedDeviceCount),
		number(o.Status.SucceededCount), number(o.Status.FailedCount), number(o.Status.MatchedDeviceCount), o.Status.LastEvent, o.Status.Reason, c.age(since),
	}}
}
