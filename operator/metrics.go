package operator

import (
	"github.com/prometheus/client_golang/prometheus"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/projections/fleet"
)

// metrics are the operator's own; its parts have theirs.
type metrics struct {
	appends   *prometheus.CounterVec
	patches   *prometheus.CounterVec
	leader    prometheus.Gauge
	mismatch  prometheus.Gauge
	full      prometheus.Gauge
	reserve   prometheus.Gauge
	logBytes  prometheus.Gauge
	logRatio  prometheus.Gauge
	logEvents prometheus.Gauge

	stalled      *prometheus.GaugeVec
	outOfService *prometheus.GaugeVec
	repairs      *prometheus.CounterVec
	passed       *prometheus.CounterVec

	checkpoints    *prometheus.CounterVec
	lastCheckpoint prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	}
	counter := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{label})
	}
	m := &metrics{
		appends:   counter("fleet_operator_appends_total", "Events appended to the log, by type.", "type"),
		patches:   counter("fleet_operator_patches_total", "Writes of CRs and their status, by kind.", "kind"),
		leader:    gauge("fleet_operator_leader", "1 while this replica leads."),
		mismatch:  gauge("fleet_operator_cluster_mismatch", "1 while the log belongs to another cluster, so that nothing is decided."),
		full:      gauge("fleet_operator_log_full", "1 while the log takes no more events."),
		reserve:   gauge("fleet_operator_log_reserve_open", "1 while the log lives on its reserve, the last tenth of its size: raise --log-max-bytes."),
		logBytes:  gauge("fleet_operator_log_bytes", "Size of the log on disk."),
		logRatio:  gauge("fleet_operator_log_bytes_ratio", "Size of the log as a share of what it may take; 0 without a limit. 0.8 is the alarm."),
		logEvents: gauge("fleet_operator_log_last_sequence", "Last sequence of the log."),

		stalled: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "fleet_operator_bucket_stalled",
			Help: "1 while the server does not copy a message of the log into a bucket, so that nothing behind it comes; by bucket. The operator that leads says it, and moves the bucket past the message where that is what the server refuses.",
		}, []string{"bucket"}),

		outOfService: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "fleet_operator_bucket_out_of_service",
			Help: "1 while a bucket is missing, is being rebuilt, or is configured wrongly, so that changes of it reach nobody live; by bucket. The operator that leads says it.",
		}, []string{"bucket"}),
		repairs: counter("fleet_operator_bucket_repairs_total", "Buckets that were found out of service and were put in service again by this operator, by bucket.", "bucket"),
		passed:  counter("fleet_operator_bucket_passed_messages_total", "Messages of devices that the NATS server refuses to store in a bucket, past which this operator moved it; by bucket.", "bucket"),

		checkpoints:    counter("fleet_operator_checkpoints_total", "Checkpoints of the fold, by result: saved or failed. One that failed costs nothing but time at the next start.", "result"),
		lastCheckpoint: gauge("fleet_operator_checkpoint_last_sequence", "Sequence of the log at the newest checkpoint that this replica saved or found."),
	}
	reg.MustRegister(m.appends, m.patches, m.leader, m.mismatch, m.full, m.reserve, m.logBytes, m.logRatio, m.logEvents, m.stalled, m.outOfService, m.repairs, m.passed,
		m.checkpoints, m.lastCheckpoint)
	return m
}

func (m *metrics) leading(yes bool) { m.leader.Set(number(yes)) }

func (m *metrics) mismatched(yes bool) { m.mismatch.Set(number(yes)) }

func (m *metrics) patched(kind string) { m.patches.WithLabelValues(kind).Inc() }

func (m *metrics) appended(drafts []eventlog.Draft) {
	types := map[eventlog.Type]int{}
	for i := range drafts {
		types[drafts[i].Type]++
	}
	for t, n := range types {
		m.appends.WithLabelValues(string(t)).Add(float64(n))
	}
}

func number(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// collector reads what the fold says when it is asked.
type collector struct{ r *replica }

var (
	descForeign     = prometheus.NewDesc("fleet_operator_foreign_messages_total", "Messages of the log that the fold skipped, by family.", []string{"family"}, nil)
	descDeployments = prometheus.NewDesc("fleet_operator_deployments", "Deployments in the log, by where they are between apply and delete.", []string{"lifecycle"}, nil)
	descOrphaned    = prometheus.NewDesc("fleet_operator_orphaned_deployments", "Deployments whose CR is missing though nobody was seen deleting it.", nil, nil)
	descPhases      = prometheus.NewDesc("fleet_operator_assignments", "Deployments on devices, by how they fare.", []string{"phase"}, nil)
	descDevices     = prometheus.NewDesc("fleet_operator_devices", "Registered devices, by whether their pulse is heard.", []string{"online"}, nil)
	descRevoked     = prometheus.NewDesc("fleet_operator_access_revoked_devices", "Devices whose access is revoked, by a person or because they flooded the log.", nil, nil)
	descSequence    = prometheus.NewDesc("fleet_operator_folded_sequence", "Sequence of the log that the fold has passed.", nil, nil)
)

// Describe implements prometheus.Collector.
func (collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descForeign, descDeployments, descOrphaned, descPhases, descDevices, descRevoked, descSequence} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	lifecycles := map[fleet.Lifecycle]int{fleet.Applied: 0, fleet.Orphaned: 0, fleet.Deleted: 0}
	online := map[fleet.Online]int{fleet.OnlineTrue: 0, fleet.OnlineFalse: 0, fleet.OnlineUnknown: 0}
	foreign := map[eventlog.Family]uint64{}
	var counts fleet.Counts
	var sequence uint64
	revoked := 0
	c.r.fold.Do(func(s *decide.State) {
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
	gauge(descSequence, float64(sequence))
}
