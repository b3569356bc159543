package dev

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
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
	states, err := s.states(ctx)
	if err != nil {
		return err
	}
	victim := states[s.devices[0]].Services[0]
	for _, args := range [][]string{{"kill", victim.ContainerID}, {"rm", "-f", victim.ContainerID}} {
		if args[0] == "rm" {
			if states, err = s.states(ctx); err != nil {
				return err
			}
			args[2] = states[s.devices[0]].Services[0].ContainerID
		}
		if err := s.podman(ctx, args...); err != nil {
			return err
		}
		hit := time.Now()
		err := until(ctx, 5*time.Second, func(ctx context.Context) (bool, string, error) {
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
		if err != nil {
			return fmt.Errorf("podman %s: %w", args[0], err)
		}
		s.tell("podman %-4s on %s: answers again after %.1f s", args[0], s.devices[0], time.Since(hit).Seconds())
	}
	return nil
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
