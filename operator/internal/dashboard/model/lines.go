package model

import (
	"encoding/json"
	"strings"

	"github.com/aymanbagabas/go-udiff"

	"fleet.nationtech.io/eventlog"
)

// Line is a line of a text, beside another version of it.
type Line struct {
	Is   LineKind `json:"is"`
	Text string   `json:"text"`
}

// LineKind says in which of two texts a line is.
type LineKind string

// The kinds. Gap stands for lines that both have, and that are left out.
const (
	Same    LineKind = "same"
	Removed LineKind = "removed" // in the first one alone
	Added   LineKind = "added"   // in the second one alone
	Gap     LineKind = "gap"
)

const (
	contextLines = 3         // around a difference
	maxLines     = 2000      // of a comparison
	maxCompared  = 256 << 10 // bytes of a text that is compared by lines
)

// linesOf compares two texts line by line; cut says that it is not, or not to its end, as there is
// too much of them.
func linesOf(before, after string) (out []Line, cut bool) {
	if len(before) > maxCompared || len(after) > maxCompared {
		return nil, true
	}
	diff, err := udiff.ToUnifiedDiff("", "", before, udiff.Lines(before, after), contextLines)
	if err != nil {
		return nil, true // never: the edits are of these texts
	}
	kinds := map[udiff.OpKind]LineKind{udiff.Equal: Same, udiff.Delete: Removed, udiff.Insert: Added}
	for i, hunk := range diff.Hunks {
		if i > 0 || hunk.FromLine > 1 {
			out = append(out, Line{Is: Gap})
		}
		for _, l := range hunk.Lines {
			if len(out) >= maxLines {
				return out, true
			}
			out = append(out, Line{kinds[l.Kind], strings.TrimSuffix(l.Content, "\n")})
		}
	}
	return out, false
}

// specText is what a revision asked for, as YAML.
func specText(d *eventlog.Deployment) string {
	b, err := json.Marshal(struct {
		Selector eventlog.Selector `json:"targetSelector"`
		Score    json.RawMessage   `json:"score,omitempty"`
		Rollout  json.RawMessage   `json:"rollout,omitempty"`
	}{d.Selector, d.Score, d.Rollout})
	if err != nil {
		return string(d.Score) // it is no JSON
	}
	return yamlOf(b)
}
