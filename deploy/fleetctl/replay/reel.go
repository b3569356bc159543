package replay

import "sort"

// reel is the part of the log that is in memory: each frame in (low, high], and
// which of them is to be played next. What lies further back is dropped and read
// again when it is wanted, so that a log of any length plays in the same memory.
type reel struct {
	low, high uint64
	frames    []Frame
	next      int
	end       bool // nothing comes after high
}

const (
	// Chunk is how many frames are read at once.
	Chunk = 4096
	// reelKept is how many played frames stay, for going back without reading.
	reelKept = 2 * Chunk
)

// at begins an empty reel after a sequence.
func reelAt(sequence uint64) reel { return reel{low: sequence, high: sequence} }

// left is how many frames there are to play.
func (r *reel) left() int { return len(r.frames) - r.next }

// wind moves to the frame after a sequence, and says whether the reel covers it.
func (r *reel) wind(sequence uint64) bool {
	if sequence < r.low || sequence > r.high {
		return false
	}
	r.next = sort.Search(len(r.frames), func(i int) bool { return r.frames[i].Sequence > sequence })
	return true
}

// add appends what was read after high.
func (r *reel) add(frames []Frame, end bool) {
	if over := r.next - reelKept; over > 0 {
		r.low = r.frames[over-1].Sequence
		kept := append([]Frame(nil), r.frames[over:]...) // so that what is dropped is freed
		r.frames, r.next = kept, r.next-over
	}
	r.frames = append(r.frames, frames...)
	if n := len(r.frames); n > 0 {
		r.high = max(r.high, r.frames[n-1].Sequence)
	}
	r.end = end
}
