package render

import (
	"cmp"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/phrase"
	"fleet.nationtech.io/operator/resource"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/rollout"
)

// Rollout writes how a Deployment's rollout stands, as a tree.
func Rollout(s cli.Streams, p resource.Progress) { s.Tell("%s", strings.Join(RolloutLines(s, p), "")) }

// RolloutLines are the lines of Rollout, each with its end.
func RolloutLines(s cli.Streams, p resource.Progress) []string {
	var lines []string
	s.Out = lineWriter(func(line string) { lines = append(lines, line) })
	w := textWriter{s}
	w.line(fmt.Sprintf("%s/%s: %s", p.Namespace, p.Name, w.paint(rolloutHue(p.State, p.Reason), p.State)))
	w.rolloutHead(p)
	if len(p.Batches) > 0 {
		w.line("")
		w.line("Batches")
		w.batches(p)
	}
	if len(p.Standings) > 0 {
		w.line("")
		w.line(fmt.Sprintf("Devices: %d match, %d unavailable through the rollout, at most %d may be", p.Matched, p.Unavailable, p.Limit))
		w.deviceStandings(p)
	}
	return lines
}

// lineWriter takes text a line at a time.
type lineWriter func(line string)

func (w lineWriter) Write(b []byte) (int, error) {
	w(string(b))
	return len(b), nil
}

func (p textWriter) rolloutHead(r resource.Progress) {
	say := func(head, text, hue string) {
		if text != "" {
			p.hang(fmt.Sprintf("  %-9s ", head), 12, text, hue)
		}
	}
	if run := r.Run; run != nil {
		what := fmt.Sprintf("%s to revision %d", run.Kind, run.Revision)
		if run.From > 0 {
			what = fmt.Sprintf("%s from revision %d to %d", run.Kind, run.From, run.Revision)
		}
		if run.Kind == eventlog.RunRestart {
			what = fmt.Sprintf("%s of revision %d, for the %s time", run.Kind, run.Revision, ordinal(run.Restart))
		}
		say("run", phrase.Join(what+",", fmt.Sprintf("#%d,", run.ID), run.Phase, "for", ago(r.Time, run.Since), phrase.Word("by", run.By)), "")
	}
	spec := phrase.Join(fmt.Sprintf("revision %d", r.Revision), phrase.Quoted(r.Cause))
	if r.Refused {
		spec += ", refused: it is not tried again"
	}
	if r.Run == nil || r.Run.Revision != r.Revision || r.Refused || r.Cause != "" {
		say("spec", spec, "")
	}
	if h := r.Hold; h != nil {
		text := fmt.Sprintf("by %s for %s (#%d)", cmp.Or(h.By, "a person"), ago(r.Time, h.Since), h.Sequence)
		say("held", phrase.Join(text, phrase.Quoted(h.Reason)), yellow)
	}
	if r.Paused {
		say("held", "by spec.rollout.paused", yellow)
	}
	for _, q := range r.Requests {
		say("asked", phrase.Join(fmt.Sprintf("%s by %s (#%d)", q.Verb, q.By, q.Sequence), phrase.Quoted(q.Reason)), yellow)
	}
	say("now", phrase.Join(r.Reason+":", r.Message), "")
	say("to do", r.Do, "")
}

func (p textWriter) batches(r resource.Progress) {
	for i, b := range r.Batches {
		head := fmt.Sprintf("%s%d  %-9s", branch(i, len(r.Batches)), b.Number, b.State)
		var parts []string
		say := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
		say("%s, %s", b.Size, Plural(uint64(b.Devices), "device", "devices"))
		if b.Given > 0 || b.State != resource.BatchNext {
			say("%d given", b.Given)
			say("%d proven", b.Proven)
			say("%d bad (%d allowed)", b.Bad, b.Allowed)
		}
		if b.Waiting > 0 && b.State == resource.BatchOpen {
			say("%d waiting", b.Waiting)
		}
		if b.SoakLeft > 0 {
			say("soak %s left", brief(time.Duration(b.SoakLeft)))
		}
		switch {
		case b.Approval == eventlog.ApprovalAutomatic || b.Number == len(r.Batches):
		case b.Approved:
			say("approved")
		default:
			say("then approval (%s)", b.Approval)
		}
		below := fmt.Sprintf("%-*s", utf8.RuneCountInString(head)+1, trunk(i, len(r.Batches)))
		p.hangBelow(p.paint(batchHue(b.State), head)+" ", below, strings.Join(parts, ", "), "")
	}
}

