package attention

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/rollout"
	"fleet.nationtech.io/projections/selectors"
	"fleet.nationtech.io/projections/timeline"
)

// deployments looks at each Deployment, and at its devices where the counts say that
// something is wrong there.
func (l *list) deployments(v *fleet.View) {
	for _, d := range v.Deployments {
		if d.Lifecycle == fleet.Deleted {
			continue
		}
		l.unanswered("withdraw "+d.Key.String(), "", d.Withdraw)
		for i := range d.Requests {
			l.unanswered(d.Requests[i].Verb+" the rollout of "+d.Key.String(), "", &d.Requests[i])
		}
		if d.Lifecycle == fleet.Orphaned {
			l.orphan(d)
			continue
		}
		l.refused(d)
		l.run(v, d)
		l.cycle(v, d)
		l.unfilled(v, d)
		if d.Counts.Failed > 0 {
			l.failing(d)
		}
		if d.Counts.Pending > 0 {
			l.silent(d)
		}
		l.conflict(v, d)
	}
}

// about begins an item about a Deployment.
func about(d *fleet.Deployment, kind Kind, severity Severity) Item {
	return Item{Kind: kind, Severity: severity, Namespace: d.Key.Namespace, Name: d.Key.Name}
}

// command is a command of fleetctl about a Deployment.
func command(verb string, d *fleet.Deployment) string {
	return "fleetctl " + verb + " deployment/" + d.Key.Name + " -n " + d.Key.Namespace
}

func (l *list) orphan(d *fleet.Deployment) {
	i := about(d, Orphaned, Warning)
	i.Title, i.Since, i.Devices = d.Key.String()+" is orphaned", d.Changed.At, d.Counts.Matched
	i.Reason = "its resource is gone from Kubernetes, though nobody was seen deleting it; its devices go on: apply it again to adopt it, or take it off its devices"
	i.Command = command("withdraw", d)
	l.add(i)
}

func (l *list) refused(d *fleet.Deployment) {
	r := d.Refused
	if r == nil {
		return
	}
	i := about(d, SpecRefused, Warning)
	i.Title, i.Since = "the newest spec of "+d.Key.String()+" is refused", d.Changed.At
	i.Reason = sentence(r.Reason, r.Message, "it says no reason")
	i.Command = fmt.Sprintf("kubectl edit fleetdep %s -n %s", d.Key.Name, d.Key.Namespace)
	l.add(i)
}

