package health

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"fleet.nationtech.io/projections/buckets"
)

func TestTheLagOfABucketIsTheAgeOfWhatItLacks(t *testing.T) {
	t.Parallel()
	server := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	lacks := func(age time.Duration) *jetstream.RawStreamMsg {
		return &jetstream.RawStreamMsg{Sequence: 7, Time: server.Add(-age)}
	}
	for name, c := range map[string]struct {
		lacks *jetstream.RawStreamMsg
		since time.Duration
		want  float64
	}{
		"a bucket that has all is not behind":                            {nil, 4 * time.Second, 0},
		"a message that came just now is on its way":                     {lacks(time.Second / 2), 4 * time.Second, 0},
		"a bucket that lacks a message gets older by the second":         {lacks(time.Minute), 4 * time.Second, 64},
		"a bucket that cannot be looked at may lack what came since":     {nil, 90 * time.Second, 90},
		"a message of the future, by a clock that went back, is not old": {lacks(-time.Hour), time.Second, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			now := time.Unix(1_000_000, 0) // this machine's clock is wrong
			m := NewMetrics(prometheus.NewRegistry())
			m.lags.now = func() time.Time { return now }
			m.lags.note("device-state", buckets.Service{At: server}, c.lacks)
			now = now.Add(c.since)
			ch := make(chan prometheus.Metric, 1)
			m.lags.Collect(ch)
			if got := gaugeOf(t, <-ch); got != c.want {
				t.Errorf("its lag is %v s, want %v", got, c.want)
			}
			m.lags.reset()
			m.lags.Collect(ch)
			if len(ch) > 0 {
				t.Error("who does not lead says how far a bucket is behind")
			}
		})
	}
}

func gaugeOf(t *testing.T, m prometheus.Metric) float64 {
	t.Helper()
	var d dto.Metric
	if err := m.Write(&d); err != nil {
		t.Fatal(err)
	}
	return d.GetGauge().GetValue()
}
