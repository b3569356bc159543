package status

import (
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/rollout"
)

// rolloutStatus is status.rollout.
func rolloutStatus(in Deployments) *v1alpha1.RolloutStatus {
	run := &in.Log.Run
	r := &v1alpha1.RolloutStatus{
		Strategy: v1alpha1.RolloutStrategy(in.Spec.Strategy), Phase: v1alpha1.RolloutPhase(run.Phase), Kind: run.Kind,
		Revision: int64(run.Target.Revision), Run: int64(run.ID), Held: in.Log.Hold != nil,
		UpdatedDeviceCount: int32(in.Log.Counts.Updated),
	}
	switch run.Phase {
	case fleet.PhaseNone:
		r.Phase = ""
	case fleet.PhaseSuperseded:
		r.Phase = v1alpha1.RolloutProgressing
	}
	if run.ID > 0 {
		at := metav1.NewTime(run.At.Truncate(1e9))
		r.StartedAt, r.Batch, r.Batches = &at, int32(run.Batch), int32(len(run.Batches))
	}
	w := waitOf(in)
	r.Reason, r.Message = w.reason, clip(w.message, 4096)
	p := in.Progress
	if p == nil {
		return r
	}
	r.Paused = p.Settings.Paused
	n := &p.Standings
	r.Healthy, r.Skipped, r.Failed = int32(n[rollout.Healthy]), int32(n[rollout.Skipped]), int32(n[rollout.StandsFailed])
	r.Skips = failures(p.Skips)
	r.Offline, r.Updating, r.Waiting = int32(n[rollout.Offline]), int32(n[rollout.Updating]), int32(n[rollout.StandsWaiting])
	return r
}

func failures(of []decide.Failure) []v1alpha1.DeviceFailures {
	var out []v1alpha1.DeviceFailures
	for _, f := range of {
		out = append(out, v1alpha1.DeviceFailures{Reason: f.Reason, Count: int32(f.Devices), Devices: f.Examples})
	}
	return out
}

// wait is what a rollout waits for, or how it ended.
type wait struct {
	reason, message string
	stalled         bool // somebody has to look: nothing goes on without a person, or what is waited for is overdue
	through         bool // the target of the run is out
}

// Waits gives the reason of what a rollout that is not through waits for, as
// status.rollout.reason has it; false where it waits for nothing, for it is through or
// was ended.
func Waits(in Deployments) (reason string, waits bool) {
	if run := &in.Log.Run; !run.Phase.Moving() && run.Phase != fleet.PhasePaused {
		return "", false
	}
	return waitOf(in).reason, true
}

// waitOf says what a rollout waits for: the first of the list.
func waitOf(in Deployments) wait {
	d, run := in.Log, &in.Log.Run
	name := in.Spec.Key.Name
	batch := fmt.Sprintf("batch %d of %d", run.Batch, len(run.Batches))
	switch {
	case run.Phase == fleet.PhaseNone || run.Phase == fleet.PhaseSuperseded:
		return toStart(in)
	case run.Phase == fleet.PhaseRolledBack:
		return wait{reason: v1alpha1.ReasonRolledBack, stalled: true, message: fmt.Sprintf(
			"devices run revision %d again; revision %d of the spec is refused until its score changes, or: fleetctl rollout retry %s -n %s",
			run.Target.Revision, d.Spec.Revision, name, in.Spec.Key.Namespace)}
	case run.Phase == fleet.PhaseAborted:
		return wait{reason: v1alpha1.ReasonAborted, stalled: true, message: fmt.Sprintf(
			"a person ended the rollout of revision %d in %s; devices keep what they have. Go on by a new score, or: fleetctl rollout retry %s -n %s, or undo",
			run.Target.Revision, batch, name, in.Spec.Key.Namespace)}
	case run.Phase == fleet.PhasePaused:
		return wait{reason: orText(run.Reason, v1alpha1.ReasonPaused), stalled: true, message: orText(run.Message, "the rollout is paused")}
	case run.Phase == fleet.PhaseCompleted && run.Target.Content == d.Spec.ScoreHash:
		return wait{reason: v1alpha1.ReasonCompleted, through: true, message: fmt.Sprintf("revision %d is out", run.Target.Revision)}
	case d.Hold != nil:
		why := ""
		if d.Hold.Reason != "" {
			why = ": " + d.Hold.Reason
		}
		message := fmt.Sprintf("%s holds the rollout%s; go on by: fleetctl rollout resume %s -n %s", orText(d.Hold.By, "a person"), why, name, in.Spec.Key.Namespace)
		return wait{reason: v1alpha1.ReasonRequested, message: message}
	case in.Progress != nil && in.Progress.Settings.Paused:
		return wait{reason: v1alpha1.ReasonPaused, message: "spec.rollout.paused holds the rollout"}
	case run.Phase == fleet.PhaseRollingBack:
		return wait{reason: v1alpha1.ReasonRollingBack, message: fmt.Sprintf(
			"devices are given revision %d again, for revision %d of the spec failed%s", run.Target.Revision, d.Spec.Revision, healthyText(in.Progress))}
	case run.Target.Content != d.Spec.ScoreHash && d.Rejected != d.Spec.ScoreHash: // a restart of what was rolled back goes on
		return toStart(in)
	}
	return progressing(in, batch)
}

