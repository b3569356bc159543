// Package enginetest holds an engine to what engine.Engine says. Every engine
// runs the same suite.
package enginetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"fleet.nationtech.io/agent/engine"
	"fleet.nationtech.io/eventlog/score"
)

// Harness is an engine to be tested and what the suite needs around it.
type Harness struct {
	// New gives the engine of a device; those of one harness share what is behind
	// them.
	New func(t *testing.T, device string) engine.Engine
	// Image is one that answers 200 to GET /healthz on port 8080, runs until it is
	// told to end, and whose command "/hello -check" exits 0.
	Image string
	// Kill ends a container's process as kill -9 does.
	Kill func(ctx context.Context, e engine.Engine, id string) error
}

// timeout is how long the suite waits for what engines may take time for, on
// machines that do much else at the same time.
const timeout = time.Minute

// Run runs the suite.
func Run(t *testing.T, h Harness) {
	for name, test := range map[string]func(*testing.T, Harness){
		"a container lives from create to remove":                  lives,
		"a create that was done before is adopted":                 adopts,
		"a name with another hash is refused":                      refusesAnotherHash,
		"containers of other devices are neither seen nor touched": keepsApart,
		"a port in use is named, and waits for its time":           namesPortInUse,
		"each wish for a free host port is met":                    givesEachPort,
		"a kill is an exit with 137, and an event":                 tellsOfKills,
		"a container that is gone is named so":                     namesGone,
		"a command's exit code comes back":                         execs,
		"a port answers by HTTP":                                   gets,
		"a call whose context ended says so":                       ends,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, h)
		})
	}
}

func spec(h Harness, device, fields string) engine.Spec {
	if fields != "" {
		fields = "," + fields
	}
	value := fmt.Sprintf(`{"type":"PodmanV0","data":{"services":[{"name":"web","image":%q%s}]}}`, h.Image, fields)
	decoded, err := score.Decode([]byte(value))
	if err != nil {
		panic(err) // the suite's own scores are right, or the suite is wrong
	}
	return engine.Spec{
		Identity: engine.Identity{Device: device, Deployment: "hello", Service: "web"},
		Revision: 7, Service: decoded.Services[0],
	}
}

