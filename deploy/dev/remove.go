package dev

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"fleet.nationtech.io/agent/engine/podman"
)

// Remove deletes all that a fleet left behind in a data directory, containers
// included.
func Remove(ctx context.Context, o Options) error {
	if err := o.complete(); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(o.DataDir, "lock")); err != nil {
		return fmt.Errorf("%s is no data directory of fleet-dev: %w", o.DataDir, err)
	}
	held, err := lock(o.path("lock"))
	if err != nil {
		return err
	}
	defer held.Close()
	if err := removeContainers(ctx, o); err != nil {
		return err
	}
	if err := os.RemoveAll(o.DataDir); err != nil {
		return fmt.Errorf("remove %s: %w", o.DataDir, err)
	}
	return nil
}

// removeContainers takes away what the devices of a stopped fleet still run.
func removeContainers(ctx context.Context, o Options) error {
	engine, err := engineOf(o)
	if err != nil || engine != EnginePodman {
		return err // what exists in memory alone goes with the data
	}
	p, err := findPodman(ctx, o.DataDir)
	if err != nil {
		return fmt.Errorf("remove the containers: %w", err)
	}
	defer p.stop()
	found, err := filepath.Glob(o.path("devices", "*"))
	if err != nil {
		return err
	}
	for _, dir := range found {
		id := filepath.Base(dir)
		e, err := podman.New(podman.Options{Device: id, Socket: p.URI, DataDir: filepath.Join(dir, "data")})
		if err != nil {
			return fmt.Errorf("remove the containers of %s: %w", id, err)
		}
		list, err := e.Observe(ctx)
		if err != nil {
			return fmt.Errorf("remove the containers of %s: %w", id, err)
		}
		for _, c := range list {
			if c.Foreign != "" {
				continue // a person's
			}
			if err := e.Remove(ctx, c.ID); err != nil {
				return fmt.Errorf("remove a container of %s: %w", id, err)
			}
		}
	}
	return nil
}