// toStart says what a spec without a run waits for: for another one, where it cannot be assigned.
func toStart(in Deployments) wait {
	if p := in.Spec.Problem; p != nil {
		return wait{reason: p.Reason, message: p.Message, stalled: true}
	}
	return wait{reason: v1alpha1.ReasonProgressing, message: fmt.Sprintf("the rollout of revision %d is about to start", in.Log.Spec.Revision)}
}

// approvedByAnother says what a batch with fourEyes waits for.
func approvedByAnother(in Deployments) wait {
	run := &in.Log.Run
	annotate := fmt.Sprintf("kubectl annotate --overwrite fleetdep %s -n %s %s", in.Spec.Key.Name, in.Spec.Key.Namespace, v1alpha1.AnnotationPromote)
	how := fmt.Sprintf("%s=%d.%d.%d", annotate, in.Log.Spec.Revision, run.ID, run.Batch)
	if promotes, why := in.Spec.Promotes(in.Log, true); promotes && why != "" {
		// The same value again is no change, and the API server stamps nobody.
		return wait{reason: v1alpha1.ReasonApproverUnknown, message: fmt.Sprintf(
			"batch %d was promoted, and that does not count: %s; take the annotation away and set it again: %s- && %s", run.Batch, why, annotate, how)}
	}
	return wait{reason: v1alpha1.ReasonAwaitingApproval, message: fmt.Sprintf(
		"batch %d succeeded and waits for another person than the author of the change: %s", run.Batch, how)}
}

// atOnce says what an Immediate rollout waits for. No batch of it stalls; a cycle ends by a
// person alone.
func atOnce(run *fleet.Run, p *decide.Progress) wait {
	said := fmt.Sprintf("revision %d is given to all devices at once%s", run.Target.Revision, healthyText(p))
	switch {
	case p == nil || p.Blocked == 0:
		return wait{reason: v1alpha1.ReasonProgressing, message: said}
	case p.Cycle:
		return wait{reason: v1alpha1.ReasonDependencyCycle, stalled: true, message: fmt.Sprintf(
			"%s; %s for ever, for this Deployment depends on itself by way of spec.rollout.dependsOn: correct that of one of them", said, devicesWait(p.Blocked))}
	}
	return wait{reason: v1alpha1.ReasonAwaitingDependencies, message: fmt.Sprintf(
		"%s; %s until what this Deployment depends on is healthy there", said, devicesWait(p.Blocked))}
}

