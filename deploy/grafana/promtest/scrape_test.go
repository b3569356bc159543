package promtest

import (
	"maps"
	"slices"
	"testing"

	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"
)

// A dashboard or a rule that names a job finds nothing under another name.
func TestTheExampleOfAConfigurationHasTheJobsThatQueriesName(t *testing.T) {
	c, err := config.LoadFile("../prometheus/prometheus.yaml", false, promslog.NewNopLogger())
	if err != nil {
		t.Fatal(err)
	}
	jobs := map[string]bool{}
	for _, s := range c.ScrapeConfigs {
		jobs[s.JobName] = true
	}
	all := queries(t)
	for _, g := range ruleGroups(t) {
		for _, r := range g.Rules {
			all = append(all, asked{where: r.Alert, expr: r.Expr})
		}
	}
	named := 0
	for _, q := range all {
		expr, err := language.ParseExpr(filled(q.expr))
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range selectors(expr) {
			for _, m := range s.LabelMatchers {
				if m.Name != "job" {
					continue
				}
				named++
				matches := slices.ContainsFunc(slices.Collect(maps.Keys(jobs)), m.Matches)
				if !matches || m.Type == labels.MatchEqual && !jobs[m.Value] {
					t.Errorf("%s asks for job%s%q, and the example has %v", q.where, m.Type, m.Value, jobs)
				}
			}
		}
	}
	if named == 0 {
		t.Error("no query names a job")
	}
}
