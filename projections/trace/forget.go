package trace

import (
	"maps"
	"slices"
	"time"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
)

// sweep forgets the changes and assignments that are through, and gives the spans of the
// changes that go on for too long. It looks once a minute.
func (f *Fold) sweep(e *eventlog.Event) {
	if f.clock.Sub(f.swept) < time.Minute {
		return
	}
	f.swept = f.clock
	for _, key := range slices.SortedFunc(maps.Keys(f.changes), fleet.Key.Compare) {
		c := f.changes[key]
		if f.clock.Sub(c.begin) > MaxAge && !f.options.Untraced {
			f.end(c, Unfinished, "", "it goes on for more than "+MaxAge.String(), e)
		}
		if c.settled() && f.clock.Sub(c.active) > linger {
			f.end(c, Succeeded, "", "", e)
		}
		if !c.ended.IsZero() && f.clock.Sub(c.ended) > linger {
			f.forgetDevices(c)
			continue
		}
		for _, a := range c.devices {
			if !a.ended.IsZero() && f.clock.Sub(a.ended) > linger {
				f.forgetDevice(a)
			}
		}
	}
}

// forget drops a change that another one took the place of.
func (f *Fold) forget(c *change) {
	if c != nil {
		f.forgetDevices(c)
		delete(f.changes, c.key)
	}
}

func (f *Fold) forgetDevices(c *change) {
	for _, a := range c.devices {
		f.forgetDevice(a)
	}
	f.used -= len(c.used)
	clear(c.used)
	if !f.options.Untraced { // then what comes after has a trace of its own
		delete(f.changes, c.key)
	}
}

func (f *Fold) forgetDevice(a *assignment) {
	if p := (pair{a.device, a.of.key.Name}); f.assigned[p] == a {
		delete(f.assigned, p)
	}
	delete(a.of.devices, a.device)
}

// settled says whether a change that begins no run has nothing open: it ends, unless
// another assignment comes soon.
func (c *change) settled() bool {
	if !c.quiet || !c.ended.IsZero() {
		return false
	}
	for _, a := range c.devices {
		if a.ended.IsZero() {
			return false
		}
	}
	return true
}
