package health

import "github.com/prometheus/client_golang/prometheus"

// Metrics are what this package measures.
type Metrics struct {
	logBytes, logRatio, logLast prometheus.Gauge

	lags *lags

	stalled      *prometheus.GaugeVec
	outOfService *prometheus.GaugeVec
	repairs      *prometheus.CounterVec
	passed       *prometheus.CounterVec
}

// NewMetrics registers them.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	}
	byBucket := []string{"bucket"}
	m := &Metrics{
		lags:     newLags(),
		logBytes: gauge("fleet_operator_log_bytes", "Size of the log on disk."),
		logRatio: gauge("fleet_operator_log_bytes_ratio", "Size of the log as a share of what it may take; 0 without a limit. 0.8 is the alarm."),
		logLast:  gauge("fleet_operator_log_last_sequence", "Last sequence of the log."),
		stalled: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "fleet_operator_bucket_stalled",
			Help: "1 while the NATS server does not copy a message of the log into a bucket, so that later messages wait; by bucket. The operator that leads sets it, and moves the bucket past the message where that is what the server refuses.",
		}, byBucket),
		outOfService: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "fleet_operator_bucket_out_of_service",
			Help: "1 while a bucket is missing, is being rebuilt, or is configured wrongly, so that changes of it reach nobody live; by bucket. The operator that leads sets it.",
		}, byBucket),
		repairs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fleet_operator_bucket_repairs_total",
			Help: "Buckets that were found out of service and were put in service again by this operator, by bucket.",
		}, byBucket),
		passed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fleet_operator_bucket_passed_messages_total",
			Help: "Messages of devices that the NATS server refuses to store in a bucket, past which this operator moved it; by bucket.",
		}, byBucket),
	}
	reg.MustRegister(m.logBytes, m.logRatio, m.logLast, m.stalled, m.outOfService, m.repairs, m.passed, m.lags)
	return m
}
