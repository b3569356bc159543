package fleetctl

import (
	"context"
	"errors"
	"slices"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
)

// watcher writes what changes of what a person looks for, as the log learns it.
type watcher struct {
	s       Streams
	q       query
	catalog *catalog
	show    *show
	shown   map[place]string // the cells as they were written last
}

// place is where something is: a resource and a key.
type place struct {
	plural string
	key    fleet.Key
}

// watch follows the log from the catalog's view on, until a person ends it, which
// is its good end.
func watch(ctx context.Context, s Streams, c *connection, nc *nats.Conn, js jetstream.JetStream, q query, cat *catalog, show *show, begin []item) error {
	w := &watcher{s: s, q: q, catalog: cat, show: show, shown: map[place]string{}}
	for _, i := range begin {
		seen, err := show.fingerprint(i)
		if err != nil {
			return err
		}
		w.shown[place{i.resource.plural, i.key}] = seen
	}
	v := cat.view
	v.Track()
	for e, err := range eventlog.Follow(ctx, js, eventlog.ReadOptions{After: v.Position()}) {
		if err != nil && !errors.Is(err, eventlog.ErrForeign) {
			if ctx.Err() != nil {
				return nil
			}
			return c.explain(err, nc)
		}
		fleet.Apply(v, e, err)
		cat.now = e.Recorded
		deployments, devices := v.Drain()
		if err := w.changed(deployments, devices); err != nil {
			return err
		}
	}
	return nil
}

func (w *watcher) changed(deployments []fleet.Key, devices []string) error {
	for _, id := range devices {
		w.catalog.deviceChanged(id)
	}
	for _, key := range deployments {
		w.catalog.deploymentChanged(key)
	}
	slices.Sort(devices)
	for _, t := range w.q.targets {
		if t.resource.namespaced {
			for _, key := range sorted(deployments) {
				if err := w.look(t, key); err != nil {
					return err
				}
			}
			continue
		}
		for _, id := range devices {
			if err := w.look(t, fleet.Key{Name: id}); err != nil {
				return err
			}
		}
	}
	return nil
}

// look writes something where it reads otherwise than before: what came, what
// changed, and once more what went, as it was.
func (w *watcher) look(t target, key fleet.Key) error {
	at := place{t.resource.plural, key}
	before, was := w.shown[at]
	there := w.q.wants(w.catalog, t, key) && t.resource.there(w.catalog, key)
	if !there && !was {
		return nil
	}
	i := t.resource.of(w.catalog, key)
	if !there {
		delete(w.shown, at)
		return w.show.changed(i, watchDeleted)
	}
	now, err := w.show.fingerprint(i)
	if err != nil || was && now == before {
		return err
	}
	w.shown[at] = now
	kind := watchModified
	if !was {
		kind = watchAdded
	}
	return w.show.changed(i, kind)
}
