package operator_test

import (
	"fmt"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator"
)

// However many states are reported, a Deployment's status is patched at most once
// a second, counted at the API, and in the end the status counts all of them. How
// soon after a change that is, statuswriter.TestAtMostOneWriteAnInterval holds on
// a clock of its own: here it would measure the machine.
func TestAStatusIsPatchedAtMostOnceASecond(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	counter := &counting{}
	w.operate(func(o *operator.Options) { o.RestConfig = counter.wrap(o.RestConfig) })
	w.logged()
	const n = 500
	devices := make([]*device, n)
	for i := range devices {
		devices[i] = w.device(fmt.Sprintf("pi-%03d", i), map[string]string{"site": "lab"})
		devices[i].mute.Store(true)
	}
	ns := w.api.Namespace(t)
	w.apply(deployment(ns, "web", "app:1", map[string]string{"site": "lab"}))
	eventually(t, "all are assigned", func() string {
		a := w.deployment(ns, "web").Status.Aggregate
		if a == nil || a.MatchedDeviceCount != n || a.Pending != n {
			return fmt.Sprintf("%+v", a)
		}
		return ""
	})
	w.assigned("pi-000", "web", true) // the bucket follows the log
	hash := eventlog.Hash([]byte(w.desired("pi-000.web")))

	storms := []struct {
		phase   eventlog.Phase
		failure string
		counted func(*v1alpha1.DeploymentAggregate) int32
	}{
		{eventlog.PhaseRunning, "", func(a *v1alpha1.DeploymentAggregate) int32 { return a.Succeeded }},
		{eventlog.PhaseFailed, "no such image", func(a *v1alpha1.DeploymentAggregate) int32 { return a.Failed }},
	}
	for _, storm := range storms {
		counter.idle(t)
		began := time.Now()
		for i, d := range devices {
			time.Sleep(time.Until(began.Add(time.Duration(i) * 2 * time.Second / n))) // the pace is the test
			d.report("web", storm.phase, hash, storm.failure)
		}
		ended := time.Now()
		eventually(t, "the status counts all", func() string {
			if a := w.deployment(ns, "web").Status.Aggregate; storm.counted(a) != n {
				return fmt.Sprintf("%+v", a)
			}
			return ""
		})
		patches := counter.since(began)
		// Every patch counted began in this time, and the next begins a second later
		// at the earliest: however slow the machine, so many fit in and no more.
		took := time.Since(began)
		t.Logf("%d reports in %s: %d status patches in %s; all counted %s after the last", n,
			ended.Sub(began).Round(time.Millisecond), patches, took.Round(time.Millisecond), time.Since(ended).Round(time.Millisecond))
		if most := 1 + int(took/time.Second); patches == 0 || patches > most {
			t.Errorf("%s: %d status patches in %s, want 1 to %d: one a second", storm.phase, patches, took, most)
		}
	}
}

func TestTwoNamespacesWithOneName(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.operate()
	w.logged()
	w.device("pi-01", map[string]string{"site": "lab"})
	w.device("pi-02", map[string]string{"site": "lab"})
	w.labelled("pi-01", "pi-02")
	first, second := w.api.Namespace(t), w.api.Namespace(t)
	w.apply(deployment(first, "web", "app:1", map[string]string{"site": "lab"}))
	w.ready(first, "web", v1alpha1.ReasonAllSucceeded)
	w.apply(deployment(second, "web", "app:2", map[string]string{"site": "lab"}))
	d := w.ready(second, "web", v1alpha1.ReasonNameConflict)
	c := meta.FindStatusCondition(d.Status.Conditions, v1alpha1.ConditionReady)
	if want := first + "/web holds the name \"web\" on 2 devices"; c.Status != metav1.ConditionFalse || !contains(c.Message, want) {
		t.Errorf("Ready=%s %q, want False and %q", c.Status, c.Message, want)
	}
	w.ready(first, "web", v1alpha1.ReasonAllSucceeded)
	if err := w.fleet.FleetV1alpha1().Deployments(first).Delete(t.Context(), "web", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	d = w.ready(second, "web", v1alpha1.ReasonAllSucceeded)
	if d.Status.Aggregate.Succeeded != 2 {
		t.Errorf("once the name is free: %+v", d.Status.Aggregate)
	}
}

func TestBadInputIsReportedAndTheRestGoesOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	op := w.operate()
	w.logged()
	pi := w.device("pi-01", map[string]string{"site": "lab"})
	ns := w.api.Namespace(t)
	strange := deployment(ns, "strange", "app:1", map[string]string{"site": "lab"})
	strange.Spec.Score.Type = "WasmV7"
	w.apply(strange)
	w.ready(ns, "strange", v1alpha1.ReasonUnsupportedScore)
	w.apply(deployment(ns, "nobody", "app:1", map[string]string{"site": "moon"}))
	w.ready(ns, "nobody", v1alpha1.ReasonNoDeviceMatches)

	w.publish(msg("fleet.evt.state.pi-01.web", "not JSON"))
	w.publish(msg("fleet.evt.device.pi-01", "not an event"))
	w.publish(msg("fleet.evt.info.Not_A_Name", `{"device_id":"Not_A_Name"}`))
	pi.mute.Store(true)
	w.apply(deployment(ns, "web", "app:1", map[string]string{"site": "lab"}))
	w.assigned("pi-01", "web", true)
	pi.report("web", eventlog.PhaseFailed, eventlog.Hash([]byte(w.desired("pi-01.web"))), "manifest unknown")
	d := w.ready(ns, "web", v1alpha1.ReasonDeviceFailed)
	if e := d.Status.Aggregate.LastError; e == nil || e.Device != "pi-01" || e.Reason != "ImagePullFailed" || e.Message != "manifest unknown" {
		t.Errorf("last error %+v", e)
	}
	op.gauge(t, "fleet_operator_foreign_messages_total", 2)
}

func TestADeviceThatFallsSilentIsOffline(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.operate(func(o *operator.Options) { o.PulseInterval = 500 * time.Millisecond })
	w.logged()
	alive, silent := w.device("pi-01", map[string]string{"site": "lab"}), w.device("pi-02", map[string]string{"site": "lab"})
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		tick := time.NewTicker(400 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				alive.pulse()
			}
		}
	}()
	silent.mute.Store(true)
	online := func(id string, want metav1.ConditionStatus, reason string) {
		t.Helper()
		eventually(t, id+" is "+string(want), func() string {
			c := meta.FindStatusCondition(w.cr(id).Status.Conditions, v1alpha1.ConditionOnline)
			if c == nil || c.Status != want || c.Reason != reason {
				return fmt.Sprintf("%+v", c)
			}
			return ""
		})
	}
	online("pi-01", metav1.ConditionTrue, "PulseReceived")
	online("pi-02", metav1.ConditionFalse, "PulseMissed")
	ns := w.api.Namespace(t)
	w.apply(deployment(ns, "web", "app:1", map[string]string{"site": "lab"}))
	w.ready(ns, "web", v1alpha1.ReasonOnlineSucceeded)
	silent.mute.Store(false)
	silent.pulse()
	online("pi-02", metav1.ConditionTrue, "PulseReceived")
}
