package term

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/operator/internal/decider"
	"fleet.nationtech.io/operator/status"
	"fleet.nationtech.io/projections/fleet"
)

// ReasonOrphaned is the reason of the Event about a Deployment whose CR is missing,
// though nobody was seen deleting it; its devices are left as they are.
const ReasonOrphaned = "DeploymentOrphaned"

var _ decider.Observer = (*Term)(nil)

// Settled implements decider.Observer.
func (t *Term) Settled(ins []decide.Input) {
	for _, in := range ins {
		switch {
		case in.Budget != "":
			t.Budgets.Decided(in.Budget)
		case in.Deployment != (fleet.Key{}):
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
		case in.Budget != "":
			t.Budgets.Decided(in.Budget)
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
		if e, ok := status.EventOf(d); ok {
			t.tellOfRollout(d.Subject, e)
		}
		if d.Type != eventlog.DeploymentOrphaned {
			continue
		}
		if a, err := eventlog.ParseSubject(d.Subject); err == nil { // Decide made it of the same package
			t.warnOfOrphan(a.Namespace, a.Name)
		}
	}
}

// tellOfRollout writes an Event on the Deployment about a change of its rollout's state.
func (t *Term) tellOfRollout(subject string, e status.Event) {
	a, err := eventlog.ParseSubject(subject)
	if err != nil {
		return
	}
	object, ok := t.Deployments.Reference(fleet.Key{Namespace: a.Namespace, Name: a.Name})
	if !ok {
		return // it is gone, and nobody could see the Event
	}
	if e.Warning {
		t.Events.WarnOf(object, e.Reason, e.Action, e.Note)
	} else {
		t.Events.TellOf(object, e.Reason, e.Action, e.Note)
	}
}

func (t *Term) warnOfOrphan(namespace, name string) {
	t.Logger.Warn("a Deployment is orphaned: its CR is missing, its devices are left as they are", "deployment", namespace+"/"+name)
	t.Events.Warn(ReasonOrphaned, "Orphan", fmt.Sprintf(
		"Deployment %s/%s is in the event log and its object is missing, though the operator did not see anybody delete it. Its devices go on running it. "+
			"Apply it again to adopt it, or end it by: fleetctl withdraw deployment/%s -n %s", namespace, name, name, namespace),
		&corev1.ObjectReference{APIVersion: v1alpha1.SchemeGroupVersion.String(), Kind: "Deployment", Namespace: namespace, Name: name})
}
