package access

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics of what is known about access, and of connections that were ended.
type Metrics struct {
	revoked prometheus.Gauge
	ended   *prometheus.CounterVec
	open    prometheus.Gauge
	read    atomic.Int64 // Unix nanoseconds; 0: never
	lag     atomic.Pointer[func() time.Duration]
}

// NewMetrics registers the metrics; a nil registry leaves them unregistered.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		revoked: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "fleet_callout_revoked_identities",
			Help: "Identities whose access is revoked.",
		}),
		ended: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fleet_callout_connections_ended_total",
			Help: "Connections that the replica had its server end, by cause: revoked, too many.",
		}, []string{"cause"}),
		open: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "fleet_callout_identity_connections",
			Help: "Open connections of identities, as servers tell of them.",
		}),
	}
	if r != nil {
		r.MustRegister(m.revoked, m.ended, m.open, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "fleet_callout_access_read_timestamp_seconds",
			Help: "When the events of access were last known to be read to their end; 0 where they never were.",
		}, func() float64 { return float64(m.read.Load()) / float64(time.Second) }), prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "fleet_callout_access_lag_seconds",
			Help: "Greatest age that an event of access can have which the replica has not read; 0 while it knows that it has read all.",
		}, m.behind))
	}
	return m
}

// behind is the lag of the follower, if there is one.
func (m *Metrics) behind() float64 {
	if lag := m.lag.Load(); lag != nil {
		return (*lag)().Seconds()
	}
	return 0
}

func (m *Metrics) readAt(t time.Time) { m.read.Store(t.UnixNano()) }
