package decide

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
// first, for they cost no availability.
func before(a, b *place) int {
	if a.values.down != b.values.down {
		if a.values.down {
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