// progressing says what an update or a restart that is on its way waits for.
func progressing(in Deployments, batch string) wait {
	run, p := &in.Log.Run, in.Progress
	if p == nil || rollout.Immediate(run) {
		return atOnce(run, p)
	}
	settings := p.Settings.Batch(run, run.Batch)
	said := fmt.Sprintf("%s%s", batch, healthyText(p))
	switch n := p.Batch; {
	case run.Passed && settings.FourEyes && !run.Let && run.Batch < len(run.Batches):
		return approvedByAnother(in)
	case run.Passed && settings.Manual && !run.Let && run.Batch < len(run.Batches):
		return wait{reason: v1alpha1.ReasonAwaitingApproval, message: fmt.Sprintf(
			"batch %d succeeded and waits for a person: fleetctl rollout promote %s -n %s", run.Batch, in.Spec.Key.Name, in.Spec.Key.Namespace)}
	case n == nil:
		return wait{reason: v1alpha1.ReasonProgressing, message: said}
	case p.Shut && (run.Passed && run.Batch < len(run.Batches) || n.Waiting > p.Blocked && p.Open == 0):
		return wait{reason: v1alpha1.ReasonAwaitingWindow, message: fmt.Sprintf("%s; %s", said, windowText(p.Opens))}
	case n.Waiting > 0 && p.Blocked == n.Waiting && p.Cycle:
		return wait{reason: v1alpha1.ReasonDependencyCycle, stalled: true, message: fmt.Sprintf(
			"%s; %s for ever, for this Deployment depends on itself by way of spec.rollout.dependsOn: correct that of one of them", said, devicesWait(n.Waiting))}
	case n.Waiting > 0 && p.Blocked == n.Waiting:
		// After the batch stood still for a deadline somebody has to look; it goes on by
		// itself once what it depends on does.
		return wait{reason: v1alpha1.ReasonAwaitingDependencies, stalled: p.Open == 0 && !run.StalledAt.IsZero(), message: fmt.Sprintf(
			"%s; %s until what this Deployment depends on is healthy there", said, devicesWait(n.Waiting))}
	case p.Missing > 0 && !run.Passed && p.Cycle:
		return wait{reason: v1alpha1.ReasonDependencyCycle, stalled: true, message: fmt.Sprintf(
			"%s; %s for ever, for this Deployment depends on itself by way of spec.rollout.dependsOn: correct that of one of them", said, devicesWait(p.Missing))}
	case p.Missing > 0 && !run.Passed:
		return wait{reason: v1alpha1.ReasonAwaitingDependencies, stalled: !run.StalledAt.IsZero(), message: fmt.Sprintf(
			"%s; %s until what this Deployment depends on is healthy there", said, devicesWait(p.Missing))}
	case p.Unfilled > 0 && !run.Passed:
		message := fmt.Sprintf("%s; %s until the labels that the score names are there", said, devicesWait(p.Unfilled))
		reason := v1alpha1.ReasonTemplateValueMissing
		if skip := skippedForValues(p); skip != nil {
			reason, message = skip.Reason, message+": "+skip.Message
		}
		return wait{reason: reason, stalled: !run.StalledAt.IsZero(), message: message}
	case p.Gate != "":
		return wait{reason: v1alpha1.ReasonAwaitingGate, message: said + "; " + p.Gate}
	case n.Waiting > 0 && p.Paced:
		return wait{reason: v1alpha1.ReasonAwaitingRate, message: fmt.Sprintf(
			"%s; %s for spec.rollout.rate, which is %s now", said, devicesWait(n.Waiting), rollout.RateText(p.Settings.Rate, run.Succeeded))}
	case n.Waiting > 0 && p.Open == 0:
		return wait{reason: v1alpha1.ReasonAwaitingBudget, message: fmt.Sprintf(
			"%s; %s, for no more may be unavailable (%s at a time%s)", said, devicesWait(n.Waiting), rollout.DevicesText(p.Settings.MostUnavailable(p.Matched)), parkedText(p.Parked))}
	case n.Waiting == 0 && p.Open > 0 && p.Standings[rollout.Updating] == 0 && n.Bad == 0 && p.Failing == 0:
		return wait{reason: v1alpha1.ReasonAwaitingSoak, message: fmt.Sprintf("%s; its devices soak for %s", said, settings.Soak)}
	}
	if p.Failing > 0 {
		said += fmt.Sprintf("; %s, which counts against the batch after %s", devicesFail(p.Failing), min(rollout.Patience, p.Settings.Deadline))
	}
	return wait{reason: v1alpha1.ReasonAwaitingDevices, message: said}
}

// windowText says until when a rollout waits for its windows.
func windowText(opens time.Time) string {
	if opens.IsZero() {
		return "no window of spec.rollout.windows ever opens: correct them"
	}
	return "the next window of spec.rollout.windows opens at " + opens.UTC().Format(time.RFC3339)
}

func parkedText(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("; %s for a DisruptionBudget", devicesWait(n))
}

// devicesFail is 1 device fails or 5 devices fail.
func devicesFail(n int) string { return rollout.DevicesText(n) + rollout.Verb(n, " fails", " fail") }

// devicesWait is 1 device waits or 5 devices wait.
func devicesWait(n int) string { return rollout.DevicesText(n) + rollout.Verb(n, " waits", " wait") }

func healthyText(p *decide.Progress) string {
	if p == nil {
		return ""
	}
	return fmt.Sprintf("; %d of %s are healthy on it", p.Standings[rollout.Healthy], rollout.DevicesText(p.Matched))
}

