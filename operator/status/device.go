package status

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/projections/fleet"
)

// Reasons of a Device's conditions.
const (
	// ReasonPulseReceived (Online=True): a pulse came within the timeout.
	ReasonPulseReceived = decide.ReasonPulseReceived
	// ReasonPulseMissed (Online=False): none came for three intervals.
	ReasonPulseMissed = decide.ReasonPulseMissed
	// ReasonNotYetHeard (Online=Unknown): no verdict has been reached.
	ReasonNotYetHeard = "NotYetHeard"
	// ReasonTwoMachines (DuplicateIdentity=True): reports of two stores
	// alternate under one id.
	ReasonTwoMachines = "TwoMachines"
	// ReasonOneMachine (DuplicateIdentity=False): they no longer do.
	ReasonOneMachine = "OneMachine"
	// ReasonAccessRevoked (AccessRevoked=True) is used where the event gives none
	// that is a word.
	ReasonAccessRevoked = "AccessRevoked"
	// ReasonNeverAssigned (UnknownDeployments=True): it reports what the log
	// never assigned to it.
	ReasonNeverAssigned = "NeverAssigned"
	// ReasonTooManyUnknown (UnknownDeployments=True): it reports fleet.MaxUnknown
	// of them, so that reports of any other are foreign.
	ReasonTooManyUnknown = "TooManyUnknown"
)

// ConditionUnknownDeployments on a Device says that it reports Deployments which
// the log never knew there: an archive that was restored is older than they are.
// They are left alone.
const ConditionUnknownDeployments = "UnknownDeployments"

// ConditionAccessRevoked on a Device says that it may no longer connect.
const ConditionAccessRevoked = "AccessRevoked"

// ConditionDecisionFailed on a Device says that the operator cannot record what
// follows from it, such as its labels; what it runs stays.
const ConditionDecisionFailed = "DecisionFailed"

// Devices is all that a Device's status is made of.
type Devices struct {
	Log        *fleet.Device
	Generation int64
	Reported   map[string]string // labels, as the agent reports them
	Conflicts  []v1alpha1.LabelConflict
	Failed     *decide.Problem // the last decision about the device failed; nil: it did not
	Previous   v1alpha1.DeviceStatus
}

// Device is the status that follows.
func Device(in Devices, now time.Time) v1alpha1.DeviceStatus {
	s := v1alpha1.DeviceStatus{
		ObservedGeneration: in.Generation,
		ReportedLabels:     in.Reported,
		LabelConflicts:     in.Conflicts,
		Deployments:        phases(in.Log),
	}
	if in.Log.Info != nil {
		s.AgentVersion = in.Log.Info.Inventory.AgentVersion
	}
	s.AgentVersion = known(s.AgentVersion, 128)
	s.Conditions = append(s.Conditions, in.Previous.Conditions...)
	set := func(c metav1.Condition) {
		c.ObservedGeneration = in.Generation
		c.LastTransitionTime = metav1.NewTime(now)
		meta.SetStatusCondition(&s.Conditions, c)
	}
	set(online(in.Log))
	if c, ok := duplicate(in, now); ok {
		set(c)
	}
	if a := in.Log.Access; a != nil {
		set(revoked(a))
	} else {
		meta.RemoveStatusCondition(&s.Conditions, ConditionAccessRevoked)
	}
	if names := in.Log.Unknown(); len(names) > 0 {
		set(unknown(in.Log, names))
	} else {
		meta.RemoveStatusCondition(&s.Conditions, ConditionUnknownDeployments)
	}
	if c, ok := keyExpiring(in.Log, now); ok {
		set(c)
	} else {
		meta.RemoveStatusCondition(&s.Conditions, ConditionKeyExpiring)
	}
	if p := in.Failed; p != nil {
		set(metav1.Condition{Type: ConditionDecisionFailed, Status: metav1.ConditionTrue, Reason: p.Reason, Message: clip(p.Message, maxMessageLen)})
	} else {
		meta.RemoveStatusCondition(&s.Conditions, ConditionDecisionFailed)
	}
	return s
}

func unknown(d *fleet.Device, names []string) metav1.Condition {
	c := metav1.Condition{
		Type: ConditionUnknownDeployments, Status: metav1.ConditionTrue, Reason: ReasonNeverAssigned,
		Message: clip("the device reports "+strings.Join(names, ", ")+", which the event log never assigned to it; the operator leaves them alone. "+
			"To take one over, apply a Deployment of that name; to end it, delete that Deployment", maxMessageLen),
	}
	if d.Crowded() {
		c.Reason = ReasonTooManyUnknown
		c.Message = clip(fmt.Sprintf("the device reports %d Deployments that the event log never assigned to it; the operator ignores its reports of any other. "+
			"The device is broken or hostile. The first of them: %s", len(names), strings.Join(names, ", ")), maxMessageLen)
	}
	return c
}

// reasons is what the schema of conditions takes for one.
var reasons = regexp.MustCompile(`^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$`)

// revoked shows why access was revoked, in the words of the event: a reason
// that is no word goes into the message.
func revoked(a *eventlog.Access) metav1.Condition {
	c := metav1.Condition{Type: ConditionAccessRevoked, Status: metav1.ConditionTrue, Reason: a.Reason, Message: a.Message}
	if len(a.Reason) > 1024 || !reasons.MatchString(a.Reason) {
		c.Reason = ReasonAccessRevoked
		c.Message = strings.Trim(a.Reason+": "+a.Message, ": ")
	}
	c.Message = clip(c.Message, maxMessageLen)
	return c
}

func online(d *fleet.Device) metav1.Condition {
	c := metav1.Condition{Type: v1alpha1.ConditionOnline}
	switch d.Presence.Online {
	case fleet.OnlineTrue:
		c.Status, c.Reason = metav1.ConditionTrue, ReasonPulseReceived
		c.Message = "the operator receives its pulse"
	case fleet.OnlineFalse:
		c.Status, c.Reason = metav1.ConditionFalse, ReasonPulseMissed
		c.Message = "no pulse since " + d.Presence.LastSeen.UTC().Format(time.RFC3339) + "; the device runs what it last had"
		if d.Presence.LastSeen.IsZero() {
			c.Message = "the operator never received a pulse"
		}
	default:
		c.Status, c.Reason = metav1.ConditionUnknown, ReasonNotYetHeard
		c.Message = "the operator has not received a pulse yet"
	}
	if r := d.Presence.Reason; r != "" {
		c.Reason = r
	}
	return c
}

func duplicate(in Devices, now time.Time) (metav1.Condition, bool) {
	c := metav1.Condition{Type: v1alpha1.ConditionDuplicateIdentity}
	if in.Log.Identity.Duplicate(now) {
		c.Status, c.Reason = metav1.ConditionTrue, ReasonTwoMachines
		c.Message = "two machines report as " + in.Log.ID + " (a cloned SD card?): give one of them another device_id"
		return c, true
	}
	if meta.IsStatusConditionTrue(in.Previous.Conditions, c.Type) {
		c.Status, c.Reason, c.Message = metav1.ConditionFalse, ReasonOneMachine, "one machine reports under this id"
		return c, true
	}
	return c, false
}

func phases(d *fleet.Device) *v1alpha1.DeviceDeployments {
	n := &v1alpha1.DeviceDeployments{}
	for p := range d.Assignments {
		if !p.Assigned() {
			continue
		}
		n.Total++
		switch {
		case p.Succeeded():
			n.Running++
		case p.Failed():
			n.Failed++
		default:
			n.Pending++
		}
	}
	return n
}
