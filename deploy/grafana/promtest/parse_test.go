package promtest

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
)

const ruleFile = "../prometheus/fleet.rules.yaml"

// language is PromQL as a plain Prometheus has it.
var language = parser.NewParser(parser.Options{})

func TestTheRuleFileIsOfPrometheusSchema(t *testing.T) {
	if _, errs := rulefmt.ParseFile(ruleFile, false, model.LegacyValidation, language, promslog.NewNopLogger()); len(errs) > 0 {
		t.Error(errs)
	}
}

// ruleGroups gives the rules.
func ruleGroups(t *testing.T) []rulefmt.RuleGroup {
	t.Helper()
	file, errs := rulefmt.ParseFile(ruleFile, false, model.LegacyValidation, language, promslog.NewNopLogger())
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	return file.Groups
}

func TestEveryQueryIsPromQL(t *testing.T) {
	for _, q := range queries(t) {
		if _, err := language.ParseExpr(filled(q.expr)); err != nil {
			t.Errorf("%s: %v", q.where, err)
		}
		if left := regexp.MustCompile(`\$\w+|\$\{`).FindString(filled(q.expr)); left != "" {
			t.Errorf("%s: the test does not know the variable %s", q.where, left)
		}
	}
}

// prometheusOwn are series that Prometheus makes itself.
var prometheusOwn = map[string][]string{"up": nil}

// targetLabels are those that Prometheus puts on each series of a target.
var targetLabels = []string{"job", "instance"}

func TestQueriesNameMetricsAndLabelsThatTheBinariesRegister(t *testing.T) {
	known := registered(t)
	for name, labels := range prometheusOwn {
		known[name] = labels
	}
	records := map[string]bool{}
	for _, g := range ruleGroups(t) {
		for _, r := range g.Rules {
			if r.Record != "" {
				records[r.Record] = true
			}
		}
	}
	all := queries(t)
	for _, g := range ruleGroups(t) {
		for _, r := range g.Rules {
			all = append(all, asked{where: "rule " + r.Record + r.Alert, expr: r.Expr})
		}
	}
	for _, q := range all {
		expr, err := language.ParseExpr(filled(q.expr))
		if err != nil {
			t.Errorf("%s: %v", q.where, err)
			continue
		}
		for _, s := range selectors(expr) {
			has, is := known[family(s.Name, known)]
			if !is && !records[s.Name] {
				t.Errorf("%s: no binary registers %s", q.where, s.Name)
				continue
			}
			for _, m := range s.LabelMatchers {
				if m.Name == model.MetricNameLabel || m.Name == "le" || slices.Contains(targetLabels, m.Name) || slices.Contains(has, m.Name) {
					continue
				}
				t.Errorf("%s: %s has no label %s", q.where, s.Name, m.Name)
			}
		}
	}
}

// family gives the name under which a series is registered: a histogram has three.
func family(name string, known map[string][]string) string {
	for _, suffix := range []string{"_bucket", "_count", "_sum"} {
		if base, is := strings.CutSuffix(name, suffix); is {
			if _, is := known[base]; is {
				return base
			}
		}
	}
	return name
}

func selectors(e parser.Expr) []*parser.VectorSelector {
	var all []*parser.VectorSelector
	parser.Inspect(e, func(n parser.Node, _ []parser.Node) error {
		if s, is := n.(*parser.VectorSelector); is {
			all = append(all, s)
		}
		return nil
	})
	return all
}
