package trace

import (
	"slices"
	"time"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
)

// Extent is where in the log a change lies.
type Extent struct {
	TraceID  [16]byte
	Revision uint64
	From     uint64    // sequence of the event by which it began
	Ended    uint64    // sequence of the event by which it ended; 0: it goes on
	Runs     []uint64  // sequences of the rollout.started of its runs, the first one first
	Until    time.Time // what agents said of it until then is part of it; zero: it goes on
}

// Changes gives the changes that the events of one Deployment tell of, the oldest first.
// It needs no other events than those of family deployment.
func Changes(key fleet.Key, events []eventlog.Event) []Extent {
	f := New(Options{Untraced: true})
	var all []Extent
	var last *change
	for i := range events {
		e := events[i]
		f.Apply(e)
		c := f.changes[key]
		if c != last {
			if last != nil {
				all[len(all)-1].close(e)
			}
			if last = c; c != nil {
				all = append(all, Extent{TraceID: c.root.TraceID, From: e.Sequence})
			}
		}
		if c == nil {
			continue
		}
		x := &all[len(all)-1]
		x.Revision = c.revision
		if c.run > 0 && !slices.Contains(x.Runs, c.run) {
			x.Runs = append(x.Runs, c.run)
		}
		if !c.ended.IsZero() {
			x.close(e)
		}
	}
	return all
}

// close notes the event by which a change ended.
func (x *Extent) close(e eventlog.Event) {
	if x.Ended == 0 {
		x.Ended, x.Until = e.Sequence, e.Recorded.Add(linger)
	}
}
