package rollouttest

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"

	"fleet.nationtech.io/eventlog"
)

// Order is a device's place in a Deployment: the same for every revision.
func Order(deployment, device string) uint64 {
	h := sha256.Sum256([]byte(deployment + "\x00" + device))
	return binary.BigEndian.Uint64(h[:])
}

// defaultBatches is what a spec without batches means.
var defaultBatches = []Batch{
	{Size: eventlog.Amount{N: 1, Percent: true}, Soak: 300},
	{Size: eventlog.Amount{N: 10, Percent: true}, Soak: 300},
	{Soak: 60},
}

func (sp Spec) batches() []Batch {
	switch {
	case sp.Strategy == eventlog.StrategyImmediate:
		return []Batch{{}}
	case len(sp.Batches) == 0:
		return defaultBatches
	}
	return sp.Batches
}

// shape is what a plan depends on, as its author wrote it: that a first revision has
// one batch is derived, and no change of the plan.
func (sp Spec) shape() string {
	if sp.Strategy == eventlog.StrategyImmediate {
		return sp.Strategy
	}
	parts := []string{"Batched"}
	for _, b := range sp.Batches {
		parts = append(parts, fmt.Sprint(b.Size, b.Pin))
	}
	return strings.Join(parts, " ")
}

// batch gives the settings of the run's open batch, as they are now.
func (d *Deployment) batch() Batch { return d.settings(d.Run.Batch) }

// settings gives those of a batch of the run.
func (d *Deployment) settings(n int) Batch {
	r, bs := &d.Run, d.Spec.batches()
	if r.Kind == eventlog.RunImmediate || len(r.Plan) == 1 && len(d.Spec.Batches) == 0 {
		return Batch{} // the one batch of a first revision has no soak either
	}
	return bs[min(max(n, 1), len(bs))-1]
}

// fourEyes says whether a batch from the open one on wants a second person.
func (d *Deployment) fourEyes() bool {
	for n := d.Run.Batch; n <= len(d.Run.Plan); n++ {
		if d.settings(n).FourEyes {
			return true
		}
	}
	return false
}

// pin gives the number of the batch that pins a device; 0: none does.
func (sp Spec) pin(dev *Device) int {
	for i, b := range sp.batches() {
		if b.Pin.selects(dev.Labels) {
			return i + 1
		}
	}
	return 0
}

// batchOf gives the batch of a device: that of its assignment by the run, else by its
// present labels and its order.
func (d *Deployment) batchOf(dev *Device) int {
	r, p := &d.Run, d.held(dev)
	if p != nil && p.Batch > 0 && p.Run == r.ID && p.Target.Same(r.Target) {
		return p.Batch
	}
	if n := d.Spec.pin(dev); n > 0 && n <= len(r.Plan) && r.Plan[n-1].Pinned {
		return n
	}
	for i, b := range r.Plan {
		if !b.Pinned && dev.orders[d.Key] <= b.Cut {
			return i + 1
		}
	}
	return len(r.Plan)
}

// plan freezes the batches of a run over the devices that are online, or over all where
// fewer are online than the first batch takes: a canary is a device that can answer. A
// device without the value that is filled in is none. A pinned batch has what it pins, and a sized one as many of the others, in their order,
// as its size lacks with what is pinned before it.
func (s *State) plan(d *Deployment, kind string, target Target) []Planned {
	var pool, all []*Device
	first := d.Stable.Content == "" && len(d.Spec.Batches) == 0
	for _, dev := range s.devices(d) {
		first = first && d.held(dev) == nil
		if d.matches(dev) {
			all = append(all, dev)
			if _, filled := target.Content.value(dev.Known); dev.Online && filled {
				pool = append(pool, dev)
			}
		}
	}
	bs := d.Spec.batches()
	if kind == eventlog.RunImmediate || kind == eventlog.RunRollback || first {
		return []Planned{{Cut: math.MaxUint64, Size: len(all)}}
	}
	if n := bs[0].Size; len(pool) < 1 || !n.Percent && len(pool) < n.N {
		pool = all
	}
	var free []uint64
	pins := map[int]int{}
	for _, dev := range pool {
		if d.Spec.pin(dev) == 0 {
			free = append(free, dev.orders[d.Key])
		}
	}
	for _, dev := range all {
		pins[d.Spec.pin(dev)]++
	}
	var plan []Planned
	pinned, before := 0, 0 // devices of pinned batches, and of all so far
	for i, b := range bs {
		switch {
		case len(b.Pin) > 0:
			plan = append(plan, Planned{Pinned: true, Size: pins[i+1]})
			pinned += pins[i+1]
			before += pins[i+1]
		case i == len(bs)-1:
			plan = append(plan, Planned{Cut: math.MaxUint64, Size: max(0, len(all)-before)})
		default:
			p := Planned{}
			n := min(max(max(1, b.Size.Of(len(pool)))-pinned, 1), len(free))
			if n > 0 {
				p.Cut = free[n-1]
			}
			p.Size = max(0, n+pinned-before)
			before = max(before, n+pinned)
			plan = append(plan, p)
		}
	}
	return plan
}

// emptyPin says whether a pinned batch has no device: a typo is not a passed canary.
func (r *Run) emptyPin() bool {
	return slices.ContainsFunc(r.Plan, func(b Planned) bool { return b.Pinned && b.Size == 0 })
}
