package decide_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/projections/fleet"
)

const dependsOnDB = `{"strategy":"Batched","batches":[{"size":1,"soak":"0s"},{"soak":"0s"}],"progressDeadline":"5m","dependsOn":["db"]}`

// stalls gives what the log says of batches that do not get on.
func (s *show) stalls() (said []eventlog.Rollout) {
	for _, d := range s.log {
		if d.Type != eventlog.RolloutStalled {
			continue
		}
		var r eventlog.Rollout
		if err := json.Unmarshal(d.Data, &r); err != nil {
			s.Fatalf("%v", err)
		}
		said = append(said, r)
	}
	return said
}

// db applies what a/web depends on; its devices say nothing of it before they are told to.
func (s *show) db(settings string) {
	s.settle(s.put(cr("a", "db", "db:1", site, withRollout(settings))))
}

// A batch whose devices wait for another Deployment says so once it stood still for a
// deadline, once a batch, and goes on as soon as that Deployment is healthy.
func TestABatchThatDoesNotGetOnSaysItOnce(t *testing.T) {
	t.Parallel()
	s := newShow(t, 2)
	s.db(`{"strategy":"Immediate"}`)
	s.apply("app:1", dependsOnDB)
	s.pass(0)
	s.pass(299 * time.Second)
	if got := s.stalls(); len(got) > 0 {
		t.Fatalf("before its deadline it says %+v", got)
	}
	s.pass(time.Second)
	s.pass(time.Hour)
	said := s.stalls()
	if len(said) != 1 {
		t.Fatalf("it says %d times that it does not get on", len(said))
	}
	want := []string{v1alpha1.ReasonAwaitingDependencies, "1 device of batch 1 waits until what it depends on is healthy there; nothing got on for 5m0s", "waits for a/db"}
	if diff := cmp.Diff(want, []string{said[0].Reason, said[0].Message, said[0].Examples[0].Error}); diff != "" {
		t.Errorf("it says (-want +got):\n%s", diff)
	}
	for _, id := range s.ids {
		s.report(id, "db", eventlog.PhaseRunning)
	}
	s.pass(0)
	s.pass(time.Minute)
	if got := s.run(); got.Phase != fleet.PhaseCompleted {
		t.Errorf("what it depends on is healthy, and it is %s", got.Phase)
	}
	if got := s.stalls(); len(got) != 1 {
		t.Errorf("it got on, and says %d times that it does not", len(got))
	}
}

// Two Deployments that depend on each other wait for ever. Each says why.
func TestACycleSaysThatItDoesNotGetOn(t *testing.T) {
	t.Parallel()
	s := newShow(t, 2)
	s.db(`{"strategy":"Batched","dependsOn":["web"]}`)
	s.apply("app:1", dependsOnDB)
	s.pass(0)
	s.pass(6 * time.Minute)
	said := s.stalls()
	if len(said) != 1 || said[0].Reason != v1alpha1.ReasonDependencyCycle || said[0].Examples[0].Error != "" {
		t.Errorf("it says %+v", said)
	}
	// One that depends on a circle is not in it, and finding that out comes to an end.
	s.settle(s.put(cr("a", "api", "api:1", site, withRollout(`{"strategy":"Batched","dependsOn":["web"]}`))))
	if p := s.Progress(key("a/api")); p.Cycle {
		t.Error("what depends on a circle counts as a part of it")
	}
	if p := s.Progress(key("a/web")); !p.Cycle {
		t.Error("the status cannot tell that it is a cycle")
	}
}

// Devices that leave a Deployment are unavailable through it also where it was an orphan
// in between, and where another operator took over: a second one must not leave beside
// the one that maxUnavailable allows.
func TestDevicesThatLeaveCountAfterAdoption(t *testing.T) {
	t.Parallel()
	s := newShow(t, 4)
	s.apply("app:1", `{"strategy":"Batched","batches":[{"soak":"0s"}],"maxUnavailable":1}`)
	s.pass(0)
	s.pass(time.Minute)
	web := cr("a", "web", "app:1", nil, generation(9), withRollout(`{"strategy":"Batched","batches":[{"soak":"0s"}],"maxUnavailable":1}`),
		expression("site", "In", "elsewhere"))
	left := func() (n int) {
		for _, d := range s.log {
			if d.Type == eventlog.DesiredWithdrawn {
				n++
			}
		}
		return n
	}
	s.settle(s.put(web))
	if left() != 1 {
		t.Fatalf("%d devices leave at once, want 1", left())
	}
	s.RemoveDeployment(key("a/web"))
	s.settle(decide.OfDeployment(key("a/web")))
	s.settle(s.put(web), decide.OfProgress(key("a/web")))
	if left() != 1 {
		t.Errorf("it was an orphan, and %d devices leave at once, want 1", left())
	}
	s.SetView(s.View())
	s.settle(decide.OfProgress(key("a/web")))
	if left() != 1 {
		t.Errorf("another operator took over, and %d devices leave at once, want 1", left())
	}
}

