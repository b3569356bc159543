package timeline

import (
	"fmt"
	"strings"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/rollout"
)

// Reasons of the operator's that a sentence has words of its own for. A test beside the
// operator proves that they are the operator's.
const (
	reasonPlanChanged = "PlanChanged"
	reasonBatchFailed = "BatchFailed"
)

// RolloutText says what an event of a rollout says, in one sentence without its end.
// batches is how many batches the run has; 0 where that is not known.
func RolloutText(t eventlog.Type, r eventlog.Rollout, batches int) string {
	batch := fmt.Sprintf("batch %d", r.Batch)
	if batches > 0 {
		batch += fmt.Sprintf(" of %d", batches)
	}
	switch t {
	case eventlog.RolloutStarted:
		return startedText(r)
	case eventlog.RolloutBatchStarted:
		return batch + " started"
	case eventlog.RolloutBatchSucceeded:
		return batch + " succeeded" + countsText(r.Counts)
	case eventlog.RolloutBatchFailed:
		return batch + " failed" + countsText(r.Counts) + examplesText(r.Examples)
	case eventlog.RolloutPaused:
		if r.Request > 0 {
			return "the rollout was paused, as was asked"
		}
		return "the rollout was paused" + because(r.Reason) + colon(r.Message) + examplesText(r.Examples)
	case eventlog.RolloutResumed:
		if r.Verb == eventlog.RequestRetryFailed {
			return "the rollout was resumed, and its failed devices got another deadline"
		}
		return "the rollout was resumed"
	case eventlog.RolloutPromoted:
		if r.Full {
			return "the rollout was let go on to its end without a judgement"
		}
		return "the rollout was let go on after " + batch
	case eventlog.RolloutAborted:
		return fmt.Sprintf("the rollout of revision %d was aborted; devices keep what they have", r.Revision)
	case eventlog.RolloutSuperseded:
		return fmt.Sprintf("the rollout of revision %d was superseded", r.Revision) + colon(r.Message)
	case eventlog.RolloutRolledBack:
		return fmt.Sprintf("the rollback is through: devices have revision %d again", r.Revision)
	case eventlog.RolloutCompleted:
		what := "rollout"
		if r.Kind == eventlog.RunRestart {
			what = "restart"
		}
		if r.Reason == fleet.ReasonNoDeviceMatches {
			return fmt.Sprintf("the %s of revision %d completed: no device matches", what, r.Revision)
		}
		return fmt.Sprintf("the %s of revision %d completed", what, r.Revision)
	case eventlog.RolloutStalled:
		return "the rollout does not get on" + because(r.Reason) + colon(r.Message)
	case eventlog.RolloutGateMeasured:
		return batch + ": " + gateText(r.Gate)
	case eventlog.RolloutRequestRefused:
		return "the request to " + r.Verb + " it was refused" + because(r.Reason) + colon(r.Message)
	}
	return strings.ReplaceAll(strings.TrimPrefix(string(t), "rollout."), "_", " ")
}

func gateText(g *eventlog.GateAnswer) string {
	switch {
	case g == nil:
		return "a gate was measured"
	case g.Value == nil:
		return fmt.Sprintf("gate %s has no answer: %s", g.Name, g.Error)
	case g.Verdict == eventlog.GatePass:
		return fmt.Sprintf("gate %s passes with %g", g.Name, *g.Value)
	}
	return fmt.Sprintf("gate %s does not let it go on: its value is %g", g.Name, *g.Value)
}

func startedText(r eventlog.Rollout) string {
	what := fmt.Sprintf("the rollout of revision %d", r.Revision)
	switch r.Kind {
	case eventlog.RunRollback:
		what = fmt.Sprintf("the rollback from revision %d to revision %d", r.From, r.Revision)
	case eventlog.RunRestart:
		what = fmt.Sprintf("the restart of revision %d", r.Revision)
	}
	if r.Reason == reasonPlanChanged {
		what += " started again, as its batches changed,"
	} else {
		what += " started"
	}
	if n := len(r.Batches); n > 1 {
		what += fmt.Sprintf(" in %d batches", n)
	}
	what += " on " + rollout.DevicesText(r.Devices)
	if r.Kind != "" && r.Kind != eventlog.RunImmediate {
		what += fmt.Sprintf(", %d of them online", r.Online)
	}
	if r.Reason == reasonBatchFailed {
		what += ", because a batch failed"
	}
	return what
}

