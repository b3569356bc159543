package memory_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/agent/engine"
	"fleet.nationtech.io/agent/engine/enginetest"
	"fleet.nationtech.io/agent/engine/memory"
	"fleet.nationtech.io/eventlog/score"
)

func TestMemoryIsAnEngine(t *testing.T) {
	t.Parallel()
	enginetest.Run(t, enginetest.Harness{
		New: func(t *testing.T, device string) engine.Engine {
			m, err := memory.New(memory.Options{Device: device, StateFile: filepath.Join(t.TempDir(), "containers.json")})
			if err != nil {
				t.Fatal(err)
			}
			return m
		},
		Image: "any.example/hello:1",
		Kill:  func(_ context.Context, e engine.Engine, id string) error { return e.(*memory.Memory).Kill(id) },
	})
}

type clock struct{ now time.Time }

func started(t *testing.T, m *memory.Memory, image string) string {
	t.Helper()
	id, err := m.Create(t.Context(), engine.Spec{
		Identity: engine.Identity{Device: "d", Deployment: "hello", Service: "web"},
		Service:  score.Service{Name: "web", Image: image, Hash: "sha256:1", Ports: []score.Port{{Container: 80, Protocol: "tcp"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Start(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	return id
}

func observe(t *testing.T, m *memory.Memory) []engine.Container {
	t.Helper()
	cs, err := m.Observe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return cs
}

// What an engine that was not ended in any orderly way left in its file is what
// the next one finds, ids and all.
func TestContainersRunOnWithoutTheirEngine(t *testing.T) {
	t.Parallel()
	c := &clock{time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)}
	o := memory.Options{Device: "d", StateFile: filepath.Join(t.TempDir(), "s", "containers.json"), Now: func() time.Time { return c.now }}
	first, err := memory.New(o)
	if err != nil {
		t.Fatal(err)
	}
	started(t, first, "any.example/a:1")
	before := observe(t, first)
	second, err := memory.New(o)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, observe(t, second)); diff != "" {
		t.Errorf("containers (-before +after):\n%s", diff)
	}
}

func TestFaultsAreWhatTheirNamesSay(t *testing.T) {
	t.Parallel()
	c := &clock{time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)}
	m, err := memory.New(memory.Options{Device: "d", Now: func() time.Time { return c.now }})
	if err != nil {
		t.Fatal(err)
	}
	var refused *engine.Error
	if err := m.Pull(t.Context(), memory.FaultPullError+":9", score.PullIfNotPresent, nil); !errors.As(err, &refused) || refused.Reason != engine.ReasonImagePullFailed {
		t.Errorf("pull-error: %v", err)
	}
	id := started(t, m, memory.FaultCrash+":1")
	if got := observe(t, m)[0].State; got != engine.StateRunning {
		t.Errorf("crash: %s right after the start", got)
	}
	c.now = c.now.Add(time.Second)
	if got := observe(t, m)[0]; got.State != engine.StateExited || got.ExitCode != 1 || !got.FinishedAt.Equal(c.now) {
		t.Errorf("crash: %+v a second later", got)
	}
	if err := m.Remove(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	id = started(t, m, memory.FaultUnhealthy+"@sha256:0000")
	if status, err := m.Get(t.Context(), id, 80, "/"); err != nil || status != 503 {
		t.Errorf("unhealthy: status %d, %v", status, err)
	}
	if r, err := m.Exec(t.Context(), id, []string{"true"}); err != nil || r.ExitCode == 0 {
		t.Errorf("unhealthy: %+v, %v", r, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := m.Pull(ctx, memory.FaultSlow+":1", score.PullIfNotPresent, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("slow: %v, want that it takes longer", err)
	}
}
