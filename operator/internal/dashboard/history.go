package dashboard

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"slices"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/internal/dashboard/model"
	"fleet.nationtech.io/operator/internal/dashboard/moments"
	"fleet.nationtech.io/projections/explain"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/timeline"
)

const (
	readers      = 2        // histories that are read at a time
	maxEvents    = 100_000  // that a page reads to tell one
	maxBytes     = 16 << 20 // of their data
	maxExplained = 100      // Deployments that a page of a device explains
)

// errTooLong says that a history is longer than a page reads.
var errTooLong = errors.New("the log has more of it than a page reads")

// deployment loads the page of a Deployment. What it reads of the log it reads while others
// have the fleet.
func deployment(ctx context.Context, d *Dashboard, q question) (v shown, err error) {
	key, err := q.key()
	if err != nil {
		return v, err
	}
	from, err := q.number("compare")
	if err != nil {
		return v, err
	}
	to, err := q.number("with")
	if err != nil {
		return v, err
	}
	v.title, v.stream = key.String(), aboutDeployment(key)
	of := model.DeploymentSubjects(key)
	v.subjects = append(slices.Clone(of), eventlog.DesiredSubject(eventlog.Wildcard, key.Name), eventlog.StateSubject(eventlog.Wildcard, key.Name))
	h, err := d.o.Moments.Hold(ctx, q.at)
	if err != nil {
		return v, err
	}
	defer h.Release()
	var m model.Deployment
	known := false
	h.Look(func(f moments.Fleet) {
		m, known = model.DeploymentOf(f.Catalog, f.Now, key)
		v.moment, v.logID = model.MomentOf(f.Catalog, f.Now), f.LogID
	})
	if !known {
		return v, q.unknown("Deployment", key.String())
	}
	release, err := d.reader(ctx)
	if err != nil {
		return v, err
	}
	defer release()
	revisions, specs, err := model.RevisionsOf(key, v.read.noting(d.events(ctx, v.moment.Sequence, of...), of))
	switch {
	case errors.Is(err, errTooLong):
		v.read = last{}
		m.Unread = "The log has more of it than a page reads. Its revisions: fleetctl rollout history " + key.Name + " -n " + key.Namespace
	case err != nil:
		return v, err
	default:
		h.Look(func(f moments.Fleet) { revisions.Mark(f.Catalog.View) })
		m.Told(revisions, specs, from, to)
	}
	v.model = m
	return v, nil
}

// device loads the page of a device. What it reads of the log it reads while others have the
// fleet: once its own events, and then with them those of the Deployments that it has, had or
// is to have. Others' may be far more.
func device(ctx context.Context, d *Dashboard, q question) (v shown, err error) {
	id := q.PathValue("device")
	if err := eventlog.CheckName("device", id); err != nil {
		return v, failure{http.StatusBadRequest, err.Error() + "."}
	}
	v.title, v.stream = id, url.Values{"device": {id}}.Encode()
	v.subjects = model.DeviceSubjects(id)
	h, err := d.o.Moments.Hold(ctx, q.at)
	if err != nil {
		return v, err
	}
	defer h.Release()
	var m model.Device
	var names []string
	known := false
	h.Look(func(f moments.Fleet) {
		if m, known = model.DeviceOf(f.Catalog, f.Now, id); known {
			names = model.DeploymentsFor(f.Catalog, id)
		}
		v.moment, v.logID = model.MomentOf(f.Catalog, f.Now), f.LogID
	})
	if !known {
		return v, q.unknown("device", id)
	}
	release, err := d.reader(ctx)
	if err != nil {
		return v, err
	}
	defer release()
	own, err := timeline.OfDevice(v.read.noting(d.events(ctx, v.moment.Sequence, v.subjects...), v.subjects), id, timeline.Options{})
	switch {
	case errors.Is(err, errTooLong):
		v.read = last{}
		m.Unexplained = "The log has more events of it than a page reads. Its history: fleetctl history device/" + id
	case err != nil:
		return v, err
	default:
		m.Told(own)
		if err := d.explain(ctx, h, &m, v.moment.Sequence, append(names, model.DeploymentsIn(own)...)); err != nil {
			return v, err
		}
	}
	v.model = m
	return v, nil
}

