package render

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/phrase"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/timeline"
)

// minDelay is how late the log may learn of something before that is worth a
// word: agents gather what they have to say for a second.
const minDelay = 5 * time.Second

// auditHint is where to learn who deleted something.
const auditHint = "docs/audit.md: how to learn who"

// DeploymentHistory writes a Deployment's history: its revisions as kubectl rollout
// history does, then each change.
func DeploymentHistory(s cli.Streams, h *timeline.History) {
	p := textWriter{s}
	t := table{s: p.s}
	rows := [][]string{{"REVISION", "EVENT", "APPLIED", "SUCCEEDED", "CHANGE-CAUSE"}}
	for _, e := range h.Entries {
		if e.Type == eventlog.DeploymentApplied {
			rows = append(rows, []string{
				strconv.FormatUint(e.Revision, 10), strconv.FormatUint(e.Sequence, 10), local(e.Recorded),
				fmt.Sprintf("%d of %d", e.Outcome.Succeeded, e.Outcome.Matched), oneLine(e.ChangeCause, 24),
			})
		}
	}
	p.line(h.Namespace + "/" + h.Name + lifecycleText(h.Lifecycle))
	if len(rows) > 1 {
		t.print(rows...)
	}
	for _, e := range h.Entries {
		p.line("")
		p.change(e)
	}
	p.foreign(h, "--deployment "+h.Namespace+"/"+h.Name)
}

func lifecycleText(l fleet.Lifecycle) string {
	switch l {
	case fleet.Deleted:
		return " (deleted)"
	case fleet.Orphaned:
		return " (orphaned)"
	}
	return ""
}

// change writes one entry of a Deployment's history.
func (p textWriter) change(e timeline.Entry) {
	hue, who := "", ""
	if e.Who != nil {
		who = " by " + e.Who.String()
	}
	switch e.Type {
	case eventlog.DeploymentDeleted:
		hue = red
		if e.Who != nil && e.Who.Name == "" {
			who += " (" + auditHint + ")"
		}
	case eventlog.DeploymentOrphaned, eventlog.DeploymentRefused:
		hue = yellow
	case eventlog.DeploymentAdopted:
		hue = green
	case eventlog.DeploymentApplied, eventlog.RequestMade:
	default:
		hue = hueOf(eventlog.Event{Type: e.Type})
	}
	p.hang("", 0, strings.ToUpper(e.Text[:1])+e.Text[1:], hue)
	p.hang("  ", 2, fmt.Sprintf("#%d at %s%s%s", e.Sequence, local(e.Recorded), who, causeText(e)), dim)
	if e.ChangeCause != "" {
		p.hang("  ", 2, "“"+e.ChangeCause+"”", "")
	}
	if e.Type == eventlog.DeploymentApplied && len(e.Changes) == 0 {
		p.line("  no field of the spec differs")
	}
	p.changes(e.Changes, 2)
	if len(e.Rollout) > 0 && !slices.ContainsFunc(e.Rollout, inBatches) {
		p.hang("  Rollout  ", 11, rolloutText(e.Rollout), "")
	}
	if e.Outcome != nil {
		p.outcome(e)
	}
}

func causeText(e timeline.Entry) string {
	if e.Cause == 0 {
		return ""
	}
	return fmt.Sprintf(", because of #%d", e.Cause)
}

// inBatches says whether a milestone is one of a run that has entries of its own.
func inBatches(m timeline.Milestone) bool {
	return m.Kind != "" && m.Kind != eventlog.RunImmediate
}

func rolloutText(all []timeline.Milestone) string {
	var parts []string
	for _, m := range all {
		word := strings.ReplaceAll(strings.TrimPrefix(string(m.Type), "rollout."), "_", " ")
		switch m.Type {
		case eventlog.RolloutStarted:
			word += " on " + cmp.Or(phrase.Count(m.Devices, "device", "devices"), "no device")
		default:
			word += " after " + timeline.SpanText(m.After)
		}
		parts = append(parts, phrase.Join(word, bracketed(m.Reason))+fmt.Sprintf(" #%d", m.Sequence))
	}
	return strings.Join(parts, ", ")
}

