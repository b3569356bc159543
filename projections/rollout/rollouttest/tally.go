package rollouttest

import "fleet.nationtech.io/eventlog"

// tally is how the devices of the open batch fare, by what the log said of each.
type tally struct {
	proven, bad, open int   // of those that were given the target
	waiting, ready    int   // online, and to be given it; of them, those whose dependencies are healthy
	offline           int   // may still come back and be judged
	missing           int   // what they depend on is not there; or they are offline, have nothing, and it is not healthy
	unfilled          int   // online, and without the label that is filled in
	newest            int64 // when the newest deadline began
}

func (t tally) counted() int { return t.proven + t.bad + t.open + t.waiting }

func (t tally) allowed(c *course) int { return t.counted() * (100 - c.spec.Threshold) / 100 }

func (l *Laws) matches(c *course, key string, w *witness) bool {
	f := w.names[nameOf(key)]
	return c.spec.Selector.selects(w.labels) || w.labels == nil && f != nil && f.holder == key
}

func (l *Laws) matched(c *course, key string) (n int) {
	for _, w := range l.devices {
		if l.matches(c, key, w) {
			n++
		}
	}
	return n
}

// tally looks at each device of the open batch.
func (l *Laws) tally(c *course, key string, now int64) (t tally) {
	soak := c.settings().Soak
	for id, w := range l.devices {
		if !l.matches(c, key, w) || l.batchOf(c, key, id, w) != c.batch {
			continue
		}
		f := w.names[nameOf(key)]
		ours := f != nil && f.holder == key && f.target.Same(c.target)
		given := ours && f.fits(w)
		if ours {
			t.newest = max(t.newest, f.changedAt, c.began)
		}
		skipped, ready := l.skipped(c, key, w)
		unfilled := !skipped && l.unfilled(c, key, id, w)
		skipped = skipped || unfilled
		if !w.online && !skipped && (f == nil || f.holder != key || !f.lost) {
			t.offline++
		}
		if !given {
			switch {
			case w.online && !skipped:
				t.waiting++
				if ready {
					t.ready++
				}
			case unfilled && w.online:
				t.unfilled++
			case unfilled:
			case w.online && w.labels != nil && (f == nil || f.holder == "" || f.holder == key):
				t.missing++
			case !w.online && w.labels != nil && (f == nil || f.holder == "") && !ready:
				t.missing++
			}
			continue
		}
		begun := max(f.changedAt, c.began)
		late := now-begun >= c.spec.Deadline
		switch {
		case f.well && now-f.wellAt >= soak:
			t.proven++
		case f.well && f.back && now-begun >= c.spec.Deadline+soak: // it was away
		case f.well && now-begun >= c.spec.Deadline+soak: // it flaps
			t.bad++
		case f.well:
			t.open++
		case f.is(eventlog.PhaseRunning): // and offline: nobody knows how it fares
		case f.failing && (late || now-f.failingAt >= min(Patience, c.spec.Deadline)):
			t.bad++
		case f.failing:
			t.open++
		case !w.online && !f.upset: // it was given it while it was away
		case late: // silent, or lost
			t.bad++
		default:
			t.open++
		}
	}
	return t
}

// unfilled says whether a device has no value for what is filled in in what it should
// have, else in the run's target.
func (l *Laws) unfilled(c *course, key, id string, w *witness) bool {
	to := l.wanted(c, key, id, w)
	if to == nil {
		to = &c.target
	}
	_, filled := to.Content.value(w.known)
	return !filled
}

// skipped says whether a device will not be given the Deployment as things stand, but for
// what is filled in; ready, whether all that it depends on is healthy there.
func (l *Laws) skipped(c *course, key string, w *witness) (skipped, ready bool) {
	f := w.names[nameOf(key)]
	if w.labels == nil || f != nil && f.holder != "" && f.holder != key {
		return true, false
	}
	if c.kind == eventlog.RunRollback && f != nil && f.holder == key {
		return false, true
	}
	if l.cyclic(key) {
		return false, false
	}
	ready = true
	for _, on := range c.spec.DependsOn {
		g, dep := w.names[nameOf(on)], l.deployments[on]
		if dep == nil || g == nil || g.holder != on {
			return true, false
		}
		ready = ready && g.target.Same(dep.target) && g.is(eventlog.PhaseRunning)
	}
	return false, ready
}

// cyclic says whether a Deployment depends on itself.
func (l *Laws) cyclic(key string) bool {
	seen := map[string]bool{}
	var reaches func(k string) bool
	reaches = func(k string) bool {
		c := l.deployments[k]
		if c == nil || c.deleted || seen[k] {
			return false
		}
		seen[k] = true
		for _, on := range c.spec.DependsOn {
			if on == key || reaches(on) {
				return true
			}
		}
		return false
	}
	return reaches(key)
}

