//go:build e2e

package takeover_test

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/devicetest"
	"fleet.nationtech.io/projections/rollout/rollouttest"
)

// The rollouts, one for each phase in which the leader is lost. Each has 28 of 196
// devices of its own.
const (
	first    = "first"    // devices of the first batch are at work
	soak     = "soak"     // the first batch soaks
	between  = "between"  // the first batch has succeeded this very moment
	approval = "approval" // it waits for a person
	paused   = "paused"   // its first batch failed
	back     = "back"     // it is rolling back
	second   = "second"   // devices of the second batch are at work
)

var phases = []string{first, soak, between, approval, paused, back, second}

const devicesEach = 28

// settings are of a Deployment while the leader is lost. The silent devices of a phase
// must not fall due before another leads.
func settings(name string) string {
	soaks, deadline, manual := "1s", "300s", ""
	switch name {
	case soak:
		soaks = "20s"
	case paused:
		deadline = "5s"
	case approval:
		manual = `,"approval":"Manual"`
	}
	return fmt.Sprintf(`{"batches":[{"size":3,"soak":%q%s},{"size":"50%%","soak":"1s"},{"soak":"1s"}],"maxUnavailable":"30%%","progressDeadline":%q}`, soaks, manual, deadline)
}

// What the log says of a run, from its start.
var (
	completes  = []string{"started Update", "batch_succeeded 1", "batch_started 2", "batch_succeeded 2", "batch_started 3", "batch_succeeded 3", "completed"}
	promoted   = []string{"started Update", "batch_succeeded 1", "promoted 1", "batch_started 2", "batch_succeeded 2", "batch_started 3", "batch_succeeded 3", "completed"}
	failsOnce  = []string{"started Update", "batch_failed 1", "paused 1", "started Rollback", "rolled_back"}
	rolledBack = []string{"started Update", "started Rollback", "rolled_back"}
)

func runOf(name string) []string {
	switch name {
	case approval:
		return promoted
	case paused:
		return failsOnce
	case back:
		return rolledBack
	}
	return completes
}

// The leader is killed, and the next one is stopped for longer than its lease and goes on,
// each time while seven rollouts are in the seven phases of one. A replica that stands by
// takes over; each run's events are those of the table, each once; no device is given
// anything twice; the log obeys the laws (a budget for all of a site, maxUnavailable,
// soaks); and the one that was stopped writes nothing once another leads.
func TestALeaderIsLostInEachPhaseOfARollout(t *testing.T) {
	for servers, name := range map[int]string{1: "on one NATS server", 3: "on three"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			loseLeaders(t, newWorld(t, servers))
		})
	}
}

func loseLeaders(t *testing.T, w *world) {
	a := w.operate("op-a")
	w.eventually("op-a leads", a.leads)
	labels := map[string]map[string]string{}
	for i := range devicesEach * len(phases) {
		labels[fmt.Sprintf("pi-%03d", i)] = map[string]string{"group": phases[i%len(phases)], "site": fmt.Sprint("s", i/len(phases)%4), "fleet": "all"}
	}
	w.devices(labels)
	b := w.operate("op-b")

	for _, name := range phases {
		w.apply(name, name+":1", settings(""))
	}
	for _, name := range phases {
		w.phase(name, v1alpha1.RolloutCompleted)
	}

	w.park(2)
	dead, lives := w.leader(a, b)
	w.lose(dead, syscall.SIGKILL, lives)
	w.goOn(2)

	c := w.operate("op-c")
	w.park(3)
	stopped, leads := w.leader(lives, c)
	w.lose(stopped, syscall.SIGSTOP, leads)
	stopped.signal(syscall.SIGCONT) // and hears at once what the devices say now
	w.goOn(3)
	w.eventually("one alone holds that it leads", func() error {
		one, other := w.leader(lives, c)
		if err := one.leads(); err != nil {
			return err
		}
		if other.leads() == nil {
			return fmt.Errorf("%s holds that it leads, too", other.identity)
		}
		_, err := other.get("/readyz")
		return err
	})
	w.check()
}

