package operator_test

import (
	"fmt"
	"testing"
	"time"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator"
	"fleet.nationtech.io/operator/internal/health"
	"fleet.nationtech.io/projections/verify"
)

// The log does not see a header that stands behind the name that it looks for,
// twice without a gap, and a bucket does. This one the server refuses to store there:
// for ever on one server, and on three it ends all replicas of the bucket. The
// operator moves the bucket past it within 60 s; nothing else is left out, the device
// is named, and verify lists the message.
func TestABucketIsMovedPastAMessageThatTheServerRefuses(t *testing.T) {
	t.Parallel()
	for name, begin := range map[string]func(*testing.T) (*world, func(*operator.Options)){
		"one server": func(t *testing.T) (*world, func(*operator.Options)) {
			return newWorld(t), func(*operator.Options) {}
		},
		"three servers": func(t *testing.T) (*world, func(*operator.Options)) {
			return newClusteredWorld(t), func(o *operator.Options) { o.Replicas = 3 }
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, options := begin(t)
			op := w.operate(options)
			w.logged()
			op.gauge(t, "fleet_operator_leader", 1) // so the streams have leaders of their own
			lab := map[string]string{"site": "lab"}
			w.device("pi-01", lab)
			ns := w.api.Namespace(t)
			w.apply(deployment(ns, "web", "app:1", lab))
			w.ready(ns, "web", v1alpha1.ReasonAllSucceeded)
			began := time.Now()
			w.raw(t, eventlog.StateSubject("evil", "web"), "NATS/1.0\r\nNats-Expected-X: Nats-TTLNats-TTL\r\nNats-TTL: soon\r\n\r\n", "{}")
			w.apply(deployment(ns, "db", "app:1", lab))
			w.ready(ns, "db", v1alpha1.ReasonAllSucceeded) // what is decided goes on
			key := eventlog.StateKey("pi-01", "db")
			for last := ""; ; time.Sleep(100 * time.Millisecond) { // poll
				kv, err := w.js.KeyValue(t.Context(), eventlog.BucketState)
				if err == nil {
					if _, err = kv.Get(t.Context(), key); err == nil {
						break
					}
				}
				if last = err.Error(); time.Since(began) > 2*time.Minute {
					t.Fatalf("what came behind the message is not in the bucket: %s", last)
				}
			}
			took := time.Since(began)
			t.Logf("moved %s after the message", took.Round(time.Millisecond))
			if took > time.Minute {
				t.Errorf("the bucket was moved %s after the message, want 60 s at most", took)
			}
			w.warned(health.ReasonBucketPassed, "of device evil (fleet.evt.state.evil.web)")
			eventually(t, "metrics", func() string {
				if n := op.metric(t, "fleet_operator_bucket_passed_messages_total"); n != 1 {
					return fmt.Sprintf("%v messages were passed over", n)
				}
				if n := op.metric(t, "fleet_operator_bucket_stalled"); n != 0 {
					return fmt.Sprintf("%v buckets are stalled", n)
				}
				return ""
			})
			r, err := verify.Run(t.Context(), w.js, verify.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if r.Differences() != 0 || r.Counts[verify.Skipped] != 1 {
				t.Errorf("verify finds %v", r.Counts)
			}
			for _, f := range r.Findings {
				if f.Kind == verify.Skipped && f.Subject != eventlog.StateSubject("evil", "web") {
					t.Errorf("verify lists %+v", f)
				}
			}
		})
	}
}
