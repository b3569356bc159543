package decide

import (
	"container/heap"

	"fleet.nationtech.io/projections/rollout"
)

// orderHeap has the places that owe a value, the first in the Deployment's order on top.
type orderHeap []*place

func (h orderHeap) Len() int           { return len(h) }
func (h orderHeap) Less(i, j int) bool { return before(h[i], h[j]) < 0 }

func (h orderHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push implements heap.Interface.
func (h *orderHeap) Push(x any) {
	p := x.(*place)
	p.index = len(*h)
	*h = append(*h, p)
}

// Pop implements heap.Interface.
func (h *orderHeap) Pop() any {
	last := len(*h) - 1
	p := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	p.index = -1
	return p
}

// before orders the places that wait in one Deployment: devices that are down already go
// first, for they cost no availability; of those that have nothing of it they go last, for
// they use a rate up and show nothing.
func before(a, b *place) int {
	if a.values.down != b.values.down {
		if a.values.down != a.values.fresh {
			return -1
		}
		return 1
	}
	return byOrder(a, b)
}

// dueHeap has the places that will count otherwise though nothing happens, the next on
// top.
type dueHeap []*place

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].values.until.Before(h[j].values.until) }

func (h dueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].dueIndex, h[j].dueIndex = i, j
}

// Push implements heap.Interface.
func (h *dueHeap) Push(x any) {
	p := x.(*place)
	p.dueIndex = len(*h)
	*h = append(*h, p)
}

// Pop implements heap.Interface.
func (h *dueHeap) Pop() any {
	last := len(*h) - 1
	p := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	p.dueIndex = -1
	return p
}

// enqueue puts a place into the queues in which what it owes waits.
func (s *State) enqueue(p *place) {
	p.leaveQueues()
	pl, v := p.of, &p.values
	if !v.until.IsZero() {
		heap.Push(&pl.due, p)
	}
	if p.stray = v.stray; v.stray {
		pl.strays++
	}
	switch {
	case v.stray:
		if h := pl.leavesBy(v); h != nil {
			p.wait(h)
		}
	case v.fresh && pl.rated():
		p.wait(&pl.first)
	case v.fresh:
		pl.fresh[p] = struct{}{}
	case v.free:
		pl.renumber[p] = struct{}{}
	case v.owes && v.blocked == "" && v.broken:
		p.wait(&pl.broken)
	case v.owes && v.blocked == "":
		p.wait(&pl.up)
	}
}

// leavesBy gives the heap in which a device waits that no longer matches; nil: it waits
// until it is online, and is withdrawn then, inside the budgets.
func (pl *placement) leavesBy(v *placeValues) *orderHeap {
	switch {
	case !v.online && !rollout.Immediate(&pl.phase.log.Run):
		return nil
	case !v.online, v.unheard, v.broken:
		return &pl.gone
	}
	return &pl.leaving
}

// wait puts a place into a heap.
func (p *place) wait(h *orderHeap) {
	p.in = h
	heap.Push(h, p)
}

func (p *place) leaveQueues() {
	delete(p.of.fresh, p)
	delete(p.of.renumber, p)
	if p.group != nil {
		p.group.unpark(p)
	} else if p.in != nil {
		heap.Remove(p.in, p.index)
		p.in = nil
	}
	if p.stray {
		p.of.strays--
		p.stray = false
	}
	if p.from != nil {
		p.from.ease() // another may go on for it
		p.from = nil
	}
	if p.dueIndex >= 0 {
		heap.Remove(&p.of.due, p.dueIndex)
	}
}
