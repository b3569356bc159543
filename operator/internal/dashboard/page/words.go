package page

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"fleet.nationtech.io/operator/internal/dashboard/model"
	"fleet.nationtech.io/operator/resource"
	"fleet.nationtech.io/projections/attention"
	"fleet.nationtech.io/projections/timeline"
)

// hue is the class of a word of status: it gives the word its colour.
func hue(word string) string {
	switch word {
	case "True", "Online", "Running", "Completed", "healthy", "succeeded", "pass", "Pass", "done":
		return "good"
	case "False", "Failed", "failed", "Paused", "Aborted", "RolledBack", "RollingBack", "Offline", "fail", "Fail", "refused":
		return "bad"
	case "Unknown", "Progressing", "Held", "Pending", "NotStarted", "Orphaned", "updating", "waiting", "open", "approval", "offline", "overtaken":
		return "soon"
	}
	return "plain"
}

// weight is the class of how urgent something is.
func weight(s attention.Severity) string {
	switch s {
	case attention.Critical:
		return "bad"
	case attention.Warning:
		return "soon"
	}
	return "plain"
}

// sign is what stands before a line of a comparison, so that its colour is not all that tells.
func sign(l model.Line) string {
	return map[model.LineKind]string{model.Removed: "- ", model.Added: "+ ", model.Gap: "…", model.Same: "  "}[l.Is]
}

// toneHue is the class of an event's tone.
func toneHue(t timeline.Tone) string {
	return map[timeline.Tone]string{timeline.Well: "good", timeline.Wrong: "bad", timeline.Odd: "soon"}[t]
}

// labelsText is a=b, c=d.
func labelsText(m map[string]string) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, k+"="+m[k])
	}
	return strings.Join(parts, ", ")
}

// tally counts the devices of a batch by their standings: 3 healthy, 1 failed.
func tally(b model.BatchCells) string {
	n := map[string]int{}
	var order []string
	for _, c := range b.Cells {
		if n[c.Standing] == 0 {
			order = append(order, c.Standing)
		}
		n[c.Standing]++
	}
	slices.Sort(order)
	var parts []string
	for _, s := range order {
		parts = append(parts, fmt.Sprintf("%d %s", n[s], s))
	}
	return strings.Join(parts, ", ")
}

// cellClass is the class of a device's cell: the first letter of its standing. There are
// thousands on a page.
func cellClass(standing string) string {
	if standing == "" {
		return ""
	}
	return standing[:1]
}

// worstFirst orders standings by how much a person wants to see their devices.
func worstFirst(all []resource.StandingProgress) []resource.StandingProgress {
	order := []string{"failed", "offline", "updating", "waiting", "skipped", "healthy"}
	out := slices.Clone(all)
	slices.SortStableFunc(out, func(a, b resource.StandingProgress) int {
		return cmp.Compare(slices.Index(order, a.Standing), slices.Index(order, b.Standing))
	})
	return out
}

// option is a revision that one can choose.
type option struct {
	Revision uint64
	Chosen   bool
}

// choice is of the revisions of a page, and of the one that is compared though it is not
// there: the later one, or the one before.
func choice(revisions []resource.Revision, diff *model.SpecDiff, later bool) []option {
	var out []option
	chosen := uint64(0)
	if diff != nil && later {
		chosen = diff.To
	} else if diff != nil {
		chosen = diff.From
	}
	there := chosen == 0
	for i := range revisions {
		n := revisions[i].Revision
		out = append(out, option{n, n == chosen})
		there = there || n == chosen
	}
	if !there {
		out = append(out, option{chosen, true})
	}
	return out
}