func (p textWriter) deviceStandings(r resource.Progress) {
	for i, st := range r.Standings {
		hue := ""
		if st.Count > 0 {
			hue = standingHue(st.Standing)
		}
		p.line(branch(i, len(r.Standings)) + p.paint(hue, fmt.Sprintf("%-8s %6d", st.Standing, st.Count)))
		bar := trunk(i, len(r.Standings)) + "    "
		for _, d := range st.Devices {
			head := bar + d.Device + "  "
			below := fmt.Sprintf("%-*s", utf8.RuneCountInString(head), bar)
			p.hangBelow(head, below, cmp.Or(d.Why, fmt.Sprintf("batch %d", d.Batch)), dim)
		}
		if more := st.Count - len(st.Devices); more > 0 && len(st.Devices) > 0 {
			p.line(bar + p.paint(dim, fmt.Sprintf("and %d more", more)))
		}
	}
}

// branch is the beginning of a tree's line.
func branch(i, n int) string {
	if i == n-1 {
		return "  └─ "
	}
	return "  ├─ "
}

// trunk is what stands below a branch.
func trunk(i, n int) string {
	if i == n-1 {
		return "   "
	}
	return "  │"
}

// RolloutLine says how a rollout stands in one line.
func RolloutLine(s cli.Streams, p resource.Progress) {
	w := textWriter{s}
	parts := []string{p.Time.Local().Format("15:04:05"), fmt.Sprintf("#%d", p.Sequence), w.paint(rolloutHue(p.State, p.Reason), p.State)}
	if r := p.Run; r != nil {
		parts = append(parts, fmt.Sprintf("%s to revision %d", r.Kind, r.Revision))
		for _, b := range p.Batches {
			if b.Number == r.Batch && len(p.Batches) > 1 {
				parts = append(parts, fmt.Sprintf("batch %d/%d %s:", b.Number, len(p.Batches), b.State), fmt.Sprintf("%d given, %d proven, %d bad;", b.Given, b.Proven, b.Bad))
			}
		}
	}
	var counts []string
	for _, st := range p.Standings {
		if st.Count > 0 {
			counts = append(counts, fmt.Sprintf("%d %s", st.Count, st.Standing))
		}
	}
	parts = append(parts, cmp.Or(strings.Join(counts, ", "), "no device matches"))
	w.line(Printable(phrase.Join(parts...)))
}

func rolloutHue(state, reason string) string {
	switch state {
	case string(fleet.PhaseCompleted):
		return green
	case string(fleet.PhasePaused), string(fleet.PhaseRolledBack), string(fleet.PhaseAborted), resource.StateOrphaned:
		if reason == v1alpha1.ReasonBatchFailed || state != string(fleet.PhasePaused) {
			return red
		}
		return yellow
	case resource.StateHeld, string(fleet.PhaseRollingBack), resource.StateNotStarted:
		return yellow
	}
	return ""
}

func batchHue(state string) string {
	switch state {
	case resource.BatchSucceeded:
		return green
	case resource.BatchFailed:
		return red
	case resource.BatchOpen, resource.BatchApproval:
		return yellow
	}
	return dim
}

func standingHue(standing string) string {
	switch standing {
	case rollout.Healthy.String():
		return green
	case rollout.StandsFailed.String():
		return red
	case rollout.Updating.String():
		return yellow
	}
	return ""
}

// ago is how long something has lasted at a moment.
func ago(now, since time.Time) string {
	if since.IsZero() {
		return "an unknown time"
	}
	return brief(max(0, now.Sub(since)))
}

func ordinal(n uint64) string {
	switch {
	case n%100 >= 11 && n%100 <= 13:
	case n%10 == 1:
		return fmt.Sprintf("%dst", n)
	case n%10 == 2:
		return fmt.Sprintf("%dnd", n)
	case n%10 == 3:
		return fmt.Sprintf("%drd", n)
	}
	return fmt.Sprintf("%dth", n)
}
