package replay

import (
	"sort"

	"fleet.nationtech.io/projections/fleet"
)

// snapshot is the fleet at one sequence, encoded, with the events that a person saw
// last by then. Going back begins at one.
type snapshot struct {
	sequence uint64
	view     []byte
	tail     []Frame
}

// snapshots keeps snapshots in the order of the log, within a budget of memory.
type snapshots struct {
	all         []snapshot
	bytes       int
	minDistance int // in frames, between two snapshots
}

const (
	maxSnapshotBytes    = 128 << 20
	minSnapshotDistance = 1024
	// devicesPerEvent are the devices whose encoding costs about as much as folding
	// one event: snapshots are so far apart that keeping them costs no more than
	// folding does.
	devicesPerEvent = 4
	// approach is how near before its goal a way back leaves a snapshot, so that the
	// next step back is short.
	approach = 64
)

// due is after how many frames the next snapshot of a view is worth its cost.
func (s *snapshots) due(v *fleet.View) int {
	return max(s.minDistance, minSnapshotDistance, devicesPerEvent*len(v.Devices))
}

// before gives the last snapshot at or before a sequence.
func (s *snapshots) before(sequence uint64) (snapshot, bool) {
	i := sort.Search(len(s.all), func(i int) bool { return s.all[i].sequence > sequence })
	if i == 0 {
		return snapshot{}, false
	}
	return s.all[i-1], true
}

// put keeps a snapshot, and thins them out where they exceed their budget: every
// second one goes, but for the first, and later ones are kept further apart.
func (s *snapshots) put(n snapshot) {
	i := sort.Search(len(s.all), func(i int) bool { return s.all[i].sequence >= n.sequence })
	if i < len(s.all) && s.all[i].sequence == n.sequence {
		return
	}
	s.all = append(s.all, snapshot{})
	copy(s.all[i+1:], s.all[i:])
	s.all[i] = n
	s.bytes += len(n.view)
	for s.bytes > maxSnapshotBytes && len(s.all) > 2 {
		kept := s.all[:0]
		s.bytes = 0
		for i, k := range s.all {
			if i%2 == 0 {
				kept = append(kept, k)
				s.bytes += len(k.view)
			}
		}
		clear(s.all[len(kept):])
		s.all = kept
		s.minDistance = 2 * max(s.minDistance, minSnapshotDistance)
	}
}
