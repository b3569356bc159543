package fleet

import (
	"time"

	"fleet.nationtech.io/eventlog"
)

// Identity is what a device's report numbers (Fleet-N) say. A lost store is a
// new epoch; two epochs that alternate are two machines with one identity.
type Identity struct {
	Repeats uint64 // reports dropped because the fold had seen their number
	Gaps    uint64 // numbers that never came
	// Alternated is when an epoch spoke again after another had taken its
	// place, by the log's clock; zero if that never happened.
	Alternated time.Time

	epochs []epoch // the last that spoke is the last in the slice
}

type epoch struct {
	id string
	n  uint64
}

// maxEpochs bounds what is kept of a device whose store is lost again and again.
const maxEpochs = 4

// accept says whether a report is new. Clients that do not number are always
// believed.
func (i *Identity) accept(e *eventlog.Event) bool {
	c := e.Counter
	if c.Epoch == "" {
		return true
	}
	for k := len(i.epochs) - 1; k >= 0; k-- {
		ep := i.epochs[k]
		if ep.id != c.Epoch {
			continue
		}
		if c.N <= ep.n {
			i.Repeats++
			return false
		}
		i.Gaps += c.N - ep.n - 1
		if k != len(i.epochs)-1 {
			i.Alternated = e.Recorded
			i.epochs = append(i.epochs[:k], i.epochs[k+1:]...)
			i.epochs = append(i.epochs, epoch{ep.id, c.N})
			return true
		}
		i.epochs[k].n = c.N
		return true
	}
	if len(i.epochs) == maxEpochs {
		i.epochs = append(i.epochs[:0], i.epochs[1:]...)
	}
	i.epochs = append(i.epochs, epoch{string([]byte(c.Epoch)), c.N})
	i.Gaps += c.N - 1
	return true
}

// Duplicate says whether two machines spoke under the identity within the last
// ten minutes.
func (i *Identity) Duplicate(now time.Time) bool {
	return !i.Alternated.IsZero() && now.Sub(i.Alternated) < 10*time.Minute
}

// Traffic measures what a device writes to the log, as a bucket that leaks at
// TrafficRate and overflows at TrafficBurst.
type Traffic struct {
	level int64 // bytes: whole ones, so that every machine counts the same
	last  time.Time
}

// A device's budget. An agent at its own limits (one report a second of each of
// twenty flapping Deployments) stays below a half of the rate.
const (
	TrafficRate  = 32 << 10 // bytes a second
	TrafficBurst = 8 << 20  // bytes

	emptied = 2 * TrafficBurst / TrafficRate * time.Second // after which nothing is left

	recordBytes = 150 // what subject and the store's own record add to a message
)

func (t *Traffic) add(bytes int, at time.Time) {
	t.leak(at)
	t.level = min(t.level+int64(bytes+recordBytes), 2*TrafficBurst)
}

// leak empties the bucket up to a moment of the log. Besides a write, only the
// word that the device is allowed again does so: what it wrote before counts
// until then, however late somebody looks.
func (t *Traffic) leak(at time.Time) {
	if gap := at.Sub(t.last); gap > 0 {
		if gap < emptied {
			t.level = max(0, t.level-int64(gap)*TrafficRate/int64(time.Second))
		} else {
			t.level = 0
		}
		t.last = at.UTC()
	}
}

// Flooding says whether the device was over its budget when it last wrote, or
// was last allowed.
func (t *Traffic) Flooding() bool { return t.level > TrafficBurst }
