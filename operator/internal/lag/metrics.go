package lag

import "github.com/prometheus/client_golang/prometheus"

var _ prometheus.Collector = (*Watch)(nil)

// Describe implements prometheus.Collector.
func (w *Watch) Describe(ch chan<- *prometheus.Desc) {
	for i := range w.options.Readers {
		ch <- w.describe(i)
	}
}

func (w *Watch) describe(i int) *prometheus.Desc {
	r := w.options.Readers[i]
	return prometheus.NewDesc(r.Metric, r.Help, nil, nil)
}

// Collect implements prometheus.Collector. It asks nobody: a scrape does not wait for NATS.
func (w *Watch) Collect(ch chan<- prometheus.Metric) {
	for i := range w.options.Readers {
		if age, known := w.age(i); known {
			ch <- prometheus.MustNewConstMetric(w.describe(i), prometheus.GaugeValue, age.Seconds())
		}
	}
}
