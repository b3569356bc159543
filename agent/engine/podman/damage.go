package podman

import (
	"context"
	"fmt"
	"regexp"
	"time"

	"github.com/containers/podman/v5/pkg/bindings/containers"
	"github.com/containers/podman/v5/pkg/domain/entities/types"

	"fleet.nationtech.io/agent/engine"
)

// halfRemoved is how Podman speaks of a container that a crash (of Podman or of
// the power) left in its own records, but whose file system is gone. One such
// makes every list fail that has it in.
var halfRemoved = regexp.MustCompile(`getting container from store "([0-9a-f]{64})": container not known`)

// halfMade is how Podman speaks of a container that a crash left in its store
// while it was being made: Podman itself knows nothing of it, and yet it has the
// name.
var halfMade = regexp.MustCompile(`container name ".*" is already in use by "?([0-9a-f]{64})`)

// incompleteGrace is the time that a create which somebody else began, such as this
// agent before it was killed, has to become whole.
const incompleteGrace = 10 * time.Second

// clearHalfMade removes what has the name of a container that there is not, so
// that the name is free. Until it is sure that nothing becomes of it, it fails.
func (p *Podman) clearHalfMade(ctx, conn context.Context, refused *engine.Error) error {
	m := halfMade.FindStringSubmatch(refused.Error())
	if m == nil {
		return refused
	}
	id := m[1]
	p.mu.Lock()
	first, seen := p.incomplete[id]
	if !seen {
		first = time.Now()
		p.incomplete[id] = first
	}
	p.mu.Unlock()
	if time.Since(first) < incompleteGrace {
		return &engine.Error{
			Class: engine.ClassRetry, Reason: engine.ReasonNameTaken,
			Err: fmt.Errorf("an incomplete container %.12s holds the name (Podman crashed while creating it); the agent removes it after 10 s", id),
		}
	}
	if _, err := containers.Remove(conn, id, new(containers.RemoveOptions).WithForce(true).WithIgnore(true)); err != nil {
		return fail(ctx, engine.ReasonCreateFailed, err)
	}
	p.mu.Lock()
	delete(p.incomplete, id)
	p.mu.Unlock()
	return nil
}

// maxDamaged bounds how many of them one look clears away.
const maxDamaged = 64

// list lists the device's containers. Those of them that Podman has only half of
// are removed: nothing can run from them. They are the device's own, because
// Podman reads them only after the filter by label let them pass.
func (p *Podman) list(ctx, conn context.Context) ([]types.ListContainer, error) {
	options := new(containers.ListOptions).WithAll(true).
		WithFilters(map[string][]string{"label": {engine.LabelDevice + "=" + p.options.Device}})
	for range maxDamaged {
		list, err := containers.List(conn, options)
		if err == nil {
			return list, nil
		}
		m := halfRemoved.FindStringSubmatch(err.Error())
		if m == nil {
			return nil, fail(ctx, engine.ReasonObserveFailed, err)
		}
		if _, rerr := containers.Remove(conn, m[1], new(containers.RemoveOptions).WithForce(true).WithIgnore(true)); rerr != nil {
			return nil, fail(ctx, engine.ReasonObserveFailed, rerr)
		}
	}
	list, err := containers.List(conn, options)
	if err != nil {
		return nil, fail(ctx, engine.ReasonObserveFailed, err)
	}
	return list, nil
}
