package agent_test

import (
	"strings"
	"testing"

	"fleet.nationtech.io/agent/engine"
	"fleet.nationtech.io/agent/engine/podman"
	"fleet.nationtech.io/agent/engine/podmantest"
	"fleet.nationtech.io/agent/sampleimage"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/needs"
	"fleet.nationtech.io/eventlog/reader"
)

// A person commits a container of the fleet to an image, to look into it, and runs
// that. The agent leaves it alone beside the Deployment and after the Deployment's
// end, reports only its own, and names the person's in the log, once.
func TestAPersonsCopyOfAContainerIsLeftAlone(t *testing.T) {
	if testing.Short() {
		needs.Missing(t, "-short leaves out real containers, which take seconds")
	}
	t.Parallel()
	service := podmantest.Start(t, podmantest.Options{})
	if err := sampleimage.Load(t.Context(), service.Socket(), service.Build("fleet.nationtech.io/agent/cmd/fleet-hello")); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	p, err := podman.New(podman.Options{Device: device, Socket: service.Socket(), DataDir: w.dir})
	if err != nil {
		t.Fatal(err)
	}
	w.engine = p
	stop := w.agent()
	hash := w.assign("hello", 1, checked("1"))
	own := w.awaitPhase("hello", eventlog.PhaseRunning, hash).Services[0].ContainerID

	service.CLI("commit", "-q", own, "localhost/copy:1")
	service.CLI("run", "-d", "--name", "my-debug", "localhost/copy:1")
	w.await("the log names the person's container", func() bool { return len(w.foreign()) > 0 })
	w.withdraw("hello")
	w.await("the Deployment is gone", func() bool {
		_, reported := w.state("hello")
		return !reported && service.CLI("ps", "-a", "-q", "--no-trunc", "--filter", "id="+own) == ""
	})
	stop() // it has looked, and done, and told all that it will
	if got := service.CLI("inspect", "-f", "{{.State.Status}}", "my-debug"); got != "running" {
		t.Errorf("the person's container is %s, want running", got)
	}
	if told := w.foreign(); len(told) != 1 || !strings.Contains(told[0].Error, "my-debug") {
		t.Errorf("told of foreign containers: %+v, want my-debug once", told)
	}
}

// foreign gives what the log has of containers that are not the fleet's.
func (w *world) foreign() (told []eventlog.Step) {
	w.t.Helper()
	for e, err := range reader.Read(w.t.Context(), w.js, reader.Options{Subjects: []string{eventlog.AgentSubject(device)}}) {
		if err != nil {
			w.t.Fatal(err)
		}
		if s, err := eventlog.Payload[eventlog.Step](e); err == nil && s.Reason == engine.ReasonForeignContainer {
			told = append(told, s)
		}
	}
	return told
}