// leader tells the one of two that was elected last from the other: a busy machine may
// cost a leader its lease at any moment.
func (w *world) leader(a, b *process) (leads, standsBy *process) {
	w.t.Helper()
	names, _ := w.elections()
	if names[len(names)-1] == b.identity {
		return b, a
	}
	return a, b
}

// lease is how long a Lease holds without being renewed. A replica that stands by looks
// each 2 to 4.4 s (client-go's jitter), so it leads after 24 s at the latest where the
// machine has time.
const lease = 15 * time.Second

// lose kills or stops the leader, and waits until the other was elected. How long that
// took is logged, and fails nothing: it is the machine's time.
func (w *world) lose(p *process, by syscall.Signal, other *process) {
	w.t.Helper()
	w.logPhases()
	lost := time.Now()
	p.signal(by)
	var took time.Duration
	w.eventually(other.identity+" is elected", func() error {
		names, events := w.elections()
		n := len(names)
		if names[n-1] != other.identity {
			return fmt.Errorf("leaders: %v", names)
		}
		took = events[n-1].Recorded.Sub(lost).Round(100 * time.Millisecond)
		return nil
	})
	w.t.Logf("%s leads %s after %s was lost by %s; the lease is %s", other.identity, took, p.identity, by, lease)
}

// logPhases logs where the rollouts are, so that a reader sees in which phases the leader
// was lost.
func (w *world) logPhases() {
	w.t.Helper()
	for _, name := range phases {
		s := w.status(name)
		w.t.Logf("before the signal %s is %s (%s), in batch %d of %d: %d updating, %d healthy, %d failed, %d waiting",
			name, s.Phase, s.Reason, s.Batch, s.Batches, s.Updating, s.Healthy, s.Failed, s.Waiting)
	}
}

