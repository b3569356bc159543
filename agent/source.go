package agent

import (
	"fleet.nationtech.io/agent/plan"
	"fleet.nationtech.io/agent/store"
)

// source is the desired set as the reconciler wants it: the store's, with the scores
// read. A score is read once, not at each look.
type source struct {
	store   *store.Store
	changed chan struct{}
	read    map[string]readScore // by Deployment; the reconciler's goroutine alone uses it
}

type readScore struct {
	value   string
	desired plan.Desired
}

func newSource(s *store.Store) *source {
	return &source{store: s, changed: make(chan struct{}, 1), read: map[string]readScore{}}
}

// signal tells the reconciler that the set changed. It never waits.
func (s *source) signal() {
	select {
	case s.changed <- struct{}{}:
	default: // one is waiting
	}
}

// Changed implements reconcile.Source.
func (s *source) Changed() <-chan struct{} { return s.changed }

// Desired implements reconcile.Source.
func (s *source) Desired() ([]plan.Desired, error) {
	stored := s.store.Desired()
	all := make([]plan.Desired, 0, len(stored))
	for _, d := range stored {
		if d.Withdrawn {
			delete(s.read, d.Deployment)
			all = append(all, plan.Withdrawn(d.Deployment))
			continue
		}
		known := s.read[d.Deployment]
		if key := string(d.Value); known.value != key {
			known = readScore{value: key, desired: plan.Assigned(d.Deployment, d.Revision, d.Value)}
			s.read[d.Deployment] = known
		}
		known.desired.Revision, known.desired.Assignment = d.Revision, d.Sequence
		all = append(all, known.desired)
	}
	return all, nil
}
