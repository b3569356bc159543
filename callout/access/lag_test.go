package access_test

import (
	"context"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"fleet.nationtech.io/callout/access"
	"fleet.nationtech.io/callout/refusal"
	"fleet.nationtech.io/eventlog/natstest"
)

func TestTheLagOfAccessGrowsWhileTheLogCannotBeRead(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t)
	_, js := server.Connect(t)
	natstest.EnsureLog(t, js, 1)
	registry := prometheus.NewRegistry()
	c := &clock{}
	f := access.NewFollower(access.FollowerOptions{JetStream: js, Now: c.now, Metrics: access.NewMetrics(registry)})
	lag := func() time.Duration {
		t.Helper()
		all, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range all {
			if m.GetName() == "fleet_callout_access_lag_seconds" {
				return time.Duration(m.GetMetric()[0].GetGauge().GetValue() * float64(time.Second))
			}
		}
		t.Fatal("there is no such metric")
		return 0
	}
	c.later.Store(int64(time.Minute))
	if got := lag(); got < time.Minute {
		t.Errorf("a follower that never read is behind by %s, want a minute at least", got)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx) }()
	eventually(t, f, "pi-01", "")
	for deadline := time.Now().Add(time.Minute); lag() != 0; time.Sleep(5 * time.Millisecond) { // poll: it asks each second
		if time.Now().After(deadline) {
			t.Fatalf("a follower that read all is behind by %s", lag())
		}
	}
	stop() // from now on it reads nothing
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	c.later.Add(int64(10 * time.Minute))
	if got := lag(); got < 10*time.Minute {
		t.Errorf("a follower that has not read for 10 minutes is behind by %s", got)
	}
	if err := f.Allowed("pi-01"); refusal.Is(err, refusal.AccessUnknown) {
		t.Errorf("and it lets nobody in: %v", err)
	}
}
