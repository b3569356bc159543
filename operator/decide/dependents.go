package decide

import (
	"slices"

	"fleet.nationtech.io/projections/fleet"
)

// touchDependents: those that wait for a Deployment's devices look again.
func (s *State) touchDependents(key fleet.Key) {
	for other, pl := range s.placements {
		if other.Namespace == key.Namespace && other != key && slices.Contains(pl.set.DependsOn, key.Name) {
			s.classifyAll(pl)
		}
	}
}

// touchAllDependents: a cycle may have come or gone, so all of a namespace that wait for
// others look again. What that sets free has no device that would ask for it.
func (s *State) touchAllDependents(namespace string) {
	for other, pl := range s.placements {
		if other.Namespace == namespace && len(pl.set.DependsOn) > 0 {
			s.classifyAll(pl)
			s.stirred[pl] = struct{}{}
		}
	}
}

// ended is what others see of a Deployment that is not placed.
type ended struct {
	log       *fleet.Deployment
	lifecycle fleet.Lifecycle
	target    string
	dependsOn []string
}

func endedOf(log *fleet.Deployment) ended {
	if log == nil {
		return ended{}
	}
	return ended{log, log.Lifecycle, log.Run.Target.Hash, log.Settings.DependsOn}
}
