package resource

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/operator/status"
	"fleet.nationtech.io/projections/fleet"
)

// Reasons of the condition Ready that only the log can give.
const (
	// reasonOrphaned (Unknown): the resource is gone and nobody was seen deleting
	// it. Its devices are left as they are.
	reasonOrphaned = "Orphaned"
	// reasonDeleted (False): it ended, and is withdrawn from its devices.
	reasonDeleted = "Deleted"
	// reasonUnreadable (False): the log holds a spec that this version cannot read.
	reasonUnreadable = "Unreadable"
)

const annotationChangeCause = "kubernetes.io/change-cause"

// Deployments has the columns of the CRD, so that a table reads as
// kubectl's.
func Deployments() *Resource {
	return &Resource{
		Plural: "deployments", Singular: "deployment", kind: "Deployment",
		aliases: []string{"deploy", "fleetdep"}, Namespaced: true,
		Columns: []column{
			{"READY", always},
			{"REASON", always},
			{"MATCHED", always},
			{"SUCCEEDED", always},
			{"FAILED", always},
			{"PENDING", always},
			{"REVISION", wide},
			{"MESSAGE", wide},
			{"LAST-ERROR", wide},
			{"AGE", age},
		},
		Exists: (*Catalog).present,
		item:   (*Catalog).deployment,
	}
}

// deployment shows a Deployment as its custom resource.
func (c *Catalog) deployment(key fleet.Key) Item {
	d := c.View.Deployments[key]
	o := c.recorded(d).object
	if d.Refused != nil {
		o.UID, o.Generation = types.UID(d.Refused.UID), d.Refused.Generation
	}
	o.Status = c.deploymentStatus(d)
	ready := conditionOf(o.Status.Conditions, v1alpha1.ConditionReady)
	var a v1alpha1.DeploymentAggregate
	if o.Status.Aggregate != nil {
		a = *o.Status.Aggregate
	}
	lastError := ""
	if a.LastError != nil {
		lastError = a.LastError.Message
	}
	number := func(n int32) string { return strconv.Itoa(int(n)) }
	return Item{Key: key, Object: o, Cells: []string{
		string(ready.Status), ready.Reason, number(a.MatchedDeviceCount), number(a.Succeeded), number(a.Failed), number(a.Pending),
		strconv.FormatInt(o.Status.Revision, 10), ready.Message, lastError, c.age(o.CreationTimestamp.Time),
	}}
}

// deploymentStatus is what the operator says of a Deployment, by its own
// function. When a condition last turned is not in the view, so it is left out.
func (c *Catalog) deploymentStatus(d *fleet.Deployment) v1alpha1.DeploymentStatus {
	r := c.recorded(d)
	c.state.Tick(c.Now)
	in := status.Deployments{
		Spec: r.spec, Log: d, Placed: true,
		Previous: v1alpha1.DeploymentStatus{ObservedGeneration: d.Spec.Generation},
	}
	err := r.err
	if no := d.Refused; no != nil {
		in.Spec.Generation, in.Previous.ObservedGeneration = no.Generation, no.Generation
		in.Spec.Problem, err = &decide.Problem{Reason: no.Reason, Message: no.Message}, nil
	} else if d.Lifecycle == fleet.Applied && err == nil {
		in.Holder, in.Conflicted = c.state.Conflict(d.Key)
		in.Placed, in.Progress = c.state.Placed(d.Key), c.state.Progress(d.Key)
	}
	s := status.Deployment(in, c.Now)
	ready := meta.FindStatusCondition(s.Conditions, v1alpha1.ConditionReady)
	switch {
	case err != nil:
		ready.Status, ready.Reason, ready.Message = metav1.ConditionFalse, reasonUnreadable, err.Error()
	case d.Refused != nil: // in place of one that had ended
	case d.Lifecycle == fleet.Deleted:
		ended(&s)
	case d.Lifecycle == fleet.Orphaned:
		ready.Status, ready.Reason = metav1.ConditionUnknown, reasonOrphaned
		ready.Message = "the custom resource is gone, and no deletion of it was observed; devices keep the Deployment: apply it again, or fleetctl withdraw"
	}
	for i := range s.Conditions {
		s.Conditions[i].LastTransitionTime = metav1.Time{}
	}
	return s
}

// ended says of a status that it is one of a Deployment that ended: nothing of it goes on, and no
// rollout is about to start.
func ended(s *v1alpha1.DeploymentStatus) {
	meta.RemoveStatusCondition(&s.Conditions, v1alpha1.ConditionReconciling)
	for _, kind := range []string{v1alpha1.ConditionReady, v1alpha1.ConditionProgressing} {
		if c := meta.FindStatusCondition(s.Conditions, kind); c != nil {
			c.Status, c.Reason, c.Message = metav1.ConditionFalse, reasonDeleted, "the Deployment ended"
		}
	}
	if s.Rollout != nil {
		s.Rollout.Reason, s.Rollout.Message = reasonDeleted, "the Deployment ended"
	}
}

// deploymentObject makes the custom resource that the log recorded, without its
// status.
func deploymentObject(d *fleet.Deployment) (v1alpha1.Deployment, error) {
	o := v1alpha1.Deployment{
		TypeMeta: metav1.TypeMeta{APIVersion: v1alpha1.SchemeGroupVersion.String(), Kind: "Deployment"},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: d.Key.Namespace, Name: d.Key.Name, UID: types.UID(d.Spec.UID), Generation: d.Spec.Generation,
			CreationTimestamp: metav1.NewTime(d.Created.UTC().Truncate(time.Second)),
		},
		Spec: v1alpha1.DeploymentSpec{TargetSelector: decide.LabelSelectorOf(d.Spec.Selector)},
	}
	if d.Created.IsZero() {
		o.CreationTimestamp = metav1.Time{}
	}
	if d.Spec.ChangeCause != "" {
		o.Annotations = map[string]string{annotationChangeCause: d.Spec.ChangeCause}
	}
	if err := json.Unmarshal(d.Spec.Score, &o.Spec.Score); err != nil {
		return o, fmt.Errorf("the score in the log: %w", err)
	}
	if len(d.Spec.Rollout) > 0 {
		if err := json.Unmarshal(d.Spec.Rollout, &o.Spec.Rollout); err != nil {
			return o, fmt.Errorf("the rollout in the log: %w", err)
		}
	}
	return o, nil
}

func conditionOf(cs []metav1.Condition, kind string) metav1.Condition {
	if c := meta.FindStatusCondition(cs, kind); c != nil {
		return *c
	}
	return metav1.Condition{}
}
