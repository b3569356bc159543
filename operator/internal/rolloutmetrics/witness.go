package rolloutmetrics

import (
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
)

// Witness measures events as they are folded: see state.Witness. What it remembers of
// what the log held before is what later events are measured by.
type Witness struct {
	metrics lived
	changes map[*fleet.Deployment]*change
	given   map[*fleet.Assignment]time.Time // to devices that were online, and do not run it yet: when the log got it
}

// change is the newest revision of a Deployment.
type change struct {
	revision uint64
	at       time.Time // when the log got it; zero: not known
	ran      map[*fleet.Device]struct{}
}

// NewWitness makes a witness and registers its metrics.
func NewWitness(reg prometheus.Registerer) *Witness {
	w := &Witness{metrics: newLived(reg)}
	w.forget()
	return w
}

func (w *Witness) forget() {
	w.changes, w.given = map[*fleet.Deployment]*change{}, map[*fleet.Assignment]time.Time{}
}

// Begun implements state.Witness. Of a view that was saved it takes what is on its way to
// the devices: the rollout of a revision starts within moments of it.
func (w *Witness) Begun(v *fleet.View) {
	w.forget()
	for _, d := range v.Deployments {
		run := &d.Run
		if !there(d) || run.ID == 0 || run.Target.Revision != d.Spec.Revision || run.By != "" || run.Kind != eventlog.RunUpdate && run.Kind != eventlog.RunImmediate {
			continue
		}
		c := newChange(d.Spec.Revision, run.At)
		for p := range d.Assigned {
			if p.Desired.Revision == c.revision && p.Answered() {
				c.ran[p.Device] = struct{}{}
			}
		}
		w.changes[d] = c
	}
}

func newChange(revision uint64, at time.Time) *change {
	return &change{revision: revision, at: at, ran: map[*fleet.Device]struct{}{}}
}

// Folded implements state.Witness.
func (w *Witness) Folded(v *fleet.View, e eventlog.Event, live bool) {
	switch e.Type {
	case eventlog.StateReported:
		w.reported(v, &e, live)
	case eventlog.DesiredAssigned, eventlog.DesiredWithdrawn:
		w.desired(v, &e)
	case eventlog.DeploymentApplied:
		d := v.Deployments[fleet.Key{Namespace: e.Address.Namespace, Name: e.Address.Name}]
		if c := w.changes[d]; d != nil && d.Applied.Sequence == e.Sequence && (c == nil || c.revision != d.Spec.Revision) {
			w.changes[d] = newChange(d.Spec.Revision, e.Recorded)
		}
	case eventlog.DeploymentDeleted:
		delete(w.changes, v.Deployments[fleet.Key{Namespace: e.Address.Namespace, Name: e.Address.Name}])
	case eventlog.DeviceDecommissioned:
		w.left(v.Devices[e.Address.Device])
	default:
		if live && strings.HasPrefix(string(e.Type), "rollout.") && e.Type.Family() != "" {
			w.metrics.events.WithLabelValues(string(e.Type), reasonOf(&e)).Inc()
		}
	}
}

// desired notes what a device is to run from now on.
func (w *Witness) desired(v *fleet.View, e *eventlog.Event) {
	dev := v.Devices[e.Address.Device]
	if dev == nil {
		return
	}
	p := dev.Pair(e.Address.Deployment)
	if p == nil || p.Desired.Sequence != e.Sequence {
		return // foreign
	}
	if e.Type == eventlog.DesiredAssigned && p.Desired.Changed != e.Sequence {
		return // the same content under another number
	}
	delete(w.given, p)
	if e.Type == eventlog.DesiredWithdrawn {
		return
	}
	if dev.Presence.Online == fleet.OnlineTrue {
		w.given[p] = e.Recorded
	}
	d := p.Deployment
	if c := w.changes[d]; c != nil && c.revision == p.Desired.Revision && !p.Upset && d.Run.Phase == fleet.PhaseCompleted {
		c.ran[dev] = struct{}{} // it came to match later: no change of the spec is on its way to it
	}
}

// reported measures a report that a device runs what it is to run.
func (w *Witness) reported(v *fleet.View, e *eventlog.Event, live bool) {
	dev := v.Devices[e.Address.Device]
	if dev == nil {
		return
	}
	p := dev.Pair(e.Address.Deployment)
	if p == nil || p.Reported.Sequence != e.Sequence || !p.Succeeded() {
		return
	}
	if at, ok := w.given[p]; ok {
		delete(w.given, p)
		if live {
			w.metrics.running.Observe(since(at, e.Recorded))
		}
	}
	c := w.changes[p.Deployment]
	if c == nil || c.revision != p.Desired.Revision {
		return
	}
	if _, ran := c.ran[dev]; ran {
		return
	}
	c.ran[dev] = struct{}{}
	if live && !c.at.IsZero() {
		w.metrics.propagation.Observe(since(c.at, e.Recorded))
	}
}

// left forgets a device that left the fleet.
func (w *Witness) left(dev *fleet.Device) {
	for p := range w.given {
		if p.Device == dev {
			delete(w.given, p)
		}
	}
	for _, c := range w.changes {
		delete(c.ran, dev)
	}
}

// since is the time between two moments of the log in seconds; 0 where a server's clock
// fell back in between.
func since(from, to time.Time) float64 { return max(0, to.Sub(from).Seconds()) }

// otherReason stands for a reason that no operator writes.
const otherReason = "Other"

// reasonOf is the reason of a rollout's event as a label.
func reasonOf(e *eventlog.Event) string {
	r, err := eventlog.Payload[eventlog.Rollout](*e)
	if err != nil || len(r.Reason) > 64 {
		return otherReason
	}
	for _, c := range r.Reason {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return otherReason
		}
	}
	return r.Reason
}