// outcome writes what came of a change on the devices.
func (p textWriter) outcome(e timeline.Entry) {
	o := e.Outcome
	hue, parts := "", []string{}
	add := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	if e.Type == eventlog.DeploymentApplied {
		add("%d of %d succeeded", o.Succeeded, o.Matched)
		switch {
		case o.Failed > 0:
			hue = red
		case o.Matched > 0 && o.Succeeded == o.Matched:
			hue = green
		}
		if o.Failed > 0 {
			add("%d failed", o.Failed)
		}
		if o.Pending > 0 {
			add("%d pending", o.Pending)
		}
		if o.Offline > 0 {
			add("%d of these offline", o.Offline)
		}
		switch {
		case o.AllSucceeded == nil:
		case o.Succeeded == o.Matched:
			add("all had succeeded after %s", timeline.SpanText(*o.AllSucceeded))
		default: // they do not any more, or others have joined them
			add("though all had once, after %s", timeline.SpanText(*o.AllSucceeded))
		}
	} else if o.Pending > 0 {
		add("%s still to be withdrawn", phrase.Count(o.Pending, "device is", "devices are"))
	}
	if o.Withdrawn > 0 {
		add("withdrawn from %s", phrase.Count(o.Withdrawn, "device", "devices"))
		switch o.Gone {
		case 0:
			add("and gone from none yet")
		case o.Withdrawn:
			add("and gone there")
		default:
			add("and gone from %d so far", o.Gone)
		}
	}
	if len(parts) == 0 {
		parts = []string{"none had it"}
	}
	text := strings.Join(parts, ", ")
	if o.Lasted != nil {
		text += fmt.Sprintf("; held for %s, until #%d", timeline.SpanText(*o.Lasted), o.Next)
	}
	p.hang("  Devices  ", 11, text, hue)
	if f := o.FirstFailure; f != nil {
		p.hang("  Failure  ", 11, fmt.Sprintf("the first on %s after %s #%d: %s", f.Device, timeline.SpanText(f.After), f.Sequence,
			oneLine(phrase.Join(f.Reason, phrase.Quoted(f.Error)), 400)), red)
	}
}

// DeviceHistory writes a device's history, by days.
func DeviceHistory(s cli.Streams, h *timeline.History) {
	p := textWriter{s}
	p.line(h.Name)
	day := ""
	width := len("  15:04:05.000  #") + len(strconv.FormatUint(h.Until.Sequence, 10)) + 2
	for _, e := range h.Entries {
		at := e.Recorded.Local()
		if h.AsHappened {
			at = e.Time.Local()
		}
		if d := at.Format(time.DateOnly); d != day {
			day = d
			p.line("")
			p.line(p.paint(dim, day))
		}
		head := fmt.Sprintf("%-*s", width, fmt.Sprintf("  %s  #%d", at.Format("15:04:05.000"), e.Sequence))
		p.hang(p.paint(dim, head), width, oneLine(entryText(e, h.AsHappened), 600), entryHue(e))
		p.changes(e.Changes, width)
	}
	p.foreign(h, "--device "+h.Name)
}

// entryText is an entry of a device's history in words.
func entryText(e timeline.Entry, asHappened bool) string {
	t := e.Text
	if e.Revision > 0 && e.Type != eventlog.DesiredWithdrawn {
		t += fmt.Sprintf(", revision %d", e.Revision)
	}
	t += prefixed(" (", e.Reason, ")") + prefixed(": ", e.Error, "")
	if e.Took >= 0.001 {
		t += ", in " + timeline.SpanText(e.Took)
	}
	if e.After >= 0.001 {
		t += ", after " + timeline.SpanText(e.After)
	}
	if e.Who != nil {
		t += ", by " + e.Who.String()
	}
	if e.Cause > 0 {
		t += fmt.Sprintf(", because of #%d", e.Cause)
	}
	if lag := e.Recorded.Sub(e.Time); lag > minDelay {
		if asHappened {
			t += "; the log learned of it at " + local(e.Recorded)
		} else {
			t += "; it happened at " + local(e.Time)
		}
	}
	if e.Repeats > 0 {
		times := "once more"
		if e.Repeats > 1 {
			times = fmt.Sprintf("%d times more", e.Repeats)
		}
		t += fmt.Sprintf("; said %s, the last at #%d", times, e.Last)
	}
	return t
}

func entryHue(e timeline.Entry) string {
	switch {
	case e.Phase == eventlog.PhaseRunning:
		return green
	case e.Phase == eventlog.PhaseFailed:
		return red
	case e.Phase != "":
		return ""
	}
	return hueOf(eventlog.Event{Type: e.Type})
}

// foreign says that there was more, and how to see it.
func (p textWriter) foreign(h *timeline.History, about string) {
	if h.Foreign > 0 {
		p.line("")
		p.line(p.paint(yellow, fmt.Sprintf("%s could not be understood: %s log --type %s %s",
			phrase.Count(h.Foreign, "message", "messages"), p.s.Program(), foreignType, about)))
	}
}

// local is a moment in this machine's zone.
func local(t time.Time) string { return t.Local().Format(TimeLayout) }

func bracketed(s string) string { return prefixed("(", s, ")") }

func prefixed(before, s, after string) string {
	if s == "" {
		return ""
	}
	return before + s + after
}

// oneLine clips what devices and persons may have written at length.
func oneLine(s string, most int) string {
	r := []rune(Printable(s))
	if len(r) <= most {
		return string(r)
	}
	return string(r[:most-1]) + "…"
}
