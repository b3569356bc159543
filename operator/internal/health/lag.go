package health

import (
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"fleet.nationtech.io/operator/internal/lag"
	"fleet.nationtech.io/projections/buckets"
)

// copyTime is how long the server may take to copy a message: one that a bucket lacks for less is
// on its way.
const copyTime = time.Second

var descLag = prometheus.NewDesc("fleet_operator_bucket_lag_seconds",
	"Age of the oldest message of its source that a bucket does not have; 0 where it has all; by bucket. The operator that leads says it.", []string{"bucket"}, nil)

// lags has for each bucket what the last look found that it lacks. It grows between looks, and
// where looks fail.
type lags struct {
	now func() time.Time

	mu    sync.Mutex
	marks map[string]lagMark
}

type lagMark struct {
	lag.Mark
	taken time.Time // by this machine's clock
}

var _ prometheus.Collector = (*lags)(nil)

func newLags() *lags { return &lags{now: time.Now, marks: map[string]lagMark{}} }

// note takes what a look found that a bucket lacks first; nil: nothing.
func (l *lags) note(bucket string, is buckets.Service, lacks *jetstream.RawStreamMsg) {
	m := lagMark{Mark: lag.Mark{End: lag.End{At: is.At}}, taken: l.now()}
	if lacks != nil && is.At.Sub(lacks.Time) > copyTime {
		m.Sequence, m.Recorded = lacks.Sequence, lacks.Time
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.marks[bucket] = m
}

// reset forgets all: who does not lead does not know it.
func (l *lags) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.marks)
}

// Describe implements prometheus.Collector.
func (*lags) Describe(ch chan<- *prometheus.Desc) { ch <- descLag }

// Collect implements prometheus.Collector.
func (l *lags) Collect(ch chan<- prometheus.Metric) {
	now := l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	for bucket, m := range l.marks {
		age := m.Age(lag.Reading{}, now.Sub(m.taken))
		ch <- prometheus.MustNewConstMetric(descLag, prometheus.GaugeValue, age.Seconds(), bucket)
	}
}
