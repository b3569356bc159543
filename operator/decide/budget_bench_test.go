package decide_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/benchtest"
	"fleet.nationtech.io/operator/decide"
)

// BenchmarkFullBudgets measures what a device's word costs while almost all devices wait
// for a DisruptionBudget of one device a rack of 20, over a hundred thousand devices and
// over two thousand: its report in a rollout, which lets the next of its rack go on; and
// that it took off what it leaves after a slip of the selector, which lets the next leave.
func BenchmarkFullBudgets(b *testing.B) {
	const words, rounds, perRack = 200, 7, 20
	sizes := []int{100_000, 2_000}
	for name, begin := range map[string]func(*racks){
		"a rollout":              func(r *racks) { r.apply("app:2", `{"batches":[{"soak":"0s"}],"maxUnavailable":"100%"}`) },
		"a slip of the selector": func(r *racks) { r.slip() },
	} {
		b.Run(name, func(b *testing.B) {
			var turns []benchtest.Turn
			for _, n := range sizes {
				r := newRacks(b, n, perRack)
				began := time.Now()
				begin(r)
				b.Logf("%d devices: the first %d events of %s took %s", n, len(r.waiting()), name, time.Since(began).Round(time.Millisecond))
				turns = append(turns, benchtest.Turn{Name: fmt.Sprintf("%d devices", n), Run: func() {
					for range words {
						r.answer()
					}
				}})
			}
			samples := benchtest.Alternate(b, rounds, turns...)
			for _, s := range samples {
				b.Logf("%s: %s a word", s.Name, (benchtest.Median(s.Wall) / words).Round(10*time.Nanosecond))
			}
			ratios := benchtest.Ratios(samples[0].Wall, samples[1].Wall)
			b.Logf("%d ÷ %d devices (goal ≤ 2): %s", sizes[0], sizes[1], benchtest.Spread(ratios))
			b.ReportMetric(benchtest.Median(ratios), "ratio")
		})
	}
}

// racks are devices with a budget of one device a rack, and app:1 on each of them.
type racks struct {
	*show
	read int // of the log
	told []eventlog.Draft
}

func newRacks(b *testing.B, n, perRack int) *racks {
	b.Helper()
	r := &racks{show: newShow(b, 0)}
	for i := range n {
		id := fmt.Sprintf("pi-%06d", i)
		r.settle(r.label(id, "site", "lab", "rack", fmt.Sprintf("rack-%04d", i/perRack)))
		r.online(id)
	}
	r.settle(r.putBudget(budget(maxUnavailable("1"), groupBy("rack"), selecting(metav1.LabelSelector{MatchLabels: map[string]string{"site": "lab"}}))))
	r.apply("app:1", `{}`)
	for range n {
		r.answer()
	}
	r.settle(decide.OfProgress(key("a/web")))
	return r
}

// slip changes the selector to one that selects nothing. A percentage is of the devices that
// match, so with one they would leave one by one.
func (r *racks) slip() {
	r.apply("app:1", `{"maxUnavailable":100000}`, func(d *v1alpha1.Deployment) {
		d.Spec.TargetSelector.MatchLabels = map[string]string{"site": "moon"}
	})
}

// waiting are the desired events that their devices have not answered.
func (r *racks) waiting() []eventlog.Draft {
	for ; r.read < len(r.log); r.read++ {
		if d := r.log[r.read]; d.Type == eventlog.DesiredAssigned || d.Type == eventlog.DesiredWithdrawn {
			r.told = append(r.told, d)
		}
	}
	return r.told
}

// answer lets the first device that waits say what it did, and decides about that.
func (r *racks) answer() {
	waiting := r.waiting()
	if len(waiting) == 0 {
		r.Fatalf("no device was told anything")
	}
	d := waiting[0]
	r.told = waiting[1:]
	id, name, _ := strings.Cut(strings.TrimPrefix(d.Subject, "fleet.evt.desired."), ".")
	if d.Type == eventlog.DesiredWithdrawn {
		r.tell(eventlog.StateSubject(id, name), eventlog.StateCleared, nil)
	} else {
		p := r.View().Devices[id].Pair(name)
		r.tell(eventlog.StateSubject(id, name), eventlog.StateReported, eventlog.DeploymentState{
			DeviceID: id, Deployment: name, Phase: eventlog.PhaseRunning, ScoreHash: p.Desired.Hash, Assignment: p.Desired.Sequence, LastEventAt: now,
		})
	}
	r.settle(decide.OfDevice(id), decide.OfProgress(key("a/web")))
}
