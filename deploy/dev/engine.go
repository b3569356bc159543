package dev

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"fleet.nationtech.io/agent"
	"fleet.nationtech.io/agent/engine/memory"
	"fleet.nationtech.io/agent/engine/podman"
	"fleet.nationtech.io/agent/sampleimage"
	"fleet.nationtech.io/deploy/secretfile"
)

// upEngine finds Podman and puts the samples' images into its store, or settles
// for containers in memory and says why. What a data directory once began with
// it goes on with: containers do not move between engines.
func (r *runner) upEngine(ctx context.Context) error {
	engine, err := r.chosenEngine()
	if err != nil {
		return err
	}
	if engine == EngineMemory {
		r.fleet.Engine = EngineMemory
		return r.rememberEngine()
	}
	p, err := findPodman(ctx, r.DataDir)
	if err != nil {
		if engine == EnginePodman {
			return fmt.Errorf("engine podman: %w", err)
		}
		r.fleet.Engine, r.fleet.EngineWhy = EngineMemory, err.Error()
		return r.rememberEngine()
	}
	r.onDown(func() error { p.stop(); return nil })
	r.fleet.Engine, r.fleet.Socket = EnginePodman, p.URI
	binary, err := findHello()
	if err != nil {
		return err
	}
	if err := sampleimage.Load(ctx, p.URI, binary); err != nil {
		return fmt.Errorf("put the samples' image into Podman's store: %w", err)
	}
	return r.rememberEngine()
}

// chosenEngine is what the person asked for; auto is what the data directory
// was begun with.
func (r *runner) chosenEngine() (string, error) {
	begun, err := engineOf(r.Options)
	if err != nil {
		return "", err
	}
	switch {
	case begun == "" || begun == r.Engine:
		return r.Engine, nil
	case r.Engine == EngineAuto:
		return begun, nil
	default:
		return "", fmt.Errorf("%s was begun with engine %s; go on with that, or start afresh (fleet-dev down --data-dir %s)", r.DataDir, begun, r.DataDir)
	}
}

func engineOf(o Options) (string, error) {
	b, err := os.ReadFile(o.path("engine"))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("engine of this fleet: %w", err)
	}
	return string(b), nil
}

func (r *runner) rememberEngine() error {
	if err := secretfile.Write(r.path("engine"), []byte(r.fleet.Engine)); err != nil {
		return fmt.Errorf("engine of this fleet: %w", err)
	}
	return nil
}

// findHello looks for the samples' server beside this program, where make puts it.
func findHello() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find fleet-hello: %w", err)
	}
	path := filepath.Join(filepath.Dir(self), "fleet-hello")
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("find fleet-hello, the samples' server: %w; run: make build", err)
	}
	return path, nil
}

// newEngine makes a device's engine as its configuration says.
func (r *runner) newEngine(c agent.Config) (agent.Engine, error) {
	if r.fleet.Engine == EngineMemory {
		return memory.New(memory.Options{Device: c.DeviceID, StateFile: filepath.Join(c.DataDir, "containers.json")})
	}
	return podman.New(podman.Options{Device: c.DeviceID, Socket: c.Podman.Socket, DataDir: c.DataDir})
}

// containers counts a Deployment's containers on all devices, as the engine
// itself tells it.
func (f *Fleet) containers(ctx context.Context, deployment string) (int, error) {
	n := 0
	for device, e := range f.engines {
		list, err := e.Observe(ctx)
		if err != nil {
			return 0, fmt.Errorf("containers of %s: %w", device, err)
		}
		for _, c := range list {
			if c.Deployment == deployment {
				n++
			}
		}
	}
	return n, nil
}
