package replay

import (
	"fmt"
	"slices"
	"strings"

	"github.com/charmbracelet/x/ansi"

	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/rollout"
)

// rollouts lists the Deployments that have a bar: those that are on their way
// first, each kind in the order of names.
func (p *Player) rollouts() []*fleet.Deployment {
	var out []*fleet.Deployment
	for _, d := range p.view.Deployments {
		if d.Lifecycle != "" && (d.Lifecycle != fleet.Deleted || d.Counts.Matched > 0) && p.grid.filter.watches(d) {
			out = append(out, d)
		}
	}
	slices.SortFunc(out, func(a, b *fleet.Deployment) int {
		if x, y := unfinished(a), unfinished(b); x != y {
			if x {
				return -1
			}
			return 1
		}
		return strings.Compare(a.Key.String(), b.Key.String())
	})
	return out
}

// unfinished says whether a Deployment's rollout is on its way, or waits for a person.
func unfinished(d *fleet.Deployment) bool {
	switch d.Run.Phase {
	case fleet.PhaseProgressing, fleet.PhaseRollingBack, fleet.PhasePaused, fleet.PhaseSuperseded:
		return d.Lifecycle == fleet.Applied
	}
	return false
}

// tally is how many devices have what the rollout brings out, and how they fare.
type tally struct {
	matched, succeeded, failed int
	pending                    int // were given it, and neither succeeded nor failed
	waiting                    int // were not given it yet
}

// tallyOf counts a Deployment's devices. What goes out in batches is counted by its
// target: a device whose batch is not open runs well what was before, and waits.
func tallyOf(d *fleet.Deployment) tally {
	n := tally{matched: d.Counts.Matched, succeeded: d.Counts.Succeeded, failed: d.Counts.Failed, pending: d.Counts.Pending}
	if rollout.Immediate(&d.Run) || !unfinished(d) {
		return n
	}
	n.succeeded, n.failed, n.pending = 0, 0, 0
	for p := range d.Assigned {
		switch {
		case !p.Has(&d.Run.Target):
			n.waiting++
		case p.Succeeded():
			n.succeeded++
		case p.Failed():
			n.failed++
		default:
			n.pending++
		}
	}
	return n
}

// phaseText is how far a rollout has got: the open batch of several, and what keeps it.
func phaseText(d *fleet.Deployment) string {
	run, text := &d.Run, ""
	if d.Lifecycle != fleet.Applied || run.ID == 0 {
		return ""
	}
	if len(run.Batches) > 1 && unfinished(d) {
		text = fmt.Sprintf(" batch %d/%d", run.Batch, len(run.Batches))
	}
	switch run.Phase {
	case fleet.PhasePaused:
		text += " paused"
	case fleet.PhaseRollingBack:
		text += " rolling back"
	case fleet.PhaseRolledBack:
		text += " rolled back"
	case fleet.PhaseAborted:
		text += " aborted"
	}
	if d.Hold != nil {
		text += " on hold"
	}
	return text
}

// bars draws one line a Deployment: its revision, and how many devices succeeded
// (#), failed (x), are pending (.) and wait to be given it (-).
func (c Screen) bars(ds []*fleet.Deployment, lines int) []string {
	shown := ds[:min(lines, len(ds))]
	name := 0
	for _, d := range shown {
		name = max(name, len(d.Key.String()))
	}
	name = min(name, max(8, c.Width/3))
	var out []string
	for i, d := range shown {
		if i == len(shown)-1 && len(ds) > len(shown) && lines > 1 {
			return append(out, c.Palette.Dim.Render(fmt.Sprintf("… and %d Deployments more", len(ds)-i)))
		}
		out = append(out, c.bar(d, name))
	}
	return out
}

func (c Screen) bar(d *fleet.Deployment, name int) string {
	n, revision := tallyOf(d), d.Spec.Revision
	if d.Run.ID > 0 && d.Run.Phase != fleet.PhaseSuperseded {
		revision = d.Run.Target.Revision // after a rollback that is not the spec's
	}
	head := fmt.Sprintf("%-*s r%-3d ", name, ansi.Truncate(d.Key.String(), name, "…"), revision)
	failed, pending, waiting := " failed", " pending", " waiting"
	if c.Width < 60 {
		failed, pending, waiting = string(StateFailed.Letter()), string(StatePending.Letter()), "w"
	}
	tell := fmt.Sprintf(" %d/%d", n.succeeded, n.matched)
	if n.failed > 0 {
		tell += fmt.Sprintf(" %d%s", n.failed, failed)
	}
	if n.pending > 0 {
		tell += fmt.Sprintf(" %d%s", n.pending, pending)
	}
	if n.waiting > 0 {
		tell += fmt.Sprintf(" %d%s", n.waiting, waiting)
	}
	tell += phaseText(d)
	switch d.Lifecycle {
	case fleet.Orphaned:
		tell += " orphaned"
	case fleet.Deleted:
		tell += " deleted"
	}
	const room = 46 // for the counts of a large fleet, so that bars end below each other
	width := c.Width - ansi.StringWidth(head) - min(room, max(len(tell), c.Width/3)) - len("[]")
	if width < 4 || n.matched == 0 {
		return head + strings.TrimSpace(tell)
	}
	ok, bad := share(n.succeeded, n.matched, width), share(n.failed, n.matched, width)
	left := 0
	if n.waiting > 0 {
		left = min(share(n.waiting, n.matched, width), width-bad)
	}
	ok = min(ok, width-bad-left)
	if n.pending > 0 {
		ok = max(0, min(ok, width-bad-left-1))
	}
	if n.pending == 0 && n.waiting > 0 {
		left = width - ok - bad
	}
	line := head + "[" + c.Palette.State[StateRunning].Render(strings.Repeat("#", ok)) +
		c.Palette.State[StateFailed].Render(strings.Repeat("x", bad)) +
		c.Palette.State[StatePending].Render(strings.Repeat(".", width-ok-bad-left))
	if left > 0 {
		line += c.Palette.Dim.Render(strings.Repeat("-", left))
	}
	return line + "]" + tell
}

// share is how many columns stand for a part: at least one for any, and all of
// them for all alone.
func share(part, whole, width int) int {
	if part <= 0 || whole <= 0 {
		return 0
	}
	return max(1, part*width/whole)
}
