package render

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/phrase"
	"fleet.nationtech.io/operator/resource"
)

// RolloutPlan writes what a rollout would do.
func RolloutPlan(s cli.Streams, p resource.Plan) {
	w := textWriter{s}
	name := p.Namespace + "/" + p.Name
	what := fmt.Sprintf("%s to revision %d", p.Kind, p.Revision)
	if p.From > 0 {
		what = fmt.Sprintf("%s from revision %d to %d", p.Kind, p.From, p.Revision)
	}
	switch p.Of {
	case resource.PlanOfManifest:
		w.line(fmt.Sprintf("%s: applying it would begin: %s", name, what))
	case resource.PlanOfNext:
		w.line(fmt.Sprintf("%s: a next revision would begin: %s", name, what))
	case resource.PlanOfRun:
		w.line(fmt.Sprintf("%s: on its way: %s, #%d; numbers are of what is left", name, what, p.Run))
	case resource.PlanOfNothing:
		w.line(fmt.Sprintf("%s: no rollout would begin", name))
	}
	for _, note := range p.Notes {
		w.hang("  note: ", 8, note, yellow)
	}
	if p.Of == resource.PlanOfNothing {
		return
	}
	say := func(parts ...string) {
		w.hang("  ", 2, strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), "; "), "")
	}
	say(fmt.Sprintf("%s match, %d online", Plural(uint64(p.Matched), "device", "devices"), p.Online),
		phrase.Count(p.Offline, "is offline and follows when it is back", "are offline and follow when they are back"),
		skippedText(p))
	say(disruptionText(p), phrase.Count(p.First, "device gets it for the first time", "devices get it for the first time"))
	say(fmt.Sprintf("it takes at least %s, and what the devices themselves take%s", brief(time.Duration(p.AtLeast)), approvalsText(p.Approvals)))
	if p.AtRisk > 0 {
		say(fmt.Sprintf("%s before anything is judged", Plural(uint64(p.AtRisk), "device is disrupted", "devices are disrupted")))
	}
	w.line("")
	for i, b := range p.Batches {
		w.plannedBatch(i, len(p.Batches), b, p.Kind != eventlog.RunImmediate)
	}
	for _, k := range p.Skipped {
		text := fmt.Sprintf("%s, %s: %s", Plural(uint64(k.Count), "device", "devices"), k.Reason, named(k.Devices, k.Count))
		if k.Message != "" && len(k.Devices) > 0 {
			text += fmt.Sprintf(" (%s: %s)", k.Devices[0], k.Message)
		}
		w.hang("  skipped  ", 11, text, "")
	}
	if len(p.Defaults) == 0 {
		return
	}
	w.line("")
	w.line("Filled in, where spec.rollout says nothing")
	for _, d := range p.Defaults {
		w.line(fmt.Sprintf("  %-17s %s", d.Field, d.Value))
	}
}

func (p textWriter) plannedBatch(i, n int, b resource.PlannedBatch, judged bool) {
	head := fmt.Sprintf("%sbatch %d  ", branch(i, n), b.Number)
	parts := []string{fmt.Sprintf("%s: %s", b.Size, Plural(uint64(b.Devices), "device", "devices"))}
	if b.Disruptions > 0 {
		parts = append(parts, fmt.Sprintf("%d disrupted in %s", b.Disruptions, Plural(uint64(b.Waves), "wave", "waves")))
	}
	if b.First > 0 {
		parts = append(parts, fmt.Sprintf("%d first", b.First))
	}
	if b.Offline > 0 {
		parts = append(parts, fmt.Sprintf("%d offline", b.Offline))
	}
	if judged {
		parts = append(parts, fmt.Sprintf("%d may be bad", b.Allowed), "soak "+brief(time.Duration(b.Soak)))
	}
	for _, gate := range b.Gates {
		parts = append(parts, "then gate "+gate)
	}
	if b.Approval != eventlog.ApprovalAutomatic && i < n-1 {
		parts = append(parts, fmt.Sprintf("then approval (%s)", b.Approval))
	}
	below := fmt.Sprintf("%-*s", utf8.RuneCountInString(head), trunk(i, n))
	p.hangBelow(head, below, strings.Join(parts, ", "), "")
	if b.Devices > 0 && len(b.Names) > 0 {
		p.hangBelow(below, below, named(b.Names, b.Devices), dim)
	}
}

// named lists the first of some devices.
func named(names []string, n int) string {
	text := strings.Join(names, " ")
	if more := n - len(names); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

func skippedText(p resource.Plan) string {
	n := 0
	for _, k := range p.Skipped {
		n += k.Count
	}
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%d are skipped", n)
}

func disruptionText(p resource.Plan) string {
	switch {
	case p.Disruptions == 0:
		return "no device is disrupted"
	case p.Kind == eventlog.RunImmediate:
		return phrase.Count(p.Disruptions, "device is disrupted, at once", "devices are disrupted, all at once")
	}
	return fmt.Sprintf("%s, at most %d at a time", phrase.Count(p.Disruptions, "device is disrupted", "devices are disrupted"), p.Limit)
}

func approvalsText(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(", and %s by a person", Plural(uint64(n), "approval", "approvals"))
}

// RolloutRevisions writes a Deployment's revisions with their runs.
func RolloutRevisions(s cli.Streams, rs resource.Revisions) {
	rows := [][]string{{"REVISION", "RUN", "KIND", "AT", "BY", "RESULT", "IS", "CHANGE-CAUSE"}}
	for _, r := range rs.Revisions {
		is := strings.Join(revisionMarks(r), ",")
		first := []string{fmt.Sprint(r.Revision), "", "", r.Time.Local().Format(TimeLayout), Printable(r.By), "not started", is, Printable(r.Cause)}
		for i, run := range r.Runs {
			row := []string{"", fmt.Sprintf("#%d", run.ID), run.Kind, run.Time.Local().Format(TimeLayout), Printable(run.By), Printable(phrase.Join(run.Result, bracketed(run.Reason))), "", ""}
			if run.Result != "completed" && run.Result != "rolled back" && run.Batches > 1 {
				row[5] = Printable(phrase.Join(run.Result, fmt.Sprintf("in batch %d/%d", run.Batch, run.Batches), bracketed(run.Reason)))
			}
			if run.From > 0 {
				row[2] = fmt.Sprintf("%s from %d", run.Kind, run.From)
			}
			if i == 0 {
				row[0], row[6], row[7] = first[0], is, first[7]
				if row[4] == "" {
					row[4] = first[4]
				}
			}
			rows = append(rows, row)
		}
		if len(r.Runs) == 0 {
			rows = append(rows, first)
		}
	}
	Table(s, rows)
}

func revisionMarks(r resource.Revision) []string {
	var marks []string
	for _, m := range []struct {
		is   bool
		name string
	}{{r.Spec, "spec"}, {r.Out, "out"}, {r.Stable, "stable"}, {r.Refused, "refused"}} {
		if m.is {
			marks = append(marks, m.name)
		}
	}
	return marks
}
