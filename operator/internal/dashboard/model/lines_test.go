package model

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"fleet.nationtech.io/eventlog"
)

// The lines that are the same and those that were removed are the first text, and with those
// that were added in their place the second one, but for what a gap leaves out.
func TestLinesOfAComparisonAreThoseOfBothTexts(t *testing.T) {
	t.Parallel()
	text := rapid.Custom(func(t *rapid.T) string {
		lines := rapid.SliceOfN(rapid.SampledFrom([]string{"a: 1", "b:", "- ü", "<b>", ""}), 0, 8).Draw(t, "lines")
		return strings.Join(lines, "\n") + "\n"
	})
	rapid.Check(t, func(t *rapid.T) {
		before, after := text.Draw(t, "before"), text.Draw(t, "after")
		all, cut := linesOf(before, after)
		if cut || before == after && len(all) > 0 {
			t.Fatalf("%d lines, cut: %t", len(all), cut)
		}
		var first, second []string
		for _, l := range all {
			switch l.Is {
			case Same:
				first, second = append(first, l.Text), append(second, l.Text)
			case Removed:
				first = append(first, l.Text)
			case Added:
				second = append(second, l.Text)
			case Gap:
				first, second = append(first, "…"), append(second, "…")
			}
		}
		holds(t, before, first)
		holds(t, after, second)
	})
}

// holds says whether parts of a text, with gaps between them, are in it in this order.
func holds(t *rapid.T, text string, lines []string) {
	rest := "\n" + text
	for part := range strings.SplitSeq(strings.Join(lines, "\n"), "…") {
		part = strings.Trim(part, "\n")
		_, after, ok := strings.Cut(rest, part)
		if !ok {
			t.Fatalf("%q is not in %q", part, rest)
		}
		rest = after
	}
}

func TestTwoRevisionsAreComparedLineByLine(t *testing.T) {
	t.Parallel()
	spec := func(image string) *eventlog.Deployment {
		return &eventlog.Deployment{
			Selector: eventlog.Selector{MatchLabels: map[string]string{"site": "lab"}},
			Score:    []byte(`{"data":{"services":[{"image":"` + image + `","name":"web"}]},"type":"PodmanV0"}`),
		}
	}
	got, _ := linesOf(specText(spec("nginx:1")), specText(spec("nginx:2")))
	want := []Line{
		{Same, "score:"},
		{Same, "  data:"},
		{Same, "    services:"},
		{Removed, "    - image: nginx:1"},
		{Added, "    - image: nginx:2"},
		{Same, "      name: web"},
		{Same, "  type: PodmanV0"},
		{Same, "targetSelector:"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	huge := strings.Repeat("a: b\n", maxCompared/4)
	if lines, cut := linesOf(huge, ""); !cut || len(lines) > 0 {
		t.Errorf("%d lines of a text that is too large are compared", len(lines))
	}
	if lines, cut := linesOf(strings.Repeat("a\n", 3000), strings.Repeat("b\n", 3000)); !cut || len(lines) != maxLines {
		t.Errorf("%d lines are shown, want %d", len(lines), maxLines)
	}
}
