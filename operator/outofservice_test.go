package operator_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/internal/health"
)

// A rebuild of desired-state that died, at whatever step, is finished by the
// operator that leads; a change that was made meanwhile is at its device within 15 s
// of the cut, and devices are told to sync, once that is over.
func TestARebuildThatDiedIsFinishedByTheLeader(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	op := w.operate()
	w.logged()
	lab := map[string]string{"site": "lab"}
	w.device("pi-01", lab)
	synced := make(chan *nats.Msg, 64)
	if _, err := w.nc.ChanSubscribe(eventlog.DeviceCommandSubject("pi-01", eventlog.VerbSync), synced); err != nil {
		t.Fatal(err)
	}
	ns := w.api.Namespace(t)
	w.apply(deployment(ns, "web", "app:1", lab))
	w.ready(ns, "web", v1alpha1.ReasonAllSucceeded)
	stream := eventlog.BucketStream(eventlog.BucketDesired)
	config := func() jetstream.StreamConfig {
		s, err := w.js.Stream(t.Context(), stream)
		if err != nil {
			t.Fatal(err)
		}
		c := s.CachedInfo().Config
		c.RePublish = nil
		return c
	}
	remove := func() {
		if err := w.js.DeleteStream(t.Context(), stream); err != nil {
			t.Fatal(err)
		}
	}
	repairs := 0.0
	for i, cut := range []struct {
		when string
		do   func()
	}{
		{"after the bucket was deleted", remove},
		{"after the bucket was made", func() {
			c := config()
			c.Metadata["fleet-rebuilding"] = "by somebody who was killed"
			remove()
			if _, err := w.js.CreateStream(t.Context(), c); err != nil {
				t.Fatal(err)
			}
		}},
		{"by somebody who switched its live values off", func() {
			if _, err := w.js.UpdateStream(t.Context(), config()); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		for len(synced) > 0 {
			<-synced
		}
		began := time.Now()
		cut.do()
		name := fmt.Sprintf("after-%d", i)
		w.apply(deployment(ns, name, "app:1", lab))
		eventually(t, "the bucket is repaired that was cut "+cut.when, func() string {
			if n := op.metric(t, "fleet_operator_bucket_repairs_total"); n != repairs+1 {
				return fmt.Sprintf("%v repairs", n-repairs)
			}
			return ""
		})
		repairs++
		select {
		case <-synced:
		case <-time.After(timeout):
			t.Errorf("devices are not told to sync, cut %s", cut.when)
		}
		took := time.Since(began)
		t.Logf("cut %s: repaired and told %s after", cut.when, took.Round(time.Millisecond))
		if took > 45*time.Second { // 15 s, and on a busy machine a look or two that fail, each repeated after 10 s
			t.Errorf("cut %s: repaired and told only after %s", cut.when, took)
		}
		eventually(t, "it is recorded that devices were told", func() string {
			s, err := w.js.Stream(t.Context(), stream)
			if err != nil {
				return err.Error()
			}
			if due := s.CachedInfo().Config.Metadata["fleet-sync-due"]; due != "" {
				return "a sync is due after " + due
			}
			return ""
		})
		w.assigned("pi-01", name, true) // what was applied meanwhile
		live := deployment(ns, fmt.Sprintf("live-%d", i), "app:1", lab)
		w.apply(live)
		w.ready(ns, live.Name, v1alpha1.ReasonAllSucceeded) // by the live value alone: this device does not sync
	}
	w.warned(health.ReasonBucketRepaired, "Bucket desired-state was not in service: its stream is missing")
	w.warned(health.ReasonBucketRepaired, "a rebuild of it was cut short")
	op.gauge(t, "fleet_operator_bucket_out_of_service", 0)
}

// A sync that an operator owed its devices when it died is told by the next, and
// so is one that anyone who rebuilt the bucket did not come to tell.
func TestAResyncThatIsDueSurvivesTheOperator(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.operate()
	w.logged()
	w.device("pi-01", map[string]string{"site": "lab"})
	ns := w.api.Namespace(t)
	w.apply(deployment(ns, "web", "app:1", map[string]string{"site": "lab"}))
	w.ready(ns, "web", v1alpha1.ReasonAllSucceeded)
	first.stop()
	synced := make(chan *nats.Msg, 64)
	if _, err := w.nc.ChanSubscribe(eventlog.DeviceCommandSubject("pi-01", eventlog.VerbSync), synced); err != nil {
		t.Fatal(err)
	}
	s, err := w.js.Stream(t.Context(), eventlog.BucketStream(eventlog.BucketDesired))
	if err != nil {
		t.Fatal(err)
	}
	c := s.CachedInfo().Config
	c.Metadata["fleet-sync-due"] = "a rebuild after which all died"
	if _, err := w.js.UpdateStream(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	w.operate()
	select {
	case <-synced:
	case <-time.After(timeout):
		t.Error("devices are not told to sync")
	}
}
