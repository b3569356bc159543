package replay

import "sort"

// window is the part of the log that is in memory: each frame in (low, high], and
// which of them is to be played next. What lies further back is dropped and read
// again when it is wanted, so that a log of any length plays in the same memory.
type window struct {
	low, high uint64
	frames    []Frame
	next      int
	end       bool // nothing comes after high
}

const (
	// Chunk is how many frames are read at once.
	Chunk = 4096
	// maxPlayed is how many played frames stay, for going back without reading.
	maxPlayed = 2 * Chunk
)

// windowAt begins an empty window after a sequence.
func windowAt(sequence uint64) window { return window{low: sequence, high: sequence} }

// left is how many frames there are to play.
func (w *window) left() int { return len(w.frames) - w.next }

// moveTo moves to the frame after a sequence, and reports whether the window covers
// it.
func (w *window) moveTo(sequence uint64) bool {
	if sequence < w.low || sequence > w.high {
		return false
	}
	w.next = sort.Search(len(w.frames), func(i int) bool { return w.frames[i].Sequence > sequence })
	return true
}

// add appends what was read after high.
func (w *window) add(frames []Frame, end bool) {
	if over := w.next - maxPlayed; over > 0 {
		w.low = w.frames[over-1].Sequence
		kept := append([]Frame(nil), w.frames[over:]...) // so that what is dropped is freed
		w.frames, w.next = kept, w.next-over
	}
	w.frames = append(w.frames, frames...)
	if n := len(w.frames); n > 0 {
		w.high = max(w.high, w.frames[n-1].Sequence)
	}
	w.end = end
}
