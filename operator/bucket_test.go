package operator_test

import (
	"testing"
	"time"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator"
)

// The log does not see a header that stands behind the name that it looks for,
// twice without a gap, and a bucket does. This one it refuses.
func TestABucketThatStandsStillIsSaidAndTheRestGoesOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	op := w.operate()
	w.logged()
	lab := map[string]string{"site": "lab"}
	w.device("pi-01", lab)
	ns := w.api.Namespace(t)
	w.apply(deployment(ns, "web", "app:1", lab))
	w.ready(ns, "web", v1alpha1.ReasonAllSucceeded)
	w.server.Raw(t, eventlog.StateSubject("evil", "web"), "NATS/1.0\r\nNats-Expected-X: Nats-TTLNats-TTL\r\nNats-TTL: soon\r\n\r\n", "{}")
	for until := time.Now().Add(2 * time.Minute); op.metric(t, "fleet_operator_bucket_stalled") != 1; time.Sleep(100 * time.Millisecond) { // poll
		if time.Now().After(until) {
			t.Fatal("no metric says that a bucket stands still")
		}
	}
	w.warned(operator.ReasonBucketStalled, "Bucket device-state: it stands still before message")
	w.warned(operator.ReasonBucketStalled, "(fleet.evt.state.evil.web)")
	w.apply(deployment(ns, "db", "app:1", lab))
	w.ready(ns, "db", v1alpha1.ReasonAllSucceeded)
}
