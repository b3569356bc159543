package fleet

import (
	"errors"
	"strings"
	"time"

	"fleet.nationtech.io/eventlog"
)

// EventTimeView folds the log into the fleet as it truly was at a moment, where Apply
// gives the fleet as the log knew it: a report that a device could send only
// later is where it belongs. It looks at the whole log once, and keeps no more
// than the view and, of each subject that devices write, one time.
//
// What counts, by Event.Happened: of all that others than devices write, what
// happened by then, in the log's order, for that is the order in which it was
// decided; of each subject that devices write, the last that happened by then,
// whenever the log learned of it. Of two at one time the later in the log wins.
// What devices write to the log fills it when it is recorded, so Traffic and
// Foreign count what was recorded by then.
type EventTimeView struct {
	at   time.Time
	view *View

	numbers  map[string]*Identity // of all reports of a device: repeats are known by them
	last     map[subject]time.Time
	absences map[string]absence // the last one of a device
	strange  map[*Device]int    // of last, the names that the view had no pair of
}

// absence is the time from a device's decommission to when it was allowed again.
type absence struct {
	from, to moment
	over     bool
}

// moment orders what happened; of two at one time the later in the log comes later.
type moment struct {
	at       time.Time
	sequence uint64
}

func (m moment) before(o moment) bool {
	if c := m.at.Compare(o.at); c != 0 {
		return c < 0
	}
	return m.sequence < o.sequence
}

// maxStrange bounds what is kept of the names that a device reports and clears
// again. Of more than that the order in the log counts.
const maxStrange = 4 * MaxUnknown

// subject is one that devices write; that of a device's info has no name.
type subject struct{ device, name string }

// NewEventTimeView begins a fold of a log's events up to a moment. The zero moment is
// no bound: then all that the log knows has happened.
func NewEventTimeView(at time.Time) *EventTimeView {
	return &EventTimeView{
		at: at, view: New(),
		numbers: map[string]*Identity{}, last: map[subject]time.Time{}, absences: map[string]absence{}, strange: map[*Device]int{},
	}
}

// View is the fleet as it was. Its Sequence is that of the last event that was
// added.
func (h *EventTimeView) View() *View { return h.view }

// Add takes the next event of the log, with the error that decoding it gave.
func (h *EventTimeView) Add(e eventlog.Event, err error) {
	v := h.view
	if e.Sequence != 0 && e.Sequence <= v.Sequence {
		return
	}
	v.at(&e)
	recorded := h.reaches(e.Recorded)
	ofDevice := e.Address.Family.OfDevices() && e.Address.Device != ""
	if recorded && ofDevice {
		v.accountTraffic(v.device(e.Address.Device), &e)
	}
	switch {
	case err != nil:
	case ofDevice:
		err = h.report(&e)
	default:
		err = h.decision(&e)
	}
	if recorded && errors.Is(err, eventlog.ErrForeign) {
		v.Foreign[e.Address.Family]++
	}
}

func (h *EventTimeView) reaches(t time.Time) bool { return h.at.IsZero() || !t.After(h.at) }

// decision is an event of others than devices.
func (h *EventTimeView) decision(e *eventlog.Event) error {
	at := e.EventTime()
	if !h.reaches(at) {
		return nil
	}
	was := h.absent(e.Address.Device)
	err := h.view.apply(e)
	switch is := h.absent(e.Address.Device); {
	case is && !was:
		h.absences[strings.Clone(e.Address.Device)] = absence{from: moment{at, e.Sequence}}
	case was && !is:
		a := h.absences[e.Address.Device]
		a.to, a.over = moment{at, e.Sequence}, true
		h.absences[e.Address.Device] = a
	}
	return err
}

func (h *EventTimeView) absent(device string) bool {
	d := h.view.Devices[device]
	return d != nil && d.Decommissioned
}

// report is an event on a subject that devices write. It is decoded before it is
// compared: what cannot be read must not win over what can.
func (h *EventTimeView) report(e *eventlog.Event) error {
	v, id := h.view, e.Address.Device
	numbers, ok := h.numbers[id]
	if !ok {
		numbers = &Identity{}
		h.numbers[id] = numbers
	}
	repeat := !numbers.accept(e)
	var (
		state eventlog.DeploymentState
		info  eventlog.DeviceInfo
		at    = e.Recorded
		err   error
	)
	switch {
	case repeat:
		at = e.EventTime()
	case e.Type == eventlog.StateReported:
		if state, err = e.Report("", v.keep); err == nil {
			at = e.EventTimeFrom(state.LastEventAt)
		}
	case e.Type == eventlog.InfoReported:
		if info, err = e.ReportedInfo(v.keep); err == nil {
			at = e.EventTimeFrom(info.UpdatedAt)
		}
	default:
		at = e.EventTime()
	}
	if !h.reaches(at) {
		return err
	}
	dev := v.device(id)
	dev.Identity.accept(e)
	if repeat || err != nil {
		return err
	}
	if a, ok := h.absences[id]; ok {
		switch now := (moment{at, e.Sequence}); {
		case now.before(a.from):
			return nil // the decommission cleared it
		case !a.over || now.before(a.to):
			return v.applyLate(dev, e)
		}
	}
	if e.Type == eventlog.StateReported && dev.Pair(e.Address.Deployment) == nil && dev.Crowded() {
		return ErrTooManyUnknown
	}
	if !h.wins(dev, e, at) {
		return nil
	}
	switch e.Type {
	case eventlog.StateReported:
		p := v.assignment(dev, e.Address.Deployment)
		v.reportState(p, e, state, state.ScoreHash == "" && p.Desired.At.After(at))
	case eventlog.InfoReported:
		v.reportInfo(dev, e, info)
	default:
		v.clear(dev, e)
	}
	return nil
}

// wins says whether an event is the last on its subject by then, and if so
// remembers it.
func (h *EventTimeView) wins(dev *Device, e *eventlog.Event, at time.Time) bool {
	if e.Address.Family == eventlog.FamilyAgent {
		return false // says nothing that the view holds
	}
	key := subject{e.Address.Device, e.Address.Deployment}
	before, ok := h.last[key]
	if ok && at.Before(before) {
		return false
	}
	if !ok && dev.Pair(e.Address.Deployment) == nil {
		if h.strange[dev] >= maxStrange {
			return true
		}
		h.strange[dev]++
	}
	if !ok { // the names are the message's own, which is not to be kept
		key = subject{strings.Clone(key.device), strings.Clone(key.name)}
	}
	h.last[key] = at // of two at one time the later in the log wins
	return true
}
