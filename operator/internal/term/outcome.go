package term

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/operator/internal/decider"
	"fleet.nationtech.io/projections/fleet"
)

// ReasonOrphaned is the reason of the Event about a Deployment whose CR is missing,
// though nobody was seen deleting it; its devices are left as they are.
const ReasonOrphaned = "DeploymentOrphaned"

var _ decider.Observer = (*Term)(nil)

// Settled implements decider.Observer.
func (t *Term) Settled(ins []decide.Input) {
	for _, in := range ins {
		if in.Deployment != (fleet.Key{}) {
			t.Deployments.Settled(in.Deployment)
		}
	}
}

// Failed implements decider.Observer: the objects' status says why.
func (t *Term) Failed(ins []decide.Input) {
	for _, in := range ins {
		switch {
		case in.Device != "":
			t.Devices.Changed([]string{in.Device})
		case in.Progress != (fleet.Key{}):
			t.Deployments.Changed([]fleet.Key{in.Progress})
		default:
			t.Deployments.Changed([]fleet.Key{in.Deployment})
		}
	}
}

// Appended implements decider.Observer: only what the log acknowledged is told
// elsewhere.
func (t *Term) Appended(drafts []eventlog.Draft) {
	t.Metrics.appended(drafts)
	t.hasCapacity()
	for _, d := range drafts {
		if d.Type != eventlog.DeploymentOrphaned {
			continue
		}
		if a, err := eventlog.ParseSubject(d.Subject); err == nil { // Decide made it of the same package
			t.warnOfOrphan(a.Namespace, a.Name)
		}
	}
}

func (t *Term) warnOfOrphan(namespace, name string) {
	t.Logger.Warn("a Deployment is orphaned: its CR is missing, its devices are left as they are", "deployment", namespace+"/"+name)
	t.Events.Warn(ReasonOrphaned, "Orphan", fmt.Sprintf(
		"Deployment %s/%s is in the event log and its object is missing, though the operator did not see anybody delete it. Its devices go on running it. "+
			"Apply it again to adopt it, or end it by: fleetctl withdraw deployment/%s -n %s", namespace, name, name, namespace),
		&corev1.ObjectReference{APIVersion: v1alpha1.SchemeGroupVersion.String(), Kind: "Deployment", Namespace: namespace, Name: name})
}