// explain says why a device is as it is.
func (d *Dashboard) explain(ctx context.Context, h *moments.Held, m *model.Device, until uint64, deployments []string) error {
	id := m.Device.ID
	slices.Sort(deployments)
	deployments = slices.Compact(deployments)
	if len(deployments) > maxExplained {
		m.Unexplained = fmt.Sprintf("It has to do with %d Deployments, which are more than a page explains. Why it is so: fleetctl explain device/%s", len(deployments), id)
		return nil
	}
	subjects := model.DeviceSubjects(id)
	for _, name := range deployments {
		subjects = append(subjects, eventlog.DeploymentSubject(eventlog.Wildcard, name)) // another of the name may hold its place
	}
	var view *fleet.View
	question := explain.Question{Device: id, At: m.Moment.Clock, Fleet: func() (*fleet.View, error) { return view, nil }}
	evidence, err := explain.Gather(d.events(ctx, until, subjects...), question, timeline.Options{AsOf: until})
	if errors.Is(err, errTooLong) {
		m.Unexplained = "The log has more events of its Deployments than a page reads. Why it is so: fleetctl explain device/" + id
		return nil
	}
	if err != nil {
		return err
	}
	h.Look(func(f moments.Fleet) {
		view = f.Catalog.View
		m.Explanation, err = evidence.Answer()
	})
	if errors.Is(err, explain.ErrUnknownDevice) { // only others spoke of it
		m.Unexplained, err = err.Error(), nil
	}
	if m.Explanation != nil {
		m.Explanation.Elsewhere = nil // of the Deployments that do not match, those alone that share a name were read
	}
	return err
}

// reader waits until one more history may be read: what is kept of it for a while is bounded
// by maxBytes, and nothing bounds what others keep.
func (d *Dashboard) reader(ctx context.Context) (release func(), err error) {
	select {
	case d.readers <- struct{}{}:
		return func() { <-d.readers }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// events reads the events on some subjects up to a sequence. More than a page reads end with
// errTooLong.
func (d *Dashboard) events(ctx context.Context, until uint64, subjects ...string) iter.Seq2[eventlog.Event, error] {
	return func(yield func(eventlog.Event, error) bool) {
		count, bytes := 0, 0
		for e, err := range d.o.Moments.Events(ctx, until, subjects...) {
			count++
			bytes += len(e.Data)
			if count > d.o.MaxEvents || bytes > d.o.MaxBytes {
				yield(eventlog.Event{}, errTooLong)
				return
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

// last are the two last events on some subjects that were read; 0: there is none.
type last struct {
	subjects       []string
	before, newest uint64
}

// noting gives events on some subjects, and notes the last of them.
func (l *last) noting(events iter.Seq2[eventlog.Event, error], subjects []string) iter.Seq2[eventlog.Event, error] {
	l.subjects = subjects
	return func(yield func(eventlog.Event, error) bool) {
		for e, err := range events {
			if e.Sequence > 0 {
				l.before, l.newest = l.newest, e.Sequence
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

// neighbours gives the events around a page's moment that changed what it shows. Of the
// subjects that were read to make the page, the log is asked no more for what went before.
func (d *Dashboard) neighbours(ctx context.Context, v shown, end uint64) (n moments.Neighbours, err error) {
	at := v.moment.Sequence
	if len(v.read.subjects) == 0 {
		return d.o.Moments.Neighbours(ctx, at, end, v.subjects)
	}
	var rest []string
	for _, subject := range v.subjects {
		if !slices.Contains(v.read.subjects, subject) {
			rest = append(rest, subject)
		}
	}
	if len(rest) > 0 {
		if n, err = d.o.Moments.Neighbours(ctx, at, end, rest); err != nil {
			return n, err
		}
	}
	all := []uint64{n.Before, n.Current, v.read.before, v.read.newest}
	slices.Sort(all)
	n.Before, n.Current = all[2], all[3]
	after, err := d.o.Moments.After(ctx, at, end, v.read.subjects)
	if after > 0 && (n.After == 0 || after < n.After) {
		n.After = after
	}
	return n, err
}
