package fleetctl

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/projections/fleet"
)

// watcher writes what changes of what a person looks for, as the log learns it.
type watcher struct {
	q       query
	catalog *catalog
	show    *show
	shown   map[place]string // the cells as they were written last
	pace    pace

	recorded time.Time // when the log learned of what came last
	received time.Time // and when that came here
}

// place is where something is: a resource and a key.
type place struct {
	plural string
	key    fleet.Key
}

// arrival is an event of the log that is followed, or what it yields beside one.
type arrival struct {
	event eventlog.Event
	err   error
}

// arrivals is how far the log may be read ahead of what is written.
const arrivals = 256

// watch follows the log from the catalog's view on, until a person ends it, which
// is its good end.
func watch(ctx context.Context, c *connection, nc *nats.Conn, js jetstream.JetStream, q query, cat *catalog, show *show, begin []item) error {
	w := &watcher{q: q, catalog: cat, show: show, shown: map[place]string{}, recorded: cat.view.Recorded, received: time.Now()}
	for _, i := range begin {
		seen, err := show.fingerprint(i)
		if err != nil {
			return err
		}
		w.shown[place{i.resource.plural, i.key}] = seen
	}
	cat.view.Track()
	from := reader.Options{After: cat.view.Position()}
	come := make(chan arrival, arrivals)
	reading, stop := context.WithCancel(ctx)
	var g errgroup.Group
	g.Go(func() error {
		defer close(come)
		for e, err := range reader.Follow(reading, js, from) {
			select {
			case come <- arrival{e, err}:
			case <-reading.Done():
				return nil
			}
		}
		return nil
	})
	err := w.follow(ctx, come)
	stop()
	_ = g.Wait() // what ends the reading came here as an arrival
	if err != nil && ctx.Err() == nil {
		return c.explain(err, nc)
	}
	return nil
}

// follow takes what comes, and tells what was held back when its time has come,
// whether or not anything more comes.
func (w *watcher) follow(ctx context.Context, come <-chan arrival) error {
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
		if until, ok := w.pace.next(); ok {
			wake.Reset(until.Sub(w.clock()))
		}
	}
}

// clock is the log's: what it said last, and the time since then.
func (w *watcher) clock() time.Time { return w.recorded.Add(time.Since(w.received)) }

// take applies an event. What was held until then is told before.
func (w *watcher) take(a arrival) error {
	if a.err != nil && !errors.Is(a.err, eventlog.ErrForeign) {
		return a.err
	}
	w.recorded, w.received = a.event.Recorded, time.Now()
	if err := w.rested(w.recorded); err != nil {
		return err
	}
	fleet.Apply(w.catalog.view, a.event, a.err)
	w.catalog.now = w.recorded
	return w.changed(w.catalog.view.Drain())
}

// rested tells what changed while it rested.
func (w *watcher) rested(now time.Time) error {
	for _, at := range w.pace.over(now) {
		w.catalog.now = now
		i := slices.IndexFunc(w.q.targets, func(t target) bool { return t.resource.plural == at.plural })
		if err := w.look(w.q.targets[i], at.key); err != nil {
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
	if !there {
		delete(w.shown, at)
		w.pace.gone(at)
		return w.show.changed(t.resource.of(w.catalog, key), watchDeleted)
	}
	if was && w.pace.holds(at) {
		return nil
	}
	i := t.resource.of(w.catalog, key)
	now, err := w.show.fingerprint(i)
	if err != nil || was && now == before {
		return err
	}
	w.shown[at] = now
	w.pace.written(at, w.catalog.now)
	kind := watchModified
	if !was {
		kind = watchAdded
	}
	return w.show.changed(i, kind)
}
