// Package prometheus runs the Prometheus of this machine on a fleet: its configuration,
// the fleet's rules, and the process as a child.
package prometheus

import (
	"fmt"
	"slices"

	"sigs.k8s.io/yaml"
)

// Target is one that is scraped.
type Target struct {
	Job      string // fleet-operator, fleet-callout or fleet-agent
	Instance string // what Prometheus calls it
	Address  string // host and port
	Path     string // empty: /metrics
}

// rulesFile is beside the configuration.
const rulesFile = "fleet.rules.yaml"

// config is the part of Prometheus' configuration that is used here.
type config struct {
	Global        global   `json:"global"`
	RuleFiles     []string `json:"rule_files"`
	ScrapeConfigs []scrape `json:"scrape_configs"`
}

type global struct {
	ScrapeInterval     string `json:"scrape_interval"`
	EvaluationInterval string `json:"evaluation_interval"`
}

type scrape struct {
	JobName       string   `json:"job_name"`
	StaticConfigs []static `json:"static_configs"`
}

type static struct {
	Targets []string          `json:"targets"`
	Labels  map[string]string `json:"labels"`
}

// render gives the configuration that scrapes the targets at an interval, such as 5s.
func render(targets []Target, interval string) ([]byte, error) {
	c := config{
		Global:    global{ScrapeInterval: interval, EvaluationInterval: interval},
		RuleFiles: []string{rulesFile}, ScrapeConfigs: []scrape{},
	}
	for _, t := range targets {
		labels := map[string]string{"instance": t.Instance}
		if t.Path != "" {
			labels["__metrics_path__"] = t.Path
		}
		s := static{Targets: []string{t.Address}, Labels: labels}
		i := slices.IndexFunc(c.ScrapeConfigs, func(s scrape) bool { return s.JobName == t.Job })
		if i < 0 {
			c.ScrapeConfigs = append(c.ScrapeConfigs, scrape{JobName: t.Job})
			i = len(c.ScrapeConfigs) - 1
		}
		c.ScrapeConfigs[i].StaticConfigs = append(c.ScrapeConfigs[i].StaticConfigs, s)
	}
	b, err := yaml.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("configuration of Prometheus: %w", err)
	}
	return b, nil
}