// made creates a container and removes it when the test ends.
func made(t *testing.T, e engine.Engine, s engine.Spec) string {
	t.Helper()
	must(t, e.Pull(t.Context(), s.Service.Image, s.Service.PullPolicy, nil))
	id, err := e.Create(t.Context(), s)
	must(t, err)
	t.Cleanup(func() {
		if err := e.Remove(context.WithoutCancel(t.Context()), id); err != nil {
			t.Errorf("remove: %v", err)
		}
	})
	return id
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func find(t *testing.T, e engine.Engine, id string) (engine.Container, bool) {
	t.Helper()
	cs, err := e.Observe(t.Context())
	must(t, err)
	for _, c := range cs {
		if c.ID == id {
			return c, true
		}
	}
	return engine.Container{}, false
}

// become waits until a container is in a state.
func become(t *testing.T, e engine.Engine, id string, state engine.State) engine.Container {
	t.Helper()
	var last engine.Container
	for until := time.Now().Add(timeout); time.Now().Before(until); {
		c, found := find(t, e, id)
		if found && c.State == state {
			return c
		}
		last = c
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("container %.12s is %q after %s, want %s", id, last.State, timeout, state)
	return last
}

func reason(t *testing.T, err error) string {
	t.Helper()
	var e *engine.Error
	if !errors.As(err, &e) {
		t.Fatalf("error %v is no *engine.Error", err)
	}
	return e.Reason
}

func lives(t *testing.T, h Harness) {
	e := h.New(t, "lives")
	s := spec(h, "lives", `"ports":["8080"],"env":{"GREETING":"good day"},"labels":{"team":"a"}`)
	id := made(t, e, s)
	c := become(t, e, id, engine.StateCreated)
	if c.Identity != s.Identity || c.Hash != s.Service.Hash || c.Revision != 7 || c.Name != "lives-hello-web" {
		t.Errorf("created %+v", c)
	}
	if c.ImageDigest == "" || c.CreatedAt.IsZero() || !c.StartedAt.IsZero() {
		t.Errorf("digest %q, created at %s, started at %s", c.ImageDigest, c.CreatedAt, c.StartedAt)
	}
	if len(c.Ports) != 1 || !strings.HasSuffix(c.Ports[0], ":8080") || strings.HasPrefix(c.Ports[0], "0:") {
		t.Fatalf("ports %q before the start, want a host port that is known", c.Ports)
	}
	ports := c.Ports
	must(t, e.Start(t.Context(), id))
	c = become(t, e, id, engine.StateRunning)
	if c.StartedAt.IsZero() || !c.FinishedAt.IsZero() || !slices.Equal(c.Ports, ports) {
		t.Errorf("runs: started at %s, finished at %s, ports %q, want %q", c.StartedAt, c.FinishedAt, c.Ports, ports)
	}
	must(t, e.Start(t.Context(), id)) // it runs already
	first := c.StartedAt
	must(t, e.Stop(t.Context(), id))
	c = become(t, e, id, engine.StateExited)
	if c.FinishedAt.Before(first) {
		t.Errorf("finished at %s, before its start at %s", c.FinishedAt, first)
	}
	must(t, e.Stop(t.Context(), id)) // it has ended already
	must(t, e.Start(t.Context(), id))
	c = become(t, e, id, engine.StateRunning)
	if !c.StartedAt.After(first) || !slices.Equal(c.Ports, ports) {
		t.Errorf("started again at %s with ports %q, want after %s with %q", c.StartedAt, c.Ports, first, ports)
	}
	must(t, e.Remove(t.Context(), id))
	if c, found := find(t, e, id); found {
		t.Errorf("is %s after its removal", c.State)
	}
	must(t, e.Remove(t.Context(), id)) // it is gone already
}

func adopts(t *testing.T, h Harness) {
	e := h.New(t, "adopts")
	s := spec(h, "adopts", "")
	id := made(t, e, s)
	again, err := e.Create(t.Context(), s)
	must(t, err)
	if again != id {
		t.Errorf("made %.12s beside %.12s", again, id)
	}
}

func refusesAnotherHash(t *testing.T, h Harness) {
	e := h.New(t, "refuses")
	made(t, e, spec(h, "refuses", ""))
	_, err := e.Create(t.Context(), spec(h, "refuses", `"env":{"A":"1"}`))
	if got := reason(t, err); got != engine.ReasonNameTaken {
		t.Errorf("reason %s, want %s", got, engine.ReasonNameTaken)
	}
}

func keepsApart(t *testing.T, h Harness) {
	one, two := h.New(t, "apart-1"), h.New(t, "apart-2")
	id := made(t, one, spec(h, "apart-1", ""))
	must(t, one.Start(t.Context(), id))
	if c, found := find(t, two, id); found {
		t.Errorf("device apart-2 sees %s", c.Name)
	}
	for verb, do := range map[string]func(context.Context, string) error{"start": two.Start, "stop": two.Stop} {
		if err := do(t.Context(), id); err == nil {
			t.Errorf("device apart-2 may %s what is apart-1's", verb)
		}
	}
	// A removal of what is not there is no error, for engines that don't see it.
	_ = two.Remove(t.Context(), id)
	become(t, one, id, engine.StateRunning)
	if _, err := two.Create(t.Context(), spec(h, "apart-1", "")); err == nil {
		t.Error("the engine of apart-2 makes containers for apart-1")
	}
}

func namesPortInUse(t *testing.T, h Harness) {
	e := h.New(t, "ports")
	holder := made(t, e, spec(h, "ports", `"ports":["8080"]`))
	c := become(t, e, holder, engine.StateCreated)
	host, _, _ := strings.Cut(c.Ports[0], ":")
	must(t, e.Start(t.Context(), holder))
	s := spec(h, "ports", fmt.Sprintf(`"ports":["%s:8080"]`, host))
	s.Deployment = "other"
	waiting := made(t, e, s)
	if got := reason(t, e.Start(t.Context(), waiting)); got != engine.ReasonPortInUse {
		t.Errorf("reason %s, want %s", got, engine.ReasonPortInUse)
	}
	if c, found := find(t, e, waiting); !found || c.State == engine.StateRunning {
		t.Errorf("is %q, found %v, after a start that failed", c.State, found)
	}
	must(t, e.Stop(t.Context(), holder))
	must(t, e.Start(t.Context(), waiting))
	become(t, e, waiting, engine.StateRunning)
}

// givesEachPort: a container port that is there twice has two host ports, both kept
// over a restart.
func givesEachPort(t *testing.T, h Harness) {
	e := h.New(t, "twice")
	id := made(t, e, spec(h, "twice", `"ports":["8080","8080/tcp","8080","8080/udp","8080/udp","40001:8080","9090"]`))
	ports := become(t, e, id, engine.StateCreated).Ports
	hosts, containers := map[string]bool{}, map[string]int{}
	for _, p := range ports {
		host, container, _ := strings.Cut(p, ":")
		_, protocol, _ := strings.Cut(container, "/")
		hosts[host+"/"+protocol] = host != "0"
		containers[container]++
	}
	want := map[string]int{"8080": 4, "8080/udp": 2, "9090": 1}
	if len(hosts) != 7 || !maps.Equal(containers, want) {
		t.Fatalf("ports %q, want a host port of its own for each of %v", ports, want)
	}
	must(t, e.Start(t.Context(), id))
	must(t, e.Stop(t.Context(), id))
	must(t, e.Start(t.Context(), id))
	if got := become(t, e, id, engine.StateRunning).Ports; !slices.Equal(got, ports) {
		t.Errorf("ports %q after a restart, want %q", got, ports)
	}
}

func tellsOfKills(t *testing.T, h Harness) {
	e := h.New(t, "kills")
	id := made(t, e, spec(h, "kills", ""))
	must(t, e.Start(t.Context(), id))
	become(t, e, id, engine.StateRunning)
	ctx, cancel := context.WithCancel(t.Context())
	told := make(chan engine.Event, 100)
	done := make(chan error, 1)
	go func() {
		done <- e.Events(ctx, func(ev engine.Event) {
			select {
			case told <- ev:
			default:
			}
		})
	}()
	deadline := time.After(timeout)
	// Nothing says when the stream has begun: what is missed is done again.
	for killed := false; !killed; {
		must(t, h.Kill(t.Context(), e, id))
		c := become(t, e, id, engine.StateExited)
		if c.ExitCode != 137 || c.OOMKilled || c.FinishedAt.IsZero() {
			t.Errorf("exit code %d, OOM %v, finished at %s", c.ExitCode, c.OOMKilled, c.FinishedAt)
		}
		select {
		case ev := <-told:
			if ev.ContainerID != id {
				t.Errorf("an event of %q, want %q", ev.ContainerID, id)
			}
			killed = true
		case <-time.After(time.Second):
			must(t, e.Start(t.Context(), id))
		case <-deadline:
			t.Fatal("no event")
		}
	}
	cancel()
	select {
	case err := <-done:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("events end with %v, want the context's error", err)
		}
	case <-time.After(timeout):
		t.Error("events go on after their context")
	}
}

func namesGone(t *testing.T, h Harness) {
	e := h.New(t, "gone")
	id := strings.Repeat("ab", 32)
	for verb, do := range map[string]func(context.Context, string) error{"start": e.Start, "stop": e.Stop} {
		if got := reason(t, do(t.Context(), id)); got != engine.ReasonContainerGone {
			t.Errorf("%s: reason %s, want %s", verb, got, engine.ReasonContainerGone)
		}
	}
	must(t, e.Remove(t.Context(), id))
}

func execs(t *testing.T, h Harness) {
	e := h.New(t, "execs")
	id := made(t, e, spec(h, "execs", ""))
	must(t, e.Start(t.Context(), id))
	result, err := e.Exec(t.Context(), id, []string{"/hello", "-check"})
	must(t, err)
	if result.ExitCode != 0 {
		t.Errorf("exit code %d, output %q", result.ExitCode, result.Output)
	}
}

func gets(t *testing.T, h Harness) {
	e := h.New(t, "gets")
	for name, fields := range map[string]string{"published": `"ports":["8080"]`, "unpublished": ""} {
		s := spec(h, "gets", fields)
		s.Deployment = name
		id := made(t, e, s)
		must(t, e.Start(t.Context(), id))
		become(t, e, id, engine.StateRunning)
		var status int
		var err error
		for until := time.Now().Add(timeout); time.Now().Before(until) && status == 0; {
			if status, err = e.Get(t.Context(), id, 8080, "/healthz"); err != nil {
				time.Sleep(20 * time.Millisecond)
			}
		}
		if status != 200 {
			t.Errorf("%s: status %d, %v, want 200", name, status, err)
		}
	}
}

func ends(t *testing.T, h Harness) {
	e := h.New(t, "ends")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := e.Pull(ctx, h.Image, score.PullAlways, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("pull: %v, want the context's error", err)
	}
}
