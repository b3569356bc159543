//go:build e2e

package dashboard_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"fleet.nationtech.io/deploy/e2e/built"
)

// axe finds faults of accessibility in a page: axe-core, which make e2e fetches.
type axe struct{ source string }

func newAxe(t *testing.T) axe {
	t.Helper()
	source, err := os.ReadFile(built.Program(t, "axe.min.js"))
	if err != nil {
		t.Fatal(err)
	}
	return axe{string(source)}
}

// fault is a violation of one rule, as axe-core tells it.
type fault struct {
	Rule   string
	Impact string
	Help   string
	Nodes  []struct{ HTML, Why string }
}

func (f fault) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s (%s): %s", f.Rule, f.Impact, f.Help)
	for _, n := range f.Nodes[:min(len(f.Nodes), 3)] {
		fmt.Fprintf(&b, "\n  %s\n    %s", n.HTML, strings.ReplaceAll(n.Why, "\n", "\n    "))
	}
	return b.String()
}

// faults are what is wrong with the page that is shown, by all rules of axe-core. A script of
// the DevTools protocol is no script of the page, so the page's policy stays as it is.
func (a axe) faults(b *browser) []fault {
	b.t.Helper()
	return run(b, chromedp.Evaluate[[]fault](a.source+`;
axe.run(document, {resultTypes: ["violations"]}).then((found) => found.violations.map((v) => ({
	Rule: v.id, Impact: v.impact, Help: v.help,
	Nodes: v.nodes.map((n) => ({HTML: n.html, Why: n.failureSummary})),
})))`, chromedp.EvalAwaitPromise))
}

// accessible wants a page of which axe-core finds nothing serious or critical.
func (a axe) accessible(b *browser, page string) {
	b.t.Helper()
	for _, f := range a.faults(b) {
		if slices.Contains([]string{"serious", "critical"}, f.Impact) {
			b.t.Errorf("%s: %s", page, f)
		} else {
			b.t.Logf("%s: %s", page, f)
		}
	}
}