// run is about a Deployment's rollout: the first that holds.
func (l *list) run(v *fleet.View, d *fleet.Deployment) {
	run, set := &d.Run, rollout.Fill(d.Settings)
	what := fmt.Sprintf("the rollout of %s, revision %d,", d.Key, run.Target.Revision)
	stuck := ""
	if run.Phase.Moving() && !run.StalledAt.IsZero() {
		stuck = l.stuck(v, d)
	}
	var i Item
	switch batch := set.Batch(run, run.Batch); {
	case run.Phase == fleet.PhasePaused:
		i = about(d, RolloutPaused, Critical)
		i.Title, i.Since, i.Command = what+" is paused", run.PhaseAt, command("rollout status", d)
		i.Reason = sentence(run.Reason, run.Message, fmt.Sprintf("batch %d of %d is not let go on", run.Batch, len(run.Batches)))
	case run.Phase == fleet.PhaseRolledBack && d.Rejected == d.Spec.ScoreHash:
		i = about(d, RolloutEnded, Warning)
		i.Title, i.Since, i.Command = fmt.Sprintf("revision %d of %s was rolled back", d.Spec.Revision, d.Key), run.PhaseAt, command("rollout history", d)
		i.Reason = fmt.Sprintf("devices run revision %d again, and the newest content is refused until its score changes, or a person retries it", run.Target.Revision)
	case run.Phase == fleet.PhaseAborted && (d.Rejected == d.Spec.ScoreHash || run.Kind == eventlog.RunRestart && run.Target.Content == d.Spec.ScoreHash):
		i = about(d, RolloutEnded, Warning)
		i.Title, i.Since, i.Command = what+" was aborted", run.PhaseAt, command("rollout retry", d)
		i.Reason = fmt.Sprintf("a person ended it in batch %d of %d, and each device keeps what it has: change the score, retry or undo", run.Batch, len(run.Batches))
	case d.Hold != nil:
		i = about(d, Held, Notice)
		i.Title, i.Since, i.Command = orSomebody(d.Hold.By)+" holds "+d.Key.String(), d.Hold.Mark.At, command("rollout resume", d)
		i.Reason = sentence("", d.Hold.Reason, "no reason was given") + "; nothing new goes to its devices until it is resumed"
	case !run.Phase.Moving():
		return
	case stuck != "":
		i = about(d, RolloutStalled, Critical)
		i.Title, i.Since, i.Command = what+" is stalled", run.StalledAt, command("rollout status", d)
		i.Reason = fmt.Sprintf("batch %d of %d does not get on: %s", run.Batch, len(run.Batches), stuck)
	case run.Passed && !run.Let && run.Batch < len(run.Batches) && batch.FourEyes:
		i = about(d, Approval, Notice)
		i.Title, i.Since, i.Command = what+" waits for another person", run.BatchAt, command("rollout status", d)
		i.Reason = fmt.Sprintf("batch %d of %d succeeded, and another person than the author of the change has to let it go on", run.Batch, len(run.Batches))
	case run.Passed && !run.Let && run.Batch < len(run.Batches) && batch.Manual:
		i = about(d, Approval, Notice)
		i.Title, i.Since, i.Command = what+" waits for approval", run.BatchAt, command("rollout promote", d)
		i.Reason = fmt.Sprintf("batch %d of %d succeeded, and a person has to let it go on", run.Batch, len(run.Batches))
	case set.Paused:
		i = about(d, Held, Notice)
		i.Title, i.Since = "the spec of "+d.Key.String()+" holds its rollout", d.Applied.At
		i.Reason = "spec.rollout.paused is true; nothing new goes to its devices until it is false"
		i.Command = fmt.Sprintf("kubectl edit fleetdep %s -n %s", d.Key.Name, d.Key.Namespace)
	default:
		return
	}
	l.add(i)
}

// stuck says why a batch that was called stalled still does not get on; empty: it does.
func (l *list) stuck(v *fleet.View, d *fleet.Deployment) string {
	run := &d.Run
	look := rollout.Look(v, d, l.now)
	var waits []*rollout.Place
	for _, p := range look.Places() {
		if !p.Matches || p.Batch != run.Batch {
			continue
		}
		switch p.Skipped {
		case rollout.WaitDependency, rollout.WaitValue, rollout.WaitValueInvalid:
			waits = append(waits, p)
		case rollout.WaitNothing:
			if p.Blocked != "" && p.Class == rollout.Waiting {
				waits = append(waits, p)
			}
		}
	}
	if len(waits) == 0 {
		return ""
	}
	why := look.Why(waits[0].Device).Message
	if len(waits) > 1 {
		why = fmt.Sprintf("%s wait; of %s: %s", rollout.DevicesText(len(waits)), waits[0].Device.ID, why)
	}
	return why
}

// failing has an item for each reason of the devices' failures.
func (l *list) failing(d *fleet.Deployment) {
	byReason := map[string][]*fleet.Assignment{}
	for p := range d.Assigned {
		if p.Failed() {
			byReason[p.Reported.Reason] = append(byReason[p.Reported.Reason], p)
		}
	}
	for reason, pairs := range byReason {
		i := l.pairs(about(d, DevicesFailing, Warning), pairs)
		i.Title = fmt.Sprintf("%s fails on %s", d.Key, of(pairs))
		first := pairs[0]
		i.Reason = sentence(reason, first.Reported.Error, "the device gave no error")
		if len(pairs) > 1 {
			i.Reason = fmt.Sprintf("%s says: %s", first.Device.ID, i.Reason)
		}
		l.add(i)
	}
}

