package rolloutmetrics

import (
	"maps"
	"time"

	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/projections/fleet"
)

// waits is how long each rollout has waited for each thing while this replica led. The
// time between two looks counts for what was waited for at the first of them.
type waits struct {
	of map[fleet.Key]*waited
	at time.Time // of the last look, by the log's clock; zero: the replica did not lead then
}

// waited is how long one Deployment's rollout has waited.
type waited struct {
	reason string // what it waits for since the last look; empty: nothing
	times  map[string]time.Duration
}

func (w *waited) copy() map[string]time.Duration { return maps.Clone(w.times) }

func newWaits() waits { return waits{of: map[fleet.Key]*waited{}} }

// sample looks at what each rollout waits for.
func (w *waits) sample(s *decide.State, leads bool) {
	deployments := s.View().Deployments
	for key := range w.of {
		if !there(deployments[key]) {
			delete(w.of, key)
		}
	}
	if !leads {
		w.at = time.Time{}
		for _, of := range w.of {
			of.reason = ""
		}
		return
	}
	clock := s.Clock()
	passed := time.Duration(0)
	if !w.at.IsZero() {
		passed = max(0, clock.Sub(w.at))
	}
	w.at = clock
	for key, d := range deployments {
		if !there(d) {
			continue
		}
		of := w.of[key]
		if of != nil && of.reason != "" {
			of.times[of.reason] += passed
		}
		reason, waits := waitOf(s, key, d)
		switch {
		case waits && of == nil:
			of = &waited{times: map[string]time.Duration{}}
			w.of[key] = of
			fallthrough
		case waits:
			of.reason = reason
			of.times[reason] += 0 // the series begins with what is waited for
		case of != nil:
			of.reason = ""
		}
	}
}
