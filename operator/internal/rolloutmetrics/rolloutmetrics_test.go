package rolloutmetrics_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/rollout"
)

var web = fleet.Key{Namespace: "shop", Name: "web"}

func name(metric string, labels ...string) string {
	labels = append(labels, "deployment_name=web", "deployment_namespace=shop")
	slices.Sort(labels)
	return metric + "{" + strings.Join(labels, ",") + "}"
}

// In random stories each figure equals what a look at every device of the view says, no
// label names a device, and there are no more series than the Deployments and budgets
// account for.
func TestEachFigureIsWhatALookAtEachDeviceSays(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(rt)
		devices := []string{"a", "b", "c", "d", "e", "f"}
		sites := map[string]string{}
		site := func(id, to string) {
			w.device(id, to)
			sites[id] = to
		}
		for i, id := range devices {
			site(id, []string{"x", "y"}[i%2])
			w.presence(id, eventlog.DeviceOnline)
		}
		w.budget("floor", rapid.IntRange(0, 2).Draw(rt, "budget"))
		generation := int64(0)
		put := func() {
			generation++
			w.put(web, generation, rapid.SampledFrom([]string{"app:1", "app:2", "app:3"}).Draw(rt, "image"), func(r *v1alpha1.RolloutSpec) {
				r.OnFailure = rapid.SampledFrom([]string{"Pause", "Rollback", "Continue"}).Draw(rt, "on failure")
				if rapid.IntRange(0, 5).Draw(rt, "immediate") == 0 {
					*r = v1alpha1.RolloutSpec{Strategy: v1alpha1.RolloutImmediate}
				}
			}, "x", "y")
		}
		put()
		for range rapid.IntRange(1, 30).Draw(rt, "steps") {
			id := rapid.SampledFrom(devices).Draw(rt, "device")
			switch rapid.SampledFrom([]string{"report", "report", "report", "report all", "presence", "put", "pass", "pass", "ask", "site"}).Draw(rt, "do") {
			case "report":
				w.report(id, web, rapid.SampledFrom([]eventlog.Phase{eventlog.PhaseRunning, eventlog.PhaseFailed, eventlog.PhasePending}).Draw(rt, "phase"))
			case "report all":
				for _, id := range devices {
					w.report(id, web, eventlog.PhaseRunning)
				}
			case "presence":
				w.presence(id, rapid.SampledFrom([]eventlog.Type{eventlog.DeviceOnline, eventlog.DeviceOffline}).Draw(rt, "presence"))
			case "put":
				put()
			case "pass":
				w.pass(time.Duration(rapid.SampledFrom([]int{1, 30, 90, 900}).Draw(rt, "seconds")) * time.Second)
			case "ask":
				w.request(web, rapid.SampledFrom(eventlog.RolloutVerbs()).Draw(rt, "verb"))
			case "site":
				site(id, rapid.SampledFrom([]string{"x", "y", "z"}).Draw(rt, "site"))
			}
			agree(w, sites)
		}
	})
}

