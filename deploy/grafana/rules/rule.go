// Package rules has what Prometheus records and alerts of a fleet.
//
// Each alert says in one sentence what is the matter and in another what to do, and
// names a page of docs/runbooks.
package rules

import (
	"fmt"
	"strings"

	"sigs.k8s.io/yaml"
)

// Rule is a recording rule or an alert, as Prometheus reads it.
type Rule struct {
	Record      string            `json:"record,omitempty"`
	Alert       string            `json:"alert,omitempty"`
	Expr        string            `json:"expr"`
	For         string            `json:"for,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// Group is a list of rules that are evaluated one after the other.
type Group struct {
	Name     string `json:"name"`
	Interval string `json:"interval,omitempty"`
	Rules    []Rule `json:"rules"`
}

// Severities of alerts.
const (
	Critical = "critical" // a person has to act now
	Warning  = "warning"  // a person has to act by day
)

// DefaultRunbooks is where the pages of docs/runbooks are read.
const DefaultRunbooks = "https://fleet.nationtech.io/docs/runbooks"

// Groups gives all rules. runbooks is the address below which the pages are.
func Groups(runbooks string) []Group {
	return []Group{
		{Name: "fleet-records", Interval: "30s", Rules: records()},
		{Name: "fleet-rollouts", Rules: with(runbooks, rolloutAlerts())},
		{Name: "fleet-propagation", Rules: with(runbooks, propagationAlerts())},
		{Name: "fleet-devices", Rules: with(runbooks, deviceAlerts())},
		{Name: "fleet-log", Rules: with(runbooks, logAlerts())},
		{Name: "fleet-platform", Rules: with(runbooks, platformAlerts())},
	}
}

// File gives all rules as a rule file of Prometheus.
func File(runbooks string) ([]byte, error) {
	b, err := yaml.Marshal(map[string]any{"groups": Groups(runbooks)})
	if err != nil {
		return nil, fmt.Errorf("rules: %w", err)
	}
	return b, nil
}

// alert is one, before it is put together.
type alert struct {
	name, severity string
	expr, lasts    string // lasts: how long it must hold
	summary        string // one sentence: what is the matter
	act            string // what to do
}

func with(runbooks string, alerts []alert) []Rule {
	rules := make([]Rule, len(alerts))
	for i, a := range alerts {
		rules[i] = Rule{
			Alert: a.name, Expr: strings.TrimSpace(a.expr), For: a.lasts,
			Labels: map[string]string{"severity": a.severity},
			Annotations: map[string]string{
				"summary": a.summary, "description": a.act,
				"runbook_url": strings.TrimSuffix(runbooks, "/") + "/" + a.name + ".md",
			},
		}
	}
	return rules
}