// conditions are those beside Ready that follow from the rollout. Reconciling and
// Stalled are as kstatus reads them: True, or absent.
func conditions(in Deployments, ready metav1.Condition) (set []metav1.Condition, absent []string) {
	reconciling, stalled := false, false
	progress := metav1.Condition{Type: v1alpha1.ConditionProgressing, Status: metav1.ConditionFalse, Reason: ready.Reason, Message: ready.Message}
	switch {
	case in.Spec.Problem != nil:
		stalled = true
	case in.Log == nil || ready.Reason == v1alpha1.ReasonNewGeneration:
		reconciling = true
	case in.ClusterMismatch != "" || in.LogFull != "":
		stalled = true
	case in.Spec.Deleting:
		reconciling = true
	case in.Conflicted > 0:
		stalled = true
	default:
		w := waitOf(in)
		progress.Reason, progress.Message = w.reason, w.message
		stalled = w.stalled
		if unfilled(ready.Reason) {
			stalled, progress.Reason, progress.Message = true, ready.Reason, ready.Message
		}
		reconciling = !stalled && (!w.through || ready.Status != metav1.ConditionTrue)
		if rollout.Immediate(&in.Log.Run) && ready.Status == metav1.ConditionTrue {
			reconciling = false // what is offline follows when it is back
		}
	}
	if reconciling {
		progress.Status = metav1.ConditionTrue
		set = append(set, metav1.Condition{Type: v1alpha1.ConditionReconciling, Status: metav1.ConditionTrue, Reason: progress.Reason, Message: progress.Message})
	} else {
		absent = append(absent, v1alpha1.ConditionReconciling)
	}
	if stalled {
		set = append(set, metav1.Condition{Type: v1alpha1.ConditionStalled, Status: metav1.ConditionTrue, Reason: progress.Reason, Message: progress.Message})
	} else {
		absent = append(absent, v1alpha1.ConditionStalled)
	}
	set = append(set, progress)
	if in.Conflicted > 0 {
		set = append(set, metav1.Condition{Type: v1alpha1.ConditionNameConflict, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonNameConflict, Message: conflictText(in)})
	} else {
		absent = append(absent, v1alpha1.ConditionNameConflict)
	}
	return set, absent
}

func conflictText(in Deployments) string {
	return fmt.Sprintf("Deployment %s holds the name %q on %s that this one matches too; rename one of them, or make their selectors disjoint",
		in.Holder, in.Spec.Key.Name, rollout.DevicesText(in.Conflicted))
}

func setConditions(s *v1alpha1.DeploymentStatus, in Deployments, ready metav1.Condition, at metav1.Time) {
	set, absent := conditions(in, ready)
	for _, c := range set {
		c.ObservedGeneration, c.LastTransitionTime, c.Message = in.Spec.Generation, at, clip(c.Message, maxMessageLen)
		meta.SetStatusCondition(&s.Conditions, c)
	}
	for _, t := range absent {
		meta.RemoveStatusCondition(&s.Conditions, t)
	}
}

// byRollout says why a Deployment is not ready because of its rollout; ok is false where
// its devices decide.
func byRollout(in Deployments) (c metav1.Condition, ok bool) {
	run := &in.Log.Run
	w := waitOf(in)
	if w.through || rollout.Immediate(run) && run.Phase == fleet.PhaseProgressing && run.Target.Content == in.Log.Spec.ScoreHash {
		return c, false
	}
	failing := countsOf(in).FailedOnline > 0
	reason, message := w.reason, w.message
	switch {
	case w.stalled && failing:
		message += newestError(in.Log)
	case w.stalled, in.Log.Hold != nil:
	case slices.Contains(ownReasons, reason):
	case failing: // it may be a hiccup, so the batch is not judged yet; a person is told at once
		reason, message = v1alpha1.ReasonDeviceFailed, message+newestError(in.Log)
	default:
		reason = v1alpha1.ReasonProgressing
	}
	return condition(metav1.ConditionFalse, reason, "%s", message), true
}

// ownReasons are the reasons of a rollout that goes on which Ready has too.
var ownReasons = []string{v1alpha1.ReasonPaused, v1alpha1.ReasonRollingBack, v1alpha1.ReasonAwaitingApproval, v1alpha1.ReasonApproverUnknown}

func orText(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
