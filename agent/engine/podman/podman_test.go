package podman_test

import (
	"context"
	"os/exec"
	"testing"
	"time"

	"fleet.nationtech.io/agent/engine"
	"fleet.nationtech.io/agent/engine/enginetest"
)

func TestPodmanIsAnEngine(t *testing.T) {
	t.Parallel()
	s := startService(t, "registry.invalid")
	enginetest.Run(t, enginetest.Harness{
		New:   s.engine,
		Image: image,
		Kill: func(ctx context.Context, _ engine.Engine, id string) error {
			cmd := exec.CommandContext(ctx, "podman", "kill", id)
			cmd.Env = s.env
			return cmd.Run()
		},
	})
}

func contextFor(t *testing.T, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.Context(), d)
}