// silent is about devices that are online and past the deadline.
func (l *list) silent(d *fleet.Deployment) {
	deadline := rollout.Fill(d.Settings).Deadline
	var late []*fleet.Assignment
	for p := range d.Assigned {
		online := p.Device.Presence.Online == fleet.OnlineTrue && p.Device.Access == nil
		if online && !p.Succeeded() && !p.Failed() && l.now.Sub(begun(p)) > deadline {
			late = append(late, p)
		}
	}
	if len(late) == 0 {
		return
	}
	i := l.pairs(about(d, DevicesSilent, Warning), late)
	i.Title = fmt.Sprintf("%s does not run on %s", d.Key, of(late))
	i.Reason = fmt.Sprintf("%s online, and %s not report within the deadline of %s that revision %d runs: is the agent at work?",
		rollout.Verb(len(late), "it is", "they are"), rollout.Verb(len(late), "does", "do"), deadline, late[0].Desired.Revision)
	l.add(i)
}

// begun is when the deadline of a pair began.
func begun(p *fleet.Assignment) time.Time {
	if p.Since > p.Begun {
		return p.Since.Time()
	}
	return p.Begun.Time()
}

// pairs fills in which devices an item is about, and since when. It sorts them.
func (l *list) pairs(i Item, pairs []*fleet.Assignment) Item {
	slices.SortFunc(pairs, func(a, b *fleet.Assignment) int {
		return cmp.Or(cmp.Compare(a.Since, b.Since), cmp.Compare(a.Device.ID, b.Device.ID))
	})
	i.Devices, i.Since = len(pairs), pairs[0].Since.Time()
	for _, p := range pairs[:min(len(pairs), maxExamples)] {
		i.Examples = append(i.Examples, p.Device.ID)
	}
	i.Command = fmt.Sprintf("fleetctl explain device/%s deployment/%s -n %s", pairs[0].Device.ID, i.Name, i.Namespace)
	return i
}

func of(pairs []*fleet.Assignment) string {
	if len(pairs) == 1 {
		return pairs[0].Device.ID
	}
	return rollout.DevicesText(len(pairs))
}

// conflict is about devices that match, and where another Deployment holds the name.
func (l *list) conflict(v *fleet.View, d *fleet.Deployment) {
	namesakes := v.Named(d.Key.Name)
	if len(namesakes) < 2 {
		return
	}
	for _, holder := range namesakes {
		if holder == d || holder.Lifecycle == fleet.Deleted {
			continue
		}
		var ids []string
		for p := range holder.Assigned {
			if dev := p.Device; dev.Labels != nil && !dev.Out() && selectors.Selects(d.Spec.Selector, l.bare(dev)) {
				ids = append(ids, dev.ID)
			}
		}
		if len(ids) == 0 {
			continue
		}
		slices.Sort(ids)
		i := about(d, NameConflict, Warning)
		i.Devices, i.Examples, i.Since = len(ids), ids[:min(len(ids), maxExamples)], d.Applied.At
		i.Title = fmt.Sprintf("%s is kept off %s", d.Key, rollout.DevicesText(len(ids)))
		i.Reason = fmt.Sprintf("%s holds the name %s there (%s): rename one of the two, or make their selectors disjoint", holder.Key, d.Key.Name, few(ids))
		i.Command = fmt.Sprintf("fleetctl explain device/%s deployment/%s -n %s", ids[0], d.Key.Name, d.Key.Namespace)
		l.add(i)
	}
}

// budgets is about DisruptionBudgets that bound nothing.
func (l *list) budgets(v *fleet.View) {
	for name, b := range v.Budgets {
		i := Item{Kind: BudgetInvalid, Severity: Warning, Name: name, Since: b.Applied.At, Command: "kubectl edit fleetdb " + name}
		switch {
		case b.Missing:
			i.Kind, i.Title, i.Command = Orphaned, "DisruptionBudget "+name+" is gone", "kubectl get fleetdb"
			i.Reason = "its resource is gone from Kubernetes, though nobody was seen deleting it, so it bounds nothing: apply it again"
		case b.Problem != "":
			i.Title, i.Reason = "DisruptionBudget "+name+" bounds nothing", b.Problem
		default:
			continue
		}
		l.add(i)
	}
}

// sentence is reason: message, or what there is of them.
func sentence(reason, message, otherwise string) string {
	var parts []string
	for _, s := range []string{reason, message} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	if len(parts) == 0 {
		return otherwise
	}
	return strings.Join(parts, ": ")
}

// span is a duration for people.
func span(d time.Duration) string { return timeline.SpanText(d.Seconds()) }