// atWork counts the devices of a rollback that it has still to go to, and those that are
// at work on it within their deadline.
func (l *Laws) atWork(c *course, key string, now int64) (left, open int, newest int64) {
	for id, w := range l.devices {
		f := w.names[nameOf(key)]
		if f == nil || f.holder != key || !w.online || !l.matches(c, key, w) {
			continue
		}
		begun := max(f.changedAt, c.began)
		if f.target.Same(c.target) {
			newest = max(newest, begun)
		}
		if !f.target.Same(c.target) || !f.fits(w) {
			if skipped, _ := l.skipped(c, key, w); !skipped && !l.unfilled(c, key, id, w) {
				left++
			}
			continue
		}
		if !f.is(eventlog.PhaseRunning) && now-begun < c.spec.Deadline {
			open++
		}
	}
	return left, open, newest
}

// wanted is what the design says that a device should have now, "What a device should
// have now (Target)" of section 3; nil: it keeps what it has.
func (l *Laws) wanted(c *course, key, id string, w *witness) *Target {
	f := w.names[nameOf(key)]
	has := f != nil && f.holder == key
	failed := c.failed && !c.through()
	out := c.end == eventlog.RolloutRolledBack || c.end == eventlog.RolloutCompleted && !c.unproven
	moving := c.going() && !c.paused
	switch {
	case c.run == 0 || c.spec.Paused, has && (c.hold || c.paused || failed):
		return nil
	case out, moving && c.kind == eventlog.RunRollback, moving && !c.hold && !failed && l.batchOf(c, key, id, w) <= c.batch:
		return &c.target
	case !has && c.stable.Content != "" && c.stable.Content != c.refused:
		return &c.stable
	}
	return nil
}

// owed names a device that could be given something now, or could leave, and what;
// empty: all that there is room for was done. What waits for the rate alone is not owed.
func (l *Laws) owed(c *course, key string, now int64) (id, what string) {
	return l.look(c, key, now, func(what string) bool {
		return what == couldLeave || what == renumbered || !c.waitsForRate(now)
	})
}

// grantable says whether a device could be given the target as budgets stand: "nothing can
// be granted for budgets".
func (l *Laws) grantable(c *course, key string, now int64) bool {
	id, _ := l.look(c, key, now, func(what string) bool { return what != couldLeave && what != renumbered })
	return id != ""
}

const couldLeave, renumbered = "could leave", "has what it should, under another number"

func (l *Laws) look(c *course, key string, now int64, counts func(what string) bool) (id, what string) {
	for id := range l.devices {
		if what := l.owes(c, key, id, now); what != "" && counts(what) {
			return id, what
		}
	}
	return "", ""
}

// owes says what a device could be given now; empty: nothing.
func (l *Laws) owes(c *course, key, id string, now int64) string {
	name, w := nameOf(key), l.devices[id]
	f := w.names[name]
	has := f != nil && f.holder == key
	if !l.matches(c, key, w) {
		leave := Event{Type: eventlog.DesiredWithdrawn, Deployment: key, Device: id}
		if has && !c.still() && (w.online || c.kind == eventlog.RunImmediate) && (!w.online || f.phase == "" || l.room(c, leave) == nil) {
			return couldLeave
		}
		return ""
	}
	to := l.wanted(c, key, id, w)
	skipped, ready := l.skipped(c, key, w)
	switch {
	case to == nil || skipped || l.unfilled(c, key, id, w):
	case has && f.target.Same(*to) && f.fits(w) && f.target.Revision == to.Revision:
	case has && f.target.Same(*to) && f.fits(w):
		return renumbered
	case !ready:
	case !has && f != nil && f.leaving != "" && w.online && f.phase != "": // what it had is not off it
	case !has:
		return "has nothing"
	case !w.online && (c.kind != eventlog.RunImmediate || l.budgeted(w)):
	case c.shut(now) && !w.disturbed(f) && !f.is(eventlog.PhaseFailed):
	case !w.online, l.room(c, Event{Type: eventlog.DesiredAssigned, Deployment: key, Device: id, Target: *to}) == nil:
		return "could be given the target"
	}
	return ""
}

// Standing is "Standing: the partition (first that holds)" of section 1 for one device, by
// what the log said of it.
func (l *Laws) Standing(key, id string, now int64) string {
	c, w := l.deployments[key], l.devices[id]
	f := w.names[nameOf(key)]
	on := c.run > 0 && f != nil && f.holder == key && f.target.Same(c.target) && f.fits(w)
	skipped, _ := l.skipped(c, key, w)
	skipped = skipped || l.unfilled(c, key, id, w)
	silent := on && w.online && now-max(f.changedAt, c.began) >= c.spec.Deadline
	switch {
	case on && f.is(eventlog.PhaseRunning):
		return Healthy
	case skipped && !on:
		return Skipped
	case on && (f.failing || silent || f.lost && !f.off):
		return Failed
	case !w.online:
		return Offline
	case on:
		return Updating
	}
	return Waiting
}
