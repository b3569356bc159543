package agent_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/agent/plan"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/score"
)

const (
	one = `[{"name":"web","image":"localhost/fleet-hello:1","ports":["8080"]}]`
	two = `[{"name":"web","image":"localhost/fleet-hello:2","ports":["8080"]}]`
)

func TestWhatIsAssignedRunsAndIsReported(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.agent()
	hash := w.assign("hello", 3, one)
	s := w.awaitPhase("hello", eventlog.PhaseRunning, hash)
	if s.Revision != 3 || len(s.Services) != 1 || s.Services[0].State != "running" || len(s.Services[0].Ports) != 1 {
		t.Errorf("the report does not say what runs: %+v", s)
	}
	w.await("the device tells of itself", func() bool {
		i, ok := value[eventlog.DeviceInfo](w, eventlog.BucketInfo, eventlog.InfoKey(device))
		return ok && i.Labels["site"] == "lab" && i.Inventory.AgentVersion != "" && i.Inventory.CPUCores > 0
	})
	w.await("the device has a pulse", func() bool {
		h, ok := value[eventlog.Heartbeat](w, eventlog.BucketHeartbeat, eventlog.HeartbeatKey(device))
		return ok && h.DeviceID == device && time.Since(h.At) < 10*time.Second
	})

	first := s.Services[0].ContainerID
	hash = w.assign("hello", 4, two)
	s = w.awaitPhase("hello", eventlog.PhaseRunning, hash)
	if s.Services[0].ContainerID == first {
		t.Error("the service's part changed and its container was not replaced")
	}

	w.withdraw("hello")
	w.await("nothing is left, and the report is taken back", func() bool {
		found, err := w.engine.Observe(t.Context())
		_, reported := w.state("hello")
		return err == nil && len(found) == 0 && !reported
	})
	want := map[eventlog.Type]int{eventlog.AgentStarted: 1, eventlog.AgentStepSucceeded: 3}
	w.await("the journal has each step", func() bool { // states go before it
		return w.journal()[eventlog.AgentStepSucceeded] >= want[eventlog.AgentStepSucceeded]
	})
	if diff := cmp.Diff(want, w.journal()); diff != "" {
		t.Errorf("journal (-want +got):\n%s", diff)
	}
}

func TestARebootWithoutANetworkBringsTheContainersBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	stop := w.agent()
	hash := w.assign("hello", 1, one)
	id := w.awaitPhase("hello", eventlog.PhaseRunning, hash).Services[0].ContainerID
	stop()

	restarted := time.Now()
	w.agent() // the process alone: nothing may be restarted
	var again eventlog.DeploymentState
	w.await("the new process says what it found", func() bool {
		var ok bool
		again, ok = w.state("hello")
		return ok && again.LastEventAt.After(restarted)
	})
	if again.Phase != eventlog.PhaseRunning || again.Services[0].ContainerID != id || again.Services[0].Restarts != 0 {
		t.Errorf("a restart of the agent touched the container: was %s, is %+v", id, again.Services[0])
	}
	w.server.Stop()
	if err := w.engine.Remove(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	w.await("the container is back, although nobody can be asked", func() bool {
		found, err := w.engine.Observe(t.Context())
		return err == nil && len(found) == 1 && found[0].State == "running" && found[0].ID != id
	})
	w.server.Start()
	w.await("and it is told once the network is there", func() bool {
		s, ok := w.state("hello")
		return ok && len(s.Services) == 1 && s.Services[0].ContainerID != id && s.Phase == eventlog.PhaseRunning
	})
	w.await("the journal has the drift", func() bool {
		j := w.journal()
		return j[eventlog.AgentDriftDetected] == 1 && j[eventlog.AgentDriftRepaired] == 1
	})
}

func TestBadScoresAreRefusedAndTheRestGoesOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.agent()
	good := w.assign("good", 1, one)
	bad := w.assign("bad", 1, `[{"name":"web","image":"x","ports":["80:99999"]}]`)
	if s := w.awaitPhase("bad", eventlog.PhaseFailed, bad); s.Reason != score.ReasonInvalidScore || s.LastError == nil {
		t.Errorf("refused with reason %q, error %v", s.Reason, s.LastError)
	}
	w.append(eventlog.Draft{
		Subject: eventlog.DesiredSubject(device, "other"), Type: eventlog.DesiredAssigned, Time: time.Now(),
		Namespace: "default", Revision: 1, Data: []byte(`{"type":"WasmV9"}`),
	})
	w.await("the unknown type is refused by its name", func() bool {
		s, ok := w.state("other")
		return ok && s.Phase == eventlog.PhaseFailed && s.Reason == score.ReasonUnsupportedScore
	})
	pull := w.assign("pull", 1, `[{"name":"web","image":"fault.test/pull-error:1"}]`)
	if s := w.awaitPhase("pull", eventlog.PhaseFailed, pull); s.LastError == nil {
		t.Errorf("a pull that failed is reported without its error: %+v", s)
	}
	crash := w.assign("crash", 1, `[{"name":"web","image":"fault.test/crash:1"}]`)
	if s := w.awaitPhase("crash", eventlog.PhaseFailed, crash); s.Reason != plan.ReasonCrashLoop {
		t.Errorf("a container that crashes is reported with reason %q", s.Reason)
	}
	w.awaitPhase("good", eventlog.PhaseRunning, good)
}

func TestAPingIsAnswered(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.agent()
	var answer struct {
		DeviceID     string    `json:"device_id"`
		AgentVersion string    `json:"agent_version"`
		At           time.Time `json:"at"`
	}
	w.await("the ping is answered", func() bool {
		m, err := w.nc.Request(eventlog.DeviceCommandSubject(device, eventlog.VerbPing), nil, time.Second)
		return err == nil && json.Unmarshal(m.Data, &answer) == nil
	})
	if answer.DeviceID != device || answer.AgentVersion == "" || answer.At.IsZero() {
		t.Errorf("the answer says %+v", answer)
	}
}
