package replay

import (
	"fmt"
	"slices"
	"strings"

	"github.com/charmbracelet/x/ansi"

	"fleet.nationtech.io/projections/fleet"
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

// bars draws one line a Deployment: its revision, and how many devices succeeded
// (#), failed (x) and are pending (.).
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
	n := d.Counts
	head := fmt.Sprintf("%-*s r%-3d ", name, ansi.Truncate(d.Key.String(), name, "…"), d.Spec.Revision)
	failed, pending := " failed", " pending"
	if c.Width < 60 {
		failed, pending = string(StateFailed.Letter()), string(StatePending.Letter())
	}
	tell := fmt.Sprintf(" %d/%d", n.Succeeded, n.Matched)
	if n.Failed > 0 {
		tell += fmt.Sprintf(" %d%s", n.Failed, failed)
	}
	if n.Pending > 0 {
		tell += fmt.Sprintf(" %d%s", n.Pending, pending)
	}
	switch d.Lifecycle {
	case fleet.Orphaned:
		tell += " orphaned"
	case fleet.Deleted:
		tell += " deleted"
	}
	const room = 46 // for the counts of a large fleet, so that bars end below each other
	width := c.Width - ansi.StringWidth(head) - min(room, max(len(tell), c.Width/3)) - len("[]")
	if width < 4 || n.Matched == 0 {
		return head + strings.TrimSpace(tell)
	}
	ok, bad := share(n.Succeeded, n.Matched, width), share(n.Failed, n.Matched, width)
	ok = min(ok, width-bad)
	if n.Pending > 0 {
		ok = max(0, min(ok, width-bad-1))
	}
	return head + "[" + c.Palette.State[StateRunning].Render(strings.Repeat("#", ok)) +
		c.Palette.State[StateFailed].Render(strings.Repeat("x", bad)) +
		c.Palette.State[StatePending].Render(strings.Repeat(".", width-ok-bad)) + "]" + tell
}

// share is how many columns stand for a part: at least one for any, and all of
// them for all alone.
func share(part, whole, width int) int {
	if part <= 0 || whole <= 0 {
		return 0
	}
	return max(1, part*width/whole)
}
