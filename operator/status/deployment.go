// Package status says in the words of the Kubernetes API how Deployments and
// devices fare. It is pure; docs/status.md has the same predicates as a table.
package status

import (
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/rollout"
)

// Deployments is all that a Deployment's status is made of.
type Deployments struct {
	Spec   decide.Spec
	Log    *fleet.Deployment // nil: the log has not heard of it
	Placed bool              // all that the spec asks for now is in the log
	// Progress is how its devices fare; nil where nothing of it is placed.
	Progress *decide.Progress

	// Another Deployment of the name, and on how many devices it is in the way.
	Holder     fleet.Key
	Conflicted int

	// ClusterMismatch is set where the log belongs to another cluster: nothing
	// is decided here, and this says why.
	ClusterMismatch string

	// LogFull is set where the log takes no more events, LogReserve where it
	// still does because its reserve was opened; both say what to do.
	LogFull    string
	LogReserve string

	Previous v1alpha1.DeploymentStatus
}

// Deployment is the status that follows.
func Deployment(in Deployments, now time.Time) v1alpha1.DeploymentStatus {
	s := v1alpha1.DeploymentStatus{ObservedGeneration: in.Spec.Generation}
	if in.Log != nil {
		s.Revision = int64(in.Log.Spec.Revision)
		s.Aggregate = aggregate(in, in.Previous.Aggregate)
		s.Rollout = rolloutStatus(in)
		if in.Progress != nil {
			s.Failures = failures(in.Progress.Failures)
		}
	}
	ready := Ready(in)
	ready.Type = v1alpha1.ConditionReady
	ready.ObservedGeneration = in.Spec.Generation
	ready.LastTransitionTime = metav1.NewTime(now)
	s.Conditions = append(s.Conditions, in.Previous.Conditions...)
	meta.SetStatusCondition(&s.Conditions, ready)
	setConditions(&s, in, ready, ready.LastTransitionTime)
	if len(in.Spec.Unknown) == 0 {
		meta.RemoveStatusCondition(&s.Conditions, v1alpha1.ConditionUnknownFields)
		return s
	}
	unknown := UnknownFields(in.Spec)
	unknown.ObservedGeneration, unknown.LastTransitionTime = in.Spec.Generation, metav1.NewTime(now)
	meta.SetStatusCondition(&s.Conditions, unknown)
	return s
}

// UnknownFields is the condition of a spec with fields that this version does not
// know, without its times.
func UnknownFields(spec decide.Spec) metav1.Condition {
	var said strings.Builder
	for _, sentence := range spec.Unknown {
		said.WriteString(sentence)
		if !strings.HasSuffix(sentence, "?") {
			said.WriteByte('.')
		}
		said.WriteByte(' ')
	}
	c := condition(metav1.ConditionTrue, v1alpha1.ReasonNotKnown, "%sUnknown fields are kept and sent to the devices.", said.String())
	c.Type = v1alpha1.ConditionUnknownFields
	return c
}

func aggregate(in Deployments, before *v1alpha1.DeploymentAggregate) *v1alpha1.DeploymentAggregate {
	d, n := in.Log, countsOf(in)
	a := &v1alpha1.DeploymentAggregate{
		MatchedDeviceCount: int32(n.Matched), Succeeded: int32(n.Succeeded), Failed: int32(n.Failed), Pending: int32(n.Pending),
	}
	if p := d.LastFailed(); p != nil {
		a.LastError = &v1alpha1.DeviceError{
			Device: p.Device.ID, Reason: clip(p.Reported.Reason, 128), Message: clip(p.Reported.Error, 4096), At: moment(p.Reported.At.Time()),
		}
		if before != nil && before.LastError != nil && sameError(*before.LastError, *a.LastError) {
			a.LastError.At = before.LastError.At // the same failure, tried again: no news
		}
	}
	return a
}

// moment is a time by a device's clock, nil where it said none or one that the API
// does not take: its status would be refused as a whole.
func moment(t time.Time) *metav1.Time {
	if t = t.UTC(); t.IsZero() || t.Year() < 1 || t.Year() > 9999 {
		return nil
	}
	at := metav1.NewTime(t.Truncate(time.Second))
	return &at
}

func sameError(a, b v1alpha1.DeviceError) bool {
	return a.Device == b.Device && a.Reason == b.Reason && a.Message == b.Message
}

// countsOf are the devices by how they fare: of those that match, or where nothing is
// placed of those that the log assigns it to.
func countsOf(in Deployments) fleet.Counts {
	p := in.Progress
	if p == nil {
		return in.Log.Counts
	}
	return fleet.Counts{
		Matched: p.Matched, Succeeded: p.Succeeded, Failed: p.Failed, Pending: p.Matched - p.Succeeded - p.Failed,
		Offline: p.Offline, FailedOnline: p.FailedOnline,
	}
}

// Ready is the condition Ready, without its times. The predicates are tried in
// order, and each has one reason.
func Ready(in Deployments) metav1.Condition {
	c := ready(in)
	if in.LogReserve != "" {
		c.Message = clip(c.Message, maxMessageLen-len(in.LogReserve)-2) + "; " + in.LogReserve
	}
	return c
}

