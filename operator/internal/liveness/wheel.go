package liveness

import "time"

// wheel is a timing wheel: devices hang in the slot of the tick at which to look
// at them again. A pulse doesn't touch it; a device that was heard meanwhile is
// hung further on when its slot comes by.
type wheel struct {
	start time.Time
	tick  time.Duration
	at    int // the last tick that was passed
	slots [][]*device
}

func newWheel(start time.Time, tick, span time.Duration) wheel {
	return wheel{start: start, tick: tick, slots: make([][]*device, int(span/tick)+2)}
}

// add hangs a device where advance finds it at the given moment or up to one
// tick later, unless it hangs somewhere already; what lies beyond the wheel's turn is looked at early.
func (w *wheel) add(d *device, when time.Time) {
	if d.hung {
		return
	}
	d.hung = true
	n := int((when.Sub(w.start) + w.tick - 1) / w.tick)
	n = min(max(n, w.at+1), w.at+len(w.slots)-1)
	s := n % len(w.slots)
	w.slots[s] = append(w.slots[s], d)
}

// advance takes the devices off all slots up to now.
func (w *wheel) advance(now time.Time) []*device {
	to := int(now.Sub(w.start) / w.tick)
	var out []*device
	for n := w.at + 1; n <= to && n <= w.at+len(w.slots); n++ {
		s := n % len(w.slots)
		out = append(out, w.slots[s]...)
		w.slots[s] = nil
	}
	for _, d := range out {
		d.hung = false
	}
	w.at = max(w.at, to)
	return out
}
