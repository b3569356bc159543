package podman

import (
	"context"
	"os"
	"path/filepath"

	"github.com/containers/podman/v5/pkg/bindings/containers"

	"fleet.nationtech.io/agent/engine"
)

// Start makes a container run, paused ones too.
func (p *Podman) Start(ctx context.Context, id string) error {
	conn, err := p.connect(ctx)
	if err != nil {
		return err
	}
	i, err := p.own(conn, id)
	if err != nil {
		return err
	}
	if i.container.State == engine.StatePaused {
		if err := containers.Unpause(conn, id, nil); err != nil {
			return fail(ctx, engine.ReasonStartFailed, err)
		}
		return nil
	}
	if err := containers.Start(conn, id, nil); err != nil {
		return fail(ctx, engine.ReasonStartFailed, err)
	}
	return nil
}

// Stop ends a container's run.
func (p *Podman) Stop(ctx context.Context, id string) error {
	conn, err := p.connect(ctx)
	if err != nil {
		return err
	}
	if _, err := p.own(conn, id); err != nil {
		return err
	}
	grace := uint(engine.StopGrace.Seconds())
	if err := containers.Stop(conn, id, new(containers.StopOptions).WithTimeout(grace).WithIgnore(true)); err != nil {
		return fail(ctx, engine.ReasonStopFailed, err)
	}
	return nil
}

// Remove takes a container away, with its nameless volumes and its configs.
func (p *Podman) Remove(ctx context.Context, id string) error {
	conn, err := p.connect(ctx)
	if err != nil {
		return err
	}
	i, err := p.own(conn, id)
	if gone(err) && i.container.ID == "" {
		return nil
	}
	if err != nil {
		return err
	}
	grace := uint(engine.StopGrace.Seconds())
	options := new(containers.RemoveOptions).WithForce(true).WithVolumes(true).WithIgnore(true).WithTimeout(grace)
	reports, err := containers.Remove(conn, id, options)
	for _, r := range reports {
		if err == nil {
			err = r.Err
		}
	}
	if err != nil {
		if err = fail(ctx, engine.ReasonRemoveFailed, err); !gone(err) {
			return err
		}
	}
	return p.removeConfigs(i.container)
}

func (p *Podman) removeConfigs(c engine.Container) error {
	dir := p.configDir(c.Identity, c.Hash)
	if err := os.RemoveAll(dir); err != nil {
		return &engine.Error{Class: engine.ClassRetry, Reason: engine.ReasonRemoveFailed, Err: err}
	}
	// The parent goes with its last folder; until then the system refuses.
	_ = os.Remove(filepath.Dir(dir))
	return nil
}