func ready(in Deployments) metav1.Condition {
	if in.ClusterMismatch != "" {
		return condition(metav1.ConditionFalse, ReasonClusterMismatch, "%s", in.ClusterMismatch)
	}
	if in.Spec.Deleting && in.LogFull == "" {
		return deleting(in)
	}
	if in.Spec.Problem != nil {
		return condition(metav1.ConditionFalse, in.Spec.Problem.Reason, "%s", in.Spec.Problem.Message)
	}
	first := in.Previous.ObservedGeneration != in.Spec.Generation
	if in.LogFull != "" && !first {
		return condition(metav1.ConditionFalse, ReasonLogFull, "the operator decides nothing and sees no report: %s", in.LogFull)
	}
	if first || in.Log == nil {
		return condition(metav1.ConditionUnknown, v1alpha1.ReasonNewGeneration,
			"generation %d observed, not yet recorded in the event log", in.Spec.Generation)
	}
	if in.Conflicted > 0 {
		return condition(metav1.ConditionFalse, v1alpha1.ReasonNameConflict, "%s", conflictText(in))
	}
	if c, ok := byRollout(in); ok {
		return c
	}
	return byCounts(in)
}

func deleting(in Deployments) metav1.Condition {
	if in.Log == nil || in.Log.Counts.Matched == 0 {
		return condition(metav1.ConditionFalse, v1alpha1.ReasonDeleting, "being deleted; it is on no device")
	}
	return condition(metav1.ConditionFalse, v1alpha1.ReasonDeleting, "being deleted; %s still to be withdrawn from", rollout.DevicesText(in.Log.Counts.Matched))
}

func byCounts(in Deployments) metav1.Condition {
	n := countsOf(in)
	switch {
	case !in.Placed:
		return condition(metav1.ConditionFalse, v1alpha1.ReasonProgressing, "revision %d is being assigned; %d of %s succeeded so far",
			in.Log.Spec.Revision, n.Succeeded, rollout.DevicesText(n.Matched))
	case n.Matched == 0:
		return condition(metav1.ConditionTrue, v1alpha1.ReasonNoDeviceMatches, "no device matches the selector %s", in.Spec.Selector)
	case n.Succeeded == n.Matched && in.Log.Run.Phase != fleet.PhaseCompleted:
		return condition(metav1.ConditionFalse, v1alpha1.ReasonProgressing, "%s: all run revision %d; the rollout is about to be completed",
			rollout.DevicesText(n.Matched), in.Log.Spec.Revision)
	case n.Succeeded == n.Matched:
		return condition(metav1.ConditionTrue, v1alpha1.ReasonAllSucceeded, "%s: all run revision %d",
			rollout.DevicesText(n.Matched), in.Log.Spec.Revision)
	case n.Succeeded > 0 && n.Succeeded+n.Offline == n.Matched:
		return condition(metav1.ConditionTrue, v1alpha1.ReasonOnlineSucceeded, "%d of %s succeeded; %s",
			n.Succeeded, rollout.DevicesText(n.Matched), offline(n.Offline))
	case n.Offline == n.Matched:
		return condition(metav1.ConditionFalse, v1alpha1.ReasonAllOffline, "%s; none has succeeded", offline(n.Offline))
	case n.FailedOnline > 0:
		return condition(metav1.ConditionFalse, v1alpha1.ReasonDeviceFailed, "%d of %s failed%s",
			n.Failed, rollout.DevicesText(n.Matched), newestError(in.Log))
	}
	if skip := skippedForValues(in.Progress); skip != nil && (in.Log.Run.Phase == fleet.PhaseCompleted || rollout.Immediate(&in.Log.Run)) {
		return condition(metav1.ConditionFalse, skip.Reason, "%d of %s succeeded, and %s skipped: %s",
			n.Succeeded, rollout.DevicesText(n.Matched), rollout.DevicesText(skip.Devices)+rollout.Verb(skip.Devices, " is", " are"), skip.Message)
	}
	return condition(metav1.ConditionFalse, v1alpha1.ReasonProgressing, "%d of %s succeeded, %d pending%s",
		n.Succeeded, rollout.DevicesText(n.Matched), n.Pending, alsoOffline(n.Offline))
}

// unfilled says whether a reason is that a value cannot be filled in for devices.
func unfilled(reason string) bool {
	return reason == v1alpha1.ReasonTemplateValueMissing || reason == v1alpha1.ReasonTemplateValueInvalid
}

// skippedForValues gives the devices that are skipped because a value cannot be filled in
// for them; nil: there are none.
func skippedForValues(p *decide.Progress) *decide.Failure {
	if p == nil {
		return nil
	}
	for i := range p.Skips {
		if unfilled(p.Skips[i].Reason) {
			return &p.Skips[i]
		}
	}
	return nil
}

// Reasons of the condition Ready that lie with the log.
const (
	// ReasonClusterMismatch (False): the log belongs to another Kubernetes
	// cluster, so this operator decides nothing.
	ReasonClusterMismatch = "ClusterMismatch"
	// ReasonLogFull (False): the log takes no more events.
	ReasonLogFull = "LogFull"
)

// maxMessageLen is what the schema of conditions allows.
const maxMessageLen = 32768

func newestError(d *fleet.Deployment) string {
	p := d.LastFailed()
	if p == nil {
		return ""
	}
	return fmt.Sprintf("; the newest: %s on %s: %s", orUnknown(p.Reported.Reason), p.Device.ID, clip(p.Reported.Error, 1024))
}

func orUnknown(reason string) string {
	if reason == "" {
		return "no reason given"
	}
	return reason
}

func condition(st metav1.ConditionStatus, reason, format string, args ...any) metav1.Condition {
	return metav1.Condition{Status: st, Reason: reason, Message: clip(fmt.Sprintf(format, args...), maxMessageLen)}
}

func offline(n int) string {
	return rollout.DevicesText(n) + rollout.Verb(n, " is offline", " are offline")
}

func alsoOffline(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(" (%d of them offline)", n)
}

// clip keeps a device's words within what the schema allows.
func clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	const more = " …"
	cut := most - len(more)
	for cut > 0 && s[cut]&0xC0 == 0x80 { // not in the middle of a rune
		cut--
	}
	return s[:cut] + more
}
