package state

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/projections/attention"
	"fleet.nationtech.io/projections/fleet"
)

// Collector is a prometheus.Collector that reads the state when it is asked.
type Collector struct {
	Fold *Fold
	Now  func() time.Time
}

var _ prometheus.Collector = Collector{}

var (
	descForeign     = prometheus.NewDesc("fleet_operator_foreign_messages_total", "Messages of the log that the fold skipped, by family.", []string{"family"}, nil)
	descDeployments = prometheus.NewDesc("fleet_operator_deployments", "Deployments in the log, by where they are between apply and delete.", []string{"lifecycle"}, nil)
	descOrphaned    = prometheus.NewDesc("fleet_operator_orphaned_deployments", "Deployments whose CR is missing though nobody was seen deleting it.", nil, nil)
	descPhases      = prometheus.NewDesc("fleet_operator_assignments", "Deployments on devices, by how they fare.", []string{"phase"}, nil)
	descDevices     = prometheus.NewDesc("fleet_operator_devices", "Registered devices, by whether their pulse is heard.", []string{"online"}, nil)
	descRevoked     = prometheus.NewDesc("fleet_operator_access_revoked_devices", "Devices whose access is revoked, by a person or because they flooded the log.", nil, nil)
	descKeys        = prometheus.NewDesc("fleet_operator_key_expiring_devices", "Devices whose key ends within 30 days (ExpiresSoon) or has ended (Expired).", []string{"reason"}, nil)
	descSequence    = prometheus.NewDesc("fleet_operator_folded_sequence", "Sequence of the log that the fold has passed.", nil, nil)
)

// Describe implements prometheus.Collector.
func (Collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descForeign, descDeployments, descOrphaned, descPhases, descDevices, descRevoked, descKeys, descSequence} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c Collector) Collect(ch chan<- prometheus.Metric) {
	lifecycles := map[fleet.Lifecycle]int{fleet.Applied: 0, fleet.Orphaned: 0, fleet.Deleted: 0}
	online := map[fleet.Online]int{fleet.OnlineTrue: 0, fleet.OnlineFalse: 0, fleet.OnlineUnknown: 0}
	foreign := map[eventlog.Family]uint64{}
	var counts fleet.Counts
	var sequence uint64
	revoked := 0
	keys := map[string]int{attention.ReasonExpiresSoon: 0, attention.ReasonExpired: 0}
	now := c.Now()
	c.Fold.Do(func(s *decide.State) {
		v := s.View()
		sequence = v.Sequence
		for _, d := range v.Deployments {
			if d.Lifecycle != "" {
				lifecycles[d.Lifecycle]++
			}
			counts.Succeeded += d.Counts.Succeeded
			counts.Failed += d.Counts.Failed
			counts.Pending += d.Counts.Pending
		}
		for _, d := range v.Devices {
			if d.Registered {
				online[d.Presence.Online]++
			}
			if d.Access != nil {
				revoked++
			}
			if d.Decommissioned {
				continue
			}
			if reason := attention.KeyReason(attention.KeyExpires(d), now); reason != "" {
				keys[reason]++
			}
		}
		for f, n := range v.Foreign {
			foreign[f] += n
		}
	})
	gauge := func(d *prometheus.Desc, n float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, n, labels...)
	}
	for f, n := range foreign {
		ch <- prometheus.MustNewConstMetric(descForeign, prometheus.CounterValue, float64(n), string(f))
	}
	for l, n := range lifecycles {
		gauge(descDeployments, float64(n), string(l))
	}
	gauge(descOrphaned, float64(lifecycles[fleet.Orphaned]))
	gauge(descPhases, float64(counts.Succeeded), "Succeeded")
	gauge(descPhases, float64(counts.Failed), "Failed")
	gauge(descPhases, float64(counts.Pending), "Pending")
	gauge(descDevices, float64(online[fleet.OnlineTrue]), "True")
	gauge(descDevices, float64(online[fleet.OnlineFalse]), "False")
	gauge(descDevices, float64(online[fleet.OnlineUnknown]), "Unknown")
	gauge(descRevoked, float64(revoked))
	for reason, n := range keys {
		gauge(descKeys, float64(n), reason)
	}
	gauge(descSequence, float64(sequence))
}
