package podman

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containers/podman/v5/pkg/bindings/images"

	"fleet.nationtech.io/agent/engine"
)

// Guarantee: a container that somebody else made is never touched, though it has
// the fleet's labels. Labels come from an image too, and podman commit writes a
// container's labels into the image; podman container clone copies them. What
// neither passes on is the id and the name. A container is the fleet's
//
//   - if its id is recorded in the data directory: this agent made it, or took it
//     for the fleet's before; then it may have been renamed since;
//   - or if it has the name that its labels demand, and did not get them from its
//     image. So the containers of older agents are adopted, and those of an agent
//     that lost its data directory.
//
// All others are foreign.

// foreign says why a container is not the fleet's; it is empty where it is. image
// is the id of the container's image.
func (p *Podman) foreign(conn context.Context, c engine.Container, image string) (string, error) {
	if c.Device != p.options.Device || p.recorded(c.ID) {
		return "", nil
	}
	if want := c.Identity.Name(); c.Name != want {
		return fmt.Sprintf("it has the fleet's labels, but not the name that the fleet gives (%.128s); "+
			"podman commit and podman container clone pass labels on", want), nil
	}
	labels, err := imageLabels(conn, image)
	if err != nil {
		return "", err
	}
	if labels[engine.LabelDevice] == c.Device && labels[engine.LabelHash] == c.Hash {
		return "it has the fleet's labels from its image, which podman commit made from a container of the fleet", nil
	}
	p.record(c.ID)
	return "", nil
}

// imageLabels gives the labels of an image; of one that is gone it gives none.
func imageLabels(conn context.Context, image string) (map[string]string, error) {
	there, err := images.Exists(conn, image, nil)
	if err != nil {
		return nil, fail(conn, engine.ReasonObserveFailed, err)
	}
	if !there {
		return nil, nil
	}
	data, err := images.GetImage(conn, image, nil)
	if err != nil {
		return nil, fail(conn, engine.ReasonObserveFailed, err)
	}
	return data.Labels, nil
}

// recordDir has an empty file for each of the fleet's containers, named by its id.
func (p *Podman) recordDir() string { return filepath.Join(p.options.DataDir, "containers") }

// recorded says whether a container is recorded as the fleet's.
func (p *Podman) recorded(id string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.records()[id]
}

// record records a container as the fleet's. A record that cannot be written, or
// is lost, costs that a container which a person renames is no longer known.
func (p *Podman) record(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.records()[id] = true
	if os.MkdirAll(p.recordDir(), 0o750) == nil {
		_ = os.WriteFile(filepath.Join(p.recordDir(), id), nil, 0o600)
	}
}

// allRecorded gives the ids that are recorded now.
func (p *Podman) allRecorded() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Collect(maps.Keys(p.records()))
}

// forget drops the records of those containers that were not seen: they are gone,
// and an id never returns.
func (p *Podman) forget(ids []string, seen map[string]inspected) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, id := range ids {
		if _, there := seen[id]; !there {
			delete(p.owned, id)
			_ = os.Remove(filepath.Join(p.recordDir(), id))
		}
	}
}

// records reads what is recorded, once. It is called with the lock held.
func (p *Podman) records() map[string]bool {
	if p.owned != nil {
		return p.owned
	}
	p.owned = map[string]bool{}
	files, err := os.ReadDir(p.recordDir())
	if err != nil {
		return p.owned // there is none yet
	}
	for _, f := range files {
		if !strings.HasPrefix(f.Name(), ".") {
			p.owned[f.Name()] = true
		}
	}
	return p.owned
}
