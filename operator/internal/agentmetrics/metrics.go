package agentmetrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Collector tells Prometheus of the agents when it is asked. What it tells is added up already.
type Collector struct {
	Versions *Versions
	Pulses   *Pulses
	// Ahead is how far the servers' clock is ahead of this machine's.
	Ahead func() time.Duration
	Now   func() time.Time
}

var _ prometheus.Collector = Collector{}

var (
	descAgents   = prometheus.NewDesc("fleet_agents", "Registered devices by the version of their agent.", []string{"version"}, nil)
	descHeard    = prometheus.NewDesc("fleet_agents_heard", "Agents whose pulse this replica heard lately, by whether it has figures: agents before 0.2 send none.", []string{"figures"}, nil)
	descEngines  = prometheus.NewDesc("fleet_agents_engines_down", "Agents that were heard lately and whose container engine does not answer.", nil, nil)
	descClocks   = prometheus.NewDesc("fleet_agents_clocks_off", "Agents that were heard lately and whose clock is more than 5 seconds off the NATS servers'.", nil, nil)
	descWaiting  = prometheus.NewDesc("fleet_agents_waiting_events", "Events of the journal that wait on devices for the log, all agents that were heard lately together.", nil, nil)
	descTroubles = prometheus.NewDesc("fleet_agents_troubles_total", "Troubles from which agents recovered by themselves, by kind, as their pulses count them. This replica counts from the first pulse of a run that it hears.", []string{"kind"}, nil)
	descLooks    = prometheus.NewDesc("fleet_agents_observe_seconds", "Time that an agent took to list its containers, on average between two pulses; observed once a pulse.", nil, nil)
)

// Describe implements prometheus.Collector.
func (Collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descAgents, descHeard, descEngines, descClocks, descWaiting, descTroubles, descLooks} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c Collector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, n float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, n, labels...)
	}
	for version, n := range c.Versions.Counts() {
		gauge(descAgents, float64(n), version)
	}
	s := c.Pulses.Summary(c.Now(), c.Ahead())
	gauge(descHeard, float64(s.Heard), "yes")
	gauge(descHeard, float64(s.Silent), "no")
	gauge(descEngines, float64(s.EnginesDown))
	gauge(descClocks, float64(s.ClocksOff))
	gauge(descWaiting, float64(s.Waiting))
	for t, n := range s.Troubles {
		ch <- prometheus.MustNewConstMetric(descTroubles, prometheus.CounterValue, n, string(t))
	}
	ch <- prometheus.MustNewConstSummary(descLooks, s.Looks, s.LookSeconds, nil)
}
