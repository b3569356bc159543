// Package liveness tells from the pulse which devices are online. A pulse costs
// one map look-up and is no event; only the turns are.
package liveness

import (
	"time"

	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/projections/fleet"
)

const (
	// missedPulses is how many intervals of silence mean offline.
	missedPulses = 3
	// flapWindow: a device that comes back within it after it went offline
	// flaps; one that was online for as long no longer does.
	flapWindow = 10 * time.Minute
	// maxStrangers is how many devices are watched that only pulse: an identity that
	// several devices share may pulse for any name. Another is watched from when the
	// log knows it.
	maxStrangers = 4096
	// maxTimeout bounds what flapping can make of the timeout.
	maxTimeout = 5 * time.Minute
)

// Tracker reaches the verdicts. It knows no clock: its owner tells it the time,
// which never goes back. It is not safe for concurrent use.
//
// Guarantee: no device is found offline before the tracker itself has listened
// for that device's whole timeout without a break.
type Tracker struct {
	base       time.Duration
	maxTimeout time.Duration
	listening  time.Time // since when without a break; zero: deaf
	looked     time.Time // when Expire was last called; zero: never
	devices    map[string]*device
	strangers  int                 // of devices, those that the log does not know
	left       map[string]struct{} // whose pulse means nothing
	wheel      wheel
}

type device struct {
	id string
	decide.Verdict
	heard time.Time // by this tracker; zero: never
	known bool      // the log knows it
	gone  bool
	hung  bool // on the wheel
}

// Silence is how long a device that pulses every interval may be silent before it is offline.
func Silence(interval time.Duration) time.Duration { return missedPulses * interval }

// NewTracker makes a tracker of devices that pulse every interval.
func NewTracker(interval time.Duration, now time.Time) *Tracker {
	base := Silence(interval)
	maxWait := max(base, maxTimeout)
	return &Tracker{
		base: base, maxTimeout: maxWait,
		devices: map[string]*device{}, left: map[string]struct{}{},
		wheel: newWheel(now, Resolution(interval), maxWait),
	}
}

// Resolution is how often Expire should be called: how late a verdict may be.
func Resolution(interval time.Duration) time.Duration {
	return min(max(interval/10, 5*time.Millisecond), time.Second)
}

// Listen says that pulses are heard from now on: at the start, after each
// reconnect, and when leadership is gained.
func (t *Tracker) Listen(now time.Time) { t.listening = now }

// Disconnected says that pulses are no longer heard, so that silence means nothing.
func (t *Tracker) Disconnected() { t.listening = time.Time{} }

// Know makes sure that a device is watched, with the verdict that the log holds.
// What the tracker heard itself outweighs the log.
func (t *Tracker) Know(id string, p fleet.Presence, now time.Time) {
	delete(t.left, id)
	if d, ok := t.devices[id]; ok {
		t.settle(d)
		if d.heard.IsZero() && p.Since.After(d.Since) {
			d.Online, d.LastSeen, d.Since = p.Online, p.LastSeen, p.Since
			t.wheel.add(d, now.Add(d.Timeout))
		}
		return
	}
	d := t.watch(id, now)
	t.settle(d)
	d.Online, d.LastSeen, d.Since = p.Online, p.LastSeen, p.Since
}

// Forget ends the watch of a device until it pulses.
func (t *Tracker) Forget(id string) {
	delete(t.left, id)
	if d, ok := t.devices[id]; ok {
		t.settle(d)
		d.gone = true
		delete(t.devices, id)
	}
}

// settle makes a device no stranger.
func (t *Tracker) settle(d *device) {
	if !d.known {
		d.known = true
		t.strangers--
	}
}

// Leave ends the watch of a device that left the fleet: its pulse means nothing
// until Know or Forget.
func (t *Tracker) Leave(id string) {
	t.Forget(id)
	t.left[id] = struct{}{}
}

// Pulse notes a device's pulse and says whether the verdict changed.
func (t *Tracker) Pulse(id string, now time.Time) bool {
	if _, left := t.left[id]; left {
		return false
	}
	d, ok := t.devices[id]
	if !ok && t.strangers >= maxStrangers {
		return false
	}
	if !ok {
		d = t.watch(id, now)
	}
	d.heard, d.LastSeen = now, now
	switch d.Online {
	case fleet.OnlineTrue:
		if now.Sub(d.Since) >= flapWindow {
			d.Timeout = t.base
		}
		return false
	case fleet.OnlineFalse:
		if now.Sub(d.Since) <= flapWindow {
			d.Timeout = min(2*d.Timeout, t.maxTimeout)
		} else {
			d.Timeout = t.base
		}
		t.wheel.add(d, now.Add(d.Timeout))
	}
	d.Online, d.Since = fleet.OnlineTrue, now
	return true
}

// Known says whether the log knows a device that is watched.
func (t *Tracker) Known(id string) bool {
	d := t.devices[id]
	return d != nil && d.known
}

// Expire gives the devices whose silence became a verdict. Who calls it late, by
// more than an interval, stood still and did not listen.
func (t *Tracker) Expire(now time.Time) []string {
	if !t.looked.IsZero() && !t.listening.IsZero() && now.Sub(t.looked) > t.base/missedPulses {
		t.listening = now
	}
	t.looked = now
	var offline []string
	for _, d := range t.wheel.advance(now) {
		switch due := t.due(d, now); {
		case d.gone || d.Online == fleet.OnlineFalse:
			// It comes back onto the wheel with its next pulse.
		case due.After(now):
			t.wheel.add(d, due)
		default:
			d.Online, d.Since = fleet.OnlineFalse, now
			offline = append(offline, d.id)
		}
	}
	return offline
}

// Verdict gives what is known of a device. Without Know or Pulse: nothing.
func (t *Tracker) Verdict(id string) decide.Verdict {
	if d, ok := t.devices[id]; ok {
		return d.Verdict
	}
	return decide.Verdict{}
}

func (t *Tracker) watch(id string, now time.Time) *device {
	d := &device{id: id, Verdict: decide.Verdict{Timeout: t.base}}
	t.devices[id] = d
	t.strangers++
	t.wheel.add(d, now.Add(t.base))
	return d
}

// due is when a device's silence would become a verdict.
func (t *Tracker) due(d *device, now time.Time) time.Time {
	switch {
	case t.listening.IsZero():
		return now.Add(d.Timeout)
	case d.heard.After(t.listening):
		return d.heard.Add(d.Timeout)
	default:
		return t.listening.Add(d.Timeout)
	}
}