// `kubectl apply -f dir/` brings what others depend on after them: a first revision, which
// is one batch, waits for that. It does not complete without a device, so what it does to
// devices then is judged.
func TestAFirstRevisionWaitsForWhatItDependsOn(t *testing.T) {
	t.Parallel()
	s := newShow(t, 2)
	s.nature["app:1"] = eventlog.PhaseFailed
	s.apply("app:1", `{"progressDeadline":"5m","dependsOn":["db"]}`)
	s.pass(0)
	s.pass(time.Hour)
	if got := s.run(); got.Phase != fleet.PhaseProgressing || len(s.stalls()) != 1 || s.Progress(key("a/web")).Missing != 2 {
		t.Fatalf("what it depends on is not there, and it is %s, said %+v", got.Phase, s.stalls())
	}
	want := eventlog.Rollout{
		Reason: v1alpha1.ReasonAwaitingDependencies, Message: "2 devices of batch 1 wait until what it depends on is assigned there, and healthy; nothing got on for 5m0s",
	}
	for _, e := range s.stalls()[0].Examples {
		want.Examples = append(want.Examples, eventlog.DeviceExample{Device: e.Device, Reason: v1alpha1.ReasonDependencyMissing, Error: "waits for a/db, which is not assigned there"})
	}
	said := s.stalls()[0]
	if diff := cmp.Diff(want, eventlog.Rollout{Reason: said.Reason, Message: said.Message, Examples: said.Examples}); diff != "" || len(said.Examples) != 2 {
		t.Errorf("it says (-want +got):\n%s", diff)
	}
	s.db(`{"strategy":"Immediate"}`)
	for _, id := range s.ids {
		s.report(id, "db", eventlog.PhaseRunning)
	}
	s.pass(0)
	s.pass(2 * time.Minute)
	if got := s.run(); got.Phase != fleet.PhasePaused || got.Reason != v1alpha1.ReasonBatchFailed {
		t.Errorf("all its devices fail, and it is %s (%s)", got.Phase, got.Reason)
	}
}

// Devices that go offline (a site's power cut) before what they depend on came, or was
// healthy, are no reason to call a revision complete and stable that nobody has.
func TestAFirstRevisionWaitsWhereItsDevicesGoOffline(t *testing.T) {
	t.Parallel()
	for name, depends := range map[string]string{"what it depends on is not there": "", "what it depends on is not healthy": `{"strategy":"Immediate"}`, "it depends on itself": `{"dependsOn":["web"]}`} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShow(t, 2)
			s.nature["app:1"] = eventlog.PhaseFailed
			if depends != "" {
				s.db(depends)
			}
			s.apply("app:1", `{"progressDeadline":"5m","dependsOn":["db"]}`)
			s.pass(0)
			for _, id := range s.ids {
				s.offline(id)
			}
			s.pass(time.Minute)
			if got := s.run(); got.Phase != fleet.PhaseProgressing {
				t.Errorf("nobody has it, and it is %s; stable %q", got.Phase, s.View().Deployments[key("a/web")].Stable.Content)
			}
			s.pass(time.Hour)
			if said, p := s.stalls(), s.Progress(key("a/web")); len(said) != 1 || p.Missing != 2 {
				t.Errorf("for an hour it waits, of which %d devices are counted, and says %+v", p.Missing, said)
			}
		})
	}
}

// What is given to all devices at once waits for what it depends on, too, and the status
// can say for how many devices: for what is not there, not healthy, or for ever.
func TestAnImmediateRolloutCountsTheDevicesThatWaitForAnother(t *testing.T) {
	t.Parallel()
	s := newShow(t, 3)
	blocked := func(want int) {
		t.Helper()
		s.pass(time.Second)
		if p := s.Progress(key("a/web")); p.Blocked != want {
			t.Errorf("%d devices wait for another Deployment, want %d", p.Blocked, want)
		}
	}
	s.apply("app:1", `{"strategy":"Immediate","dependsOn":["db"]}`)
	blocked(3)
	s.db(`{"strategy":"Immediate"}`)
	blocked(3)
	s.report(s.ids[0], "db", eventlog.PhaseRunning)
	blocked(2)
	s.offline(s.ids[1]) // it is given it when it is back
	blocked(1)
	s.online(s.ids[1])
	for _, id := range s.ids[1:] {
		s.report(id, "db", eventlog.PhaseRunning)
	}
	blocked(0)
	s.pass(time.Minute)
	if got := s.run(); got.Phase != fleet.PhaseCompleted {
		t.Errorf("what it depends on is healthy, and it is %s", got.Phase)
	}
}
