package podman_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fleet.nationtech.io/agent/engine"
	"fleet.nationtech.io/agent/engine/enginetest"
	"fleet.nationtech.io/agent/engine/podman"
	"fleet.nationtech.io/agent/engine/podmantest"
	"fleet.nationtech.io/agent/sampleimage"
)

// fixture is a service with the suite's image in its store.
type fixture struct{ *podmantest.Service }

const image = sampleimage.Repository + ":1"

func start(t *testing.T, o podmantest.Options) fixture {
	t.Helper()
	f := fixture{podmantest.Start(t, o)}
	if err := sampleimage.Load(t.Context(), f.Socket(), f.Build("fleet.nationtech.io/agent/engine/enginetest/fixture")); err != nil {
		t.Fatal(err)
	}
	return f
}

// data is where the engine of a device keeps its files.
func (f fixture) data(device string) string {
	return filepath.Join(filepath.Dir(strings.TrimPrefix(f.Socket(), "unix://")), "d", device)
}

func (f fixture) engine(t *testing.T, device string) engine.Engine {
	t.Helper()
	p, err := podman.New(podman.Options{Device: device, Socket: f.Socket(), DataDir: f.data(device)})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPodmanIsAnEngine(t *testing.T) {
	t.Parallel()
	f := start(t, podmantest.Options{})
	enginetest.Run(t, enginetest.Harness{
		New:   f.engine,
		Image: image,
		Kill: func(_ context.Context, _ engine.Engine, id string) error {
			f.CLI("kill", id)
			return nil
		},
	})
}

func contextFor(t *testing.T, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.Context(), d)
}
