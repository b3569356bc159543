package rollout

import (
	"errors"
	"slices"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/selectors"
)

// ErrPinMatchesNothing says that the selector of a batch selects none of the devices. A slip of
// the pen must not pass for a canary that succeeded.
var ErrPinMatchesNothing = errors.New("the selector of a batch selects no device that matches")

// Candidate is a device that matches, before a plan is made.
type Candidate struct {
	Order  uint64
	Pin    int  // index of the batch whose selector selects it; -1: none does
	Online bool // and can be given it
}

// Pin gives the index of the first batch whose selector selects a device with these
// labels, and -1 where none does.
func (s *Settings) Pin(labels map[string]string) int {
	for i := range s.Batches {
		if sel := s.Batches[i].Selector; sel != nil && selectors.Selects(*sel, labels) {
			return i
		}
	}
	return -1
}

// Cuts freezes a plan: the borders of the batches in the order of the devices, such
// that as many as the sizes say are online now. Where fewer are online than the first
// batch takes, it is made over all: so a canary is a device that can answer.
//
// It fails with ErrPinMatchesNothing, and gives the plan all the same.
func (s *Settings) Cuts(devices []Candidate) (planned []eventlog.PlannedBatch, err error) {
	pool := make([]Candidate, 0, len(devices))
	for _, c := range devices {
		if c.Online {
			pool = append(pool, c)
		}
	}
	first := 1
	if b := s.Batches[0]; b.Size != nil && !b.Size.Percent {
		first = b.Size.N
	}
	if len(pool) < first {
		pool = devices
	}
	var free []uint64 // orders of the devices that no batch pins
	pins := map[int]int{}
	for _, c := range pool {
		if c.Pin < 0 {
			free = append(free, c.Order)
		}
	}
	for _, c := range devices {
		if c.Pin >= 0 {
			pins[c.Pin]++
		}
	}
	slices.Sort(free)
	pinned, before := 0, 0 // devices of pinned batches, and devices of the batches so far
	for i, b := range s.Batches {
		p := eventlog.PlannedBatch{Pinned: b.Selector != nil}
		switch {
		case b.Selector != nil:
			p.Size = pins[i]
			if p.Size == 0 {
				err = ErrPinMatchesNothing
			}
			pinned += p.Size
			before += p.Size
		case b.Size != nil:
			n := max(1, b.Size.Of(len(pool)))
			k := min(max(n-pinned, 1), len(free))
			if k > 0 {
				p.Cut = free[k-1]
			}
			p.Size = max(0, k+pinned-before)
			before = max(before, k+pinned)
		default:
			p.Cut, p.Size = fleet.LastCut, max(0, len(devices)-before)
		}
		planned = append(planned, p)
	}
	return planned, err
}

// FirstCuts is the plan of a single batch.
func FirstCuts(devices int) []eventlog.PlannedBatch {
	return []eventlog.PlannedBatch{{Cut: fleet.LastCut, Size: devices}}
}

// Member says whether what a pair has came from the target of the Deployment's present
// run, however it came there, and whichever values were filled in for the device. The
// pair may be nil.
func Member(d *fleet.Deployment, p *fleet.Assignment) bool {
	return p != nil && p.Deployment == d && d.Run.ID > 0 && p.Has(&d.Run.Target)
}

// BatchOn gives the batch of the present run, from 1, that a device is in: that by which
// it was given the target, else what follows from its labels and its order now.
func (s *Settings) BatchOn(d *fleet.Deployment, order uint64, p *fleet.Assignment, labels map[string]string) int {
	if Member(d, p) && p.Batch > 0 && p.Desired.Sequence > d.Run.ID {
		return int(p.Batch)
	}
	return BatchOf(&d.Run, order, s.Pin(labels))
}

// BatchOf gives the batch of a run, from 1, that a device is in by its order and by the
// batch that pins it (-1: none).
func BatchOf(run *fleet.Run, order uint64, pin int) int {
	if pin >= 0 && pin < len(run.Batches) && run.Batches[pin].Pinned {
		return pin + 1
	}
	for i, b := range run.Batches {
		if !b.Pinned && order <= b.Cut {
			return i + 1
		}
	}
	return len(run.Batches)
}
