package operator_test

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator"
)

// BenchmarkABrokenImage is what one careless change does to a large fleet: an image that
// fails on each device is applied to 10,000 devices on a real Kubernetes API and a real
// NATS server, without a word about rollouts in the spec, and with all settings of the
// operator as they are by default. It prints how many devices were given it, and what
// the defaults of others say. It fails where more than the first batch were.
//
// It is no test of make test, for the defaults take their time: a device's failure is
// believed after a minute, and 10,000 Devices have to be made. $FLEET_BENCH_DEVICES is
// for a smaller fleet.
func BenchmarkABrokenImage(b *testing.B) {
	devices := 10_000
	if s := os.Getenv("FLEET_BENCH_DEVICES"); s != "" {
		var err error
		if devices, err = strconv.Atoi(s); err != nil {
			b.Fatal(err)
		}
	}
	first := max(1, (devices+99)/100)
	w := newWorld(b)
	began := time.Now()
	op := w.operate(func(o *operator.Options) { o.LeaseDuration, o.RenewDeadline, o.RetryPeriod = 0, 0, 0 }) // tests have shorter ones
	w.logged()
	c := w.crowd(devices)
	step := func(format string, args ...any) {
		b.Logf("%6.1f s: %s", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
	}
	soon(b, "all devices are online", func() string {
		if n := op.metricOf(b, "fleet_operator_devices", "True"); n != float64(devices) {
			return fmt.Sprintf("%v devices", n)
		}
		return ""
	})
	step("%d devices are online", devices)

	ns := w.api.Namespace(b)
	d := deployment(ns, "web", "app:1", map[string]string{"site": "lab"})
	d.Spec.Rollout = v1alpha1.RolloutSpec{}
	w.apply(d)
	w.soonPhase(b, ns, 1, v1alpha1.RolloutCompleted)
	soon(b, "app:1 runs on all devices", func() string { // some have their Device object late
		if a := w.deployment(ns, "web").Status.Aggregate; a == nil || a.Succeeded != int32(devices) {
			return fmt.Sprintf("%+v", a)
		}
		return ""
	})
	step("app:1 runs on %d devices", len(w.assignedImages()["app:1"]))

	c.breaks("app:2")
	w.setImage(ns, "web", "app:2")
	applied := time.Now()
	s := w.soonPhase(b, ns, 2, v1alpha1.RolloutPaused)
	given := len(w.assignedImages()["app:2"])
	step("the broken app:2 is stopped %.0f s after it was applied: %s", time.Since(applied).Seconds(), s.Rollout.Message)
	if given == 0 || given > first {
		b.Errorf("%d devices were given the broken image, want those of the first batch: at most %d", given, first)
	}
	if n := c.broken(); n > first {
		b.Errorf("%d devices failed, want at most %d", n, first)
	}
	b.Logf("a broken image on %d devices with default settings:", devices)
	b.Logf("  Harmony Fleet:  %d devices were given it, %d failed; the rollout is %s for the reason %s", given, c.broken(), s.Rollout.Phase, s.Rollout.Reason)
	b.Logf("  Rancher Fleet:  up to %d: rolloutStrategy.maxUnavailable is 100%% by default, \"which doesn't take effect on update\"", devices)
	b.Logf("                  (rancher/fleet, pkg/apis/fleet.cattle.io/v1alpha1/bundle_types.go)")
	b.Logf("  flightctl:      up to %d: without rolloutPolicy.deviceSelection the entire fleet is sent for rollout (internal/rollout/device_selection/reconciler.go);", devices)
	b.Logf("                  with it, a batch waits for a device that says nothing for 24 h: DefaultUpdateTimeout (consts.go there)")
	b.ReportMetric(float64(given), "devices-given")
	b.ReportMetric(100*float64(given)/float64(devices), "%-of-the-fleet")
}

// soon polls for as long as a large fleet takes on a busy machine.
func soon(tb testing.TB, what string, against func() string) {
	tb.Helper()
	deadline := time.Now().Add(10 * time.Minute)
	for why := against(); why != ""; why = against() {
		if time.Now().After(deadline) {
			tb.Fatalf("%s: still %s", what, why)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

func (w *world) soonPhase(tb testing.TB, ns string, revision int64, want v1alpha1.RolloutPhase) (s v1alpha1.DeploymentStatus) {
	tb.Helper()
	soon(tb, fmt.Sprintf("revision %d is %s", revision, want), func() string {
		s = w.deployment(ns, "web").Status
		if s.Rollout == nil || s.Rollout.Phase != want || s.Revision != revision {
			return fmt.Sprintf("%+v", s.Rollout)
		}
		return ""
	})
	return s
}

// crowd speaks for many devices over one connection: it informs and pulses as they do,
// and reports of each value that it is told what its image makes of a device.
type crowd struct {
	mu      sync.Mutex
	bad     string // the image that fails
	failing map[string]struct{}
}

func (w *world) crowd(devices int) *crowd {
	w.t.Helper()
	c := &crowd{failing: map[string]struct{}{}}
	_, err := w.nc.Subscribe(eventlog.LiveSubject("*", "*"), func(m *nats.Msg) {
		id, name, ok := eventlog.ParseDesiredKV(m.Header.Get("Nats-Subject"))
		if !ok || len(m.Data) == 0 {
			return
		}
		c.told(w, id, name, m.Data)
	})
	if err != nil {
		w.t.Fatal(err)
	}
	ids := make([]string, devices)
	for i := range ids {
		ids[i] = fmt.Sprintf("pi-%05d", i)
		w.json(eventlog.InfoSubject(ids[i]), eventlog.DeviceInfo{DeviceID: ids[i], Labels: map[string]string{"site": "lab"}, UpdatedAt: time.Now()})
	}
	ctx, end := context.WithCancel(context.Background())
	var pulsing sync.WaitGroup
	pulsing.Go(func() {
		each := time.NewTicker(200 * time.Millisecond) // each device about every 20 s, of the 30 that the operator expects
		defer each.Stop()
		for i := 0; ctx.Err() == nil; i++ {
			for k := i % 100; k < devices; k += 100 {
				w.json(eventlog.PulseSubject(ids[k]), eventlog.Heartbeat{DeviceID: ids[k], At: time.Now()})
			}
			select {
			case <-ctx.Done():
			case <-each.C:
			}
		}
	})
	w.t.Cleanup(func() { end(); pulsing.Wait() })
	return c
}

func (c *crowd) told(w *world, id, name string, value []byte) {
	_, rest, _ := strings.Cut(string(value), `"image":"`)
	image, _, _ := strings.Cut(rest, `"`)
	s := eventlog.DeploymentState{DeviceID: id, Deployment: name, Phase: eventlog.PhaseRunning, ScoreHash: eventlog.Hash(value), LastEventAt: time.Now()}
	c.mu.Lock()
	if image == c.bad {
		c.failing[id] = struct{}{}
		failure := "it does not start"
		s.Phase, s.LastError, s.Reason = eventlog.PhaseFailed, &failure, "ContainerExited"
	}
	c.mu.Unlock()
	w.json(eventlog.StateSubject(id, name), s)
}

func (c *crowd) breaks(image string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bad = image
}

// broken counts the devices on which the image failed.
func (c *crowd) broken() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.failing)
}