func agree(w *world, sites map[string]string) {
	got := w.series()
	d := w.state.View().Deployments[web]
	run, s := &d.Run, rollout.Look(w.state.View(), d, w.state.Clock())
	n := s.Counts()
	want := map[string]float64{
		name("fleet_rollout_unavailable_devices"):     float64(n.Disturbed),
		name("fleet_rollout_max_unavailable_devices"): float64(n.MaxUnavailable),
		name("fleet_rollout_batch"):                   float64(run.Batch),
		name("fleet_rollout_batches"):                 float64(len(run.Batches)),
		name("fleet_rollout_revision"):                float64(run.Target.Revision),
		name("fleet_rollout_spec_revision"):           float64(d.Spec.Revision),
	}
	for standing := range rollout.Standings {
		want[name("fleet_rollout_devices", "standing="+standing.String())] = float64(n.Standings[standing])
	}
	for _, phase := range []fleet.Phase{"Progressing", "Completed", "Paused", "RollingBack", "RolledBack", "Aborted"} {
		is := 0.0
		if run.Phase == phase {
			is = 1
		}
		want[name("fleet_rollout_phase", "phase="+string(phase))] = is
	}
	if run.Phase == fleet.PhaseProgressing && !rollout.Immediate(run) && d.Hold == nil && !run.Failed {
		b := n.Batches[run.Batch-1]
		for class, devices := range map[string]int{"waiting": b.Waiting, "open": b.Open, "proven": b.Proven, "bad": b.Bad} {
			want[name("fleet_rollout_batch_devices", "class="+class)] = float64(devices)
		}
	}
	selected, down := 0, 0
	for id, site := range sites {
		if site == "x" {
			selected++
			if w.state.View().Devices[id].Down() {
				down++
			}
		}
	}
	want["fleet_disruption_budget_devices{disruption_budget=floor,state=selected}"] = float64(selected)
	want["fleet_disruption_budget_devices{disruption_budget=floor,state=down}"] = float64(down)
	for series, value := range want {
		if is, ok := got[series]; !ok || is != value {
			w.Fatalf("after event %d, run %+v: %s is %v (there: %v), a look at each device says %v", w.seq, *run, series, is, ok, value)
		}
	}
	if _, judged := got[name("fleet_rollout_batch_devices", "class=open")]; judged && !run.Phase.Moving() {
		w.Fatalf("the devices of a batch are counted though none is open: %+v", *run)
	}
	for series := range got {
		for id := range sites {
			if strings.Contains(series, "="+id+",") || strings.Contains(series, "="+id+"}") {
				w.Fatalf("%s names device %s", series, id)
			}
		}
	}
	most := 2*2 + 4*1 + 50*1 + 40 // histograms, budgets, the Deployment, events by type and reason
	if len(got) > most {
		w.Fatalf("there are %d series, more than %d", len(got), most)
	}
}

// What was waited for, and for how long, is told by the log's clock: for a whole rollout
// with a hold, and only while the replica leads.
func TestTimeIsTakenOfWhatARolloutWaitsFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, id := range []string{"a", "b", "c", "d"} {
		w.device(id, "x")
		w.presence(id, eventlog.DeviceOnline)
	}
	runs := func() {
		for _, id := range []string{"a", "b", "c", "d"} {
			w.report(id, web, eventlog.PhaseRunning)
		}
	}
	w.put(web, 1, "app:1", func(r *v1alpha1.RolloutSpec) { r.Batches = nil }, "x")
	runs()
	waited := func() map[string]float64 {
		out := map[string]float64{}
		for series, value := range w.series() {
			if rest, ok := strings.CutPrefix(series, "fleet_rollout_wait_seconds_total{"); ok && value > 0 {
				out[strings.TrimSuffix(rest[strings.Index(rest, "reason=")+len("reason="):], "}")] = value // the last of the labels
			}
		}
		return out
	}
	said := func() (reasons []string) {
		for series := range w.series() {
			if strings.HasPrefix(series, "fleet_rollout_waiting{") {
				reasons = append(reasons, strings.TrimSuffix(series[strings.Index(series, "reason=")+len("reason="):], "}"))
			}
		}
		return reasons
	}
	if got := said(); len(got) > 0 {
		t.Errorf("a rollout that is through waits for %v", got)
	}
	w.put(web, 2, "app:2", nil, "x")
	waited() // a look: from here on the devices are at work
	w.pass(20 * time.Second)
	if got := said(); !slices.Equal(got, []string{v1alpha1.ReasonAwaitingDevices}) {
		t.Errorf("it waits for %v, want the devices", got)
	}
	runs()
	waited()
	w.pass(30 * time.Second)
	waited()
	w.request(web, eventlog.RequestPause)
	waited()
	w.pass(500 * time.Second)
	waited()
	w.leads = false
	w.pass(1000 * time.Second)
	waited()
	w.leads = true
	waited()
	w.pass(7 * time.Second)
	want := map[string]float64{v1alpha1.ReasonAwaitingDevices: 20, v1alpha1.ReasonAwaitingSoak: 30, v1alpha1.ReasonRequested: 507}
	if diff := cmp.Diff(want, waited()); diff != "" {
		t.Errorf("waited for (-want +got):\n%s", diff)
	}

	w.tell(eventlog.DeploymentSubject("shop", "web"), eventlog.DeploymentDeleted, eventlog.DeploymentEnd{Reason: "test"})
	for series := range w.series() {
		if strings.Contains(series, "deployment_name=") {
			t.Errorf("%s is there though the Deployment was deleted", series)
		}
	}
}

