package promtest

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/rules"
)

// story is what an alert is about, told in series.
type story struct {
	load string // from the first minute on, one value a minute where nothing else is said
	step time.Duration
	// fires is when the alert must be firing, and clears when it must not be any more.
	// At quiet it must not fire yet.
	quiet, fires, clears time.Duration
	summary              string // what it says while it fires
}

func TestEachAlertFiresAndClears(t *testing.T) {
	var alerts []string
	for _, g := range ruleGroups(t) {
		for _, r := range g.Rules {
			if r.Alert != "" {
				alerts = append(alerts, r.Alert)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(stories)) {
		if !slices.Contains(alerts, name) {
			t.Errorf("there is no alert %s", name)
		}
	}
	for _, name := range alerts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, is := stories[name]
			if !is {
				t.Fatal("no story tells whether it fires and clears")
			}
			if s.step == 0 {
				s.step = time.Minute
			}
			at := evaluate(t, fmt.Sprintf("load %s\n%s\n", s.step, strings.TrimSpace(s.load)), 0, s.step)
			if got := at(s.quiet)[name]; got != nil {
				t.Errorf("after %s it fires already: %v", s.quiet, got)
			}
			got := at(s.fires)[name]
			if len(got) != 1 || got[0].summary != s.summary {
				t.Errorf("after %s it says %+v, want once: %s", s.fires, got, s.summary)
			}
			for _, a := range got {
				if strings.Contains(a.description, "<no value>") || strings.Contains(a.description, "{{") || strings.Contains(a.description, "error") {
					t.Errorf("its description is %q", a.description)
				}
			}
			if got := at(s.clears)[name]; got != nil {
				t.Errorf("after %s it still fires: %v", s.clears, got)
			}
		})
	}
}

// firing is an alert that fires.
type firing struct{ summary, description string }

// evaluate lets Prometheus evaluate all rules over series, at each step from a moment on,
// and gives what fires at a moment. Moments are asked in order.
func evaluate(t *testing.T, series string, from, step time.Duration) func(at time.Duration) map[string][]firing {
	t.Helper()
	suite, err := promqltest.NewLazyLoader(series, promqltest.LazyLoaderOpts{EnableAtModifier: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = suite.Close() })
	suite.SubqueryInterval = step
	manager := rules.NewManager(&rules.ManagerOptions{
		QueryFunc: rules.EngineQueryFunc(suite.QueryEngine(), suite.Storage()), AppendableV2: suite.Storage(), Context: t.Context(),
		NotifyFunc: func(context.Context, string, ...*rules.Alert) {}, Logger: promslog.NewNopLogger(), Parser: language,
	})
	groups, errs := manager.LoadGroups(step, labels.EmptyLabels(), "", nil, false, ruleFile)
	if errs != nil {
		t.Fatal(errs)
	}
	var names []string // in the order of the file: records come before what reads them
	for _, g := range ruleGroups(t) {
		names = append(names, rules.GroupKey(ruleFile, g.Name))
	}
	next := from
	return func(at time.Duration) map[string][]firing {
		for ; next <= at; next += step {
			moment := time.Unix(0, 0).UTC().Add(next)
			suite.WithSamplesTill(moment, func(err error) {
				if err != nil {
					t.Fatal(err)
				}
				for _, name := range names {
					groups[name].Eval(t.Context(), moment)
				}
			})
		}
		all := map[string][]firing{}
		for _, name := range names {
			for _, r := range groups[name].Rules() {
				if r.Health() == rules.HealthBad {
					t.Errorf("%s: %v", r.Name(), r.LastError())
				}
				alert, is := r.(*rules.AlertingRule)
				if !is {
					continue
				}
				for _, a := range alert.ActiveAlerts() {
					if a.State == rules.StateFiring {
						all[r.Name()] = append(all[r.Name()], firing{a.Annotations.Get("summary"), a.Annotations.Get("description")})
					}
				}
			}
		}
		return all
	}
}

// In a real rollout the alert fires that should, and no other does.
func TestInTheRecordedRolloutTheRightAlertFires(t *testing.T) {
	text, err := os.ReadFile(recordedFile)
	if err != nil {
		t.Fatal(err)
	}
	r := recorded(t)
	const step = 10 * time.Second
	at := evaluate(t, string(text), lead+step, step)
	fired := map[string]bool{}
	for moment := lead + step; moment <= r.lasts; moment += step {
		for _, all := range at(moment) {
			for _, a := range all {
				fired[a.summary] = true
			}
		}
	}
	want := []string{"The rollout of default/cart is paused: BatchFailed."}
	if got := slices.Sorted(maps.Keys(fired)); !slices.Equal(got, want) {
		t.Errorf("in the recorded rollout these alerts fired: %q, want %q", got, want)
	}
}

func TestEachAlertSaysWhatToDoAndHasARunbook(t *testing.T) {
	pages := map[string]bool{}
	files, err := filepath.Glob("../../../docs/runbooks/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		pages[strings.TrimSuffix(filepath.Base(f), ".md")] = true
	}
	list, err := os.ReadFile("../../../docs/observability.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range ruleGroups(t) {
		for _, r := range g.Rules {
			if r.Alert == "" {
				continue
			}
			if !pages[r.Alert] {
				t.Errorf("docs/runbooks has no page of %s", r.Alert)
			}
			delete(pages, r.Alert)
			if !strings.Contains(string(list), "[`"+r.Alert+"`](runbooks/"+r.Alert+".md)") {
				t.Errorf("docs/observability.md does not list %s", r.Alert)
			}
			if !strings.HasSuffix(r.Annotations["runbook_url"], "/"+r.Alert+".md") {
				t.Errorf("%s has the runbook %s", r.Alert, r.Annotations["runbook_url"])
			}
			if s := r.Labels["severity"]; s != "critical" && s != "warning" {
				t.Errorf("%s has the severity %q", r.Alert, s)
			}
			// A template has dots of its own.
			plain := regexp.MustCompile(`\{\{.*?\}\}`).ReplaceAllString(r.Annotations["summary"], "X")
			if strings.Count(plain, ". ") != 0 || !strings.HasSuffix(plain, ".") {
				t.Errorf("the summary of %s is not one sentence: %s", r.Alert, plain)
			}
			if !strings.HasSuffix(r.Annotations["description"], ".") {
				t.Errorf("the description of %s is no sentence: %s", r.Alert, r.Annotations["description"])
			}
		}
	}
	for page := range pages {
		t.Errorf("docs/runbooks/%s.md is of no alert", page)
	}
}
