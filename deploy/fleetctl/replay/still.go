package replay

import (
	"sort"

	"fleet.nationtech.io/projections/fleet"
)

// still is the fleet at one sequence, encoded, with the events that a person saw
// last by then. Going back begins at one.
type still struct {
	sequence uint64
	view     []byte
	tail     []Frame
}

// shelf keeps stills in the order of the log, within a budget of memory.
type shelf struct {
	stills []still
	bytes  int
	apart  int // frames between two stills, at least
}

const (
	shelfBytes = 128 << 20
	stillApart = 1024
	// stillDevices are the devices whose encoding costs about as much as folding
	// one event: stills are so far apart that keeping them costs no more than
	// folding does.
	stillDevices = 4
	// approach is how near before its goal a way back leaves a still, so that the
	// next step back is short.
	approach = 64
)

// due is after how many frames the next still of a view is worth its cost.
func (s *shelf) due(v *fleet.View) int {
	return max(s.apart, stillApart, stillDevices*len(v.Devices))
}

// before gives the last still at or before a sequence.
func (s *shelf) before(sequence uint64) (still, bool) {
	i := sort.Search(len(s.stills), func(i int) bool { return s.stills[i].sequence > sequence })
	if i == 0 {
		return still{}, false
	}
	return s.stills[i-1], true
}

// put keeps a still, and thins the shelf out where it is over its budget: every
// second one goes, but for the first, and later ones are kept further apart.
func (s *shelf) put(n still) {
	i := sort.Search(len(s.stills), func(i int) bool { return s.stills[i].sequence >= n.sequence })
	if i < len(s.stills) && s.stills[i].sequence == n.sequence {
		return
	}
	s.stills = append(s.stills, still{})
	copy(s.stills[i+1:], s.stills[i:])
	s.stills[i] = n
	s.bytes += len(n.view)
	for s.bytes > shelfBytes && len(s.stills) > 2 {
		kept := s.stills[:0]
		s.bytes = 0
		for i, k := range s.stills {
			if i%2 == 0 {
				kept = append(kept, k)
				s.bytes += len(k.view)
			}
		}
		clear(s.stills[len(kept):])
		s.stills = kept
		s.apart = 2 * max(s.apart, stillApart)
	}
}
