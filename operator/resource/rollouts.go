package resource

import (
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/projections/fleet"
)

// rolloutResource is the newest rollout of each Deployment. It is no resource in
// Kubernetes: there it is part of the Deployment's status.
func rolloutResource() *Resource {
	return &Resource{
		Plural: "rollouts", Singular: "rollout", kind: "Rollout", Namespaced: true,
		Columns: []column{
			{"REVISION", always},
			{"KIND", always},
			{"PHASE", always},
			{"BATCH", always},
			{"HEALTHY", always},
			{"UPDATING", always},
			{"WAITING", always},
			{"FAILED", always},
			{"OFFLINE", always},
			{"SKIPPED", always},
			{"MATCHED", always},
			{"REASON", always},
			{"STRATEGY", wide},
			{"LAST-EVENT", wide},
			{"MESSAGE", wide},
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

// rolloutStatus is status.rollout of the Deployment, with what it says elsewhere.
type rolloutStatus struct {
	v1alpha1.RolloutStatus `json:",inline"`
	MatchedDeviceCount     int32        `json:"matchedDeviceCount"`  // the sum of the six standings
	LastEvent              string       `json:"lastEvent,omitempty"` // the type of the rollout's last event
	Since                  *metav1.Time `json:"since,omitempty"`     // that event; where there was none, the apply
}

// rollout shows how far a Deployment's newest rollout has got.
func (c *Catalog) rollout(key fleet.Key) Item {
	d := c.View.Deployments[key]
	s := c.deploymentStatus(d)
	o := rolloutObject{
		TypeMeta: metav1.TypeMeta{APIVersion: v1alpha1.SchemeGroupVersion.String(), Kind: "Rollout"},
		Metadata: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name},
		Spec:     rolloutSpec{Revision: s.Revision},
		Status:   rolloutStatus{LastEvent: string(d.Rollout.Last)},
	}
	r := &o.Status.RolloutStatus
	if s.Rollout != nil {
		*r, o.Spec.Strategy = *s.Rollout, s.Rollout.Strategy
	}
	o.Status.MatchedDeviceCount = r.Healthy + r.Skipped + r.Failed + r.Offline + r.Updating + r.Waiting
	since := d.Rollout.At
	if since.IsZero() {
		since = d.Applied.At // no device had to be told: it was over with the apply
	}
	if !since.IsZero() {
		at := metav1.NewTime(since.UTC().Truncate(time.Second))
		o.Status.Since = &at
	}
	number := func(n int32) string { return strconv.Itoa(int(n)) }
	revision := r.Revision // what it brings out; after a rollback that is not the spec's
	if revision == 0 {
		revision = o.Spec.Revision
	}
	batch := ""
	if r.Batches > 0 {
		batch = number(r.Batch) + "/" + number(r.Batches)
	}
	return Item{Key: key, Object: o, Cells: []string{
		strconv.FormatInt(revision, 10), r.Kind, string(r.Phase), batch,
		number(r.Healthy), number(r.Updating), number(r.Waiting), number(r.Failed), number(r.Offline), number(r.Skipped), number(o.Status.MatchedDeviceCount),
		r.Reason, string(r.Strategy), o.Status.LastEvent, r.Message, c.age(since),
	}}
}