// The two histograms count each device once, from the moment of the log from which it was
// to change, and nothing that the log held before.
func TestAChangeIsMeasuredOnceForEachDevice(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, id := range []string{"a", "b", "c"} {
		w.device(id, "x")
		w.presence(id, eventlog.DeviceOnline)
	}
	w.presence("c", eventlog.DeviceOffline)
	once := func(r *v1alpha1.RolloutSpec) { *r = v1alpha1.RolloutSpec{Strategy: v1alpha1.RolloutImmediate} }
	check := func(when string, want map[string]float64) {
		t.Helper()
		got := map[string]float64{}
		for series, value := range w.series() {
			if strings.HasPrefix(series, "fleet_change_") || strings.HasPrefix(series, "fleet_assignment_") {
				got[strings.NewReplacer("fleet_", "", "_seconds{}", "").Replace(series)] = value
			}
		}
		all := map[string]float64{"change_propagation count": 0, "change_propagation sum": 0, "assignment_running count": 0, "assignment_running sum": 0}
		maps.Copy(all, want)
		if diff := cmp.Diff(all, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", when, diff)
		}
	}

	w.live = false
	w.put(web, 1, "app:1", once, "x")
	w.at = w.at.Add(time.Second)
	w.report("a", web, eventlog.PhaseRunning)
	check("what the log held before", nil)
	w.live = true

	w.at = w.at.Add(time.Second)
	w.report("b", web, eventlog.PhaseRunning)
	want := map[string]float64{"change_propagation count": 1, "change_propagation sum": 2, "assignment_running count": 1, "assignment_running sum": 2}
	check("a device that runs it later", want)
	w.report("b", web, eventlog.PhaseFailed)
	w.at = w.at.Add(time.Hour)
	w.report("b", web, eventlog.PhaseRunning)
	w.report("a", web, eventlog.PhaseRunning)
	check("a device that says it again, after a failure too", want)

	w.report("c", web, eventlog.PhaseRunning)
	want["change_propagation count"], want["change_propagation sum"] = 2, 2+3602
	check("a device that was offline", want)

	w.presence("d", eventlog.DeviceOnline)
	w.device("d", "x")
	w.at = w.at.Add(3 * time.Second)
	w.report("d", web, eventlog.PhaseRunning)
	want["assignment_running count"], want["assignment_running sum"] = 2, 2+3
	check("a device that joined after the rollout was through", want)

	saved := w.state.View()
	w.put(web, 2, "app:2", once, "x")
	w.at = w.at.Add(5 * time.Second)
	w.report("a", web, eventlog.PhaseRunning)
	want["assignment_running count"], want["assignment_running sum"] = 3, 2+3+5
	want["change_propagation count"], want["change_propagation sum"] = 3, 3604+5
	check("another revision", want)

	w.witness.Begun(saved) // the replica begins anew: a runs it, b does not
	w.at = w.at.Add(5 * time.Second)
	w.report("a", web, eventlog.PhaseRunning)
	w.report("b", web, eventlog.PhaseRunning)
	want["change_propagation count"], want["change_propagation sum"] = 4, 3609+10
	check("a replica that goes on from a saved view", want)
}

func TestEventsOfRolloutsAreCountedAsTheyAreFolded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.device("a", "x")
	w.presence("a", eventlog.DeviceOnline)
	events := func() map[string]float64 {
		got := w.series()
		maps.DeleteFunc(got, func(series string, _ float64) bool { return !strings.HasPrefix(series, "fleet_rollout_events_total") })
		return got
	}
	w.live = false
	w.put(web, 1, "app:1", func(r *v1alpha1.RolloutSpec) { r.Batches = nil }, "x")
	if got := events(); len(got) > 0 {
		t.Errorf("counted though the log held them before: %v", got)
	}
	w.live = true
	w.request(web, eventlog.RequestPause)
	w.request(web, eventlog.RequestPause)
	w.tell(eventlog.DeploymentSubject("shop", "web"), eventlog.RolloutStalled, eventlog.Rollout{Reason: "a sentence\nof another writer"})
	event := func(typ eventlog.Type, reason string) string {
		return fmt.Sprintf("fleet_rollout_events_total{reason=%s,type=%s}", reason, typ)
	}
	want := map[string]float64{
		event(eventlog.RolloutPaused, "Requested"): 1, event(eventlog.RolloutRequestRefused, decide.ReasonNothingToDo): 1, event(eventlog.RolloutStalled, "Other"): 1,
	}
	if diff := cmp.Diff(want, events()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
