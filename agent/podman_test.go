package agent_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"fleet.nationtech.io/agent/engine/podman"
	"fleet.nationtech.io/agent/engine/podmantest"
	"fleet.nationtech.io/agent/sampleimage"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/needs"
)

// repaired is how long a container may be away that died or was removed.
const repaired = 5 * time.Second

func checked(tag string) string {
	return fmt.Sprintf(`[{"name":"web","image":%q,"ports":["8080"],"healthCheck":{"http":{"port":8080,"path":"/healthz"},"interval":"1s"}}]`,
		sampleimage.Repository+":"+tag)
}

// TestOnPodman is the agent's main job on real containers, from the log to a
// port that answers.
func TestOnPodman(t *testing.T) {
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
	s := w.awaitPhase("hello", eventlog.PhaseRunning, hash)
	id := s.Services[0].ContainerID
	w.answers(s)

	w.quickly("podman kill", func(try int) bool {
		service.CLI("kill", id)
		killed := time.Now()
		w.await("the killed container runs again", func() bool { return strings.Contains(service.CLI("ps", "-q", "--no-trunc"), id) })
		took := time.Since(killed)
		w.answers(w.awaitState("the restart is reported", func(s eventlog.DeploymentState) bool {
			return s.Phase == eventlog.PhaseRunning && s.Services[0].Restarts == try
		}))
		return took <= repaired
	})
	w.quickly("podman rm -f", func(int) bool {
		service.CLI("rm", "-f", "-t", "0", id)
		removed := time.Now()
		w.await("another container runs", func() bool { return service.CLI("ps", "-q", "--no-trunc") != "" })
		took := time.Since(removed)
		s = w.awaitState("the new container is reported", func(s eventlog.DeploymentState) bool {
			return s.Phase == eventlog.PhaseRunning && s.Services[0].ContainerID != id
		})
		id = s.Services[0].ContainerID
		w.answers(s)
		return took <= repaired
	})

	started := service.CLI("inspect", "-f", "{{.State.StartedAt}}", id)
	stop()
	stop = w.agent()
	defer stop()
	w.awaitPhase("hello", eventlog.PhaseRunning, hash)
	service.Down() // Podman's service restarts; its containers don't
	service.Up()
	if again := service.CLI("inspect", "-f", "{{.State.StartedAt}}", id); again != started {
		t.Errorf("a restart of the agent or of Podman's service restarted the container: %s, then %s", started, again)
	}

	hash = w.assign("hello", 2, checked("2"))
	s = w.awaitPhase("hello", eventlog.PhaseRunning, hash)
	if s.Services[0].ContainerID == id {
		t.Error("the service's part changed and its container was not replaced")
	}
	w.answers(s)

	w.withdraw("hello")
	w.await("nothing is left", func() bool {
		_, reported := w.state("hello")
		return !reported && service.CLI("ps", "-a", "-q") == ""
	})
}

// quickly hurts a container until it is repaired in time. A machine that does
// other work too may be late once; it is not late each time.
func (w *world) quickly(how string, hurt func(try int) (inTime bool)) {
	w.t.Helper()
	const tries = 3
	for try := 1; try <= tries; try++ {
		if hurt(try) {
			return
		}
	}
	w.t.Errorf("%s: repaired later than after %s in each of %d tries", how, repaired, tries)
}

// awaitState waits for a report of hello that ok is content with.
func (w *world) awaitState(what string, ok func(eventlog.DeploymentState) bool) (s eventlog.DeploymentState) {
	w.t.Helper()
	w.await(what, func() bool {
		var known bool
		s, known = w.state("hello")
		return known && len(s.Services) == 1 && ok(s)
	})
	return s
}

// answers asks the port that a report tells.
func (w *world) answers(s eventlog.DeploymentState) {
	w.t.Helper()
	if len(s.Services) != 1 || len(s.Services[0].Ports) != 1 {
		w.t.Fatalf("the report tells no port: %+v", s)
	}
	port, _, _ := strings.Cut(s.Services[0].Ports[0], ":")
	// A connection that was begun while a container was coming or going may stay
	// with an address that nobody has: each try is short, and a new one.
	quick := http.Client{Timeout: 3 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	w.await("the reported port answers", func() bool {
		r, err := quick.Get("http://127.0.0.1:" + port + "/healthz")
		if err != nil {
			return false
		}
		return r.Body.Close() == nil && r.StatusCode == http.StatusOK
	})
}
