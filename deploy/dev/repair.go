package dev

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"fleet.nationtech.io/eventlog"
)

// kill stops a container as a person on the device could, and waits for the
// agent to bring one back.
func (s *story) kill(ctx context.Context) error {
	if s.fleet.Engine == EngineMemory {
		s.tell("skipped: the containers exist in memory alone")
		return nil
	}
	for _, how := range [][]string{{"kill"}, {"rm", "-f"}} {
		took, err := s.hurt(ctx, how)
		if err != nil {
			return fmt.Errorf("podman %s: %w", how[0], err)
		}
		s.tell("podman %-4s on %s: answers again after %.1f s", how[0], s.devices[0], took.Seconds())
	}
	return nil
}

// hurt does something to a container behind the agent's back, and gives the time
// until one answers again.
func (s *story) hurt(ctx context.Context, how []string) (time.Duration, error) {
	states, err := s.states(ctx)
	if err != nil {
		return 0, err
	}
	victim := states[s.devices[0]]
	if len(victim.Services) != 1 {
		return 0, fmt.Errorf("%s reports %s with %d services", s.devices[0], victim.Phase, len(victim.Services))
	}
	if err := s.podman(ctx, append(slices.Clone(how), victim.Services[0].ContainerID)...); err != nil {
		return 0, err
	}
	hit := time.Now()
	err = until(ctx, 60*time.Second, func(ctx context.Context) (bool, string, error) {
		states, err := s.states(ctx)
		if err != nil {
			return false, "", err
		}
		st := states[s.devices[0]]
		if st.Phase != eventlog.PhaseRunning || len(st.Services) != 1 {
			return false, string(st.Phase) + " " + st.Reason, nil
		}
		_, body, err := ask(ctx, st.Services[0])
		return err == nil && strings.Contains(body, "bonjour"), fmt.Sprint(body, err), nil
	})
	return time.Since(hit), err
}

// podman runs the command line on the fleet's socket.
func (s *story) podman(ctx context.Context, args ...string) error {
	path, err := exec.LookPath("podman")
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, path, append([]string{"--remote", "--url", s.fleet.Socket}, args...)...)
	cmd.Env = append(os.Environ(), "HOME="+filepath.Dir(s.fleet.Env.Kubeconfig))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("podman %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
