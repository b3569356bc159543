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
	if len(sp.Batches) == 0 {
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
func (d *Deployment) batch() Batch {
	r, bs := &d.Run, d.Spec.batches()
	derived := r.Shape == Spec{}.shape() && len(r.Plan) == 1 // the one batch of a first revision
	if derived || r.Kind == eventlog.RunRollback || r.Shape == eventlog.StrategyImmediate {
		return Batch{}
	}
	return bs[min(r.Batch, len(bs))-1]
}

// batchOf gives the batch of a device: frozen once it is given the target, else by its
// present labels and its order.
func (d *Deployment) batchOf(dev *Device) int {
	if p := d.held(dev); p != nil && p.Run == d.Run.ID && p.Batch > 0 {
		return p.Batch
	}
	for i, b := range d.Run.Plan {
		if len(b.Pin) > 0 && b.Pin.selects(dev.Labels) || len(b.Pin) == 0 && dev.orders[d.Key] <= b.Cut {
			return i + 1
		}
	}
	return len(d.Run.Plan)
}

// plan freezes the batches of a run: each takes, in the author's order, what it pins
// or what its size still lacks, over the devices that are online; over all where too
// few are online for the first batch.
func (s *State) plan(d *Deployment, kind string) []Planned {
	var on, all []*Device
	first := d.Stable.Content == ""
	for _, dev := range s.devices(d) {
		if d.held(dev) != nil {
			first = false
		}
		if d.selects(dev) {
			all = append(all, dev)
			if dev.Online {
				on = append(on, dev)
			}
		}
	}
	bs := d.Spec.batches()
	if kind == eventlog.RunRollback || d.Spec.Strategy == eventlog.StrategyImmediate || first && len(d.Spec.Batches) == 0 {
		bs = []Batch{{}}
	}
	if len(on) < max(1, bs[0].Size.Of(len(on))) {
		on = all // too few to prove anything
	}
	taken := map[string]bool{}
	var plan []Planned
	cut := uint64(0)
	for i, b := range bs {
		if len(b.Pin) > 0 {
			for _, dev := range on {
				if b.Pin.selects(dev.Labels) {
					taken[dev.ID] = true
				}
			}
			plan = append(plan, Planned{Pin: b.Pin})
			continue
		}
		for _, dev := range on {
			if len(taken) >= max(1, b.Size.Of(len(on))) {
				break
			}
			if !taken[dev.ID] {
				taken[dev.ID] = true
				cut = dev.orders[d.Key]
			}
		}
		if i == len(bs)-1 {
			cut = math.MaxUint64
		}
		plan = append(plan, Planned{Cut: cut})
	}
	of := &Deployment{Key: d.Key, Name: d.Name, Run: Run{ID: -1, Plan: plan}}
	for _, dev := range all {
		plan[of.batchOf(dev)-1].Size++
	}
	return plan
}

// emptyPin says whether a pinned batch has no device: a typo is not a passed canary.
func (r *Run) emptyPin() bool {
	return slices.ContainsFunc(r.Plan, func(b Planned) bool { return len(b.Pin) > 0 && b.Size == 0 })
}
