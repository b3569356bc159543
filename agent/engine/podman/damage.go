package podman

import (
	"context"
	"regexp"

	"github.com/containers/podman/v5/pkg/bindings/containers"
	"github.com/containers/podman/v5/pkg/domain/entities/types"

	"fleet.nationtech.io/agent/engine"
)

// halfRemoved is how Podman speaks of a container that a crash (of Podman or of
// the power) left in its own records, but whose file system is gone. One such
// makes every list fail that has it in.
var halfRemoved = regexp.MustCompile(`getting container from store "([0-9a-f]{64})": container not known`)

// mostDamaged bounds how many of them one look clears away.
const mostDamaged = 64

// list lists the device's containers. Those of them that Podman has only half of
// are removed: nothing can run from them. They are the device's own, because
// Podman reads them only after the filter by label let them pass.
func (p *Podman) list(ctx, conn context.Context) ([]types.ListContainer, error) {
	options := new(containers.ListOptions).WithAll(true).
		WithFilters(map[string][]string{"label": {engine.LabelDevice + "=" + p.options.Device}})
	for range mostDamaged {
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
