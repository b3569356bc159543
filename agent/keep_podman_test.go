package agent_test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"fleet.nationtech.io/agent/engine/podman"
	"fleet.nationtech.io/agent/engine/podmantest"
	"fleet.nationtech.io/agent/sampleimage"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/needs"
)

// TestAnUpdateThatWaitsForItsImageOnPodman: while the image of an update can't be
// had, or does not come to an end, the revision before is kept, through a kill, a
// removal and a restart of the agent with the bus away.
func TestAnUpdateThatWaitsForItsImageOnPodman(t *testing.T) {
	if testing.Short() {
		needs.Missing(t, "-short leaves out real containers, which take seconds")
	}
	t.Parallel()
	// A registry that answers that it is one, and never gives an image; at another
	// port nobody listens.
	registry := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v2/" {
			<-r.Context().Done()
		}
	}))
	slow := strings.TrimPrefix(registry.URL, "http://")
	service := podmantest.Start(t, podmantest.Options{Insecure: slow})
	// The last to end: Podman's service hangs on it.
	t.Cleanup(registry.Close)
	t.Cleanup(service.Down)
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

	web := func(image string) string { return fmt.Sprintf(`[{"name":"web","image":%q}]`, image) }
	hash := w.assign("hello", 1, web(sampleimage.Repository+":1"))
	w.awaitPhase("hello", eventlog.PhaseRunning, hash)
	revision := uint64(1)
	runs := func(id string) bool {
		return service.CLI("ps", "-q", "--no-trunc", "--filter", "id="+id) != ""
	}
	for _, image := range []string{slow + "/none:1", unheard(t) + "/none:1"} {
		revision++
		phase := eventlog.PhasePending
		if !strings.HasPrefix(image, slow) {
			phase = eventlog.PhaseFailed
		}
		hash := w.assign("hello", revision, web(image))
		s := w.awaitPhase("hello", phase, hash)
		id := s.Services[0].ContainerID
		kept := func(what string, ok func(eventlog.ServiceState) bool) eventlog.ServiceState {
			t.Helper()
			s := w.awaitState(what, func(s eventlog.DeploymentState) bool {
				return s.ScoreHash == hash && s.Phase == phase && s.Services[0].State == "running" && ok(s.Services[0])
			})
			if s.Services[0].Revision != 1 {
				t.Errorf("%s: the report says that it is of revision %d, want 1", what, s.Services[0].Revision)
			}
			return s.Services[0]
		}
		began := kept(image+" waits", func(eventlog.ServiceState) bool { return true })

		service.CLI("kill", id)
		w.await("the killed container runs again", func() bool { return runs(id) })
		kept("its restart is reported", func(s eventlog.ServiceState) bool { return s.Restarts > began.Restarts })

		service.CLI("rm", "-f", "-t", "0", id)
		id = kept("it is made again after its removal", func(s eventlog.ServiceState) bool { return s.ContainerID != id }).ContainerID

		stop()
		service.CLI("kill", id) // as a loss of power does
		w.server.Stop()         // and no network after it
		stop = w.agent()
		w.await("it runs again after the agent's restart without a network", func() bool { return runs(id) })
		w.server.Start()
		kept("the same after the network is back", func(s eventlog.ServiceState) bool { return s.ContainerID == id })
	}
	hash = w.assign("hello", revision+1, web(sampleimage.Repository+":2"))
	w.awaitPhase("hello", eventlog.PhaseRunning, hash)
	stop()
}

// unheard is an address at which nobody listens.
func unheard(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return l.Addr().String()
}

// TestAJobThatIsDoneIsNotRunAgainOnPodman: people prune ended containers by cron,
// against full disks.
func TestAJobThatIsDoneIsNotRunAgainOnPodman(t *testing.T) {
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
	hash := w.assign("hello", 1, fmt.Sprintf(`[{"name":"web","image":%q,"restartPolicy":"Never"}]`, sampleimage.Repository+":1"))
	s := w.awaitPhase("hello", eventlog.PhaseRunning, hash)
	service.CLI("kill", "-s", "TERM", s.Services[0].ContainerID) // by which it exits with 0
	w.awaitState("it ended", func(s eventlog.DeploymentState) bool {
		return s.ScoreHash == hash && s.Services[0].State == "exited"
	})
	over, _ := w.state("hello")
	for range 2 {
		service.CLI("container", "prune", "-f")
		w.awaitState("its container is gone", func(s eventlog.DeploymentState) bool {
			return s.Phase == over.Phase && s.Reason == over.Reason && s.Services[0].State == "absent"
		})
		time.Sleep(3 * time.Second) // a second run would have begun
		if left := service.CLI("ps", "-a", "-q"); left != "" {
			t.Errorf("the job ran again: %s", left)
		}
		stop()
		stop = w.agent()
	}
	stop()
}
