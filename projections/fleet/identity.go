package fleet

import (
	"slices"
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

	// Nearly every device has had one epoch for all its life, so the one that
	// spoke last is held here, and those before it, the latest last, elsewhere.
	now    epoch
	before *[]epoch
}

// epoch is one of a device's stores and the last number that it gave.
type epoch struct {
	id uint64 // of its name; 0 for none
	n  uint64
}

// maxEpochs bounds what is kept of a device whose store is lost again and again.
const maxEpochs = 4

// epochID stands for an epoch's name. It is kept instead of the name, as a view
// has one for each device: two names with one id could mislead but the device
// that chose them, about itself.
func epochID(name string) uint64 {
	const offset, prime = 14695981039346656037, 1099511628211 // FNV-1a
	h := uint64(offset)
	for i := range len(name) {
		h = (h ^ uint64(name[i])) * prime
	}
	return max(1, h)
}

// accept says whether a report is new. Clients that do not number are always
// believed.
func (i *Identity) accept(e *eventlog.Event) bool {
	c := e.Counter
	if c.Epoch == "" {
		return true
	}
	said := epoch{epochID(c.Epoch), c.N}
	if i.now.id == said.id {
		if said.n <= i.now.n {
			i.Repeats++
			return false
		}
		i.Gaps += said.n - i.now.n - 1
		i.now.n = said.n
		return true
	}
	var before []epoch
	if i.before != nil {
		before = *i.before
	}
	last := uint64(0)
	if k := slices.IndexFunc(before, func(ep epoch) bool { return ep.id == said.id }); k >= 0 {
		if last = before[k].n; said.n <= last {
			i.Repeats++
			return false
		}
		i.Alternated = e.Recorded.UTC()
		before = slices.Delete(before, k, k+1)
	}
	i.Gaps += said.n - last - 1
	if i.now.id != 0 {
		if len(before) == maxEpochs-1 {
			before = slices.Delete(before, 0, 1)
		}
		before = append(before, i.now)
		i.before = &before
	}
	i.now = said
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
	last  int64 // nanoseconds since 1970, by the log's clock
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
	now := at.UnixNano()
	gap := now - t.last
	if gap <= 0 {
		return
	}
	t.last = now
	if gap < int64(emptied) {
		t.level = max(0, t.level-gap*TrafficRate/int64(time.Second))
	} else {
		t.level = 0
	}
}

// ReasonFlooding is the reason of an access.revoked: the device wrote more to the log than
// its budget.
const ReasonFlooding = "Flooding"

// Flooding says whether the device was over its budget when it last wrote, or
// was last allowed.
func (t *Traffic) Flooding() bool { return t.level > TrafficBurst }
