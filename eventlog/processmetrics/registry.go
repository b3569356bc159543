// Package processmetrics makes the registry of metrics that each process of the fleet begins with:
// what it is, and how it fares.
package processmetrics

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"fleet.nationtech.io/eventlog/version"
)

// BuildInfo is the metric that says which build a process is.
const BuildInfo = "fleet_build_info"

// NewRegistry makes the registry of a component, such as fleet-operator: with the metrics of Go
// and of the process (go_…, process_…), and with BuildInfo.
func NewRegistry(component string) *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		buildInfo(component, version.Read()),
	)
	return r
}

func buildInfo(component string, i version.Info) prometheus.Collector {
	info := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: BuildInfo, Help: "1 for the build that runs: its component, version, commit and version of Go.",
	}, []string{"component", "version", "commit", "go_version"})
	info.WithLabelValues(component, i.Version, i.Commit, i.GoVersion).Set(1)
	return info
}