// devices starts the devices and waits until the operator knows them.
func (w *world) devices(labels map[string]map[string]string) {
	w.t.Helper()
	limit := intstr.FromInt(12)
	_, err := w.kube.FleetV1alpha1().DisruptionBudgets().Create(w.t.Context(), &v1alpha1.DisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Name: "sites"},
		Spec: v1alpha1.DisruptionBudgetSpec{
			Selector: metav1.LabelSelector{MatchLabels: map[string]string{"fleet": "all"}}, MaxUnavailable: &limit, GroupBy: []string{"site"},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	w.fleet = devicetest.Start(w.t, w.nc, w.js, labels)
	w.eventually("the devices are online", func() error {
		l, err := w.kube.FleetV1alpha1().Devices().List(w.t.Context(), metav1.ListOptions{})
		if err != nil {
			return err
		}
		online := 0
		for _, d := range l.Items {
			for _, c := range d.Status.Conditions {
				if c.Type == v1alpha1.ConditionOnline && c.Status == metav1.ConditionTrue {
					online++
				}
			}
		}
		if online < len(labels) {
			return fmt.Errorf("%d of %d are", online, len(labels))
		}
		return nil
	})
}

func (w *world) phase(name string, want v1alpha1.RolloutPhase) {
	w.t.Helper()
	w.eventually(fmt.Sprintf("%s is %s", name, want), func() error {
		if s := w.status(name); s.Phase != want {
			return fmt.Errorf("%+v\n%v", s, w.told(name))
		}
		return nil
	})
}

// park brings each rollout into its phase: into that between two batches at the very end.
func (w *world) park(revision int) {
	w.t.Helper()
	image := func(name string) string { return fmt.Sprint(name, ":", revision) }
	begin := func(name string) { w.apply(name, image(name), settings(name)) }
	at := func(name string, what string, holds func(s *v1alpha1.RolloutStatus) bool) {
		w.t.Helper()
		w.eventually(name+" "+what, func() error {
			if s := w.status(name); s.Revision != int64(revision) && s.Phase != v1alpha1.RolloutRollingBack || !holds(s) {
				return fmt.Errorf("%+v\n%v", s, w.told(name))
			}
			return nil
		})
	}
	given := func(name string) {
		w.t.Helper()
		at(name, "is given to the first batch", func(s *v1alpha1.RolloutStatus) bool { return s.Batch == 1 && s.Updating == 3 })
	}
	w.fleet.Set(image(first), devicetest.Silent)
	w.fleet.Set(image(back), devicetest.Silent)
	w.fleet.Set(image(paused), devicetest.Fails)
	w.fleet.SetFirst(image(second), 3)
	for _, name := range []string{first, paused, back, second, approval} {
		begin(name)
	}
	given(first)
	given(back)
	w.fleet.Set(back+":1", devicetest.Silent)
	w.request(eventlog.RequestUndo, back)
	at(back, "rolls back", func(s *v1alpha1.RolloutStatus) bool {
		return s.Phase == v1alpha1.RolloutRollingBack && s.Updating == 3
	})
	w.phase(paused, v1alpha1.RolloutPaused)
	at(approval, "waits for a person", func(s *v1alpha1.RolloutStatus) bool { return s.Reason == v1alpha1.ReasonAwaitingApproval })
	at(second, "is in its second batch", func(s *v1alpha1.RolloutStatus) bool { return s.Batch == 2 && s.Updating > 0 })
	begin(soak)
	at(soak, "soaks", func(s *v1alpha1.RolloutStatus) bool { return s.Batch == 1 && s.Healthy == 3 })
	already := len(w.told(between))
	begin(between)
	w.eventually("between has passed its first batch", func() error {
		if said := w.told(between); !slices.Contains(said[already:], "batch_succeeded 1") {
			return fmt.Errorf("%v", said[already:])
		}
		return nil
	})
}

// goOn lets devices and people do what ends each run.
func (w *world) goOn(revision int) {
	w.t.Helper()
	for _, name := range []string{first, second} {
		w.fleet.Set(fmt.Sprint(name, ":", revision), devicetest.Runs)
	}
	w.fleet.Set(back+":1", devicetest.Runs)
	w.request(eventlog.RequestPromote, approval)
	w.request(eventlog.RequestUndo, paused)
	for _, name := range phases {
		want := v1alpha1.RolloutCompleted
		if name == paused || name == back {
			want = v1alpha1.RolloutRolledBack
		}
		w.eventually(name+" has ended", func() error {
			if s := w.status(name); s.Phase != want || want == v1alpha1.RolloutCompleted && s.Revision != int64(revision) {
				return fmt.Errorf("%+v\n%v", s, w.told(name))
			}
			return nil
		})
	}
}

// check looks at the whole log.
func (w *world) check() {
	w.t.Helper()
	for _, name := range phases {
		want := append(append(append([]string{}, completes...), runOf(name)...), runOf(name)...)
		if diff := cmp.Diff(want, w.told(name)); diff != "" {
			w.t.Errorf("rollout events of %s (-want +got):\n%s", name, diff)
		}
	}
	names, _ := w.elections()
	w.t.Logf("leaders: %v", names)
	log := w.read()
	if err := rollouttest.CheckLog(log); err != nil {
		w.t.Errorf("the log breaks laws:\n%v", err)
	}
	const fence = "Nats-Expected-Last-Subject-Sequence"
	token, fenced, given := "", 0, map[string]int{}
	for _, e := range log {
		switch e.Type {
		case eventlog.LeaderElected:
			token = fmt.Sprint(e.Sequence)
			continue
		case eventlog.DesiredAssigned:
			given[fmt.Sprintf("%s revision %d", e.Subject, e.Revision)]++
		}
		if by := e.Header.Get(fence); by != "" {
			fenced++
			if by != token {
				w.t.Errorf("event %d, %s, is of the leader that was elected by event %s, and %s had been since", e.Sequence, e.Type, by, token)
			}
		}
	}
	if fenced == 0 {
		w.t.Error("no event has the fence, and this test shows nothing")
	}
	for what, n := range given {
		// A rollback gives the first revision again, to three devices of a batch.
		again := strings.HasSuffix(what, " revision 1") && (strings.Contains(what, "."+paused+" ") || strings.Contains(what, "."+back+" "))
		if n > 1 && !again {
			w.t.Errorf("%s was given %d times", what, n)
		}
	}
}
