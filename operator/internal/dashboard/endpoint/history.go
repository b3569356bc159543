package endpoint

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/operator/internal/dashboard/model"
	"fleet.nationtech.io/operator/internal/dashboard/moments"
	"fleet.nationtech.io/projections/explain"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/timeline"
)

const (
	maxExplained = 100         // Deployments that a page of a device explains
	pulseTime    = time.Second // for which a page of a device waits for the last pulse
)

// errTooLong says that a history is longer than a page reads.
var errTooLong = errors.New("the log has more of it than a page reads")

// deployment loads the page of a Deployment. It reads the log while other
// pages have the fleet.
func deployment(ctx context.Context, l *Loader, q Question) (v Shown, err error) {
	key, err := PathKey(q.request)
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
	h, err := l.Moments.Hold(ctx, q.At)
	if err != nil {
		return v, err
	}
	defer h.Release()
	var m model.Deployment
	known := false
	h.Look(func(f moments.Fleet) {
		m, known = model.DeploymentOf(f.Catalog, f.Now, key)
		v.at(model.MomentOf(f.Catalog, f.Now), f)
	})
	if !known {
		return v, q.unknown("Deployment", key.String())
	}
	release, err := l.Readers.Take(ctx)
	if err != nil {
		return v, err
	}
	defer release()
	events, err := l.eventsOn(ctx, &v, of)
	if err != nil {
		return v, err
	}
	revisions, specs, err := model.RevisionsOf(key, untilClock(v.Moment, events))
	switch {
	case errors.Is(err, errTooLong):
		v.read = lastTwo{}
		m.Unread = "The log has more of it than a page reads. Its revisions: fleetctl rollout history " + key.Name + " -n " + key.Namespace
	case err != nil:
		return v, err
	default:
		h.Look(func(f moments.Fleet) { revisions.Mark(f.Catalog.View) })
		m.SetRevisions(revisions, specs, from, to)
	}
	v.Model = m
	return v, nil
}

// device loads the page of a device. It reads the log while other pages have the
// fleet: its own events, and then those of the Deployments that it has, had or is to have.
// Others' may be far more.
func device(ctx context.Context, l *Loader, q Question) (v Shown, err error) {
	id, err := PathDevice(q.request)
	if err != nil {
		return v, err
	}
	v.title, v.stream = id, url.Values{"device": {id}}.Encode()
	v.subjects = model.DeviceSubjects(id)
	h, err := l.Moments.Hold(ctx, q.At)
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
		v.at(model.MomentOf(f.Catalog, f.Now), f)
	})
	if !known {
		return v, q.unknown("device", id)
	}
	release, err := l.Readers.Take(ctx)
	if err != nil {
		return v, err
	}
	defer release()
	events, err := l.eventsAbout(ctx, &v, id)
	if err != nil {
		return v, err
	}
	own, err := readAll(events)
	if errors.Is(err, errTooLong) {
		v.read = lastTwo{}
		m.Unexplained = "The log has more events of it than a page reads. Its history: fleetctl history device/" + id
		v.Model = m
		return v, nil
	}
	if err != nil {
		return v, err
	}
	history, err := timeline.OfDevice(replay(own), id, axisOf(v.Moment))
	if err != nil {
		return v, err
	}
	m.SetHistory(history)
	m.SetAway(replay(own))
	if v.Moment.Now {
		l.addPulse(ctx, &m)
	}
	if err := l.explain(ctx, h, &m, own, append(names, model.DeploymentsIn(history)...)); err != nil {
		return v, err
	}
	v.Model = m
	return v, nil
}

// addPulse asks for the last pulse of a device. A page goes without it where the servers have none,
// or do not answer soon.
func (l *Loader) addPulse(ctx context.Context, m *model.Device) {
	ctx, cancel := context.WithTimeout(ctx, pulseTime)
	defer cancel()
	last, err := reader.LastMessage(ctx, l.JS, eventlog.PulseStream, eventlog.PulseSubject(m.Device.ID))
	if err != nil {
		l.Logger.Debug("a device's last pulse cannot be read", "error", err)
		return
	}
	if beat, err := eventlog.ParseHeartbeat(m.Device.ID, last.Data); err == nil && !beat.At.IsZero() {
		m.SetPulse(beat.At, last.Time)
	}
}

// explain says why a device is as it is, by its own events and those of its Deployments, which it
// reads.
func (l *Loader) explain(ctx context.Context, h *moments.Held, m *model.Device, own []readEvent, deployments []string) error {
	id := m.Device.ID
	slices.Sort(deployments)
	deployments = slices.Compact(deployments)
	if len(deployments) > maxExplained {
		m.Unexplained = fmt.Sprintf("It has to do with %d Deployments, which are more than a page explains. Why it is so: fleetctl explain device/%s", len(deployments), id)
		return nil
	}
	var subjects []string
	for _, name := range deployments {
		subjects = append(subjects, eventlog.DeploymentSubject(eventlog.Wildcard, name)) // another of the name may hold its place
	}
	var view *fleet.View
	question := explain.Question{Device: id, At: m.Moment.Clock, Fleet: func() (*fleet.View, error) { return view, nil }}
	until, err := l.until(ctx, m.Moment)
	if err != nil {
		return err
	}
	events := replay(own)
	if len(subjects) > 0 {
		events = merge(own, l.events(ctx, until, subjects...))
	}
	evidence, err := explain.Gather(events, question, axisOf(m.Moment))
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
