package decide_test

import (
	"testing"
	"time"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/projections/fleet"
)

// While a person held it, no device was late: what waited for a person has its whole
// deadline again.
func TestAHoldGivesAnotherDeadline(t *testing.T) {
	t.Parallel()
	s := newShow(t, 3)
	s.apply("app:1", `{}`)
	s.pass(0)
	s.pass(time.Minute)
	s.apply("app:2", `{"batches":[{"size":1,"soak":"0s"},{"soak":"0s"}],"progressDeadline":"5m","onFailure":"Rollback"}`) // silent
	s.pass(0)
	s.ask(eventlog.RequestPause, nil)
	s.pass(10 * time.Minute)
	from := len(s.log)
	s.ask(eventlog.RequestResume, nil)
	s.pass(0)
	t.Logf("after resume: %v", s.rollouts(from))
	if got := s.run(); got.Phase != fleet.PhaseProgressing || got.Failed {
		t.Errorf("it was resumed a moment ago, and it is %s", got.Phase)
	}
}

// A batch stays open for as long as its waves take (here: because one device waits for
// another Deployment). Devices that had proven it long ago drop off the network for a
// moment: they are not bad while they soak again.
func TestADeviceThatHadProvenItIsNotBadWhenItIsBack(t *testing.T) {
	t.Parallel()
	s := newShow(t, 4)
	s.db(`{"strategy":"Immediate"}`)
	for _, id := range s.ids[:3] {
		s.report(id, "db", eventlog.PhaseRunning)
	}
	s.apply("app:1", `{"batches":[{"soak":"1m"}],"progressDeadline":"5m","dependsOn":["db"]}`)
	s.pass(0)
	s.pass(10 * time.Minute)
	if n := s.Progress(key("a/web")).Batch; n.Proven != 3 || n.Waiting != 1 {
		t.Fatalf("it is %+v", n)
	}
	from := len(s.log)
	for _, id := range s.ids[:3] {
		s.offline(id)
	}
	s.pass(10 * time.Second)
	for _, id := range s.ids[:3] {
		s.online(id)
	}
	s.pass(0)
	if got := s.run(); got.Phase != fleet.PhaseProgressing {
		t.Errorf("three devices that ran it for ten minutes were away for ten seconds, and it is %s: %v, %s", got.Phase, s.rollouts(from), got.Message)
	}
}

// The same by a real wave.
func TestAWaveThatTakesLongIsNotFailedByABlip(t *testing.T) {
	t.Parallel()
	s := newShow(t, 40)
	s.apply("app:1", `{"strategy":"Immediate"}`)
	s.pass(0)
	s.apply("app:2", `{"batches":[{"soak":"1m"}],"progressDeadline":"10m","maxUnavailable":1}`)
	for range 30 { // each device takes 50 s
		s.pass(50 * time.Second)
		for _, id := range s.ids {
			if p := s.View().Devices[id].Pair("web"); imageOf(s.log, p.Desired.Sequence) == "app:2" && !p.Succeeded() {
				s.report2(id)
				break
			}
		}
	}
	n := s.Progress(key("a/web")).Batch
	t.Logf("%+v", n)
	from := len(s.log)
	blip := 0
	for _, id := range s.ids {
		p := s.View().Devices[id].Pair("web")
		if imageOf(s.log, p.Desired.Sequence) == "app:2" && p.Succeeded() && s.at().Sub(p.Begun.Time()) > 12*time.Minute && blip < 3 {
			blip++
			s.offline(id)
			s.online(id)
		}
	}
	s.pass(0)
	if got := s.run(); got.Phase != fleet.PhaseProgressing {
		t.Errorf("%d devices were away for a moment, and it is %s: %v, %s", blip, got.Phase, s.rollouts(from), got.Message)
	}
}

func (s *show) report2(id string) {
	p := s.View().Devices[id].Pair("web")
	s.tell(eventlog.StateSubject(id, "web"), eventlog.StateReported, eventlog.DeploymentState{
		DeviceID: id, Deployment: "web", Phase: eventlog.PhaseRunning, ScoreHash: p.Desired.Hash, Assignment: p.Desired.Sequence, LastEventAt: now,
	})
	s.settle(decide.OfDevice(id), decide.OfProgress(key("a/web")))
}
