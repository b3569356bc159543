// Package watch writes how resources change, as the log learns of it.
package watch

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/deploy/fleetctl/render"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/resource"
	"fleet.nationtech.io/projections/fleet"
)

// watcher writes what changes of what a person looks for, as the log learns it.
type watcher struct {
	q        resource.Query
	catalog  *resource.Catalog
	show     *render.Objects
	shown    map[objectKey]string // the cells as they were written last
	throttle throttle

	recorded time.Time // when the log learned of what came last
	received time.Time // and when that came here
}

// objectKey is where something is: a resource and a key.
type objectKey struct {
	plural string
	key    fleet.Key
}

// Run follows the log from the catalog's view on, until a person ends it; then it
// returns nil.
func Run(ctx context.Context, js jetstream.JetStream, q resource.Query, cat *resource.Catalog, show *render.Objects, begin []resource.Item) error {
	w := &watcher{q: q, catalog: cat, show: show, shown: map[objectKey]string{}, recorded: cat.View.Recorded, received: time.Now()}
	for _, i := range begin {
		seen, err := show.Fingerprint(i)
		if err != nil {
			return err
		}
		w.shown[objectKey{i.Resource.Plural, i.Key}] = seen
	}
	come, stop := Arrivals(ctx, js, cat)
	err := w.follow(ctx, come)
	stop()
	if err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}

// follow takes what comes, and tells what was held back when its time has come,
// whether or not anything more comes.
func (w *watcher) follow(ctx context.Context, come <-chan Arrival) error {
	wake := time.NewTimer(0)
	defer wake.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case a, ok := <-come:
			if !ok {
				return nil
			}
			if err := w.take(a); err != nil {
				return err
			}
		case <-wake.C:
			if err := w.rested(w.clock()); err != nil {
				return err
			}
		}
		wake.Stop()
		if until, ok := w.throttle.next(); ok {
			wake.Reset(until.Sub(w.clock()))
		}
	}
}

// clock is the log's: what it said last, and the time since then.
func (w *watcher) clock() time.Time { return w.recorded.Add(time.Since(w.received)) }

// take applies an event. What was held until then is told before.
func (w *watcher) take(a Arrival) error {
	if a.Err != nil && !errors.Is(a.Err, eventlog.ErrForeign) {
		return a.Err
	}
	w.recorded, w.received = a.Event.Recorded, time.Now()
	if err := w.rested(w.recorded); err != nil {
		return err
	}
	fleet.Apply(w.catalog.View, a.Event, a.Err)
	w.catalog.Now = w.recorded
	return w.changed(w.catalog.View.Drain())
}

// rested tells what changed while it rested.
func (w *watcher) rested(now time.Time) error {
	for _, at := range w.throttle.over(now) {
		w.catalog.Now = now
		i := slices.IndexFunc(w.q.Targets, func(t resource.Target) bool { return t.Resource.Plural == at.plural })
		if err := w.look(w.q.Targets[i], at.key); err != nil {
			return err
		}
	}
	return nil
}

func (w *watcher) changed(deployments []fleet.Key, devices []string) error {
	w.catalog.Changed(deployments, devices)
	slices.Sort(devices)
	for _, t := range w.q.Targets {
		if t.Resource.Namespaced {
			for _, key := range resource.SortKeys(deployments) {
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
func (w *watcher) look(t resource.Target, key fleet.Key) error {
	at := objectKey{t.Resource.Plural, key}
	before, was := w.shown[at]
	there := w.q.Wants(w.catalog, t, key) && t.Resource.Exists(w.catalog, key)
	if !there && !was {
		return nil
	}
	if !there {
		delete(w.shown, at)
		w.throttle.gone(at)
		return w.show.WriteChange(t.Resource.Show(w.catalog, key), render.WatchDeleted)
	}
	if was && w.throttle.holds(at) {
		return nil
	}
	i := t.Resource.Show(w.catalog, key)
	now, err := w.show.Fingerprint(i)
	if err != nil || was && now == before {
		return err
	}
	w.shown[at] = now
	w.throttle.written(at, w.catalog.Now)
	kind := render.WatchModified
	if !was {
		kind = render.WatchAdded
	}
	return w.show.WriteChange(i, kind)
}