func countsText(n *eventlog.RolloutCounts) string {
	if n == nil {
		return ""
	}
	parts := []string{fmt.Sprintf("%d of %s proved it", n.Proven, rollout.DevicesText(n.Given+n.Waiting))}
	add := func(n int, format string) {
		if n > 0 {
			parts = append(parts, fmt.Sprintf(format, n))
		}
	}
	if n.Bad > 0 {
		parts = append(parts, fmt.Sprintf("%d bad, at most %d may be", n.Bad, n.Allowed))
	}
	add(n.Silent, "%d of these silent")
	add(n.Lost, "%d of these lost")
	add(n.Waiting, "%d not given it")
	add(n.Offline, "%d offline")
	return ": " + strings.Join(parts, ", ")
}

// RequestText says what a person asked of a Deployment.
func RequestText(r eventlog.Request) string {
	switch {
	case r.Verb == eventlog.RequestRetryFailed:
		return "asked to give its failed devices another deadline"
	case r.Verb == eventlog.RequestUndo && r.ToRevision > 0:
		return fmt.Sprintf("asked to undo it, to revision %d", r.ToRevision)
	case r.Verb == eventlog.RequestPromote && r.Full:
		return "asked to promote it to its end"
	case r.Verb == eventlog.RequestRetry:
		return "asked to try it again"
	}
	return "asked to " + r.Verb + " it"
}

// maxExamples is how many devices a sentence names.
const maxExamples = 3

func examplesText(all []eventlog.DeviceExample) string {
	if len(all) == 0 {
		return ""
	}
	var parts []string
	for _, x := range all[:min(len(all), maxExamples)] {
		parts = append(parts, x.Device+because(x.Reason))
	}
	text := "; such as " + strings.Join(parts, ", ")
	if len(all) == 1 {
		text = "; " + parts[0]
	}
	return text
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return " (" + reason + ")"
}

func colon(text string) string {
	if text == "" {
		return ""
	}
	return ": " + text
}

// atOnce says whether an event is of a run that goes to all devices at once: its
// milestones tell all that there is to tell.
func atOnce(t eventlog.Type, kind string) bool {
	switch t {
	case eventlog.RolloutStarted, eventlog.RolloutCompleted, eventlog.RolloutSuperseded:
		return kind == "" || kind == eventlog.RunImmediate
	}
	return false
}

// rollout tells an event of a rollout.
// turns says whether an answer about a gate is another than the one before it. A gate is
// asked for hours, and a history tells when it turned.
func (f *deploymentTimeline) turns(a *eventlog.GateAnswer) bool {
	if a == nil || f.gates[a.Name] == a.Verdict {
		return false
	}
	f.gates[a.Name] = a.Verdict
	return true
}

func (f *deploymentTimeline) rollout(r Record) {
	p, err := eventlog.Payload[eventlog.Rollout](r.Event)
	if err != nil || r.Type.Family() != eventlog.FamilyDeployment || f.reign == nil {
		return // a newer writer's
	}
	g := f.reign
	after := Between(g.at, r.At)
	if r.Type == eventlog.RolloutStarted {
		f.batches = len(p.Batches)
	}
	if r.Type != eventlog.RolloutGateMeasured {
		clear(f.gates)
	} else if !f.turns(p.Gate) {
		return
	}
	if r.Type != eventlog.RolloutRequestRefused {
		f.h.Entries[g.entry].Rollout = append(f.h.Entries[g.entry].Rollout,
			Milestone{Position: PositionOf(r), Type: r.Type, Kind: p.Kind, Batch: p.Batch, Devices: p.Devices, Reason: p.Reason, After: after})
	}
	if !atOnce(r.Type, p.Kind) {
		e := Entry{
			Text: RolloutText(r.Type, p, f.batches), Revision: g.revision, Reason: p.Reason, Batch: p.Batch, Batches: f.batches,
			Counts: p.Counts, Examples: p.Examples,
		}
		if p.Request > 0 && r.Type != eventlog.RolloutRequestRefused { // the operator refuses
			e.Who, e.ChangeCause = actor(r.Actor), p.Message
		}
		f.add(r, e)
	}
	switch {
	case p.Revision != g.revision:
	case r.Type == eventlog.RolloutStarted:
		g.planned = p.Devices
	case r.Type == eventlog.RolloutCompleted && g.outcome.AllSucceeded == nil:
		g.outcome.AllSucceeded = &after
	}
}
